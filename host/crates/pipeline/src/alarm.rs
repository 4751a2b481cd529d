//! Holding: nothing is lost, nothing moves, and a person must act.
//!
//! Several things can wait for the same person at once (eight requests to one sink that refuses our token);
//! it is logged once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use metrics::Gauge;

/// The alarm of one thing that may hold. The gauge is 1 while anything holds.
#[derive(Debug)]
pub(crate) struct Alarm {
    gauge: Gauge,
    holding: AtomicUsize,
}

impl Alarm {
    pub(crate) fn new(gauge: Gauge) -> Arc<Self> {
        gauge.set(0.0);
        Arc::new(Self { gauge, holding: AtomicUsize::new(0) })
    }

    /// Begins to hold; true if nothing else did, so that this caller logs it.
    pub(crate) fn raise(self: &Arc<Self>) -> (Holding, bool) {
        let first = self.holding.fetch_add(1, Ordering::AcqRel) == 0;
        self.gauge.set(1.0);
        (Holding { alarm: Some(Arc::clone(self)) }, first)
    }

    fn lower(&self) -> bool {
        let last = self.holding.fetch_sub(1, Ordering::AcqRel) == 1;
        if last {
            self.gauge.set(0.0);
        }
        last
    }
}

/// One party's part in a hold. Dropped when it no longer waits, for whatever reason.
#[derive(Debug)]
pub(crate) struct Holding {
    alarm: Option<Arc<Alarm>>,
}

impl Holding {
    /// Ends this part because things work again; true if it was the last, so that this caller logs the
    /// person.
    pub(crate) fn recovered(mut self) -> bool {
        self.alarm.take().is_some_and(|alarm| alarm.lower())
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        if let Some(alarm) = self.alarm.take() {
            alarm.lower();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_parties_make_one_alarm_and_one_recovery() {
        let alarm = Alarm::new(Gauge::noop());
        let (one, first) = alarm.raise();
        let (other, again) = alarm.raise();
        assert!(first && !again);
        assert!(!one.recovered());
        assert!(other.recovered());

        let (given_up, first) = alarm.raise();
        assert!(first, "a new hold is logged again");
        drop(given_up);
        assert!(alarm.raise().1);
    }
}
