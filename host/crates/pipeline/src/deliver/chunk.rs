//! A run of encoded rows of one batch, for one sink.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use forwarder_connector::DeadLetter;
use forwarder_record::{RowIx, row_start};

use crate::batch_handle::BatchHandle;
use crate::lease_gate::LeaseGate;
use crate::ledger::{Receipt, Share};

/// What a sink's encoder made of a batch: the rows back to back, and where each ends.
#[derive(Debug)]
pub(crate) struct EncodedBatch {
    bytes: Bytes,
    ends: Vec<u32>,
    rows: Vec<RowIx>,
}

impl EncodedBatch {
    pub(crate) const fn new(bytes: Bytes, ends: Vec<u32>, rows: Vec<RowIx>) -> Self {
        Self { bytes, ends, rows }
    }

    pub(crate) const fn len(&self) -> usize {
        self.rows.len()
    }

    /// Memory it takes, approximately.
    pub(crate) const fn held_bytes(&self) -> usize {
        self.bytes.len() + self.rows.len() * (size_of::<u32>() + size_of::<RowIx>())
    }

    /// Where row `n` starts, or where the last one ends.
    fn start(&self, n: usize) -> usize {
        row_start(&self.ends, n)
    }
}

/// Some consecutive rows of an [`EncodedBatch`], with the responsibility for them. Cut and regrouped without
/// touching the bytes.
#[derive(Debug)]
pub(crate) struct EncodedChunk {
    handle: Arc<BatchHandle>,
    written: Arc<EncodedBatch>,
    range: Range<usize>,
    share: Share,
    gate: Arc<LeaseGate>,
}

impl EncodedChunk {
    /// All rows of a batch for one sink.
    pub(crate) fn whole(
        handle: Arc<BatchHandle>,
        written: Arc<EncodedBatch>,
        share: Share,
        gate: Arc<LeaseGate>,
    ) -> Self {
        let range = 0..written.len();
        Self { handle, written, range, share, gate }
    }

    /// Cuts the first `rows` rows off; the rest stays.
    pub(crate) fn split_front(&mut self, rows: usize) -> Self {
        let cut = self.range.start + rows.min(self.rows());
        let front = self.range.start..cut;
        self.range.start = cut;
        Self {
            handle: Arc::clone(&self.handle),
            written: Arc::clone(&self.written),
            share: self.share.split(front.len()),
            gate: Arc::clone(&self.gate),
            range: front,
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.range.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    pub(crate) fn byte_len(&self) -> usize {
        self.written.start(self.range.end) - self.written.start(self.range.start)
    }

    /// The rows' bytes, as a view.
    pub(crate) fn bytes(&self) -> Bytes {
        let (start, end) =
            (self.written.start(self.range.start), self.written.start(self.range.end));
        self.written.bytes.slice(start..end)
    }

    /// Each row's bytes.
    #[cfg(test)]
    pub(crate) fn messages(&self) -> impl Iterator<Item = &[u8]> {
        self.range
            .clone()
            .map(|n| &self.written.bytes[self.written.start(n)..self.written.start(n + 1)])
    }

    #[expect(clippy::indexing_slicing, reason = "the range is of these rows")]
    fn ends(&self) -> &[u32] {
        &self.written.ends[self.range.clone()]
    }

    #[expect(clippy::indexing_slicing, reason = "the range is of these rows")]
    fn row_numbers(&self) -> &[RowIx] {
        &self.written.rows[self.range.clone()]
    }

    /// How many of the first rows fit into `max_bytes` and `max_rows`.
    pub(crate) fn fitting(&self, max_bytes: usize, max_rows: usize) -> usize {
        let start = self.written.start(self.range.start);
        self.ends().partition_point(|&end| end as usize - start <= max_bytes).min(max_rows)
    }

    /// What its shard's lease lets through.
    pub(crate) const fn gate(&self) -> &Arc<LeaseGate> {
        &self.gate
    }

    /// Gives the responsibility for all its rows up.
    pub(crate) fn settle(self, receipt: impl Receipt) {
        self.share.settle(receipt);
    }

    /// A letter about each of its rows, and the share that they settle.
    pub(crate) fn into_letters(self, sink: &Arc<str>, reason: &str) -> (Vec<DeadLetter>, Share) {
        let letter = |&row| DeadLetter::from_sink(sink, &self.handle.batch, row, reason.to_owned());
        (self.row_numbers().iter().map(letter).collect(), self.share)
    }
}
