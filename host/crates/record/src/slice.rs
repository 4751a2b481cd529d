//! What one plugin call covers: some rows of a batch, in order, numbered from zero, readable by column.

use crate::batch::{Batch, RowIx};
use crate::row::Row;

/// See [`Slice::json_budget`]: a multiple of the slice, and what a small one may have besides.
const JSON_FACTOR: usize = 32;
const JSON_FLOOR: usize = 1 << 20;

/// Most rows and most text of one slice; a row that is larger than that has a slice of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SliceLimits {
    /// Rows.
    pub max_rows: usize,
    /// Bytes of the logs and of what plugins added to them.
    pub max_bytes: usize,
}

impl Default for SliceLimits {
    /// Past a thousand rows a call is amortised; 4 MiB fit into any guest's memory several times over.
    fn default() -> Self {
        Self { max_rows: 1024, max_bytes: 4 << 20 }
    }
}

/// Rows of one batch, numbered from zero.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slice {
    pub(crate) rows: Vec<RowIx>,
    bytes: usize,
}

impl Slice {
    /// Rows of the call; never zero for slices made by [`Batch::slices`].
    pub const fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes of the logs in the slice, and of what plugins added to them.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of JSON that the edits of one call may have read and written: each walks the whole field, and what
    /// it writes is held until the batch is done. A plugin's call is charged by it for the fields as they were,
    /// and applying the edits for what earlier ones made of them.
    pub const fn json_budget(&self) -> usize {
        self.bytes().saturating_mul(JSON_FACTOR).saturating_add(JSON_FLOOR)
    }

    /// The batch's numbers of the rows.
    pub fn rows(&self) -> &[RowIx] {
        &self.rows
    }

    /// All rows in at most `parts` slices of the same length, but for the last; for finding the row at fault.
    pub fn cut<'a>(
        &'a self,
        batch: &'a Batch,
        parts: usize,
    ) -> impl DoubleEndedIterator<Item = Self> + use<'a> {
        let rows = self.rows.len().div_ceil(parts.max(1)).max(1);
        self.rows.chunks(rows).map(|rows| batch.slice_of(rows))
    }
}

impl Batch {
    /// Cuts the live rows that `admit` lets in into slices.
    pub fn slices(&self, limits: SliceLimits, admit: impl Fn(&Row<'_>) -> bool) -> Vec<Slice> {
        let mut slices = Vec::new();
        let mut open = Slice::default();
        for row in self.rows().filter(|row| admit(row)) {
            let bytes = self.row_bytes(row.ix());
            let full = open.len() >= limits.max_rows
                || open.bytes.saturating_add(bytes) > limits.max_bytes;
            if full && !open.is_empty() {
                slices.push(std::mem::take(&mut open));
            }
            open.rows.push(row.ix());
            open.bytes += bytes;
        }
        if !open.is_empty() {
            slices.push(open);
        }
        slices
    }

    /// Every row's value of one field, in row order.
    pub fn column<'a>(
        &'a self,
        slice: &'a Slice,
        key: &str,
    ) -> impl ExactSizeIterator<Item = Option<&'a str>> + use<'a> {
        let mut find = self.finder(key);
        slice.rows.iter().map(move |&ix| find(ix))
    }

    /// The value of one field of one row of a slice.
    pub fn cell(&self, slice: &Slice, row: u32, key: &str) -> Option<&str> {
        let ix = *slice.rows.get(row as usize)?;
        self.finder(key)(ix)
    }

    /// The field names that occur in a slice, sorted.
    pub fn slice_keys(&self, slice: &Slice) -> Vec<&str> {
        let mut seen = vec![false; self.key_count()];
        let mut names = Vec::new();
        for cell in slice.rows.iter().flat_map(|&ix| self.row_cells(ix)) {
            if let Some(seen @ false) = seen.get_mut(cell.key().index()) {
                *seen = true;
                names.push(self.key(cell.key()));
            }
        }
        names.sort_unstable();
        names
    }

    /// Reads one field of row after row. Neighbours mostly have the same shape, so the place where the
    /// field was found last is tried first.
    pub(crate) fn finder<'a>(
        &'a self,
        key: &str,
    ) -> impl FnMut(RowIx) -> Option<&'a str> + use<'a> {
        let id = self.key_id(key);
        let mut usual = 0;
        move |ix| {
            let id = id?;
            let cells = self.row_cells(ix);
            if cells.get(usual).is_none_or(|cell| cell.key() != id) {
                usual = cells.iter().position(|cell| cell.key() == id)?;
            }
            cells.get(usual).map(|cell| self.text.get(cell.value))
        }
    }

    fn slice_of(&self, rows: &[RowIx]) -> Slice {
        let bytes = rows.iter().map(|&ix| self.row_bytes(ix)).sum();
        Slice { rows: rows.to_vec(), bytes }
    }

    fn row_bytes(&self, ix: RowIx) -> usize {
        let row = self.row_data(ix);
        let log = if row.parent.is_none() { row.log.len } else { 0 };
        log as usize + row.added_bytes as usize
    }
}
