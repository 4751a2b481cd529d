//! How often to send heartbeats, and how long silence may last.
//!
//! Everything follows from the timeout that the *service* reports for the group: another consumer of the
//! group may have set it. Official clients continue for `timeout + interval` after the last success, while
//! the service gives the shards away after `timeout`; we pause before and stop at it.

use std::time::Duration;

/// Never more often than this, whatever the timeout.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// Times of one membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timing {
    /// The group's timeout, as the service has it.
    pub(crate) timeout: Duration,
    /// From one heartbeat to the next.
    pub(crate) interval: Duration,
}

impl Timing {
    /// `longest_interval` is what is configured; it gives way to a short timeout, so that several beats
    /// may fail before anything is lost.
    pub(crate) fn new(timeout: Duration, longest_interval: Duration) -> Self {
        let interval = longest_interval.min(timeout / 4).max(SHORTEST_INTERVAL);
        Self { timeout, interval }
    }

    /// Silence after which delivery pauses.
    pub(crate) fn suspend_after(&self) -> Duration {
        self.timeout.saturating_sub(self.interval)
    }

    /// Silence after which every shard counts as lost.
    pub(crate) fn lose_after(&self) -> Duration {
        self.timeout
    }

    /// Limit of one attempt after `failures` in a row: short at first, so that a hung connection leaves
    /// room for another attempt within the interval, then up to the whole interval for a slow service.
    pub(crate) fn attempt_limit(&self, failures: u32) -> Duration {
        (self.interval * 2 / 5).saturating_mul(failures.saturating_add(1)).min(self.interval)
    }

    /// Pause after a failed attempt.
    pub(crate) fn retry_pause(&self, failures: u32) -> Duration {
        (self.interval / 10).saturating_mul(1 << failures.min(8)).min(self.interval / 2)
    }

    /// How often the group's options are read again.
    pub(crate) fn review_every(&self) -> Duration {
        (self.interval * 6).max(Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_attempts_fit_before_anything_is_lost() {
        for (timeout, configured) in [(60, 10), (40, 10), (6, 10), (1, 10), (600, 10)] {
            let timing = Timing::new(Duration::from_secs(timeout), Duration::from_secs(configured));
            assert!(timing.interval * 4 <= timing.timeout, "{timing:?}");
            assert!(timing.suspend_after() < timing.lose_after());
            // Two hanging attempts and the pause between them.
            let two = timing.attempt_limit(0) + timing.retry_pause(0);
            assert!(two <= timing.interval, "{timing:?}");
            assert!(timing.attempt_limit(9) <= timing.interval);
        }
    }
}
