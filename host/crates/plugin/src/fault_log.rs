//! Reports faults of a plugin to the log, at most every few seconds and with their sum: a plugin can fail many times a
//! second.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Least time between two lines about one plugin.
const EVERY: Duration = Duration::from_secs(10);

/// One per plugin, shared by its workers.
#[derive(Debug, Default)]
pub(crate) struct FaultLog(Mutex<LogState>);

#[derive(Debug, Default)]
struct LogState {
    pending: Faults,
    reported: Option<Instant>,
}

/// Faults and what they came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Faults {
    /// Calls that failed.
    pub(crate) calls: u64,
    /// Rows at fault.
    pub(crate) rows: u64,
}

impl FaultLog {
    /// Counts faults; returns what is to be logged now, if it is time.
    pub(crate) fn add(&self, faults: Faults, now: Instant) -> Option<Faults> {
        // Nothing panics while the lock is held.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.pending.calls += faults.calls;
        state.pending.rows += faults.rows;
        if state.reported.is_some_and(|reported| now.saturating_duration_since(reported) < EVERY) {
            return None;
        }
        state.reported = Some(now);
        Some(std::mem::take(&mut state.pending))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_faults_are_reported_at_once_and_later_ones_summed_up() {
        let (log, now) = (FaultLog::default(), Instant::now());
        let one = Faults { calls: 2, rows: 1 };
        assert_eq!(log.add(one, now), Some(one));
        for _ in 0..9 {
            assert_eq!(log.add(one, now + EVERY / 2), None);
        }
        assert_eq!(log.add(one, now + EVERY), Some(Faults { calls: 20, rows: 10 }));
    }
}
