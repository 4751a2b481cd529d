//! The loops of a run side by side, and what they and the world outside come to, one event at a time.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::signals::{Signal, Signals};
use crate::checkpoint::LeaseGone;
use crate::demand::{Demand, Raised};
use crate::ledger::Unsettled;
use crate::plan::Fault;
use crate::position::Position;
use crate::source::SourceLost;

/// What a run cannot get past, and where it was pulled from.
pub(super) struct Obstacle {
    pub(super) at: Option<Position>,
    pub(super) fault: Fault,
}

/// The loops of a run, and what else it listens to.
pub(super) struct Loops<'a> {
    /// False as soon as nothing more is to be pulled.
    pub(super) may_pull: watch::Sender<bool>,
    pub(super) pulling: Option<BoxFuture<'a, Result<(), SourceLost>>>,
    pub(super) forwarding: Option<BoxFuture<'a, Result<(), Obstacle>>>,
    pub(super) saving: BoxFuture<'a, LeaseGone>,
    pub(super) signals: &'a mut Signals,
    pub(super) unsettled: watch::Receiver<Unsettled>,
    pub(super) deadline: Option<Instant>,
    pub(super) demand: &'a Demand,
    /// Raised once the run only waits for settlements.
    pub(super) waiting: Option<Raised>,
}

/// Something to decide about.
pub(super) enum Event {
    Signal(Signal),
    LeaseGone(LeaseGone),
    PullingEnded(Result<(), SourceLost>),
    Forwarded(Result<(), Obstacle>),
    Unsettled(Unsettled),
    TimeIsUp,
}

impl Loops<'_> {
    /// The next event. Progress of the loops is not lost when an event of another comes first.
    pub(super) async fn next(&mut self) -> Event {
        tokio::select! {
            // Signals first: a lease that is lost must not be outrun by one more delivery.
            biased;
            signal = self.signals.next() => Event::Signal(signal),
            gone = &mut self.saving => Event::LeaseGone(gone),
            end = ended(&mut self.forwarding) => Event::Forwarded(end),
            end = ended(&mut self.pulling) => {
                self.ask_for_settlement();
                Event::PullingEnded(end)
            }
            Ok(()) = self.unsettled.changed() => Event::Unsettled(*self.unsettled.borrow_and_update()),
            () = reached(self.deadline) => Event::TimeIsUp,
        }
    }

    /// Stops pulling at once and everything else within `limit`; with `again`, no later than was said before.
    pub(super) fn wind_up(&mut self, limit: Duration, again: bool) {
        self.may_pull.send_replace(false);
        self.ask_for_settlement();
        let by = Instant::now() + limit;
        let before = self.deadline.filter(|_| again);
        self.deadline = Some(before.map_or(by, |before| before.min(by)));
    }

    /// Nothing more is pulled, so the run waits for what was.
    fn ask_for_settlement(&mut self) {
        self.waiting.get_or_insert_with(|| self.demand.raise());
    }

    /// Whether all that was pulled is settled, or can no longer be.
    pub(super) fn is_quiet(&self) -> bool {
        self.pulling.is_none() && self.forwarding.is_none() && self.unsettled.borrow().open == 0
    }
}

/// Waits for a loop to end, and forgets it then.
async fn ended<T>(running: &mut Option<BoxFuture<'_, T>>) -> T {
    match running {
        Some(future) => {
            let end = future.await;
            *running = None;
            end
        }
        None => std::future::pending().await,
    }
}

async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
