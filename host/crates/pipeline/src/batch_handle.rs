//! A batch between decode and settle, and what it is charged for.

use std::sync::Arc;

use forwarder_record::Batch;
use tokio::sync::OwnedSemaphorePermit;

use crate::budget::Permit;

/// A batch from decode to settle, and what is charged for it. Shared by all chunks of it; the last one gives
/// the bytes back.
#[derive(Debug)]
pub(crate) struct BatchHandle {
    pub(crate) batch: Batch,
    _block: Arc<BlockCharge>,
    _part: Option<Permit>,
}

impl BatchHandle {
    pub(crate) const fn new(batch: Batch, block: Arc<BlockCharge>, part: Option<Permit>) -> Self {
        Self { batch, _block: block, _part: part }
    }
}

/// What a pulled block is charged, until everything of it is settled.
#[derive(Debug)]
pub(crate) struct BlockCharge {
    pub(crate) permit: Permit,
    _slot: OwnedSemaphorePermit,
}

impl BlockCharge {
    pub(crate) const fn new(permit: Permit, slot: OwnedSemaphorePermit) -> Self {
        Self { permit, _slot: slot }
    }
}
