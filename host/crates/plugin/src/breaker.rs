//! Suspends a plugin that fails on everything, so that it does not use up the CPU time of others.
//!
//! A slice that had to be given up costs some seconds of CPU, and every shard of the plugin would pay that. So when
//! slices were given up [`GIVEN_UP`] times without one successful call between, the plugin is suspended: batches are refused
//! before the guest is called, their shards pause. After a while one slice is tried. If any call for it
//! succeeds, the plugin continues; otherwise it stays suspended for twice as long.
//!
//! A row at fault does not suspend a plugin: finding it takes calls that succeed on the rows around it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::halt::HaltCause;
use crate::metrics;

/// Slices given up, with no successful call between them, that suspend a plugin.
const GIVEN_UP: u32 = 2;
/// The first pause; it doubles with every slice that is tried in vain …
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// … up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// One per plugin, shared by its workers.
#[derive(Debug)]
pub(crate) struct Breaker {
    plugin: String,
    /// Nothing has failed lately. Asked for every call, so that the lock is taken only when something is wrong.
    calm: AtomicBool,
    state: Mutex<BreakerState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BreakerState {
    Working {
        given_up: u32,
    },
    Suspended {
        until: Instant,
        pause: Duration,
    },
    /// One slice is being tried.
    Trying {
        pause: Duration,
    },
}

/// Leave to call the guest.
#[derive(Debug)]
#[must_use = "dropping a trial ends it"]
pub(crate) struct Entry<'a> {
    trial: Option<&'a Breaker>,
}

impl Drop for Entry<'_> {
    /// A trial that came to nothing (the row's policy halted the shard, or a bug of ours) leaves the next one to another.
    fn drop(&mut self) {
        if let Some(breaker) = self.trial {
            let mut state = breaker.state();
            if let BreakerState::Trying { pause } = *state {
                *state = BreakerState::Suspended { until: Instant::now(), pause };
            }
        }
    }
}

impl Breaker {
    pub(crate) fn new(plugin: &str) -> Self {
        Self {
            plugin: plugin.to_owned(),
            calm: AtomicBool::new(true),
            state: Mutex::new(BreakerState::Working { given_up: 0 }),
        }
    }

    /// Asks to process a batch.
    ///
    /// # Errors
    ///
    /// The plugin is suspended, for this long at least.
    pub(crate) fn enter(&self, now: Instant) -> Result<Entry<'_>, Duration> {
        if self.calm.load(Ordering::Acquire) {
            return Ok(Entry { trial: None });
        }
        let mut state = self.state();
        match *state {
            BreakerState::Working { .. } => Ok(Entry { trial: None }),
            BreakerState::Suspended { until, pause } if now >= until => {
                *state = BreakerState::Trying { pause };
                Ok(Entry { trial: Some(self) })
            }
            BreakerState::Suspended { until, .. } => Err(until.saturating_duration_since(now)),
            BreakerState::Trying { pause } => Err(pause),
        }
    }

    /// A call succeeded.
    pub(crate) fn succeeded(&self) {
        if self.calm.load(Ordering::Acquire) {
            return;
        }
        let mut state = self.state();
        let before = std::mem::replace(&mut *state, BreakerState::Working { given_up: 0 });
        self.calm.store(true, Ordering::Release);
        drop(state);
        if !matches!(before, BreakerState::Working { .. }) {
            metrics::suspended(&self.plugin, false);
            let plugin = self.plugin.as_str();
            tracing::warn!(plugin, "plugin works again; its shards continue, no data lost");
        }
    }

    /// A slice was given up.
    pub(crate) fn gave_up(&self, cause: &HaltCause, now: Instant) {
        let mut state = self.state();
        self.calm.store(false, Ordering::Release);
        match *state {
            BreakerState::Working { given_up } if given_up + 1 < GIVEN_UP => {
                *state = BreakerState::Working { given_up: given_up + 1 };
            }
            BreakerState::Working { .. } => {
                *state = BreakerState::Suspended { until: now + FIRST_PAUSE, pause: FIRST_PAUSE };
                drop(state);
                metrics::suspended(&self.plugin, true);
                tracing::error!(
                    plugin = self.plugin,
                    %cause,
                    "plugin suspended after repeated faults without a success: its shards pause, one slice at a time is tried \
                     with growing pauses; fix the plugin or remove it from the configuration; no data lost, other \
                     sources continue"
                );
            }
            BreakerState::Trying { pause } => {
                let pause = (pause * 2).min(LONGEST_PAUSE);
                *state = BreakerState::Suspended { until: now + pause, pause };
            }
            // A slice that was begun before.
            BreakerState::Suspended { .. } => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, BreakerState> {
        // Nothing panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;

    fn cause() -> HaltCause {
        HaltCause::TooManyFaults { faults: 8, last: Fault::Trapped("unreachable".to_owned()) }
    }

    fn suspended(now: Instant) -> Breaker {
        let breaker = Breaker::new("audit");
        (0..GIVEN_UP).for_each(|_| breaker.gave_up(&cause(), now));
        breaker
    }

    #[test]
    fn a_success_between_faults_keeps_the_plugin_working() {
        let (breaker, now) = (Breaker::new("audit"), Instant::now());
        for _ in 0..10 {
            breaker.gave_up(&cause(), now);
            breaker.succeeded();
        }
        assert!(breaker.enter(now).is_ok_and(|entry| entry.trial.is_none()));
    }

    #[test]
    fn a_suspended_plugin_is_tried_by_one_at_a_time_with_growing_pauses() {
        let mut now = Instant::now();
        let breaker = suspended(now);
        for pause in [1, 2, 4, 8, 16, 32, 60, 60].map(Duration::from_secs) {
            assert_eq!(breaker.enter(now).unwrap_err(), pause);
            now += pause;
            let trial = breaker.enter(now).unwrap();
            assert!(trial.trial.is_some());
            assert_eq!(breaker.enter(now).unwrap_err(), pause, "one at a time");
            breaker.gave_up(&cause(), now);
            drop(trial);
        }
    }

    #[test]
    fn a_trial_that_succeeds_ends_the_suspension_and_one_that_comes_to_nothing_does_not() {
        let now = Instant::now();
        let breaker = suspended(now);
        let later = now + FIRST_PAUSE;
        drop(breaker.enter(later).unwrap());
        let trial = breaker.enter(later + FIRST_PAUSE).unwrap();
        assert!(trial.trial.is_some());
        breaker.succeeded();
        assert!(breaker.enter(later).is_ok_and(|entry| entry.trial.is_none()));
        drop(trial);
        assert!(breaker.enter(later).is_ok(), "the end of the trial changes nothing");
    }
}
