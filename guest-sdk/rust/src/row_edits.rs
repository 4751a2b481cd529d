//! The edits of many rows, gathered so that each crosses into the forwarder once per slice.
//!
//! A row's edits must take effect in the order in which the row made them; rows do not care about each
//! other. So edits of the same kind on the same field become one group with many rows, and a row may
//! only join groups that come after the one it joined last. Rows that do the same things in the same
//! order, which is nearly always, need one group per thing.

use std::borrow::Cow;

use crate::format::Format;
use crate::host;

/// What a group does, as far as joining it is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Set(Format),
    Remove,
    Nest,
    JsonSet(Format),
    JsonRemove,
    Route,
}

/// One kind of edit on one field, and the rows that want it.
#[derive(Debug)]
pub(crate) struct Group<'s> {
    kind: Kind,
    /// The field; the label where `kind` is `Route`.
    key: String,
    path: Vec<String>,
    rows: Vec<u32>,
    values: Vec<Cow<'s, str>>,
    /// Makes the call. A pointer rather than a `match` on `kind`: a plugin that never asks for a route
    /// must not import `route`, since its imports are what an operator is asked to allow.
    flush: fn(&Self),
}

/// An edit of one row.
pub(crate) struct Edit<'e, 's> {
    pub(crate) kind: Kind,
    pub(crate) key: &'e str,
    pub(crate) path: &'e [&'e str],
    pub(crate) value: Option<Cow<'s, str>>,
    pub(crate) flush: fn(&Group<'s>),
}

/// Everything that the rows of a slice asked for so far.
#[derive(Debug, Default)]
pub(crate) struct RowEdits<'s> {
    groups: Vec<Group<'s>>,
    /// The first group that the row in hand may still join.
    open: usize,
    dropped: Vec<u32>,
    rejected: Vec<(String, Vec<u32>)>,
}

impl<'s> RowEdits<'s> {
    /// From here on, edits are those of the next row.
    pub(crate) fn next_row(&mut self) {
        self.open = 0;
    }

    pub(crate) fn add(&mut self, row: u32, edit: Edit<'_, 's>) {
        let joined = self.groups.iter().skip(self.open).position(|group| group.is(&edit));
        let at = joined.map_or(self.groups.len(), |later| self.open + later);
        if joined.is_none() {
            self.groups.push(Group::new(&edit));
        }
        self.open = at + 1;
        if let Some(group) = self.groups.get_mut(at) {
            group.rows.push(row);
            group.values.extend(edit.value);
        }
    }

    pub(crate) fn drop_row(&mut self, row: u32) {
        if self.dropped.last() != Some(&row) {
            self.dropped.push(row);
        }
    }

    pub(crate) fn reject(&mut self, row: u32, reason: Cow<'_, str>) {
        // The contract keeps the first reason; asking twice must not put the row into one list twice.
        if self.rejected.iter().any(|(_, rows)| rows.last() == Some(&row)) {
            return;
        }
        match self.rejected.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, rows)) => rows.push(row),
            None => self.rejected.push((reason.into_owned(), vec![row])),
        }
    }

    /// Hands everything to the forwarder, a call per group.
    pub(crate) fn flush(self) {
        for group in &self.groups {
            (group.flush)(group);
        }
        if !self.dropped.is_empty() {
            host::drop(&self.dropped);
        }
        for (reason, rows) in &self.rejected {
            host::reject(rows, reason);
        }
    }
}

impl<'s> Group<'s> {
    fn new(edit: &Edit<'_, 's>) -> Self {
        Self {
            kind: edit.kind,
            key: edit.key.to_owned(),
            path: edit.path.iter().map(|&step| step.to_owned()).collect(),
            rows: Vec::new(),
            values: Vec::new(),
            flush: edit.flush,
        }
    }

    fn is(&self, edit: &Edit<'_, 's>) -> bool {
        self.kind == edit.kind && self.key == edit.key && self.path == edit.path
    }

    fn format(&self) -> host::Wire {
        match self.kind {
            Kind::Set(format) | Kind::JsonSet(format) => host::wire(format),
            _ => host::Wire::Text,
        }
    }

    fn path(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }

    fn values(&self) -> Vec<&str> {
        self.values.iter().map(AsRef::as_ref).collect()
    }

    pub(crate) fn set(&self) {
        host::set(&self.key, self.format(), &self.rows, &self.values());
    }

    pub(crate) fn remove(&self) {
        host::remove_at(&self.key, &self.rows);
    }

    pub(crate) fn nest(&self) {
        host::nest_at(&self.key, &self.rows);
    }

    pub(crate) fn json_set(&self) {
        host::json_set(&self.key, &self.path(), self.format(), &self.rows, &self.values());
    }

    pub(crate) fn json_remove(&self) {
        host::json_remove(&self.key, &self.path(), &self.rows);
    }

    pub(crate) fn route(&self) {
        host::route(&self.key, &self.rows);
    }
}
