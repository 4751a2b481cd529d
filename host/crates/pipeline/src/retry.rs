//! How long to wait before asking again: exponential, jittered, bounded, and in the end never less than the
//! far side asked for.
//!
//! There is no last attempt. The pipeline gives nothing up because of time; it waits, and its budget stops
//! the pulling meanwhile.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

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
    pub(crate) fn retries(&self) -> Backoff {
        Backoff::new(self.first, self.longest, self.longest_asked)
    }

    /// Waits between attempts that need a person first.
    pub(crate) fn holds(&self) -> Backoff {
        Backoff::new(self.first_hold, self.longest_hold, self.longest_asked)
    }
}

/// One series of waits.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    longest: Duration,
    longest_asked: Duration,
    random: u64,
}

impl Backoff {
    fn new(first: Duration, longest: Duration, longest_asked: Duration) -> Self {
        // The hasher's keys differ per process and call: random enough to keep two senders out of step.
        let random = RandomState::new().hash_one(first);
        Self { next: first.min(longest), longest, longest_asked, random }
    }

    /// The next wait: between half of the back-off and all of it, or what the far side asked for if that is
    /// longer.
    pub(crate) fn wait(&mut self, asked: Option<Duration>) -> Duration {
        let most = self.next;
        self.next = most.saturating_mul(2).min(self.longest);
        let jittered = most.mul_f64(0.5 + self.random_unit() / 2.0);
        jittered.max(asked.unwrap_or_default().min(self.longest_asked))
    }

    /// A number in `0.0..1.0` (SplitMix64).
    fn random_unit(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // 53 bits are what a double holds exactly.
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
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

    #[test]
    fn two_senders_do_not_keep_step() {
        let policy = RetryPolicy::default();
        let (mut one, mut other) = (policy.holds(), policy.holds());
        assert!((0..8).any(|_| one.wait(None) != other.wait(None)));
    }
}
