//! When to pull next from a shard that is read to its end: after a wait that grows while nothing comes.

use std::time::Duration;

use forwarder_backoff::nearly;

/// Wait between pulls that find nothing.
#[derive(Debug)]
pub(crate) struct IdleWait {
    first: Duration,
    longest: Duration,
    current: Duration,
}

impl IdleWait {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest: longest.max(first), current: first }
    }

    /// The wait after an answer that reached the end and brought something.
    pub(crate) fn after_data(&mut self) -> Duration {
        self.current = self.first;
        nearly(self.first)
    }

    /// The wait after an answer that brought nothing.
    pub(crate) fn after_nothing(&mut self) -> Duration {
        let wait = self.current;
        self.current = (wait * 3 / 2).min(self.longest);
        nearly(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_waits_grow_to_the_cap_and_start_over_with_data() {
        let mut idle = IdleWait::new(Duration::from_millis(500), Duration::from_secs(2));
        let waits: Vec<u128> = (0..6).map(|_| idle.after_nothing().as_millis()).collect();
        assert!(waits[0] <= 500 && waits[5] > 900 && waits[5] <= 2000, "{waits:?}");
        idle.after_data();
        assert!(idle.after_nothing().as_millis() <= 500);
    }
}
