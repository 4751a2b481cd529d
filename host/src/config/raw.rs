//! What was *said*: tables of settings that are read key by key and know where each was written.
//!
//! A derived deserialiser stops at its first error. Here every read that fails is recorded and the
//! next key is read all the same, so that one run reports all there is to mend; [`Section::finish`]
//! then refuses what nobody asked for, with the nearest known key as a hint. A section comes from
//! the file (`document.rs`), from `--sink` or from the environment, and all three are checked by the
//! same code.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::secret::{self, Lookup, Secret};
use super::{spelling, units};
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
    /// A context that reads times in the host's zone until told otherwise.
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

    /// A string, with `${NAME}` replaced.
    pub(super) fn text(
        &mut self,
        key: &'static str,
        cx: &mut Context<'_>,
    ) -> Option<Found<String>> {
        let found = self.verbatim(key, cx)?;
        match secret::expand(&found.value, cx.env) {
            Ok(value) => Some(Found { value, ..found }),
            Err(reason) => {
                cx.error(&found.at, format!("cannot read `{key}`: {reason}"), REFERENCE_HELP);
                None
            }
        }
    }

    /// A string that has to be there and hold something.
    pub(super) fn required(
        &mut self,
        key: &'static str,
        cx: &mut Context<'_>,
    ) -> Option<Found<String>> {
        if !self.has(key) {
            self.known.push(key);
            let message = format!("`{key}` is missing");
            cx.error(&self.at_key(key), message, format!("add `{key} = \"…\"`"));
            return None;
        }
        let found = self.text(key, cx)?;
        if found.value.trim().is_empty() {
            cx.error(&found.at, format!("`{key}` is empty"), "write a value");
            return None;
        }
        Some(found)
    }

    /// A string as it is written: queries and the like may hold `${`.
    pub(super) fn verbatim(
        &mut self,
        key: &'static str,
        cx: &mut Context<'_>,
    ) -> Option<Found<String>> {
        let Entry { value, at } = self.take(key)?;
        match value {
            Value::Text(value) | Value::Word(value) | Value::Time(value) => {
                Some(Found { value, at })
            }
            other => mismatch(key, "a string", &other, &at, cx),
        }
    }

    /// A secret: `"${NAME}"`, `"file:PATH"` or the value itself.
    pub(super) fn secret(
        &mut self,
        key: &'static str,
        cx: &mut Context<'_>,
    ) -> Option<Found<Secret>> {
        let found = self.verbatim(key, cx)?;
        match secret::resolve(&found.value, cx.env) {
            Ok(value) => Some(Found { value, at: found.at }),
            Err(reason) => {
                cx.error(&found.at, format!("cannot read `{key}`: {reason}"), REFERENCE_HELP);
                None
            }
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &'static str, cx: &mut Context<'_>) -> Option<Found<bool>> {
        let Entry { value, at } = self.take(key)?;
        match value.typed() {
            Value::Flag(value) => Some(Found { value, at }),
            other => mismatch(key, "true or false", &other, &at, cx),
        }
    }

    /// A whole number within `range`.
    pub(super) fn whole(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
        cx: &mut Context<'_>,
    ) -> Option<Found<u64>> {
        let Entry { value, at } = self.take(key)?;
        let number = match value.typed() {
            Value::Whole(number) => number,
            other => return mismatch(key, "a whole number", &other, &at, cx),
        };
        let number = u64::try_from(number).ok().filter(|number| range.contains(number));
        within(key, number, &format!("from {} to {}", range.start(), range.end()), at, cx)
    }

    /// A number within `range`.
    pub(super) fn real(
        &mut self,
        key: &'static str,
        range: RangeInclusive<f64>,
        cx: &mut Context<'_>,
    ) -> Option<Found<f64>> {
        let Entry { value, at } = self.take(key)?;
        let number = match value.typed() {
            Value::Whole(number) => number as f64, // settings are small

            Value::Real(number) => number,
            other => return mismatch(key, "a number", &other, &at, cx),
        };
        let number = Some(number).filter(|number| range.contains(number));
        within(key, number, &format!("from {} to {}", range.start(), range.end()), at, cx)
    }

    /// A duration within `range`, such as `"5s"`.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        range: RangeInclusive<Duration>,
        cx: &mut Context<'_>,
    ) -> Option<Found<Duration>> {
        self.seconds_as_durations(key);
        let found = self.measure(key, "a duration such as \"5s\"", units::duration, cx)?;
        let value = Some(found.value).filter(|value| range.contains(value));
        within(key, value, &format!("from {:?} to {:?}", range.start(), range.end()), found.at, cx)
    }

    /// A size within `range`, such as `"64MiB"`.
    pub(super) fn size(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
        cx: &mut Context<'_>,
    ) -> Option<Found<u64>> {
        let found = self.measure(key, "a size such as \"64MiB\"", units::size, cx)?;
        let value = Some(found.value).filter(|value| range.contains(value));
        within(
            key,
            value,
            &format!("from {} to {} bytes", range.start(), range.end()),
            found.at,
            cx,
        )
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&str, T)],
        cx: &mut Context<'_>,
    ) -> Option<Found<T>> {
        let found = self.text(key, cx)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == found.value) {
            return Some(Found { value: *value, at: found.at });
        }
        let all =
            words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        cx.error(
            &found.at,
            format!("`{key}` cannot be \"{}\"", found.value),
            format!("use one of {all}"),
        );
        None
    }

    /// A word, or a number as its digits: facilities are written either way.
    pub(super) fn word_or_number(
        &mut self,
        key: &'static str,
        cx: &mut Context<'_>,
    ) -> Option<Found<String>> {
        if let Some(Entry { value, .. }) = self.entries.get_mut(key)
            && let Value::Whole(number) = value
        {
            *value = Value::Text(number.to_string());
        }
        self.text(key, cx)
    }

    /// A string or a list of strings; empty if absent.
    pub(super) fn texts(&mut self, key: &'static str, cx: &mut Context<'_>) -> Vec<Found<String>> {
        let Some(Entry { value, at }) = self.take(key) else { return Vec::new() };
        let items = match value {
            Value::List(items) => items,
            single => vec![single],
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Value::Text(value) | Value::Word(value) => {
                    texts.push(Found { value, at: at.clone() });
                }
                other => {
                    mismatch::<()>(key, "a string or a list of strings", &other, &at, cx);
                }
            }
        }
        texts
    }

    /// A table inside this one.
    pub(super) fn table(&mut self, key: &'static str, cx: &mut Context<'_>) -> Option<Self> {
        let Entry { value, at } = self.take(key)?;
        match value {
            Value::Table(section) => Some(section),
            other => mismatch(key, "a table", &other, &at, cx),
        }
    }

    /// The tables written as `[[key]]`.
    pub(super) fn tables(&mut self, key: &'static str, cx: &mut Context<'_>) -> Vec<Self> {
        let Some(Entry { value, at }) = self.take(key) else { return Vec::new() };
        let Value::List(items) = value else {
            let help = format!("write `[[{key}]]` with two brackets: there may be several");
            cx.error(&at, format!("`{key}` must be a list of tables"), help);
            return Vec::new();
        };
        let mut tables = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Value::Table(section) => tables.push(section),
                other => {
                    mismatch::<()>(key, "a list of tables", &other, &at, cx);
                }
            }
        }
        tables
    }

    /// Everything below `key` as JSON, for settings that are not ours to understand.
    pub(super) fn json(&mut self, key: &'static str) -> Option<Found<serde_json::Value>> {
        let Entry { value, at } = self.take(key)?;
        Some(Found { value: value.into_json(), at })
    }

    /// The settings nobody has read yet, for tables whose keys the user chooses.
    pub(super) fn drain_texts(mut self, cx: &mut Context<'_>) -> Vec<(String, Vec<Found<String>>)> {
        let mut all = Vec::with_capacity(self.entries.len());
        for (key, entry) in std::mem::take(&mut self.entries) {
            let mut single = Self::new(self.at.clone());
            single.entries.insert(ONLY.to_owned(), entry);
            all.push((key, single.texts(ONLY, cx)));
        }
        all
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

    /// The vendor's sample writes durations as bare seconds, so a whole number is read as seconds.
    fn seconds_as_durations(&mut self, key: &str) {
        if let Some(Entry { value, .. }) = self.entries.get_mut(key) {
            match value {
                Value::Whole(seconds) => *value = Value::Text(format!("{seconds}s")),
                Value::Word(word) if word.bytes().all(|byte| byte.is_ascii_digit()) => {
                    word.push('s')
                }
                _ => {}
            }
        }
    }

    fn measure<T>(
        &mut self,
        key: &'static str,
        wanted: &'static str,
        read: fn(&str) -> Result<T, String>,
        cx: &mut Context<'_>,
    ) -> Option<Found<T>> {
        let Entry { value, at } = self.take(key)?;
        let (Value::Text(text) | Value::Word(text)) = value else {
            return mismatch(key, wanted, &value, &at, cx);
        };
        match read(&text) {
            Ok(value) => Some(Found { value, at }),
            Err(reason) => {
                cx.error(&at, format!("`{key}` must be {wanted}"), reason);
                None
            }
        }
    }
}

const REFERENCE_HELP: &str = "set the variable, or write \"file:/path/to/it\"";
const ONLY: &str = "value";

/// `path.key`, or just the key at the top of the file.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn mismatch<T>(
    key: &str,
    wanted: &str,
    value: &Value,
    at: &Place,
    cx: &mut Context<'_>,
) -> Option<T> {
    cx.error(at, format!("`{key}` must be {wanted}"), format!("it is {}", value.kind()));
    None
}

fn within<T>(
    key: &str,
    value: Option<T>,
    range: &str,
    at: Place,
    cx: &mut Context<'_>,
) -> Option<Found<T>> {
    if value.is_none() {
        cx.error(&at, format!("`{key}` is out of range"), format!("use a value {range}"));
    }
    value.map(|value| Found { value, at })
}

fn sorted(known: &[&'static str]) -> String {
    let mut known = known.to_vec();
    known.sort_unstable();
    known.dedup();
    known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}
