//! A small subset of SPL, enough to test what filtering on the server does to a consumer.
//!
//! Understood: `*`, and any number of stages `| where key = 'value'`, `!=` as well, joined by `and`.
//! A key may be quoted with `"`; a quote inside a value is doubled. Everything else is refused with
//! `ParameterInvalid` rather than guessed at. A key that a log lacks makes a comparison false.

use crate::log_group::{EncodedGroup, Log};
use crate::refusal::Refusal;

/// A filter over logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// All must hold.
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    key: String,
    value: String,
    equal: bool,
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// `ParameterInvalid` for anything outside the subset.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let mut words = Words { rest: text };
        let mut conditions = Vec::new();
        if words.next()? != Some(Word::Sign("*")) {
            return Err(Refusal::parameter("an SPL query begins with *"));
        }
        while let Some(word) = words.next()? {
            if word != Word::Sign("|") || !words.keyword("where")? {
                return Err(unsupported(text));
            }
            conditions.push(words.condition()?);
            while words.keyword("and")? {
                conditions.push(words.condition()?);
            }
        }
        Ok(Self { conditions })
    }

    /// The group with only the logs that match; `None` if none does.
    pub fn filter(&self, group: &EncodedGroup) -> Option<EncodedGroup> {
        group.filtered(|log| self.conditions.iter().all(|condition| condition.holds(group, log)))
    }
}

impl Condition {
    fn holds(&self, group: &EncodedGroup, log: &Log<'_>) -> bool {
        let value = log.value(&self.key).or_else(|| group.metadata(&self.key));
        value.is_some_and(|value| (value == self.value.as_bytes()) == self.equal)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Word<'a> {
    Sign(&'a str),
    Name(&'a str),
    Text(String),
}

struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Result<Option<Word<'a>>, Refusal> {
        self.rest = self.rest.trim_start();
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        match first {
            '\'' => self.quoted('\'').map(|text| Some(Word::Text(text))),
            '"' => {
                let inner = self.rest.get(1..).unwrap_or_default();
                let end = inner.find('"').ok_or_else(|| unsupported(self.rest))?;
                self.rest = inner.get(end + 1..).unwrap_or_default();
                Ok(inner.get(..end).map(Word::Name))
            }
            _ => {
                let sign =
                    ["!=", "*", "|", "="].into_iter().find(|sign| self.rest.starts_with(sign));
                if let Some(sign) = sign {
                    self.rest = self.rest.get(sign.len()..).unwrap_or_default();
                    return Ok(Some(Word::Sign(sign)));
                }
                let end = self.rest.find(|c: char| c.is_whitespace() || "!*|='\"".contains(c));
                let (name, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
                self.rest = rest;
                if name.is_empty() { Err(unsupported(rest)) } else { Ok(Some(Word::Name(name))) }
            }
        }
    }

    /// Consumes `word` if it comes next.
    fn keyword(&mut self, word: &str) -> Result<bool, Refusal> {
        let before = self.rest;
        let found =
            matches!(self.next()?, Some(Word::Name(name)) if name.eq_ignore_ascii_case(word));
        if !found {
            self.rest = before;
        }
        Ok(found)
    }

    fn condition(&mut self) -> Result<Condition, Refusal> {
        let before = self.rest;
        match (self.next()?, self.next()?, self.next()?) {
            (
                Some(Word::Name(key)),
                Some(Word::Sign(sign @ ("=" | "!="))),
                Some(Word::Text(value)),
            ) => Ok(Condition { key: key.to_owned(), value, equal: sign == "=" }),
            _ => Err(unsupported(before)),
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, Refusal> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            if c != quote {
                text.push(c);
            } else if chars.next_if(|(_, next)| *next == quote).is_some() {
                text.push(quote);
            } else {
                self.rest = self.rest.get(at + 1..).unwrap_or_default();
                return Ok(text);
            }
        }
        Err(unsupported(self.rest))
    }
}

fn unsupported(at: &str) -> Refusal {
    Refusal::parameter(format!("SPL beyond `* | where key = 'value' and …` is not served: {at:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use forwarder_record::encode;

    fn matching(query: &str) -> Vec<String> {
        let log = |(id, status): (&str, &str)| encode::Log {
            contents: [("id", id), ("http-status", status)]
                .map(|(k, v)| (k.into(), v.into()))
                .into(),
            ..Default::default()
        };
        let group = EncodedGroup::from(&encode::LogGroup {
            topic: "web".into(),
            logs: [("1", "200"), ("2", "500"), ("3", "it's")].map(log).into(),
            ..Default::default()
        });
        let filtered = Query::parse(query).unwrap().filter(&group);
        filtered.map(|group| group.values_of("id").collect()).unwrap_or_default()
    }

    #[test]
    fn the_subset_filters() {
        for (query, ids) in [
            ("*", vec!["1", "2", "3"]),
            ("* | where http-status = '500'", vec!["2"]),
            ("*|WHERE \"http-status\"!='500'|where id != '1'", vec!["3"]),
            ("* | where http-status = 'it''s' AND __topic__ = 'web'", vec!["3"]),
            ("* | where __topic__ = 'other'", vec![]),
            ("* | where missing != 'x'", vec![]),
        ] {
            assert_eq!(matching(query), ids, "{query}");
        }
    }

    #[test]
    fn what_is_outside_the_subset_is_refused() {
        for query in
            ["", "where a = 'b'", "* | project a", "* | where a > 1", "* | where a = 'b", "* a"]
        {
            assert_eq!(Query::parse(query).unwrap_err().code, "ParameterInvalid", "{query}");
        }
    }
}
