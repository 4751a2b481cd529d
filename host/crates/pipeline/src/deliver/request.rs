//! One request body: rows of any number of batches and shards, with the responsibility for them.

use std::collections::VecDeque;

use bytes::Bytes;
use forwarder_connector::Body;

use crate::deliver::chunk::EncodedChunk;
use crate::lease_gate::GateState;

/// What a sink is asked to deliver.
#[derive(Debug)]
pub(crate) struct Request {
    chunks: Vec<EncodedChunk>,
    /// What the sink made of the chunks; `None` until it has, and after a change.
    body: Option<Body>,
    is_suspect: bool,
}

impl Request {
    pub(crate) const fn new(chunks: Vec<EncodedChunk>) -> Self {
        Self { chunks, body: None, is_suspect: false }
    }

    /// Whether the receiver has refused something that held these rows. Then its answer must be about them alone.
    pub(crate) const fn is_suspect(&self) -> bool {
        self.is_suspect
    }

    pub(crate) fn suspect(&mut self) {
        self.is_suspect = true;
        self.body = self.body.take().map(Body::as_suspect);
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.chunks.iter().map(EncodedChunk::rows).sum()
    }

    /// Encoded bytes of all rows, before packing.
    pub(crate) fn bytes(&self) -> usize {
        self.chunks.iter().map(EncodedChunk::byte_len).sum()
    }

    /// The packed body, if it is packed.
    pub(crate) const fn body(&self) -> Option<&Body> {
        self.body.as_ref()
    }

    /// What is to be packed.
    pub(crate) fn segments(&self) -> Vec<Bytes> {
        self.chunks.iter().map(EncodedChunk::bytes).collect()
    }

    pub(crate) fn set_body(&mut self, body: Body) -> &Body {
        self.body.insert(if self.is_suspect { body.as_suspect() } else { body })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(crate) fn into_chunks(self) -> Vec<EncodedChunk> {
        self.chunks
    }

    /// Lets go of the rows that are no longer ours to deliver.
    pub(crate) fn drop_closed(&mut self) {
        if self.chunks.iter().any(|chunk| chunk.gate().is_closed()) {
            self.chunks.retain(|chunk| !chunk.gate().is_closed());
            self.body = None;
        }
    }

    /// Lets go of such rows; whether none is left.
    pub(crate) fn all_lost(&mut self) -> bool {
        self.drop_closed();
        self.is_empty()
    }

    /// Whether all of its rows may be sent now.
    pub(crate) fn is_admitted(&self) -> bool {
        self.chunks.iter().all(|chunk| chunk.gate().state() == GateState::Open)
    }

    /// Whether some of its rows must wait for news of their lease.
    pub(crate) fn is_paused(&self) -> bool {
        self.chunks.iter().any(|chunk| chunk.gate().state() == GateState::Paused)
    }

    /// Two requests of half the rows each, in order.
    pub(crate) fn halves(self) -> (Self, Self) {
        let half = self.rows().div_ceil(2);
        let mut rest = VecDeque::from(self.chunks);
        let front = take(&mut rest, half);
        (Self::new(front), Self::new(rest.into()))
    }

    /// What comes before a row, the row, and what comes after it.
    pub(crate) fn around(self, row: usize) -> (Self, Self, Self) {
        let mut rest = VecDeque::from(self.chunks);
        let (before, row) = (take(&mut rest, row), take(&mut rest, 1));
        (Self::new(before), Self::new(row), Self::new(rest.into()))
    }

    /// The given rows (ascending, unique), each as a request of its own, and what is between them, in order. True
    /// stands for a given row.
    pub(crate) fn split_at(self, rows: &[usize]) -> Vec<(Self, bool)> {
        let mut rest = VecDeque::from(self.chunks);
        let mut parts = Vec::new();
        let mut passed = 0;
        for &row in rows {
            parts.push((Self::new(take(&mut rest, row.saturating_sub(passed))), false));
            parts.push((Self::new(take(&mut rest, 1)), true));
            passed = row + 1;
        }
        parts.push((Self::new(rest.into()), false));
        parts.retain(|(request, _)| !request.is_empty());
        parts
    }
}

/// Takes the first `rows` rows out of a queue of chunks.
fn take(from: &mut VecDeque<EncodedChunk>, mut rows: usize) -> Vec<EncodedChunk> {
    let mut taken = Vec::new();
    while rows > 0 {
        let Some(front) = from.front_mut() else { break };
        let chunk = if front.rows() > rows {
            front.split_front(rows)
        } else {
            let Some(whole) = from.pop_front() else { break };
            whole
        };
        rows -= chunk.rows();
        taken.push(chunk);
    }
    taken
}
