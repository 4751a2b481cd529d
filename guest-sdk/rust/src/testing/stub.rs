//! The imports of a plugin, natively: the same names and types as the generated bindings, answered from
//! the logs of the test that runs on this thread.

use std::cell::RefCell;

use super::apply::{Edit, apply};
use super::{Log, Outcome, json as lookup};
use crate::format::Format;

/// Severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// For the plugin's author.
    Debug,
    /// Worth knowing; nothing to do.
    Info,
    /// Something is not as it should be; the plugin copes.
    Warn,
    /// Someone should act.
    Error,
}

/// What the stand-in knows while a test runs.
#[derive(Default)]
struct State {
    /// The slice in hand, while there is one.
    logs: Option<Vec<Log>>,
    edits: Vec<Edit>,
    messages: Vec<(Severity, String)>,
    calls: Vec<&'static str>,
}

thread_local! {
    static STATE: RefCell<Option<State>> = const { RefCell::new(None) };
}

/// One run on this thread; ends with it.
pub(super) struct Session;

impl Session {
    pub(super) fn start() -> Self {
        STATE.set(Some(State::default()));
        Self
    }

    pub(super) fn load(&self, logs: Vec<Log>) {
        with(|state| state.logs = Some(logs));
    }

    pub(super) fn rows(&self) -> u32 {
        with(|state| state.rows())
    }

    pub(super) fn finish(self) -> Outcome {
        with(|state| {
            let mut outcome = apply(&state.logs.take().unwrap_or_default(), &state.edits);
            outcome.messages = std::mem::take(&mut state.messages);
            outcome.calls = std::mem::take(&mut state.calls);
            outcome
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        STATE.set(None);
    }
}

impl State {
    fn rows(&self) -> u32 {
        u32::try_from(self.logs.as_ref().map_or(0, Vec::len)).unwrap_or(u32::MAX)
    }
}

#[expect(clippy::panic, reason = "in a test, a broken rule must point at the call that broke it")]
#[track_caller]
fn fault(what: &str) -> ! {
    panic!("fault: {what}")
}

#[track_caller]
fn with<T>(act: impl FnOnce(&mut State) -> T) -> T {
    STATE.with_borrow_mut(|state| match state {
        Some(state) => act(state),
        None => fault("the forwarder can be called only while a test runs the plugin"),
    })
}

/// A call that is allowed only while there is a slice.
#[track_caller]
fn within<T>(name: &'static str, act: impl FnOnce(&mut State, &[Log]) -> T) -> T {
    with(|state| {
        state.calls.push(name);
        let Some(logs) = state.logs.take() else {
            fault(&format!("`{name}` was called outside `process`"))
        };
        let answer = act(state, &logs);
        state.logs = Some(logs);
        answer
    })
}

/// Rows must be ascending, without repetition, and exist.
#[track_caller]
fn check(name: &str, rows: &[u32], logs: &[Log]) {
    if !rows.is_sorted_by(|a, b| a < b) {
        fault(&format!("`{name}`: the rows are not ascending and unique: {rows:?}"));
    }
    if let Some(row) = rows.last().filter(|&&row| row as usize >= logs.len()) {
        fault(&format!("`{name}`: row {row} of a slice of {}", logs.len()));
    }
}

#[track_caller]
fn read<T>(
    name: &'static str,
    rows: Option<&[u32]>,
    value: impl Fn(&Log) -> Option<T>,
) -> Vec<Option<T>> {
    within(name, |_, logs| match rows {
        None => logs.iter().map(value).collect(),
        Some(rows) => {
            check(name, rows, logs);
            rows.iter().map(|&row| value(logs.get(row as usize)?)).collect()
        }
    })
}

#[track_caller]
fn edit(name: &'static str, rows: Option<&[u32]>, values: Option<&[&str]>, edit: Edit) {
    within(name, |state, logs| {
        if let Some(rows) = rows {
            check(name, rows, logs);
            if let Some(values) = values.filter(|values| values.len() != rows.len()) {
                fault(&format!("`{name}`: {} values for {} rows", values.len(), rows.len()));
            }
        }
        state.edits.push(edit);
    });
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

pub(crate) fn column(key: &str) -> Vec<Option<String>> {
    read("column", None, |log| log.get(key).map(str::to_owned))
}

pub(crate) fn column_at(key: &str, rows: &[u32]) -> Vec<Option<String>> {
    read("column-at", Some(rows), |log| log.get(key).map(str::to_owned))
}

pub(crate) fn json(key: &str, path: &[&str]) -> Vec<Option<String>> {
    read("json", None, |log| lookup::read(log.get(key)?, path))
}

pub(crate) fn json_at(key: &str, path: &[&str], rows: &[u32]) -> Vec<Option<String>> {
    read("json-at", Some(rows), |log| lookup::read(log.get(key)?, path))
}

pub(crate) fn cell(row: u32, key: &str) -> Option<String> {
    read("cell", Some(&[row]), |log| log.get(key).map(str::to_owned)).pop().flatten()
}

pub(crate) fn row(row: u32) -> Vec<(String, String)> {
    let pairs = |log: &Log| {
        log.fields.iter().map(|field| (field.name.clone(), field.value.clone())).collect()
    };
    read("row", Some(&[row]), |log| Some(pairs(log))).pop().flatten().unwrap_or_default()
}

pub(crate) fn keys() -> Vec<String> {
    within("keys", |_, logs| {
        let mut keys = Vec::new();
        for field in logs.iter().flat_map(|log| &log.fields) {
            if !keys.contains(&field.name) {
                keys.push(field.name.clone());
            }
        }
        keys.sort_unstable();
        keys
    })
}

pub(crate) fn topics() -> Vec<String> {
    within("topics", |_, logs| logs.iter().map(|log| log.topic.clone()).collect())
}

pub(crate) fn times() -> Vec<u64> {
    within("times", |_, logs| logs.iter().map(|log| log.time).collect())
}

pub(crate) fn drop(rows: &[u32]) {
    edit("drop", Some(rows), None, Edit::Drop(rows.to_vec()));
}

pub(crate) fn keep(keys: &[&str]) {
    edit("keep", None, None, Edit::Keep(owned(keys)));
}

pub(crate) fn remove(keys: &[&str]) {
    edit("remove", None, None, Edit::Remove { keys: owned(keys), rows: None });
}

pub(crate) fn remove_at(key: &str, rows: &[u32]) {
    let rows_owned = Some(rows.to_vec());
    edit("remove-at", Some(rows), None, Edit::Remove { keys: owned(&[key]), rows: rows_owned });
}

pub(crate) fn rename(key: &str, to: &str) {
    edit("rename", None, None, Edit::Rename { key: key.to_owned(), to: to.to_owned() });
}

pub(crate) fn nest(key: &str) {
    edit("nest", None, None, Edit::Nest { key: key.to_owned(), rows: None });
}

pub(crate) fn nest_at(key: &str, rows: &[u32]) {
    let rows_owned = Some(rows.to_vec());
    edit("nest-at", Some(rows), None, Edit::Nest { key: key.to_owned(), rows: rows_owned });
}

pub(crate) fn set(key: &str, format: Format, rows: &[u32], values: &[&str]) {
    let pairs = rows.iter().copied().zip(owned(values)).collect();
    edit("set", Some(rows), Some(values), Edit::Set { key: key.to_owned(), format, pairs });
}

pub(crate) fn set_all(key: &str, format: Format, value: &str) {
    let (key, value) = (key.to_owned(), value.to_owned());
    edit("set-all", None, None, Edit::SetAll { key, format, value });
}

pub(crate) fn json_set(key: &str, path: &[&str], format: Format, rows: &[u32], values: &[&str]) {
    let pairs = rows.iter().copied().zip(owned(values)).collect();
    let noted = Edit::JsonSet { key: key.to_owned(), path: owned(path), format, pairs };
    edit("json-set", Some(rows), Some(values), noted);
}

pub(crate) fn json_remove(key: &str, path: &[&str], rows: &[u32]) {
    let noted = Edit::JsonRemove { key: key.to_owned(), path: owned(path), rows: rows.to_vec() };
    edit("json-remove", Some(rows), None, noted);
}

pub(crate) fn route(label: &str, rows: &[u32]) {
    edit("route", Some(rows), None, Edit::Route { label: label.to_owned(), rows: rows.to_vec() });
}

pub(crate) fn emit(like: u32, label: Option<&str>, fields: &[(&str, &str)]) {
    let noted =
        Edit::Emit { like, label: label.map(str::to_owned), log: Log::new(fields.to_vec()) };
    edit("emit", Some(&[like]), None, noted);
}

pub(crate) fn reject(rows: &[u32], reason: &str) {
    let noted = Edit::Reject { rows: rows.to_vec(), reason: reason.to_owned() };
    edit("reject", Some(rows), None, noted);
}

pub(crate) fn log(level: Severity, message: &str) {
    with(|state| state.messages.push((level, message.to_owned())));
}
