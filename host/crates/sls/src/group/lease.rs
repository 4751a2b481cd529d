//! A shard for a time: valid until revoked, released by dropping it.

use std::sync::Arc;

use forwarder_connector::LeaseState;
use tokio::sync::{Mutex, watch};

use super::Membership;
use super::board::Grant;
use super::checkpoint::Checkpoints;
use super::desk::Desk;
use super::shard::Puller;
use crate::metrics::ShardMetrics;

/// The right to work on one shard. While it exists the shard is reported to the service, and no other consumer
/// gets it; dropping it lets the shard go, and ends what was made from it.
///
/// Holders watch [`state`](Self::state) and, on [`LeaseState::HandOver`], finish what is in flight within
/// a bounded time, save, and release; on [`LeaseState::Lost`] they stop and release at once.
#[must_use = "dropping a lease gives the shard away"]
pub struct Lease {
    desk: Arc<Desk>,
}

impl Lease {
    pub(super) fn new(membership: Arc<Membership>, grant: Grant) -> Self {
        let Grant { shard, id, state } = grant;
        let metrics = ShardMetrics::new(&membership.config.source, shard);
        membership.log_shard(format_args!("acquired shard {shard}"));
        let saved = Mutex::new(None);
        Self { desk: Arc::new(Desk { membership, shard, id, state, saved, metrics }) }
    }

    /// Which shard.
    pub fn shard(&self) -> u32 {
        self.desk.shard
    }

    /// What the lease is worth, now and from now on.
    pub fn state(&self) -> watch::Receiver<LeaseState> {
        self.desk.state.clone()
    }

    /// Reads the shard. One puller per lease; a second one would read everything again.
    pub fn puller(&self) -> Puller {
        Puller::new(Arc::clone(&self.desk))
    }

    /// Saves how far the shard is done.
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(Arc::clone(&self.desk))
    }

    /// Says that the shard was consumed up to the configured end: not when the end was read, but when
    /// everything before it is settled. When all shards are finished, the run is done, see
    /// [`next_lease`](super::ConsumerGroup::next_lease). Keep the lease until then.
    pub fn finish(&self) {
        let Desk { membership, shard, id, .. } = &*self.desk;
        membership.board.finish(*shard, *id);
    }

    /// Lets the shard go; the same as dropping the lease, but reads better.
    pub fn release(self) {}
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Desk { membership, shard, id, metrics, .. } = &*self.desk;
        let state = self.desk.state();
        membership.log_shard(format_args!("released shard {shard}, which was {state}"));
        membership.board.release(*shard, *id);
        metrics.lag(0);
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lease(shard {}, {:?})", self.desk.shard, self.desk.state())
    }
}
