//! Small batches for the tests of this crate.

use std::sync::Arc;

use bytes::Bytes;
use forwarder_record::encode::{Log, LogGroup, log_group_list};
use forwarder_record::{Batch, Edits, Limits, Origin, SliceLimits};

use futures_util::FutureExt;
use tokio::sync::Semaphore;

use crate::batch_handle::{BatchHandle, BlockCharge};
use crate::budget::Budget;
use crate::deliver::{EncodedBatch, EncodedChunk};
use crate::lease_gate::{LeaseGate, LeaseGates};
use crate::ledger::Ledger;
use crate::position::{Position, ShardId};

/// A shard whose rows are already encoded.
pub(crate) struct Shard {
    pub(crate) ledger: Ledger,
    pub(crate) gate: Arc<LeaseGate>,
}

impl Shard {
    pub(crate) fn new() -> Self {
        let ledger = Ledger::new(ShardId::new("audit", 0));
        Self { ledger, gate: LeaseGates::new().gate() }
    }

    /// A batch whose rows are encoded as these texts.
    pub(crate) fn chunk(&self, rows: &[impl AsRef<str>]) -> EncodedChunk {
        let batch = batch(&vec!["topic"; rows.len()]);
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for row in rows {
            bytes.extend_from_slice(row.as_ref().as_bytes());
            ends.push(bytes.len() as u32);
        }
        let encoded = batch.rows().map(|row| row.ix()).collect();
        let written = Arc::new(EncodedBatch::new(Bytes::from(bytes), ends, encoded));
        let permit = Budget::new(u64::MAX).admit(0).now_or_never().unwrap();
        let slot = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let ticket = self.ledger.open(Position::new("next"));
        let share = ticket.share(rows.len());
        ticket.seal();
        let handle = BatchHandle::new(batch, Arc::new(BlockCharge::new(permit, slot)), None);
        EncodedChunk::whole(Arc::new(handle), written, share, Arc::clone(&self.gate))
    }

    pub(crate) fn abandoned(&self) -> usize {
        self.ledger.unsettled().borrow().abandoned
    }
}

/// A batch of one-field logs, each in a log group of its own with the given topic.
pub(crate) fn batch(topics: &[&str]) -> Batch {
    let groups: Vec<_> = topics
        .iter()
        .enumerate()
        .map(|(n, topic)| {
            let contents = vec![("n".to_owned(), n.to_string())];
            let log = Log { time: 1_700_000_000, nanos: None, contents };
            LogGroup { topic: (*topic).to_owned(), logs: vec![log], ..LogGroup::default() }.encode()
        })
        .collect();
    let block = Bytes::from(log_group_list(groups.iter().map(Vec::as_slice)));
    let origin = Origin { source: "audit".into(), first_cursor: Some(100), ..Origin::default() };
    Batch::decode(block, origin, &Limits::default()).unwrap()
}

/// Gives rows a route label, as a plugin would.
pub(crate) fn label(batch: &mut Batch, label: &str, rows: &[u32]) {
    let slices = batch.slices(SliceLimits::default(), |_| true);
    let mut edits = Edits::new(slices[0].len());
    edits.route(label.to_owned(), rows.to_vec()).unwrap();
    batch.apply(&slices[0], &edits).unwrap();
}
