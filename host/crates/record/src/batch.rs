//! The unit of flow: a table of logs over one pulled block.
//!
//! Cells are ranges into the block, so that a value is copied for the first time when a sink writes it into
//! a request. Rows keep the order in which they were pulled; a field of all rows can be read as a column.
//! Edits change the cells' ranges, never the block ([`crate::Edits`]), so the original log can always be
//! read again ([`Row::original`](crate::Row::original)).

use std::collections::HashMap;

use crate::keys::{KeyId, Keys};
use crate::origin::{Origin, Time};
use crate::text::{Range, Span, Text};

/// What a field name occupies in addition to its text, with the tables that decoders and sinks keep per name.
pub(crate) const KEY_BYTES: usize = 64;

/// How a value is shipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// As a string.
    Text,
    /// As the JSON it contains; it was checked to be JSON.
    Json,
}

/// The number of a row within one batch; it stays valid whatever edits do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowIx(pub(crate) u32);

impl RowIx {
    /// Dense index, from zero.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Logs as a table. See the module for what it is made of.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) origin: Origin,
    pub(crate) text: Text,
    pub(crate) keys: Keys,
    pub(crate) cells: Vec<CellData>,
    pub(crate) rows: Vec<RowData>,
    pub(crate) order: Vec<RowIx>,
    pub(crate) groups: Vec<GroupData>,
    pub(crate) labels: Vec<Box<str>>,
    /// Their numbers, so that a guest with many labels does not make each one slower to find.
    pub(crate) label_numbers: HashMap<Box<str>, u32>,
    /// Rows added in the present pass, each with the row it follows; see [`Batch::end_pass`].
    pub(crate) emitted: Vec<(RowIx, RowIx)>,
    /// See [`Batch::text_bytes`].
    pub(crate) text_bytes: usize,
}

impl Batch {
    /// Where the batch was pulled from.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Size of the decompressed block in bytes.
    pub fn raw_bytes(&self) -> usize {
        self.text.block().len()
    }

    /// Bytes this batch holds: the block, the table and the side arena. Approximate.
    pub fn held_bytes(&self) -> usize {
        let table = size_of::<CellData>() * self.cells.capacity()
            + (size_of::<RowData>() + size_of::<RowIx>()) * self.rows.capacity();
        let groups: usize = self.groups.iter().map(GroupData::held_bytes).sum();
        self.raw_bytes() + table + groups + KEY_BYTES * self.keys.len() + self.text.arena_bytes()
    }

    /// Bytes of the logs as they were pulled, with topic, source and tags counted in each log they belong to:
    /// what the text of all rows comes to when it is written out.
    pub const fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    /// The same for one row, with what plugins added to it.
    pub fn row_text_bytes(&self, ix: RowIx) -> usize {
        let row = self.row_data(ix);
        let shared = self.group_of(row).shared_bytes;
        row.log.len as usize + row.added_bytes as usize + shared
    }

    /// Logs that were pulled, dropped and rejected ones included, emitted ones not.
    pub fn pulled_rows(&self) -> usize {
        self.rows.iter().filter(|row| row.parent.is_none()).count()
    }

    /// Rows that are still to be delivered.
    pub fn live_rows(&self) -> usize {
        self.rows().count()
    }

    /// Fields of a row.
    pub fn cell_count(&self, ix: RowIx) -> usize {
        self.row_data(ix).cell_count as usize
    }

    /// How many different field names the batch has seen; every [`KeyId::index`] is below it.
    pub const fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// The name behind a key's number.
    #[inline]
    pub fn key(&self, id: KeyId) -> &str {
        self.keys.text_of(&self.text, id)
    }

    /// The number of a field name, if any log of the batch ever had it.
    pub fn key_id(&self, key: &str) -> Option<KeyId> {
        self.keys.find(&self.text, key)
    }

    /// Puts the rows that plugins added since the last call into the order, each after the row it is like.
    /// Until then only [`Batch::row`] sees them: a plugin does not get its own rows back.
    pub fn end_pass(&mut self) {
        if self.emitted.is_empty() {
            return;
        }
        let mut followers = std::mem::take(&mut self.emitted);
        followers.sort_by_key(|&(like, _)| like);
        let mut order = Vec::with_capacity(self.order.len() + followers.len());
        for &ix in &self.order {
            order.push(ix);
            let from = followers.partition_point(|&(like, _)| like < ix);
            let own = followers.iter().skip(from).take_while(|&&(like, _)| like == ix);
            order.extend(own.map(|&(_, added)| added));
        }
        self.order = order;
    }

    /// Data of a row of this batch. With the number of another batch it panics or is another row's.
    #[expect(
        clippy::indexing_slicing,
        reason = "a wrong number is a bug, and must not pass as an empty row"
    )]
    pub(crate) fn row_data(&self, ix: RowIx) -> &RowData {
        &self.rows[ix.index()]
    }

    /// The same, to be changed.
    #[expect(clippy::indexing_slicing, reason = "as for `row_data`")]
    pub(crate) fn row_data_mut(&mut self, ix: RowIx) -> &mut RowData {
        &mut self.rows[ix.index()]
    }

    #[expect(clippy::indexing_slicing, reason = "a row's cells are where it says")]
    pub(crate) fn row_cells(&self, ix: RowIx) -> &[CellData] {
        &self.cells[self.row_data(ix).cells()]
    }

    #[expect(clippy::indexing_slicing, reason = "a row's group is of its batch")]
    pub(crate) fn group_of(&self, row: &RowData) -> &GroupData {
        &self.groups[row.group as usize]
    }

    pub(crate) fn label_text(&self, label: Label) -> Option<&str> {
        let index = label.0.checked_sub(1)? as usize;
        self.labels.get(index).map(AsRef::as_ref)
    }
}

/// Whether a row is still to be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowState {
    /// To be delivered.
    Live,
    /// Discarded on purpose by a plugin.
    Dropped,
    /// Refused by a plugin, or at fault: to be dead-lettered.
    Rejected,
}

/// A field of a row: which key, and where its value is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CellData {
    /// The key's number; the top bit says that the value is shipped as JSON.
    tagged_key: u32,
    pub(crate) value: Span,
}

const AS_JSON: u32 = 1 << 31;

impl CellData {
    pub(crate) const fn new(key: KeyId, value: Span) -> Self {
        Self { tagged_key: key.0 & !AS_JSON, value }
    }

    #[inline]
    pub(crate) const fn key(self) -> KeyId {
        KeyId(self.tagged_key & !AS_JSON)
    }

    pub(crate) const fn format(self) -> Format {
        if self.tagged_key & AS_JSON == 0 { Format::Text } else { Format::Json }
    }

    pub(crate) const fn with_format(self, format: Format) -> Self {
        let key = self.tagged_key & !AS_JSON;
        match format {
            Format::Text => Self { tagged_key: key, ..self },
            Format::Json => Self { tagged_key: key | AS_JSON, ..self },
        }
    }

    pub(crate) const fn with_key(self, key: KeyId) -> Self {
        Self { tagged_key: (self.tagged_key & AS_JSON) | key.0, ..self }
    }
}

/// A route label given to a row: an index into the batch's labels plus one, zero for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Label(pub(crate) u32);

/// One log: where its cells are, and the metadata that no field can forge.
#[derive(Debug, Clone)]
pub(crate) struct RowData {
    pub(crate) first_cell: u32,
    pub(crate) cell_count: u32,
    /// Cells reserved for this row, so that one more field need not move it.
    pub(crate) cell_room: u32,
    /// The `Log` message in the block.
    pub(crate) log: Range,
    pub(crate) group: u32,
    pub(crate) row_in_group: u32,
    pub(crate) time: Time,
    /// Text that was added to the row by plugins, in bytes.
    pub(crate) added_bytes: u32,
    pub(crate) parent: Option<RowIx>,
    /// Number of this emission below its parent.
    pub(crate) ordinal: u32,
    /// Emissions below this row so far.
    pub(crate) emissions: u32,
    pub(crate) label: Label,
    pub(crate) state: RowState,
}

impl RowData {
    pub(crate) const fn cells(&self) -> std::ops::Range<usize> {
        self.first_cell as usize..(self.first_cell + self.cell_count) as usize
    }
}

/// A log group: what its logs share.
#[derive(Debug, Clone)]
pub(crate) struct GroupData {
    /// Number of the group in the block; groups without logs count.
    pub(crate) number: u32,
    pub(crate) topic: Span,
    pub(crate) source: Span,
    /// `__topic__`, `__source__` and the tags, ready to be put in front of each log's own fields.
    pub(crate) shared: Vec<CellData>,
    /// Bytes of their names and values.
    pub(crate) shared_bytes: usize,
}

impl GroupData {
    fn held_bytes(&self) -> usize {
        size_of::<Self>() + size_of::<CellData>() * self.shared.capacity()
    }
}
