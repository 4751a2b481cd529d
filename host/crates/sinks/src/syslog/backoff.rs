//! When to try a receiver again that could not be reached.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

/// The pause after the first failure, and its bound after many.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// A connection that lived this long was a success; its end counts as no failure.
pub(super) const STABLE: Duration = LONGEST;

/// Remembers failures in a row. Pauses double from half a second to 30 s; each is drawn from the upper half
/// of its range, so that many forwarders do not come back in step.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    not_before: Option<Instant>,
}

impl Backoff {
    /// One more failure.
    pub(super) fn failed(&mut self, now: Instant) {
        let full = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + full.mul_f64(0.5 + 0.5 * fraction()));
    }

    /// It works again.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// How much longer to wait; `None` when it is time.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        self.not_before.and_then(|at| at.checked_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// When it is time again.
    pub(super) fn not_before(&self) -> Option<Instant> {
        self.not_before
    }
}

/// A number from 0 to 1. The standard library seeds its hash tables at random, and jitter wants no more.
fn fraction() -> f64 {
    f64::from(RandomState::new().hash_one(0u8) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_a_minute_and_vanish_on_success() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        assert_eq!(backoff.left(now), None);
        let mut full = 500;
        for _ in 0..20 {
            backoff.failed(now);
            let left = backoff.left(now).unwrap().as_millis();
            assert!((full / 2..=full).contains(&left), "{left} of {full}");
            full = (full * 2).min(30_000);
        }
        assert_eq!(backoff.left(now + LONGEST), None);
        backoff.succeeded();
        assert_eq!(backoff.left(now), None);
    }
}
