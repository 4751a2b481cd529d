//! The rows that wait for one sink, in a queue per shard, and how bodies are filled from them.
//!
//! A queue keeps the shard's order. Bodies are filled queue by queue, starting at another one each time, and may
//! mix batches and shards: many quiet shards make full requests together.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use forwarder_connector::BodyLimits;
use tokio::time::Instant;

use crate::deliver::chunk::EncodedChunk;
use crate::lease_gate::{GateState, LeaseGate};

/// Number of a queue: that of the gate its rows have to pass.
pub(crate) type QueueId = u64;

/// All queues in front of one sink.
#[derive(Debug)]
pub(crate) struct ShardQueues {
    /// One request in flight per queue, so that a retry cannot let later rows overtake.
    ordered: bool,
    queues: HashMap<QueueId, ShardQueue>,
    /// Queues with waiting rows, the next one to be served first.
    turns: VecDeque<QueueId>,
    chunks: usize,
}

#[derive(Debug)]
struct ShardQueue {
    gate: Arc<LeaseGate>,
    waiting: VecDeque<(Instant, EncodedChunk)>,
    bytes: usize,
    rows: usize,
    /// In flight and ordered: nothing may follow yet.
    busy: bool,
}

/// How urgently a body is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Send what there is.
    Now,
    /// Wait for a full body, but no row longer than this.
    Within(Duration),
}

impl ShardQueues {
    pub(crate) fn new(ordered: bool) -> Self {
        let (queues, turns) = (HashMap::new(), VecDeque::new());
        Self { ordered, queues, turns, chunks: 0 }
    }

    /// Puts a chunk at the end of its shard's queue.
    pub(crate) fn push(&mut self, chunk: EncodedChunk, now: Instant) {
        if chunk.is_empty() || chunk.gate().is_closed() {
            return;
        }
        let gate = chunk.gate();
        let id = gate.id();
        let queue = self.queues.entry(id).or_insert_with(|| ShardQueue::new(Arc::clone(gate)));
        if queue.waiting.is_empty() {
            self.turns.push_back(id);
        }
        self.chunks += 1;
        queue.push(chunk, now);
    }

    /// Lets go of the rows of shards that are no longer ours.
    pub(crate) fn drop_closed(&mut self) {
        for queue in self.queues.values_mut().filter(|queue| queue.gate.is_closed()) {
            self.chunks -= queue.clear();
        }
        self.queues.retain(|_, queue| queue.busy || !queue.waiting.is_empty());
        let queues = &self.queues;
        self.turns.retain(|id| queues.get(id).is_some_and(|queue| !queue.waiting.is_empty()));
    }

    /// Takes the next body, if there is one to be sent with this urgency, and marks its queues busy if order
    /// matters.
    pub(crate) fn take(
        &mut self,
        limits: BodyLimits,
        now: Instant,
        urgency: Urgency,
    ) -> Option<Filled> {
        let due = match urgency {
            Urgency::Now => true,
            Urgency::Within(linger) => {
                self.has_full(limits) || self.due(linger).is_some_and(|at| at <= now)
            }
        };
        if !due {
            return None;
        }
        let body = self.fill(limits);
        (!body.chunks.is_empty()).then_some(body)
    }

    /// When the oldest row that may be sent has waited for `linger`.
    pub(crate) fn due(&self, linger: Duration) -> Option<Instant> {
        let oldest = self.available().filter_map(|queue| queue.waiting.front());
        oldest.map(|(since, _)| *since + linger).min()
    }

    /// Lets a queue continue, after its request.
    pub(crate) fn release(&mut self, id: QueueId) {
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.busy = false;
            if queue.waiting.is_empty() {
                self.queues.remove(&id);
            }
        }
    }

    /// Waiting chunks.
    pub(crate) const fn len(&self) -> usize {
        self.chunks
    }

    fn available(&self) -> impl Iterator<Item = &ShardQueue> {
        let waiting = self.turns.iter().filter_map(|id| self.queues.get(id));
        waiting.filter(|queue| queue.is_available())
    }

    fn has_full(&self, limits: BodyLimits) -> bool {
        let (mut bytes, mut rows) = (0, 0);
        self.available().any(|queue| {
            bytes += queue.bytes;
            rows += queue.rows;
            bytes >= limits.max_bytes || rows >= limits.max_rows
        })
    }

    fn fill(&mut self, mut room: BodyLimits) -> Filled {
        let mut body = Filled::default();
        for _ in 0..self.turns.len() {
            let Some(id) = self.turns.pop_front() else { break };
            let Some(queue) = self.queues.get_mut(&id) else { continue };
            let mut full = false;
            if queue.is_available() {
                let (before, waited) = (body.chunks.len(), queue.waiting.len());
                full = queue.fill(&mut body.chunks, &mut room);
                self.chunks -= waited - queue.waiting.len();
                if body.chunks.len() > before {
                    queue.busy = self.ordered;
                    body.queues.push(id);
                }
            }
            if !queue.waiting.is_empty() {
                self.turns.push_back(id);
            } else if !queue.busy {
                self.queues.remove(&id);
            }
            if full {
                break;
            }
        }
        body
    }
}

/// The chunks of one request, and the queues that they come from.
#[derive(Debug, Default)]
pub(crate) struct Filled {
    pub(crate) chunks: Vec<EncodedChunk>,
    pub(crate) queues: Vec<QueueId>,
}

impl ShardQueue {
    const fn new(gate: Arc<LeaseGate>) -> Self {
        Self { gate, waiting: VecDeque::new(), bytes: 0, rows: 0, busy: false }
    }

    fn is_available(&self) -> bool {
        !self.busy && self.gate.state() == GateState::Open
    }

    fn push(&mut self, chunk: EncodedChunk, now: Instant) {
        self.bytes += chunk.byte_len();
        self.rows += chunk.rows();
        self.waiting.push_back((now, chunk));
    }

    fn clear(&mut self) -> usize {
        (self.bytes, self.rows) = (0, 0);
        let chunks = self.waiting.len();
        self.waiting.clear();
        chunks
    }

    /// Moves what fits from the queue into a body; true if the body is full.
    fn fill(&mut self, into: &mut Vec<EncodedChunk>, room: &mut BodyLimits) -> bool {
        while let Some((_, front)) = self.waiting.front_mut() {
            let mut rows = front.fitting(room.max_bytes, room.max_rows);
            if rows == 0 && into.is_empty() {
                // Larger than any body: sent alone, for the sink to judge.
                rows = 1;
            }
            if rows == 0 {
                return true;
            }
            let taken = front.split_front(rows);
            let left_over = !front.is_empty();
            if !left_over {
                self.waiting.pop_front();
            }
            self.bytes -= taken.byte_len();
            self.rows -= taken.rows();
            room.max_bytes = room.max_bytes.saturating_sub(taken.byte_len());
            room.max_rows = room.max_rows.saturating_sub(taken.rows());
            into.push(taken);
            if left_over || room.max_bytes == 0 || room.max_rows == 0 {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::Shard;

    const NO_LIMIT: BodyLimits = BodyLimits { max_bytes: usize::MAX, max_rows: usize::MAX };

    fn texts(body: Filled) -> Vec<String> {
        let rows = body.chunks.iter().flat_map(EncodedChunk::messages);
        rows.map(|row| String::from_utf8(row.to_vec()).unwrap()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_goes_when_it_is_full_or_when_a_row_has_waited_long_enough() {
        let (now, linger) = (Instant::now(), Duration::from_millis(20));
        let within = Urgency::Within(linger);
        let three_rows = BodyLimits { max_rows: 3, ..NO_LIMIT };
        let shard = Shard::new();
        let mut queues = ShardQueues::new(false);
        queues.push(shard.chunk(&["a", "b"]), now);
        assert!(queues.take(three_rows, now, within).is_none());
        assert_eq!(queues.due(linger), Some(now + linger));

        queues.push(shard.chunk(&["c", "d"]), now + linger / 2);
        let body = queues.take(three_rows, now, within).unwrap();
        assert_eq!(texts(body), ["a", "b", "c"]);
        assert!(queues.take(three_rows, now + linger, within).is_none());
        let body = queues.take(three_rows, now + linger * 3 / 2, within).unwrap();
        assert_eq!(texts(body), ["d"]);
        assert_eq!(queues.len(), 0);
    }

    #[tokio::test]
    async fn quiet_shards_fill_a_body_together_and_take_turns() {
        let now = Instant::now();
        let (one, other) = (Shard::new(), Shard::new());
        let mut queues = ShardQueues::new(false);
        queues.push(one.chunk(&["1a", "1b", "1c"]), now);
        queues.push(other.chunk(&["2a"]), now);
        let two_rows = BodyLimits { max_rows: 2, ..NO_LIMIT };
        let mut next = || queues.take(two_rows, now, Urgency::Now).map(texts);
        assert_eq!(next().unwrap(), ["1a", "1b"]);
        assert_eq!(next().unwrap(), ["2a", "1c"], "the other one's turn");
        assert!(next().is_none());
    }

    #[tokio::test]
    async fn in_order_a_shard_has_one_request_in_flight() {
        let now = Instant::now();
        let (one, other) = (Shard::new(), Shard::new());
        let mut queues = ShardQueues::new(true);
        queues.push(one.chunk(&["1a"]), now);
        let first = queues.take(NO_LIMIT, now, Urgency::Now).unwrap();
        queues.push(one.chunk(&["1b"]), now);
        queues.push(other.chunk(&["2a"]), now);
        let second = queues.take(NO_LIMIT, now, Urgency::Now).unwrap();
        assert_eq!(texts(second), ["2a"]);
        assert_eq!(queues.due(Duration::ZERO), None, "no clock can hurry it");
        for queue in first.queues {
            queues.release(queue);
        }
        assert_eq!(texts(queues.take(NO_LIMIT, now, Urgency::Now).unwrap()), ["1b"]);
    }

    #[tokio::test]
    async fn a_shard_in_doubt_waits_and_one_that_is_lost_is_forgotten() {
        let now = Instant::now();
        let (ours, doubtful, lost) = (Shard::new(), Shard::new(), Shard::new());
        let mut queues = ShardQueues::new(false);
        for (shard, row) in [(&ours, "ours"), (&doubtful, "doubtful"), (&lost, "lost")] {
            queues.push(shard.chunk(&[row]), now);
        }
        doubtful.gate.set(GateState::Paused);
        lost.gate.set(GateState::Closed);
        assert_eq!(texts(queues.take(NO_LIMIT, now, Urgency::Now).unwrap()), ["ours"]);
        assert!(queues.take(NO_LIMIT, now, Urgency::Now).is_none());
        queues.drop_closed();
        assert_eq!(queues.len(), 1);
        assert_eq!(lost.abandoned(), 1, "its ledger knows that the row was not delivered");
        doubtful.gate.set(GateState::Open);
        assert_eq!(texts(queues.take(NO_LIMIT, now, Urgency::Now).unwrap()), ["doubtful"]);
    }

    proptest! {
        #[test]
        fn packing_loses_nothing_keeps_order_and_respects_the_limits(
            chunks in proptest::collection::vec(
                (0..3_usize, proptest::collection::vec(0..12_usize, 0..8)), 0..12),
            max_bytes in 1..30_usize,
            max_rows in 1..6_usize,
            ordered in any::<bool>(),
        ) {
            let limits = BodyLimits { max_bytes, max_rows };
            let shards = [Shard::new(), Shard::new(), Shard::new()];
            let mut queues = ShardQueues::new(ordered);
            let mut given: [Vec<String>; 3] = Default::default();
            let now = Instant::now();
            for (shard, sizes) in chunks {
                let rows: Vec<_> = sizes
                    .iter()
                    .enumerate()
                    .map(|(n, size)| format!("{shard}{:0size$}", given[shard].len() + n))
                    .collect();
                queues.push(shards[shard].chunk(&rows), now);
                given[shard].extend(rows);
            }
            let mut got: [Vec<String>; 3] = Default::default();
            while let Some(body) = queues.take(limits, now, Urgency::Now) {
                let (rows, bytes) = body.chunks.iter().fold((0, 0), |(rows, bytes), chunk| {
                    (rows + chunk.rows(), bytes + chunk.byte_len())
                });
                prop_assert!(rows == 1 || (rows <= max_rows && bytes <= max_bytes));
                for &queue in &body.queues {
                    queues.release(queue);
                }
                for row in texts(body) {
                    got[row[..1].parse::<usize>().unwrap()].push(row);
                }
            }
            prop_assert_eq!(got, given);
            prop_assert_eq!(queues.len(), 0);
            prop_assert!(queues.queues.is_empty() && queues.turns.is_empty());
        }
    }
}
