//! A shard for a time: valid until revoked, released by dropping it.

use std::sync::Arc;

use forwarder_connector::LeaseState;
use tokio::sync::{Mutex, watch};

use super::Membership;
use super::checkpoint::Checkpoints;
use super::lease_table::LeaseGrant;
use super::shard::Puller;
use super::shard_context::ShardContext;
use crate::metrics::ShardMetrics;

/// The right to work on one shard. While it exists the shard is reported to the service, and no other consumer
/// gets it; dropping it lets the shard go, and ends what was made from it.
///
/// Holders watch [`state`](Self::state) and, on [`LeaseState::HandOver`], finish what is in flight within
/// a bounded time, save, and release; on [`LeaseState::Lost`] they stop and release at once.
#[must_use = "dropping a lease gives the shard away"]
pub struct Lease {
    context: Arc<ShardContext>,
}

impl Lease {
    pub(super) fn new(membership: Arc<Membership>, grant: LeaseGrant) -> Self {
        let LeaseGrant { shard, id, state } = grant;
        let metrics = ShardMetrics::new(&membership.config.source, shard);
        membership.log_shard(format_args!("acquired shard {shard}"));
        let saved = Mutex::new(None);
        Self { context: Arc::new(ShardContext { membership, shard, id, state, saved, metrics }) }
    }

    /// Which shard.
    pub fn shard(&self) -> u32 {
        self.context.shard
    }

    /// What the lease is worth, now and from now on.
    pub fn state(&self) -> watch::Receiver<LeaseState> {
        self.context.state.clone()
    }

    /// Reads the shard. One puller per lease; a second one would read everything again.
    pub fn puller(&self) -> Puller {
        Puller::new(Arc::clone(&self.context))
    }

    /// Saves how far the shard is done.
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(Arc::clone(&self.context))
    }

    /// Says that the shard was consumed up to the configured end: not when the end was read, but when
    /// everything before it is settled. When all shards are finished, the run is done, see
    /// [`next_lease`](super::ConsumerGroup::next_lease). Keep the lease until then.
    pub fn finish(&self) {
        let ShardContext { membership, shard, id, .. } = &*self.context;
        membership.lease_table.finish(*shard, *id);
    }

    /// Lets the shard go; the same as dropping the lease, but reads better.
    pub fn release(self) {}
}

impl Drop for Lease {
    fn drop(&mut self) {
        let ShardContext { membership, shard, id, metrics, .. } = &*self.context;
        let state = self.context.state();
        membership.log_shard(format_args!("released shard {shard}, which was {state}"));
        membership.lease_table.release(*shard, *id);
        metrics.lag(0);
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lease(shard {}, {:?})", self.context.shard, self.context.state())
    }
}
