//! A look at a membership from outside: for a status page, a readiness check, a drain that must know
//! how long it may take.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Membership;
use super::board::LeaseState;
use crate::names::{ConsumerName, GroupName};

/// Where we stand with the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The last heartbeat succeeded recently.
    Member,
    /// No heartbeat has succeeded for so long that work is paused.
    Suspended,
    /// Not a member yet, or expired by the service's word or by our own clock; joining (again).
    Out,
}

/// Sees a membership without taking part in it. Cheap to clone, and does not keep the membership alive.
#[derive(Clone)]
pub struct Observer {
    pub(super) membership: Arc<Membership>,
}

impl Observer {
    /// Where we stand, now and from now on.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.membership.standing.subscribe()
    }

    /// The shards with a live lease, and what each is worth.
    pub fn shards(&self) -> Vec<(u32, LeaseState)> {
        self.membership.board.states()
    }

    /// The timeout the service reports for the group; the time a drain may take at most.
    pub fn timeout(&self) -> Duration {
        self.membership.timing().timeout
    }

    /// Which group.
    pub fn group(&self) -> &GroupName {
        &self.membership.config.group
    }

    /// Our name in it.
    pub fn consumer(&self) -> &ConsumerName {
        &self.membership.config.consumer
    }
}
