//! How long to wait before asking again: doubling, capped, with jitter so that many shards that failed
//! together do not return together.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use crate::error::Pace;

/// Counts failures in a row and says how long to wait after each.
#[derive(Debug)]
pub(crate) struct Backoff {
    failures: u32,
    factor: f64,
}

impl Backoff {
    /// `factor` multiplies every wait; 1 in production.
    pub(crate) fn new(factor: f64) -> Self {
        Self { failures: 0, factor }
    }

    /// The wait after one more failure.
    pub(crate) fn after_failure(&mut self, pace: Pace) -> Duration {
        let (first, most) = match pace {
            Pace::Prompt => (Duration::from_millis(50), Duration::from_secs(60)),
            Pace::Brisk => (Duration::from_millis(500), Duration::from_secs(10)),
            Pace::Gentle => (Duration::from_secs(1), Duration::from_secs(30)),
            Pace::Patient => (Duration::from_secs(5), Duration::from_secs(60)),
        };
        let wait = first.saturating_mul(1 << self.failures.min(10)).min(most);
        self.failures = self.failures.saturating_add(1);
        jittered(wait).mul_f64(self.factor)
    }

    /// Failures since the last success.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Forgets the failures; returns how many there were.
    pub(crate) fn succeeded(&mut self) -> u32 {
        std::mem::take(&mut self.failures)
    }
}

/// Somewhere between half of `wait` and all of it: spreads those who failed together.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.5 + random() / 2.0)
}

/// Nine tenths of `wait` or a little more: keeps regular work from marching in step.
pub(crate) fn nearly(wait: Duration) -> Duration {
    wait.mul_f64(0.9 + random() / 10.0)
}

/// Between 0 and 1. The standard library seeds every RandomState differently, which is random enough to
/// spread requests.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(bits >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_cap_and_start_over_after_success() {
        let mut backoff = Backoff::new(1.0);
        for expected in [500, 1000, 2000, 4000, 8000, 10_000, 10_000] {
            let wait = backoff.after_failure(Pace::Brisk).as_millis();
            assert!((expected / 2..=expected).contains(&wait), "{wait} for {expected}");
        }
        assert_eq!(backoff.succeeded(), 7);
        assert!(backoff.after_failure(Pace::Gentle) <= Duration::from_secs(1));
    }

    #[test]
    fn jitter_spreads() {
        let wait = Duration::from_secs(10);
        let waits: std::collections::BTreeSet<_> = (0..20).map(|_| jittered(wait)).collect();
        assert!(waits.len() > 10);
    }
}
