//! The view of one log: what a row function is given.

use std::borrow::Cow;

use crate::format::Format;
use crate::host;
use crate::row_edits::{Edit, Group, Kind, RowEdits};
use crate::slice::Slice;

/// One log of the slice.
///
/// Reading a field fetches that column of the whole slice, once; edits are gathered and cross at the end
/// of the slice, so that a function over rows costs little more than one over columns. What is read is
/// the log as it came: a row does not see its own edits. Text that was read lives as long as the slice
/// (`'s`) and may be set without a copy.
///
/// ```
/// # use forwarder_guest::Row;
/// /// Failed requests only, with the name of the user at hand.
/// fn failures(row: &mut Row) {
///     if !row.get("status").is_some_and(|status| status.starts_with('5')) {
///         return row.drop();
///     }
///     if let Some(user) = row.json("request", &["user", "name"]) {
///         row.set("user", user);
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Row<'s> {
    slice: &'s Slice,
    number: u32,
    edits: RowEdits<'s>,
}

impl<'s> Row<'s> {
    /// A cursor before the first row; `step` moves it.
    pub(crate) fn over(slice: &'s Slice) -> Self {
        Self { slice, number: 0, edits: RowEdits::default() }
    }

    pub(crate) fn move_to(&mut self, number: u32) {
        self.number = number;
        self.edits.next_row();
    }

    pub(crate) fn finish(self) {
        self.edits.flush();
    }

    /// Sends the log nowhere, on purpose. Beats every other edit of the row except `reject`.
    #[expect(clippy::should_implement_trait, reason = "the contract's word for it")]
    pub fn drop(&mut self) {
        self.edits.drop_row(self.number);
    }

    /// Puts the log aside as a dead letter, as it was pulled. The other rows continue. The first reason
    /// counts; keep it short and free of the row's values, since rows with one reason share a call.
    pub fn reject<'r>(&mut self, reason: impl Into<Cow<'r, str>>) {
        self.edits.reject(self.number, reason.into());
    }

    /// Sets a field to text; appends it if the log lacks it.
    pub fn set(&mut self, key: &str, value: impl Into<Cow<'s, str>>) {
        self.set_as(key, Format::Text, value);
    }

    /// Sets a field, to be sent in the given format. With [`Format::Json`], a value that is not one
    /// valid JSON value rejects the row.
    pub fn set_as(&mut self, key: &str, format: Format, value: impl Into<Cow<'s, str>>) {
        self.edit(Kind::Set(format), key, &[], Some(value.into()), Group::set);
    }

    /// Discards a field.
    pub fn remove(&mut self, key: &str) {
        self.edit(Kind::Remove, key, &[], None, Group::remove);
    }

    /// Sends a field whose text is JSON as JSON; if it is not, it stays text and is counted.
    pub fn nest(&mut self, key: &str) {
        self.edit(Kind::Nest, key, &[], None, Group::nest);
    }

    /// Sets a member inside a field that holds JSON, leaving every other byte of it as it is. Missing
    /// missing objects along the path are created; an index of an array must exist. With [`Format::Text`] the value
    /// becomes a JSON string.
    pub fn json_set(
        &mut self,
        key: &str,
        path: &[&str],
        format: Format,
        value: impl Into<Cow<'s, str>>,
    ) {
        self.edit(Kind::JsonSet(format), key, path, Some(value.into()), Group::json_set);
    }

    /// Removes a member inside a field that holds JSON.
    pub fn json_remove(&mut self, key: &str, path: &[&str]) {
        self.edit(Kind::JsonRemove, key, path, None, Group::json_remove);
    }

    /// Gives the log a route label, which the operator's config maps to destinations. The last one
    /// counts.
    pub fn route(&mut self, label: &str) {
        self.edit(Kind::Route, label, &[], None, Group::route);
    }

    /// Adds a log of exactly these fields, which inherits topic, source, time, origin and route of this
    /// one and follows it, even if this one is dropped. Crosses at once.
    pub fn emit(&mut self, fields: &[(&str, &str)]) {
        host::emit(self.number, None, fields);
    }

    /// The same, with a route label of its own.
    pub fn emit_to(&mut self, label: &str, fields: &[(&str, &str)]) {
        host::emit(self.number, Some(label), fields);
    }

    /// The value of a field; `None` where the log lacks it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'s str> {
        self.slice.column(key, None).get(self.number as usize)?.as_deref()
    }

    /// The value at `path` inside a field that holds JSON, found by the forwarder: member names, or
    /// decimal indexes of arrays. Strings are unescaped, anything else is JSON text. Many times faster
    /// than parsing the field here.
    #[must_use]
    pub fn json(&self, key: &str, path: &[&str]) -> Option<&'s str> {
        self.slice.column(key, Some(path)).get(self.number as usize)?.as_deref()
    }

    /// The value of a field in this row only. One call per row: worth it for a large field that few
    /// rows need.
    #[must_use]
    pub fn cell(&self, key: &str) -> Option<String> {
        host::cell(self.number, key)
    }

    /// Every field of this row as (name, value), in order. The slow way: everything crosses.
    #[must_use]
    pub fn fields(&self) -> Vec<(String, String)> {
        host::row(self.number)
    }

    /// The topic under which Log Service stored the log. Contents cannot forge it, as they can the
    /// field `__topic__`.
    #[must_use]
    pub fn topic(&self) -> &'s str {
        self.slice.topics().get(self.number as usize).map_or("", String::as_str)
    }

    /// The time of the log, in nanoseconds since 1970.
    #[must_use]
    pub fn time(&self) -> u64 {
        self.slice.times().get(self.number as usize).copied().unwrap_or_default()
    }

    /// The number of the row in its slice, from 0.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    fn edit(
        &mut self,
        kind: Kind,
        key: &str,
        path: &[&str],
        value: Option<Cow<'s, str>>,
        flush: fn(&Group<'s>),
    ) {
        self.edits.add(self.number, Edit { kind, key, path, value, flush });
    }
}
