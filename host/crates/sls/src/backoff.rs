//! How long to wait before SLS is asked again, by what it answered.

use std::time::Duration;

use crate::error::RetryClass;

/// Failures in a row of one kind of question.
#[derive(Debug)]
pub(crate) struct Backoff {
    failures: forwarder_backoff::Backoff,
    factor: f64,
}

impl Backoff {
    /// `factor` multiplies every wait; 1 in production.
    pub(crate) fn new(factor: f64) -> Self {
        Self { failures: forwarder_backoff::Backoff::default(), factor }
    }

    /// The wait after one more failure.
    pub(crate) fn after_failure(&mut self, class: RetryClass) -> Duration {
        self.failures.after_failure(class.waits()).mul_f64(self.factor)
    }

    /// Failures since the last success.
    pub(crate) const fn failures(&self) -> u32 {
        self.failures.failures()
    }

    /// Forgets the failures; returns how many there were.
    pub(crate) const fn succeeded(&mut self) -> u32 {
        self.failures.succeeded()
    }
}
