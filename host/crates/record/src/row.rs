//! What a sink walks: one log with the edits applied, and its metadata.

use crate::batch::{Batch, CellData, Format, RowIx, RowState};
use crate::keys::KeyId;
use crate::origin::{EventId, Origin, Time};

/// A view of one row.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    pub(crate) batch: &'a Batch,
    ix: RowIx,
}

/// One field of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell<'a> {
    /// Name of the field, unique within the row.
    pub key: &'a str,
    /// Number of that name within the batch, for tables that a sink keeps per key.
    pub key_id: KeyId,
    /// The value; with [`Format::Json`] it is JSON and may be shipped verbatim.
    pub value: &'a str,
    /// How to ship the value.
    pub format: Format,
}

impl Batch {
    /// Rows that are still to be delivered, in order.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.order.iter().map(|&ix| self.row(ix)).filter(|row| row.state() == RowState::Live)
    }

    /// One row, whatever its state.
    pub fn row(&self, ix: RowIx) -> Row<'_> {
        Row::new(self, ix)
    }
}

impl<'a> Row<'a> {
    pub(crate) const fn new(batch: &'a Batch, ix: RowIx) -> Self {
        Self { batch, ix }
    }

    /// The row's number.
    pub const fn ix(&self) -> RowIx {
        self.ix
    }

    /// Whether the row is still to be delivered.
    pub fn state(&self) -> RowState {
        self.batch.row_data(self.ix).state
    }

    /// The fields, in order. The metadata among them (`__time__`, `__topic__`, …) is what contents may have
    /// forged; decide by [`Row::topic`] and its like.
    pub fn cells(&self) -> impl Iterator<Item = Cell<'a>> + use<'a> {
        let batch = self.batch;
        batch.row_cells(self.ix).iter().map(move |cell| to_cell(batch, cell))
    }

    /// The field of a name.
    pub fn get(&self, key: &str) -> Option<Cell<'a>> {
        let id = self.batch.key_id(key)?;
        let mut cells = self.batch.row_cells(self.ix).iter();
        cells.find(|cell| cell.key() == id).map(|cell| to_cell(self.batch, cell))
    }

    /// The time of the event: of the log, or what a plugin wrote into `__time__`.
    pub fn time(&self) -> Time {
        self.batch.row_data(self.ix).time
    }

    /// The topic of the log group.
    pub fn topic(&self) -> &'a str {
        self.group(|group| group.topic)
    }

    /// The source of the log group, usually an address.
    pub fn source(&self) -> &'a str {
        self.group(|group| group.source)
    }

    /// The route label that a plugin gave.
    pub fn label(&self) -> Option<&'a str> {
        self.batch.label_text(self.batch.row_data(self.ix).label)
    }

    /// Where the batch was pulled from.
    pub fn origin(&self) -> &'a Origin {
        &self.batch.origin
    }

    /// The stable name of the event, unless the source cannot give one.
    pub fn id(&self) -> Option<EventId> {
        let mut id = String::with_capacity(64);
        self.write_id(&mut id).then(|| EventId::new(id))
    }

    /// Appends the stable name of the event; `false`, and nothing written, if there is none. For encoders,
    /// which write one per event.
    pub fn write_id(&self, id: &mut String) -> bool {
        let mut ordinals = Vec::new();
        let root = self.batch.row_data(self.root(|ordinal| ordinals.push(ordinal)));
        let origin = &self.batch.origin;
        let Some(first_cursor) = origin.first_cursor else { return false };
        let group = self.batch.group_of(root).number;
        let cursor = first_cursor.wrapping_add(group.into());
        EventId::write(id, origin, cursor, root.row_in_group, ordinals.iter().rev());
        true
    }

    /// The pulled log that this row stems from; `below` receives the ordinals along the path, innermost first.
    pub(crate) fn root(&self, mut below: impl FnMut(u32)) -> RowIx {
        let mut ix = self.ix;
        while let Some(parent) = self.batch.row_data(ix).parent {
            below(self.batch.row_data(ix).ordinal);
            ix = parent;
        }
        ix
    }

    fn group(&self, part: impl Fn(&crate::batch::GroupData) -> crate::text::Span) -> &'a str {
        let row = self.batch.row_data(self.ix);
        self.batch.text.get(part(self.batch.group_of(row)))
    }
}

#[inline]
fn to_cell<'a>(batch: &'a Batch, cell: &CellData) -> Cell<'a> {
    Cell {
        key: batch.key(cell.key()),
        key_id: cell.key(),
        value: batch.text.get(cell.value),
        format: cell.format(),
    }
}
