//! The clock of the service, as far as its answers show it.
//!
//! A `Date` header is one statement by one answer, and may be wrong by a day. What only informs takes the last one.
//! What decides where reading begins or ends takes the earliest time that any of three clocks shows: ours, and the
//! service's by each of the last two answers. Taken too early, such a decision repeats logs or comes later; taken too
//! late, it skips logs.

use std::sync::atomic::{AtomicI64, Ordering};

/// How far the service's clock is ahead of ours, in seconds. Zero until an answer says otherwise.
#[derive(Debug, Default)]
pub(super) struct ServiceClock {
    last: AtomicI64,
    before: AtomicI64,
}

impl ServiceClock {
    /// Takes the `Date` of one more answer.
    pub(super) fn note(&self, ahead: i64) {
        self.before.store(self.last.swap(ahead, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// By the last answer.
    pub(super) fn ahead(&self) -> i64 {
        self.last.load(Ordering::Relaxed)
    }

    /// The least that it is ahead by: at most 0, which is our own clock.
    pub(super) fn ahead_at_least(&self) -> i64 {
        self.ahead().min(self.before.load(Ordering::Relaxed)).min(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_from_the_future_moves_only_what_informs() {
        let clock = ServiceClock::default();
        clock.note(86_400);
        assert_eq!((clock.ahead(), clock.ahead_at_least()), (86_400, 0));
        // Ours is 10 minutes ahead, and one answer is from the future.
        clock.note(-600);
        clock.note(86_400);
        assert_eq!((clock.ahead(), clock.ahead_at_least()), (86_400, -600));
        clock.note(-600);
        assert_eq!((clock.ahead(), clock.ahead_at_least()), (-600, -600));
    }
}
