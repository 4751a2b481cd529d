//! The right to work on a shard.

use std::fmt;

/// What a lease on a shard allows at the moment, as its heartbeats see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseState {
    /// The shard is ours: pull, deliver, save.
    Held,
    /// No heartbeat was answered for so long that the shard may have been given to another consumer: deliver
    /// nothing new until we know. Ends in `Held` or `Lost`.
    Suspended,
    /// The shard goes to another consumer as soon as the lease is released: finish what is in flight, save,
    /// release.
    HandOver,
    /// The shard is not ours any more, or the lease was released: stop everything, save nothing.
    Lost,
}

impl LeaseState {
    /// Whether nothing more may be pulled under the lease, now or later.
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::HandOver | Self::Lost)
    }
}

impl fmt::Display for LeaseState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Held => "held",
            Self::Suspended => "suspended",
            Self::HandOver => "handed over",
            Self::Lost => "lost",
        })
    }
}
