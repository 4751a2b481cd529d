//! The config file as sections: TOML in, values with file, line and key path out.
//!
//! A table in a list is called by its `name` where it has one (`sink.splunk.token`), else by its
//! number counted from one (`sink[2].token`). No message quotes the text of the file, since a line
//! may hold a secret.

use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::raw::{Context, Section, Value, join};
use crate::problem::{Place, Problem};

/// Parses a file. Every syntax error is recorded; with one, `None`, since what follows from a line
/// that cannot be read would be guesses.
pub(super) fn parse(file: &str, text: &str, cx: &mut Context<'_>) -> Option<Section> {
    let lines = Lines::new(file, text);
    let (root, errors) = DeTable::parse_recoverable(text);
    let is_toml = errors.is_empty();
    for error in errors {
        let offset = error.span().map_or(0, |span| span.start);
        let message = format!("this is not TOML: {}", error.message());
        cx.problems.error(Problem::new(message).at(&lines.place(offset, "")));
    }
    is_toml.then(|| lines.section(root.get_ref(), "", 0))
}

/// The name of the file and where its lines begin.
struct Lines {
    file: Arc<str>,
    starts: Vec<usize>,
}

impl Lines {
    fn new(file: &str, text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n');
        let starts = std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect();
        Self { file: file.into(), starts }
    }

    fn place(&self, offset: usize, key: &str) -> Place {
        let line = self.starts.partition_point(|&start| start <= offset);
        Place::File { file: Arc::clone(&self.file), line, key: key.to_owned() }
    }

    fn section(&self, table: &DeTable<'_>, path: &str, offset: usize) -> Section {
        let mut section = Section::new(self.place(offset, path));
        for (key, value) in table {
            let path = join(path, &quoted(key.get_ref()));
            let at = self.place(key.span().start, &path);
            section.insert(key.get_ref().as_ref(), self.value(value, &path), at);
        }
        section
    }

    fn value(&self, value: &Spanned<DeValue<'_>>, path: &str) -> Value {
        match value.get_ref() {
            DeValue::String(text) => Value::Text(text.as_ref().to_owned()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| Value::Real(f64::INFINITY), Value::Whole),
            DeValue::Float(number) => Value::Real(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(flag) => Value::Flag(*flag),
            DeValue::Datetime(time) => Value::Time(time.to_string()),
            DeValue::Table(table) => Value::Table(self.section(table, path, value.span().start)),
            DeValue::Array(items) => Value::List(
                items
                    .iter()
                    .enumerate()
                    .map(|(ix, item)| self.value(item, &element(path, ix, item.get_ref())))
                    .collect(),
            ),
        }
    }
}

fn element(path: &str, ix: usize, item: &DeValue<'_>) -> String {
    match item.get("name").and_then(|name| name.get_ref().as_str()) {
        Some(name) => join(path, &quoted(name)),
        None => format!("{path}[{}]", ix + 1),
    }
}

/// A key as TOML would want it: quoted unless it is bare.
fn quoted(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(bare) { key.to_owned() } else { format!("{key:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<Section>, Vec<Problem>) {
        let env = |_: &str| None;
        let mut cx = Context::new(&env);
        let section = parse("f.toml", text, &mut cx);
        (section, cx.problems.into_parts().0)
    }

    #[test]
    fn a_setting_knows_its_line_and_its_path() {
        let (root, problems) = read("a = 1\n\n[[sink]]\nname = \"splunk\"\nurl = 5\n[[sink]]\n");
        assert_eq!(problems, []);
        let env = |_: &str| None;
        let mut cx = Context::new(&env);
        let mut sinks = root.unwrap().tables("sink", &mut cx);
        assert_eq!(sinks[0].at_key("url").to_string(), "f.toml:5, sink.splunk.url");
        assert_eq!(sinks[1].at_key("url").to_string(), "f.toml:6, sink[2].url");
        assert!(sinks[0].text("url", &mut cx).is_none());
        let (errors, _) = cx.problems.into_parts();
        assert_eq!(errors[0].message(), "`url` must be a string");
    }

    #[test]
    fn every_syntax_error_is_reported_and_no_line_is_quoted() {
        let (root, problems) = read("token = s3cret\nok = 1\nbroken = = 2\n");
        assert!(root.is_none());
        assert!(problems.len() >= 2, "{problems:?}");
        assert!(problems.iter().all(|problem| !problem.to_string().contains("s3cret")));
    }
}
