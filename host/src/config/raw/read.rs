//! Reading one setting as what it should be. A setting that is absent is `None` and no problem; one
//! that cannot be read is `None` too, and recorded.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::secret::{self, Secret};
use super::super::units;
use super::{Context, Entry, Found, Section, Value};
use crate::problem::Place;

impl Section {
    /// A string, with `${NAME}` replaced.
    pub(in crate::config) fn text(
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
    pub(in crate::config) fn required(
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
    pub(in crate::config) fn verbatim(
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
    pub(in crate::config) fn secret(
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
    pub(in crate::config) fn flag(
        &mut self,
        key: &'static str,
        cx: &mut Context<'_>,
    ) -> Option<Found<bool>> {
        let Entry { value, at } = self.take(key)?;
        match value.typed() {
            Value::Flag(value) => Some(Found { value, at }),
            other => mismatch(key, "true or false", &other, &at, cx),
        }
    }

    /// A whole number within `range`.
    pub(in crate::config) fn whole<T: TryFrom<u64>>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
        cx: &mut Context<'_>,
    ) -> Option<Found<T>> {
        let Entry { value, at } = self.take(key)?;
        let number = match value.typed() {
            Value::Whole(number) => number,
            other => return mismatch(key, "a whole number", &other, &at, cx),
        };
        let number = u64::try_from(number).ok().filter(|number| range.contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        within(key, number, &format!("from {} to {}", range.start(), range.end()), at, cx)
    }

    /// A number within `range`.
    pub(in crate::config) fn real(
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
    pub(in crate::config) fn duration(
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
    pub(in crate::config) fn size<T: TryFrom<u64>>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
        cx: &mut Context<'_>,
    ) -> Option<Found<T>> {
        let found = self.measure(key, "a size such as \"64MiB\"", units::size, cx)?;
        let value = Some(found.value).filter(|value| range.contains(value));
        within(
            key,
            value.and_then(|value| T::try_from(value).ok()),
            &format!("from {} to {} bytes", range.start(), range.end()),
            found.at,
            cx,
        )
    }

    /// One of a few words.
    pub(in crate::config) fn choice<T: Copy>(
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
    pub(in crate::config) fn word_or_number(
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
    pub(in crate::config) fn texts(
        &mut self,
        key: &'static str,
        cx: &mut Context<'_>,
    ) -> Vec<Found<String>> {
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
    pub(in crate::config) fn table(
        &mut self,
        key: &'static str,
        cx: &mut Context<'_>,
    ) -> Option<Self> {
        let Entry { value, at } = self.take(key)?;
        match value {
            Value::Table(section) => Some(section),
            other => mismatch(key, "a table", &other, &at, cx),
        }
    }

    /// The tables written as `[[key]]`.
    pub(in crate::config) fn tables(
        &mut self,
        key: &'static str,
        cx: &mut Context<'_>,
    ) -> Vec<Self> {
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
    pub(in crate::config) fn json(
        &mut self,
        key: &'static str,
    ) -> Option<Found<serde_json::Value>> {
        let Entry { value, at } = self.take(key)?;
        Some(Found { value: value.into_json(), at })
    }

    /// The settings that were not read yet, for tables whose keys the user chooses.
    pub(in crate::config) fn drain_texts(
        mut self,
        cx: &mut Context<'_>,
    ) -> Vec<(String, Vec<Found<String>>)> {
        let mut all = Vec::with_capacity(self.entries.len());
        for (key, entry) in std::mem::take(&mut self.entries) {
            let mut single = Self::new(self.at.clone());
            single.entries.insert(ONLY.to_owned(), entry);
            all.push((key, single.texts(ONLY, cx)));
        }
        all
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
