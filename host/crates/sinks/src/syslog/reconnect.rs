//! When to try a receiver again that could not be reached.

use std::time::Duration;

use forwarder_backoff::{Backoff, Waits};
use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(500);

/// The wait after a failure after which something else is tried.
const SOON: Duration = Duration::from_millis(100);

/// A connection that lived this long was a success; its end counts as no failure.
pub(super) const STABLE: Duration = Duration::from_secs(30);

/// When the next connection may be tried.
#[derive(Debug)]
pub(super) struct Reconnect {
    waits: Waits,
    backoff: Backoff,
    not_before: Option<Instant>,
}

impl Reconnect {
    pub(super) fn new(longest: Duration) -> Self {
        let waits = Waits { first: FIRST, longest };
        Self { waits, backoff: Backoff::default(), not_before: None }
    }

    /// One more failure.
    pub(super) fn failed(&mut self, now: Instant) {
        self.not_before = Some(now + self.backoff.after_failure(self.waits));
    }

    /// A failure after which something else is tried: waits begin with the first again.
    pub(super) fn soon(&mut self, now: Instant) {
        self.succeeded();
        let waits = Waits { first: SOON, ..self.waits };
        self.not_before = Some(now + Backoff::default().after_failure(waits));
    }

    /// Failures in a row.
    pub(super) const fn failures(&self) -> u32 {
        self.backoff.failures()
    }

    /// It works again.
    pub(super) fn succeeded(&mut self) {
        self.backoff.succeeded();
        self.not_before = None;
    }

    /// How much longer to wait; `None` when it is time.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        self.not_before.and_then(|at| at.checked_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// When it is time again.
    pub(super) const fn not_before(&self) -> Option<Instant> {
        self.not_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_a_minute_and_vanish_on_success() {
        let mut reconnect = Reconnect::new(Duration::from_secs(30));
        let now = Instant::now();
        assert_eq!(reconnect.left(now), None);
        let mut full = 500;
        for _ in 0..20 {
            reconnect.failed(now);
            let left = reconnect.left(now).unwrap().as_millis();
            assert!((full / 2..=full).contains(&left), "{left} of {full}");
            full = (full * 2).min(30_000);
        }
        assert_eq!(reconnect.left(now + Duration::from_secs(30)), None);
        reconnect.soon(now);
        assert!(reconnect.left(now).unwrap() <= SOON);
        reconnect.succeeded();
        assert_eq!(reconnect.left(now), None);
    }
}
