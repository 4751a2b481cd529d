//! The meaning of the edits: from the slice as it was and the calls of a plugin to what is sent.

use serde::de::IgnoredAny;

use super::json::{self, Splice};
use super::time;
use super::{Log, Outcome, Rejected, Sent};
use crate::format::Format;

/// One call into `edits`, its rows already checked.
#[derive(Debug)]
pub(super) enum Edit {
    Drop(Vec<u32>),
    Keep(Vec<String>),
    Remove { keys: Vec<String>, rows: Option<Vec<u32>> },
    Rename { key: String, to: String },
    Nest { key: String, rows: Option<Vec<u32>> },
    Set { key: String, format: Format, pairs: Vec<(u32, String)> },
    SetAll { key: String, format: Format, value: String },
    JsonSet { key: String, path: Vec<String>, format: Format, pairs: Vec<(u32, String)> },
    JsonRemove { key: String, path: Vec<String>, rows: Vec<u32> },
    Route { label: String, rows: Vec<u32> },
    Emit { like: u32, label: Option<String>, log: Log },
    Reject { rows: Vec<u32>, reason: String },
}

/// A row to which the edits are applied.
#[derive(Debug)]
struct Working {
    log: Log,
    label: Option<String>,
    dropped: bool,
    rejected: Option<String>,
    emitted: Vec<(Option<String>, Log)>,
}

/// Applies the edits of one call of `process`, in order.
pub(super) fn apply(logs: &[Log], edits: &[Edit]) -> Outcome {
    let mut rows: Vec<Working> = logs.iter().map(Working::new).collect();
    let mut outcome = Outcome::default();
    // Dropping and rejecting come first: edits of a row that leaves must not count anything.
    for edit in edits {
        match edit {
            Edit::Drop(which) => the(&mut rows, which, |row| row.dropped = true),
            Edit::Reject { rows: which, reason } => the(&mut rows, which, |row| row.reject(reason)),
            _ => {}
        }
    }
    for edit in edits {
        apply_one(edit, &mut rows, &mut outcome.not_json);
    }
    for (number, row) in (0u32..).zip(rows) {
        row.leave(number, &mut outcome);
    }
    outcome
}

fn apply_one(edit: &Edit, rows: &mut [Working], not_json: &mut usize) {
    match edit {
        Edit::Drop(_) | Edit::Reject { .. } => {}
        Edit::Keep(keys) => each(rows, None, |row| row.retain(|name| keys.contains(name))),
        Edit::Remove { keys, rows: which } => {
            each(rows, which.as_deref(), |row| row.retain(|name| !keys.contains(name)));
        }
        Edit::Rename { key, to } => each(rows, None, |row| row.rename(key, to)),
        Edit::Nest { key, rows: which } => {
            each(rows, which.as_deref(), |row| *not_json += usize::from(!row.nest(key)));
        }
        Edit::Set { key, format, pairs } => {
            for (row, value) in pairs {
                each(rows, Some(&[*row]), |row| row.set(key, *format, value));
            }
        }
        Edit::SetAll { key, format, value } => {
            each(rows, None, |row| row.set(key, *format, value));
        }
        Edit::JsonSet { key, path, format, pairs } => {
            for (row, value) in pairs {
                each(rows, Some(&[*row]), |row| {
                    *not_json += usize::from(!row.json_set(key, path, *format, value));
                });
            }
        }
        Edit::JsonRemove { key, path, rows: which } => each(rows, Some(which), |row| {
            *not_json += usize::from(!row.json_remove(key, path));
        }),
        Edit::Route { label, rows: which } => {
            each(rows, Some(which), |row| row.label = Some(label.clone()));
        }
        Edit::Emit { like, label, log } => {
            if let Some(row) = rows.get_mut(*like as usize) {
                row.emitted.push((label.clone(), log.clone()));
            }
        }
    }
}

/// The given rows.
fn the(rows: &mut [Working], which: &[u32], mut act: impl FnMut(&mut Working)) {
    for &number in which {
        if let Some(row) = rows.get_mut(number as usize) {
            act(row);
        }
    }
}

/// The given rows, or all, as far as they stay.
fn each(rows: &mut [Working], which: Option<&[u32]>, mut act: impl FnMut(&mut Working)) {
    let staying = |row: &&mut Working| !row.dropped && row.rejected.is_none();
    match which {
        None => rows.iter_mut().filter(staying).for_each(act),
        Some(which) => {
            the(rows, which, |row| Some(row).filter(staying).into_iter().for_each(&mut act))
        }
    }
}

impl Working {
    fn new(log: &Log) -> Self {
        Self { log: log.clone(), label: None, dropped: false, rejected: None, emitted: Vec::new() }
    }

    fn reject(&mut self, reason: &str) {
        self.rejected.get_or_insert_with(|| reason.to_owned());
    }

    fn retain(&mut self, keep: impl Fn(&String) -> bool) {
        self.log.fields.retain(|field| keep(&field.name));
    }

    fn rename(&mut self, key: &str, to: &str) {
        if key == to || self.log.field(key).is_none() {
            return;
        }
        self.log.fields.retain(|field| field.name != to);
        for field in self.log.fields.iter_mut().filter(|field| field.name == key) {
            to.clone_into(&mut field.name);
        }
        self.note_time(to);
    }

    /// A plugin that writes `__time__` sets the time of the event.
    fn note_time(&mut self, key: &str) {
        let value = self.log.get(key).filter(|_| key == "__time__");
        match value.map(time::nanoseconds) {
            Some(Some(time)) => self.log.time = time,
            Some(None) => self.reject("`__time__` was set to something that is not a time"),
            None => {}
        }
    }

    fn nest(&mut self, key: &str) -> bool {
        let Some(field) = self.log.fields.iter_mut().find(|field| field.name == key) else {
            return true;
        };
        let valid = is_json(&field.value);
        if valid {
            field.format = Format::Json;
        }
        valid
    }

    fn set(&mut self, key: &str, format: Format, value: &str) {
        if format == Format::Json && !is_json(value) {
            return self.reject(&format!("`{key}` was set to JSON that is not valid"));
        }
        self.log.set(key, value.to_owned(), format);
        self.note_time(key);
    }

    fn json_set(&mut self, key: &str, path: &[String], format: Format, value: &str) -> bool {
        if self.log.field(key).is_none() {
            return true;
        }
        let value = match format {
            Format::Json if !is_json(value) => {
                self.reject(&format!("JSON that is not valid was set inside `{key}`"));
                return true;
            }
            Format::Json => value.to_owned(),
            Format::Text => serde_json::Value::from(value).to_string(),
        };
        self.splice(key, |text| json::set(text, path, &value))
    }

    fn json_remove(&mut self, key: &str, path: &[String]) -> bool {
        self.splice(key, |text| json::remove(text, path))
    }

    /// Rewrites a field that holds JSON; says whether it could.
    fn splice(&mut self, key: &str, change: impl FnOnce(&str) -> Option<Splice>) -> bool {
        let Some(field) = self.log.fields.iter_mut().find(|field| field.name == key) else {
            return true;
        };
        let Some(splice) = change(&field.value).filter(|_| is_json(&field.value)) else {
            return false;
        };
        field.value.replace_range(splice.range, &splice.text);
        self.note_time(key);
        true
    }

    fn leave(self, row: u32, outcome: &mut Outcome) {
        let Self { log, label, dropped, rejected, emitted } = self;
        if let Some(reason) = rejected {
            // Nothing is emitted: a replay of the dead letter runs the plugin again.
            return outcome.rejected.push(Rejected { row, reason });
        }
        let (topic, time) = (log.topic.clone(), log.time);
        if dropped {
            outcome.dropped.push(row);
        } else {
            outcome.sent.push(Sent { row, ordinal: 0, label: label.clone(), log });
        }
        for (ordinal, (own, log)) in (1u32..).zip(emitted) {
            let mut row_emitted = Self::new(&log.with_topic(topic.clone()).at(time));
            row_emitted.note_time("__time__");
            match row_emitted.rejected {
                Some(reason) => outcome.rejected.push(Rejected { row, reason }),
                None => {
                    let label = own.or_else(|| label.clone());
                    outcome.sent.push(Sent { row, ordinal, label, log: row_emitted.log });
                }
            }
        }
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}
