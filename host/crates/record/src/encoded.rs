//! What an encoder writes: rows back to back in one buffer, each still separable, so that bodies can be cut
//! at any row without copying.

use crate::batch::RowIx;

/// Encoded rows.
#[derive(Debug, Default)]
pub struct Encoded {
    /// The rows' bytes, one after the other.
    pub bytes: Vec<u8>,
    /// Where each row ends in `bytes` (exclusive); as many as `rows`.
    ends: Vec<u32>,
    /// Which rows these are.
    rows: Vec<RowIx>,
}

impl Encoded {
    /// Declares everything written to `bytes` since the last row to be row `ix`.
    pub fn end_row(&mut self, ix: RowIx) {
        self.ends.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
        self.rows.push(ix);
    }

    /// Whether more was written than `ends` can hold (4 GiB): from there on rows read as empty, so that
    /// nothing of this may be delivered.
    pub const fn is_overfull(&self) -> bool {
        self.bytes.len() > u32::MAX as usize
    }

    /// Takes back what was written since the last row.
    pub fn discard_row(&mut self) {
        self.bytes.truncate(self.row_start(self.ends.len()));
    }

    /// Where row number `n` of this buffer starts, or where the last one ends.
    ///
    /// # Panics
    ///
    /// If there are fewer rows.
    pub fn row_start(&self, n: usize) -> usize {
        row_start(&self.ends, n)
    }

    /// Where the rows end.
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// The rows, in the order of their bytes.
    pub fn rows(&self) -> &[RowIx] {
        &self.rows
    }

    /// Takes it apart: bytes, ends and rows.
    pub fn into_parts(self) -> (Vec<u8>, Vec<u32>, Vec<RowIx>) {
        (self.bytes, self.ends, self.rows)
    }
}

/// Where row number `n` starts in a buffer whose rows end at `ends`, or where the last one ends.
///
/// # Panics
///
/// If there are fewer rows.
#[expect(clippy::indexing_slicing, reason = "a row that is not there is a bug of the caller")]
pub fn row_start(ends: &[u32], n: usize) -> usize {
    match n {
        0 => 0,
        n => ends[n - 1] as usize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_ends_can_count_is_overfull() {
        // Zeroed memory is not touched, so this takes address space only.
        let with = |len| Encoded { bytes: vec![0; len], ..Encoded::default() };
        assert!(!with(u32::MAX as usize).is_overfull());
        assert!(with(u32::MAX as usize + 1).is_overfull());
    }
}
