//! How long to wait after a failure: each time twice as long, up to a bound, and drawn at random from the upper half
//! of the range, so that many shards, sinks or processes that failed together do not return together.
//!
//! There is no last attempt: who waits decides when to give up. Nothing here reads a clock.

#![forbid(unsafe_code)]

use std::time::Duration;

/// The first wait and the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// After the first failure; longer ones are doubled from one failure to the next.
    pub first: Duration,
    /// No wait is longer, not even the first.
    pub longest: Duration,
}

/// Failures in a row.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Counts one more failure and returns how long to wait: between half of the wait that is due and all of it.
    pub fn after_failure(&mut self, Waits { first, longest }: Waits) -> Duration {
        let doubled = 2_u32.saturating_pow(self.failures);
        self.failures = self.failures.saturating_add(1);
        between(0.5, first.saturating_mul(doubled).min(longest))
    }

    /// Failures since the last success.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Forgets the failures; returns how many there were.
    pub const fn succeeded(&mut self) -> u32 {
        std::mem::replace(&mut self.failures, 0)
    }
}

/// Nine tenths of a wait, or up to all of it: regular work of many does not fall into step.
pub fn nearly(wait: Duration) -> Duration {
    between(0.9, wait)
}

/// At random from this part of a wait to all of it.
fn between(part: f64, wait: Duration) -> Duration {
    wait.mul_f64(part + (1.0 - part) * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const WAITS: Waits =
        Waits { first: Duration::from_millis(500), longest: Duration::from_secs(10) };

    #[test]
    fn waits_double_up_to_the_longest_and_start_over_after_a_success() {
        let mut backoff = Backoff::default();
        for most in [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000] {
            let wait = backoff.after_failure(WAITS).as_millis();
            assert!((most / 2..=most).contains(&wait), "{wait} of {most}");
        }
        assert_eq!((backoff.failures(), backoff.succeeded(), backoff.failures()), (7, 7, 0));
        assert!(backoff.after_failure(WAITS) <= WAITS.first);
    }

    #[test]
    fn after_any_number_of_failures_the_longest_holds() {
        let mut backoff = Backoff::default();
        let waits = (0..100).map(|_| backoff.after_failure(WAITS));
        assert!(waits.max().is_some_and(|wait| wait <= WAITS.longest));
        let waits = Waits { longest: Duration::from_millis(1), ..WAITS };
        assert!(Backoff::default().after_failure(waits) <= waits.longest);
    }

    #[test]
    fn those_that_fail_together_do_not_return_together() {
        let waits: BTreeSet<_> = (0..20).map(|_| Backoff::default().after_failure(WAITS)).collect();
        assert!(waits.len() > 10);
        assert!((0..20).all(|_| nearly(WAITS.longest) >= Duration::from_secs(9)));
    }
}
