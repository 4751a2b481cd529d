//! What a guest makes the host do, as time.
//!
//! The clock that stops guests does not reach into host functions, and edits are applied when the call is over. So
//! edits are charged, when they are recorded, with the time that applying them can take at most: cells that are
//! looked at, bytes of JSON that are read and written. A call that has asked for more than its CPU limit leaves is
//! out of time, before anything was changed: edits take effect together or not at all, and a clock that is asked while
//! they are applied could only stop half way.
//!
//! The prices are upper bounds, measured on a slow core (see the test `prices_are_above_what_the_work_takes`);
//! real plugins stay far below any limit: 24 fields, 1,024 rows and ten edits are 2 ms of the default second.

use std::collections::BTreeSet;
use std::time::Duration;

use forwarder_record::{Batch, Slice};

/// Applying one edit to one row, whatever it does there.
const ROW: u64 = 60;
/// One cell that an edit looks at. Renaming looks most often, and moves cells.
const CELL: u64 = 4;
/// One byte of JSON that is checked or written: validation, search, depth, copies.
const JSON_BYTE: u64 = 2;
/// One name that is looked up.
const NAME: u64 = 150;
/// One byte of output that is copied.
const BYTE: u64 = 1;

/// The work that one call has asked for, to be done when its edits are applied.
#[derive(Debug, Default)]
pub(crate) struct Work {
    nanos: u64,
    cells: Option<usize>,
    /// Names of fields that edits so far may have added to each row.
    added: BTreeSet<String>,
    /// Whether fields may have changed their names, so that the text of a field is no longer known.
    renamed: bool,
}

impl Work {
    /// All that was asked for, with the output of `bytes`.
    pub(crate) const fn time(&self, bytes: usize) -> Duration {
        Duration::from_nanos(self.nanos.saturating_add((bytes as u64).saturating_mul(BYTE)))
    }

    /// Rows get a fate or a label.
    pub(crate) fn rows(&mut self, rows: usize) {
        self.add(rows as u64, ROW);
    }

    /// An edit looks at all cells of some rows, or of all.
    pub(crate) fn cells(&mut self, batch: &Batch, slice: &Slice, rows: Option<&[u32]>) {
        let count =
            |row: &u32| slice.rows().get(*row as usize).map_or(0, |&ix| batch.cell_count(ix));
        let (rows, cells): (usize, usize) = match rows {
            // Counting them costs as much as it may save, unless they are few.
            Some(rows) if rows.len() < slice.len() / 4 => {
                (rows.len(), rows.iter().map(count).sum())
            }
            _ => (slice.len(), self.all_cells(batch, slice)),
        };
        self.rows(rows);
        self.add(cells.saturating_add(self.added.len().saturating_mul(rows)) as u64, CELL);
    }

    /// The cells of the slice, counted once.
    fn all_cells(&mut self, batch: &Batch, slice: &Slice) -> usize {
        let sum = || slice.rows().iter().map(|&ix| batch.cell_count(ix)).sum();
        *self.cells.get_or_insert_with(sum)
    }

    /// An edit may have added a cell to each row.
    pub(crate) fn grown(&mut self, key: &str) {
        if !self.added.contains(key) {
            self.added.insert(key.to_owned());
        }
    }

    /// From here on, any field may hold the text of any other.
    pub(crate) const fn renamed(&mut self) {
        self.renamed = true;
    }

    pub(crate) fn names(&mut self, names: usize) {
        self.add(names as u64, NAME);
    }

    /// JSON of `held` bytes in a slice is read and written again, with what edits of `output` bytes have made of it.
    pub(crate) fn json(&mut self, slice: &Slice, held: usize, output: usize) {
        let held = if self.renamed { slice.bytes() } else { held } as u64;
        self.add(held.saturating_mul(2).saturating_add(output as u64), JSON_BYTE);
    }

    /// A value that comes as JSON is checked.
    pub(crate) fn value(&mut self, bytes: usize) {
        self.add(bytes as u64, JSON_BYTE);
    }

    /// A row is added; each of its fields is compared with those before it.
    pub(crate) fn emitted(&mut self, fields: usize) {
        let fields = fields as u64;
        self.add(1, ROW * 4);
        self.add(fields, NAME);
        self.add(fields.saturating_mul(fields) / 2, CELL);
    }

    fn add(&mut self, count: u64, price: u64) {
        self.nanos = self.nanos.saturating_add(count.saturating_mul(price));
    }
}
