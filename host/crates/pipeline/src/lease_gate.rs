//! The gate between the rows of one run over a shard and every sink: what the lease lets through.
//!
//! | lease     | stop | gate   | the run                                                         |
//! |-----------|------|--------|-----------------------------------------------------------------|
//! | held      | no   | open   | pulls and delivers                                              |
//! | held      | yes  | open   | pulls no more; delivers what it has, until the stop's deadline  |
//! | suspended | no   | paused | pulls; what it has waits                                        |
//! | suspended | yes  | paused | pulls no more; what it has waits, until the stop's deadline     |
//! | hand-over | no   | open   | pulls no more; delivers what it has, within `hand_over_limit`   |
//! | hand-over | yes  | open   | the same, until the earlier of both                             |
//! | lost      | any  | closed | ends at once and saves nothing                                  |
//!
//! A stop has no part in the gate: it bounds the time, and the gate says what may happen in it. A gate also closes when
//! its run ends, however it does; it never opens again, and the next run over the shard has one of its own.
//! `tests/stories/lease.rs` plays the table.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use forwarder_connector::LeaseState;
use tokio::sync::watch;

/// Whether rows of one run over a shard may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GateState {
    /// Yes.
    Open = 0,
    /// Not now; keep them.
    Paused = 1,
    /// Never again; let them go.
    Closed = 2,
}

impl From<LeaseState> for GateState {
    fn from(lease: LeaseState) -> Self {
        match lease {
            // A request to hand over is an answer to a heartbeat: the lease is not in doubt.
            LeaseState::Held | LeaseState::HandOver => Self::Open,
            LeaseState::Suspended => Self::Paused,
            LeaseState::Lost => Self::Closed,
        }
    }
}

/// Makes gates, and wakes what waits before one of them. Leases change rarely, so one signal for all gates costs
/// nothing.
#[derive(Debug, Clone)]
pub(crate) struct LeaseGates(Arc<watch::Sender<()>>);

impl LeaseGates {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(())))
    }

    /// A gate that is open.
    pub(crate) fn gate(&self) -> Arc<LeaseGate> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let state = AtomicU8::new(GateState::Open as u8);
        Arc::new(LeaseGate { id, state, changes: self.clone() })
    }

    /// Hears of every change from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }

    /// Waits for `work`, unless `is_over` becomes true first; it is asked at once, and whenever a gate has changed.
    pub(crate) async fn unless<T>(
        &self,
        mut is_over: impl FnMut() -> bool,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut changes = self.changes();
        tokio::pin!(work);
        loop {
            if is_over() {
                return None;
            }
            tokio::select! {
                done = &mut work => return Some(done),
                // The sender is ours and lives as long as this.
                _ = changes.changed() => {}
            }
        }
    }
}

/// Stands between the rows of one run over a shard and every sink.
#[derive(Debug)]
pub(crate) struct LeaseGate {
    /// Different for every run in this process, also for two runs over the same shard.
    id: u64,
    state: AtomicU8,
    changes: LeaseGates,
}

impl LeaseGate {
    pub(crate) const fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn state(&self) -> GateState {
        match self.state.load(Ordering::Acquire) {
            0 => GateState::Open,
            1 => GateState::Paused,
            _ => GateState::Closed,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state() == GateState::Closed
    }

    /// Moves the gate. Once closed it stays closed.
    pub(crate) fn set(&self, state: GateState) {
        let closed = GateState::Closed as u8;
        // An error means that it is closed, as it has to stay.
        let _ = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
            (now != closed).then_some(state as u8)
        });
        self.changes.0.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_closed_gate_never_opens_again() {
        let gate = LeaseGates::new().gate();
        gate.set(GateState::Paused);
        assert_eq!(gate.state(), GateState::Paused);
        gate.set(GateState::Open);
        assert_eq!(gate.state(), GateState::Open);
        gate.set(GateState::Closed);
        for state in [GateState::Open, GateState::Paused] {
            gate.set(state);
            assert!(gate.is_closed());
        }
    }

    #[tokio::test]
    async fn what_waits_is_asked_again_when_any_gate_moves() {
        let gates = LeaseGates::new();
        let (ours, other) = (gates.gate(), gates.gate());
        let mut asked = 0;
        {
            let is_over = || {
                asked += 1;
                ours.is_closed()
            };
            let mut waiting = std::pin::pin!(gates.unless(is_over, std::future::pending::<()>()));
            assert_eq!(waiting.as_mut().now_or_never(), None);
            other.set(GateState::Paused);
            assert_eq!(waiting.as_mut().now_or_never(), None);
            ours.set(GateState::Closed);
            assert_eq!(waiting.await, None);
        }
        assert_eq!(asked, 3);
        assert_eq!(gates.unless(|| false, std::future::ready(7)).await, Some(7));
    }
}
