//! What was *said*: tables of settings that are read key by key and know where each was written.
//!
//! A derived deserialiser stops at its first error. Here every read that fails is recorded and the
//! next key is read all the same, so that one run reports all there is to fix; [`Section::finish`]
//! then refuses keys that were not asked for, with the nearest known key as a hint. A section comes from
//! the file (`document.rs`), from `--sink` or from the environment, and all three are checked by the
//! same code.

mod read;

use std::collections::BTreeMap;
use std::fmt;

use jiff::tz::TimeZone;

use super::secret::Lookup;
use super::spelling;
use crate::problem::{Place, Problem, Problems};

/// What every check needs besides the section in hand.
pub(super) struct Context<'a> {
    /// Where findings go.
    pub(super) problems: Problems,
    /// The environment.
    pub(super) env: &'a Lookup<'a>,
    /// How a time without a zone is read.
    pub(super) zone: TimeZone,
}

impl<'a> Context<'a> {
    /// A context that reads times in the host's zone unless another is set.
    pub(super) fn new(env: &'a Lookup<'a>) -> Self {
        Self { problems: Problems::default(), env, zone: TimeZone::system() }
    }

    /// Records an error about the setting at `place`.
    pub(super) fn error(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problems.error(Problem::new(message).at(place).help(help));
    }

    /// Records a notice about the setting at `place`.
    pub(super) fn notice(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problems.notice(Problem::new(message).at(place).help(help));
    }
}

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<T> {
    /// The value.
    pub value: T,
    /// Its place, for messages about it.
    pub at: Place,
}

/// A setting as written. Never printed: it may be a secret.
pub(super) enum Value {
    /// A string.
    Text(String),
    /// Text without a type, as the query of a URL has it: read as whatever is asked for.
    Word(String),
    /// A number without a fraction.
    Whole(i64),
    /// A number with one.
    Real(f64),
    /// `true` or `false`.
    Flag(bool),
    /// A date or time written without quotes, as its text.
    Time(String),
    /// A list.
    List(Vec<Self>),
    /// A table.
    Table(Section),
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Word(_) => "a string",
            Self::Whole(_) | Self::Real(_) => "a number",
            Self::Flag(_) => "true or false",
            Self::Time(_) => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }

    /// A word as the flag or number it may be.
    fn typed(self) -> Self {
        let Self::Word(word) = self else { return self };
        if let Ok(flag) = word.parse() {
            Self::Flag(flag)
        } else if let Ok(number) = word.parse() {
            Self::Whole(number)
        } else if let Ok(number) = word.parse() {
            Self::Real(number)
        } else {
            Self::Text(word)
        }
    }

    fn into_json(self) -> serde_json::Value {
        match self {
            Self::Text(text) | Self::Word(text) | Self::Time(text) => text.into(),
            Self::Whole(number) => number.into(),
            Self::Real(number) => number.into(),
            Self::Flag(flag) => flag.into(),
            Self::List(items) => items.into_iter().map(Self::into_json).collect(),
            Self::Table(section) => section
                .entries
                .into_iter()
                .map(|(key, entry)| (key, entry.value.into_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }
}

struct Entry {
    value: Value,
    at: Place,
}

/// One table of settings, being read.
pub(super) struct Section {
    at: Place,
    entries: BTreeMap<String, Entry>,
    known: Vec<&'static str>,
}

impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Section").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Section {
    /// An empty table at a place.
    pub(super) fn new(at: Place) -> Self {
        Self { at, entries: BTreeMap::new(), known: Vec::new() }
    }

    /// Adds a setting.
    pub(super) fn insert(&mut self, key: impl Into<String>, value: Value, at: Place) {
        self.entries.insert(key.into(), Entry { value, at });
    }

    /// Where the table was written.
    pub(super) fn at(&self) -> &Place {
        &self.at
    }

    /// Whether a setting is present.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Where a setting was written, or would have been.
    pub(super) fn at_key(&self, key: &str) -> Place {
        match (self.entries.get(key), &self.at) {
            (Some(entry), _) => entry.at.clone(),
            (None, Place::File { file, line, key: path }) => {
                Place::File { file: file.clone(), line: *line, key: join(path, key) }
            }
            (None, place) => place.clone(),
        }
    }

    /// Reads `old` as `new`, which is how it is called here; both at once is an error.
    pub(super) fn rename(&mut self, old: &'static str, new: &'static str, cx: &mut Context<'_>) {
        let Some(entry) = self.entries.remove(old) else { return };
        if self.has(new) {
            let message = format!("`{old}` and `{new}` say the same thing");
            cx.error(&entry.at, message, format!("keep `{new}`"));
        } else {
            self.entries.insert(new.to_owned(), entry);
        }
    }

    /// Removes a setting that `message` explains away as an error.
    pub(super) fn refuse(&mut self, key: &str, message: &str, help: &str, cx: &mut Context<'_>) {
        if let Some(entry) = self.entries.remove(key) {
            cx.error(&entry.at, message, help);
        }
    }

    /// Refuses every setting that was not read, with a hint.
    pub(super) fn finish(self, cx: &mut Context<'_>) {
        for (key, entry) in &self.entries {
            let message = format!("unknown key `{key}`");
            let help = match spelling::nearest(key, &self.known) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("known here: {}", sorted(&self.known)),
            };
            cx.error(&entry.at, message, help);
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Entry> {
        self.known.push(key);
        self.entries.remove(key)
    }
}

/// `path.key`, or just the key at the top of the file.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn sorted(known: &[&'static str]) -> String {
    let mut known = known.to_vec();
    known.sort_unstable();
    known.dedup();
    known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}
