//! The view of a whole slice, column by column: what a batch function is given.

use crate::format::Format;
use crate::host;
use crate::outcome::Outcome;
use crate::row::Row;
use crate::slice::{Column, Slice};

/// The slice of logs in hand, as a table: one row per log, numbered from 0, and one column per field.
///
/// Columns are fetched when first asked for and kept until the slice is done. Each edit is one call into
/// the forwarder, takes effect once the plugin returns without an error, in the order of the calls, and
/// does not show in what is read. Rows are given in ascending order, each once; a row that does not exist
/// is a fault of the plugin. An empty list of rows makes no call, of reads and edits alike.
///
/// ```
/// # use forwarder_guest::Batch;
/// /// Ships `event` as JSON, except for the reads, which go nowhere.
/// fn audit(batch: &mut Batch) {
///     let reads = batch.select_json("event", &["eventRW"], |value| value == Some("Read"));
///     batch.drop(&reads);
///     batch.nest("event");
/// }
/// ```
#[derive(Debug)]
pub struct Batch<'s> {
    slice: &'s Slice,
}

impl<'s> Batch<'s> {
    pub(crate) fn of(slice: &'s Slice) -> Self {
        Self { slice }
    }

    /// Runs a function over every row, and hands its edits to the forwarder when all rows are done. An
    /// `Err` of the function rejects that row with the error as reason.
    pub fn each_row<R: Outcome>(&mut self, mut transform: impl FnMut(&mut Row<'s>) -> R) {
        let mut row = Row::over(self.slice);
        for number in 0..self.slice.rows() {
            row.move_to(number);
            if let Err(reason) = transform(&mut row).into_result() {
                row.reject(reason);
            }
        }
        row.finish();
    }

    /// Sends rows nowhere, on purpose. Beats every other edit of them except `reject`.
    pub fn drop(&mut self, rows: &[u32]) {
        if !rows.is_empty() {
            host::drop(rows);
        }
    }

    /// Puts rows aside as dead letters, as they were pulled; the others continue.
    pub fn reject(&mut self, rows: &[u32], reason: &str) {
        if !rows.is_empty() {
            host::reject(rows, reason);
        }
    }

    /// Discards, in every row, all fields but these.
    pub fn keep(&mut self, keys: &[&str]) {
        host::keep(keys);
    }

    /// Discards these fields in every row.
    pub fn remove(&mut self, keys: &[&str]) {
        if !keys.is_empty() {
            host::remove(keys);
        }
    }

    /// Discards one field in some rows.
    pub fn remove_at(&mut self, key: &str, rows: &[u32]) {
        if !rows.is_empty() {
            host::remove_at(key, rows);
        }
    }

    /// Renames a field in every row that has it, replacing a field `to` of the same row.
    pub fn rename(&mut self, key: &str, to: &str) {
        host::rename(key, to);
    }

    /// Sends a field whose text is JSON as JSON, in every row. Text that is not JSON stays text and is
    /// counted by the forwarder.
    pub fn nest(&mut self, key: &str) {
        host::nest(key);
    }

    /// The same in some rows only.
    pub fn nest_at(&mut self, key: &str, rows: &[u32]) {
        if !rows.is_empty() {
            host::nest_at(key, rows);
        }
    }

    /// Sets a field in some rows: `values[i]` in `rows[i]`; appends it where a row lacks it. With
    /// [`Format::Json`], a value that is not one valid JSON value rejects its row.
    pub fn set(&mut self, key: &str, format: Format, rows: &[u32], values: &[&str]) {
        if !rows.is_empty() || !values.is_empty() {
            host::set(key, host::wire(format), rows, values);
        }
    }

    /// Sets a field to one value in every row.
    pub fn set_all(&mut self, key: &str, format: Format, value: &str) {
        host::set_all(key, host::wire(format), value);
    }

    /// Sets a member inside a field that holds JSON, leaving every other byte of it as it is. Missing
    /// missing objects along the path are created; an index of an array must exist. With [`Format::Text`] the values
    /// become JSON strings.
    pub fn json_set(
        &mut self,
        key: &str,
        path: &[&str],
        format: Format,
        rows: &[u32],
        values: &[&str],
    ) {
        if !rows.is_empty() || !values.is_empty() {
            host::json_set(key, path, host::wire(format), rows, values);
        }
    }

    /// Removes a member inside a field that holds JSON.
    pub fn json_remove(&mut self, key: &str, path: &[&str], rows: &[u32]) {
        if !rows.is_empty() {
            host::json_remove(key, path, rows);
        }
    }

    /// Gives rows a route label, which the operator's config maps to destinations. The last one counts.
    pub fn route(&mut self, label: &str, rows: &[u32]) {
        if !rows.is_empty() {
            host::route(label, rows);
        }
    }

    /// Adds a log of exactly these fields, which inherits topic, source, time and origin of row `like`
    /// and follows it, even if that one is dropped. Without a label it has the route of `like`.
    pub fn emit(&mut self, like: u32, label: Option<&str>, fields: &[(&str, &str)]) {
        host::emit(like, label, fields);
    }

    /// How many rows there are; at least one.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.slice.rows()
    }

    /// The numbers of all rows.
    #[must_use]
    pub fn all(&self) -> Vec<u32> {
        (0..self.rows()).collect()
    }

    /// One field of every row.
    #[must_use]
    pub fn column(&self, key: &str) -> &'s Column {
        self.slice.column(key, None)
    }

    /// One field of some rows, in their order. Crosses at each call, unless the whole column is here
    /// already.
    #[must_use]
    pub fn column_at(&self, key: &str, rows: &[u32]) -> Vec<Option<String>> {
        match self.slice.cached(key, None) {
            Some(column) => pick(column, rows),
            None => column_at(key, rows),
        }
    }

    /// The value at `path` inside a field that holds JSON, for every row, found by the forwarder.
    #[must_use]
    pub fn json(&self, key: &str, path: &[&str]) -> &'s Column {
        self.slice.column(key, Some(path))
    }

    /// The same for some rows, in their order.
    #[must_use]
    pub fn json_at(&self, key: &str, path: &[&str], rows: &[u32]) -> Vec<Option<String>> {
        match self.slice.cached(key, Some(path)) {
            Some(column) => pick(column, rows),
            None => json_at(key, path, rows),
        }
    }

    /// The rows whose field passes a test.
    #[must_use]
    pub fn select(&self, key: &str, test: impl FnMut(Option<&str>) -> bool) -> Vec<u32> {
        passing(self.column(key), test)
    }

    /// The rows in which the value at `path` inside a JSON field passes a test.
    #[must_use]
    pub fn select_json(
        &self,
        key: &str,
        path: &[&str],
        test: impl FnMut(Option<&str>) -> bool,
    ) -> Vec<u32> {
        passing(self.json(key, path), test)
    }

    /// Of these rows, those whose field passes a test. Only they cross, unless the whole column is here.
    #[must_use]
    pub fn select_at(
        &self,
        key: &str,
        rows: &[u32],
        test: impl FnMut(Option<&str>) -> bool,
    ) -> Vec<u32> {
        match self.slice.cached(key, None) {
            Some(column) => passing_of(column, rows, test),
            None => passing_at(&column_at(key, rows), rows, test),
        }
    }

    /// Of these rows, those in which the value at `path` inside a JSON field passes a test.
    #[must_use]
    pub fn select_json_at(
        &self,
        key: &str,
        path: &[&str],
        rows: &[u32],
        test: impl FnMut(Option<&str>) -> bool,
    ) -> Vec<u32> {
        match self.slice.cached(key, Some(path)) {
            Some(column) => passing_of(column, rows, test),
            None => passing_at(&json_at(key, path, rows), rows, test),
        }
    }

    /// One field of one row.
    #[must_use]
    pub fn cell(&self, row: u32, key: &str) -> Option<String> {
        host::cell(row, key)
    }

    /// Every field of one row as (name, value), in order. The slow way: everything crosses.
    #[must_use]
    pub fn fields(&self, row: u32) -> Vec<(String, String)> {
        host::row(row)
    }

    /// The names of the fields that occur in at least one row.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        host::keys()
    }

    /// The topic of every row, under which Log Service stored it. Contents cannot forge it.
    #[must_use]
    pub fn topics(&self) -> &'s [String] {
        self.slice.topics()
    }

    /// The time of every row, in nanoseconds since 1970.
    #[must_use]
    pub fn times(&self) -> &'s [u64] {
        self.slice.times()
    }
}

/// Nothing crosses to read nothing.
fn column_at(key: &str, rows: &[u32]) -> Vec<Option<String>> {
    if rows.is_empty() { Vec::new() } else { host::column_at(key, rows) }
}

fn json_at(key: &str, path: &[&str], rows: &[u32]) -> Vec<Option<String>> {
    if rows.is_empty() { Vec::new() } else { host::json_at(key, path, rows) }
}

fn pick(column: &Column, rows: &[u32]) -> Vec<Option<String>> {
    rows.iter().map(|&row| column.get(row as usize).cloned().flatten()).collect()
}

/// The rows of a whole column that pass.
fn passing(column: &Column, mut test: impl FnMut(Option<&str>) -> bool) -> Vec<u32> {
    (0u32..).zip(column).filter(|(_, value)| test(value.as_deref())).map(|(row, _)| row).collect()
}

/// The given rows of a whole column that pass.
fn passing_of(
    column: &Column,
    rows: &[u32],
    mut test: impl FnMut(Option<&str>) -> bool,
) -> Vec<u32> {
    let value = |row: u32| column.get(row as usize).and_then(Option::as_deref);
    rows.iter().copied().filter(|&row| test(value(row))).collect()
}

/// The rows that pass, their values given row for row.
fn passing_at(
    values: &Column,
    rows: &[u32],
    mut test: impl FnMut(Option<&str>) -> bool,
) -> Vec<u32> {
    let passing = rows.iter().zip(values).filter(|(_, value)| test(value.as_deref()));
    passing.map(|(&row, _)| row).collect()
}
