//! How long to wait before asking again: exponential, jittered, bounded, and in the end never less than the
//! far side asked for.
//!
//! There is no last attempt. The pipeline gives nothing up because of time; it waits, and its budget stops
//! the pulling meanwhile.

use std::time::Duration;

use forwarder_backoff::{Backoff, Waits};

/// The waits between attempts at one sink.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// Wait after the first `Retry`; doubled from one to the next.
    pub first: Duration,
    /// No wait of our own is longer.
    pub longest: Duration,
    /// The longest `Retry-After` that we honour. A proxy may ask for a day; we would be silent for a day.
    pub longest_asked: Duration,
    /// Wait after the first `Hold`, doubled likewise. Short, since it may be one bad node of several.
    pub first_hold: Duration,
    /// No wait during a hold is longer: the delay that a person sees after having repaired things.
    pub longest_hold: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(30),
            longest_asked: Duration::from_secs(300),
            first_hold: Duration::from_secs(1),
            longest_hold: Duration::from_secs(60),
        }
    }
}

impl RetryPolicy {
    /// Waits between attempts that may succeed by themselves.
    pub(crate) fn retries(&self) -> Retries {
        self.series(self.first, self.longest)
    }

    /// Waits between attempts that need a person first.
    pub(crate) fn holds(&self) -> Retries {
        self.series(self.first_hold, self.longest_hold)
    }

    fn series(&self, first: Duration, longest: Duration) -> Retries {
        let (waits, longest_asked) = (Waits { first, longest }, self.longest_asked);
        Retries { waits, longest_asked, backoff: Backoff::default() }
    }
}

/// One series of waits.
#[derive(Debug)]
pub(crate) struct Retries {
    waits: Waits,
    longest_asked: Duration,
    backoff: Backoff,
}

impl Retries {
    /// The next wait: between half of the back-off and all of it, or what the far side asked for if that is
    /// longer.
    pub(crate) fn wait(&mut self, asked: Option<Duration>) -> Duration {
        let asked = asked.map_or(Duration::ZERO, |asked| asked.min(self.longest_asked));
        self.backoff.after_failure(self.waits).max(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_keep_half_of_themselves() {
        let policy = RetryPolicy::default();
        let mut backoff = policy.retries();
        for most in [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000] {
            let wait = backoff.wait(None);
            let most = Duration::from_millis(most);
            assert!(most / 2 <= wait && wait <= most, "{wait:?} of {most:?}");
        }
    }

    #[test]
    fn what_the_server_asks_for_wins_when_it_is_longer_up_to_a_cap() {
        let second = Duration::from_secs;
        let mut backoff = RetryPolicy::default().retries();
        assert_eq!(backoff.wait(Some(second(20))), second(20));
        assert!(backoff.wait(Some(Duration::ZERO)) >= Duration::from_millis(500));
        assert_eq!(backoff.wait(Some(second(86_400))), second(300));
    }
}
