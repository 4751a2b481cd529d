//! Conditions of the configuration (`when = { … }`) on a row: typed metadata first, contents by explicit name.

use crate::row::Row;

/// True where every part that is named holds. The empty condition is true for every row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Condition {
    /// The log group's topic, one of these; empty for any.
    pub topic: Vec<Pattern>,
    /// The log group's source, one of these; empty for any.
    pub source: Vec<Pattern>,
    /// The SLS project, one of these; empty for any.
    pub project: Vec<Pattern>,
    /// The SLS logstore, one of these; empty for any.
    pub logstore: Vec<Pattern>,
    /// Fields of the contents and, for each, the values one of which it must have.
    pub fields: Vec<(String, Vec<Pattern>)>,
}

impl Condition {
    /// Whether the row fulfils the condition.
    pub fn matches(&self, row: &Row<'_>) -> bool {
        let origin = row.origin();
        any(&self.topic, row.topic())
            && any(&self.source, row.source())
            && any(&self.project, &origin.project)
            && any(&self.logstore, &origin.logstore)
            && self
                .fields
                .iter()
                .all(|(key, patterns)| row.get(key).is_some_and(|cell| any(patterns, cell.value)))
    }
}

fn any(patterns: &[Pattern], text: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(text))
}

/// A text in which `*` stands for any number of characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// What stands between the stars; a pattern without stars has one part.
    parts: Vec<String>,
}

impl Pattern {
    /// Reads a pattern; every text is one.
    pub fn new(text: &str) -> Self {
        Self { parts: text.split('*').map(str::to_owned).collect() }
    }

    /// Whether the whole of `text` fits.
    pub fn matches(&self, text: &str) -> bool {
        let [first, middle @ .., last] = self.parts.as_slice() else {
            return self.parts.first().is_some_and(|only| only == text);
        };
        let Some(rest) = text.strip_prefix(first.as_str()) else { return false };
        let Some(mut rest) = rest.strip_suffix(last.as_str()) else { return false };
        for part in middle {
            match rest.split_once(part.as_str()) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, text, fits) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("", "", true),
            ("*", "", true),
            ("Describe*", "DescribeInstances", true),
            ("*_log", "oss_access_log", true),
            ("a*b*c", "a-bb-c", true),
            ("a*a", "a", false),
            ("a*b*c", "acb", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text), fits, "{pattern} on {text}");
        }
    }
}
