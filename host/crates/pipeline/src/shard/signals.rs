//! What a run hears from outside: what its lease allows, and that the process wants to stop.

use forwarder_connector::LeaseState;
use tokio::sync::watch;
use tokio::time::Instant;

/// When the process has to be done with draining; `None` while it runs.
pub(crate) type Stop = watch::Receiver<Option<Instant>>;

/// Hears lease and stop together.
pub(super) struct Signals {
    lease: watch::Receiver<LeaseState>,
    stop: Stop,
    stopping: bool,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// What the lease allows now.
    Lease(LeaseState),
    /// Finish by then.
    Stop { by: Instant },
}

impl Signals {
    pub(super) fn new(mut lease: watch::Receiver<LeaseState>, stop: Stop) -> Self {
        // So that the state at the start is a signal too.
        lease.mark_changed();
        Self { lease, stop, stopping: false }
    }

    /// Waits for the next signal. A lease whose owner is gone is lost. The future may be dropped.
    pub(super) async fn next(&mut self) -> Signal {
        let Self { lease, stop, stopping } = self;
        tokio::select! {
            biased;
            changed = lease.changed() => {
                let state = changed.map_or(LeaseState::Lost, |()| *lease.borrow_and_update());
                Signal::Lease(state)
            }
            by = stop_time(stop), if !*stopping => {
                *stopping = true;
                Signal::Stop { by }
            }
        }
    }

    /// Waits until the lease is lost.
    pub(super) async fn lost(&mut self) {
        // An error means that the owner of the lease is gone, and with it the lease.
        let _ = self.lease.wait_for(|state| *state == LeaseState::Lost).await;
    }
}

/// A process that is gone without a word gives no time to drain.
async fn stop_time(stop: &mut Stop) -> Instant {
    let deadline = stop.wait_for(Option::is_some).await.ok().and_then(|by| *by);
    deadline.unwrap_or_else(Instant::now)
}
