//! What everything that works on one shard under one lease has in common.

use std::sync::Arc;

use forwarder_connector::LeaseState;
use tokio::sync::{Mutex, watch};

use super::Membership;
use super::lease_table::LeaseId;
use crate::cursor::Cursor;
use crate::metrics::ShardMetrics;

/// What a lease shares with its puller and its checkpoints. They do not keep the lease alive.
pub(super) struct ShardContext {
    pub(super) membership: Arc<Membership>,
    pub(super) shard: u32,
    pub(super) id: LeaseId,
    pub(super) state: watch::Receiver<LeaseState>,
    /// The last checkpoint known to be stored; `None` if not known.
    pub(super) saved: Mutex<Option<Cursor>>,
    pub(super) metrics: ShardMetrics,
}

impl ShardContext {
    pub(super) fn state(&self) -> LeaseState {
        *self.state.borrow()
    }

    /// The service says that the shard is not ours.
    pub(super) fn lose(&self) {
        self.membership.lease_table.lose(self.shard, self.id);
    }
}
