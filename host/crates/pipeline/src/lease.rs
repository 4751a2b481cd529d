//! What a lease allows, and the gate it opens and closes in front of the sinks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use tokio::sync::watch;

/// Whether rows of one run over a shard may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passage {
    /// Yes.
    Open = 0,
    /// Not now; keep them.
    Paused = 1,
    /// Never again; let them go.
    Closed = 2,
}

/// Wakes all tasks that wait before a gate when one of them moved. Leases change rarely, so one bell for all
/// gates costs nothing.
#[derive(Debug, Clone)]
pub(crate) struct Bell(Arc<watch::Sender<()>>);

impl Bell {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(())))
    }

    /// Hears every ring from now on.
    pub(crate) fn listen(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}

/// Stands between the rows of one run over a shard and every sink.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Different for every run in this process, also for two runs over the same shard.
    id: u64,
    passage: AtomicU8,
    bell: Bell,
}

impl Gate {
    pub(crate) fn new(bell: Bell) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { id, passage: AtomicU8::new(Passage::Open as u8), bell })
    }

    pub(crate) const fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn passage(&self) -> Passage {
        match self.passage.load(Ordering::Acquire) {
            0 => Passage::Open,
            1 => Passage::Paused,
            _ => Passage::Closed,
        }
    }

    /// Moves the gate. Once closed it stays closed.
    pub(crate) fn set(&self, passage: Passage) {
        self.passage.fetch_max(passage as u8, Ordering::AcqRel);
        if passage == Passage::Open {
            let paused = Passage::Paused as u8;
            let moved = (paused, Passage::Open as u8);
            // Refused if it is open already or closed for good: both are as they should be.
            let _ = self.passage.compare_exchange(
                moved.0,
                moved.1,
                Ordering::AcqRel,
                Ordering::Acquire,
            );
        }
        self.bell.0.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_gate_never_opens_again() {
        let gate = Gate::new(Bell::new());
        gate.set(Passage::Paused);
        assert_eq!(gate.passage(), Passage::Paused);
        gate.set(Passage::Open);
        assert_eq!(gate.passage(), Passage::Open);
        gate.set(Passage::Closed);
        for passage in [Passage::Open, Passage::Paused] {
            gate.set(passage);
            assert_eq!(gate.passage(), Passage::Closed);
        }
    }

    #[test]
    fn a_gate_that_moves_rings_the_bell() {
        let bell = Bell::new();
        let heard = bell.listen();
        let gate = Gate::new(bell);
        assert!(!heard.has_changed().unwrap());
        gate.set(Passage::Paused);
        assert!(heard.has_changed().unwrap());
    }
}
