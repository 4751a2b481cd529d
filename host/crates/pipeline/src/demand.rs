//! Who waits for rows to be settled, so that sinks ask for their confirmations early.
//!
//! Rows that a receiver has accepted and not yet confirmed may stay so for a while; asking costs it work. A task
//! may be unable to continue until they are settled: a pull without budget, a shard that is handed over, a
//! process that stops. Each of them raises a [`Demand`] for as long as it waits.

use std::sync::Arc;

use tokio::sync::watch;

/// The number of waits that only a settlement ends. One per process; clones share it.
#[derive(Debug, Clone)]
pub struct Demand(Arc<watch::Sender<usize>>);

impl Default for Demand {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl Demand {
    /// One more wait, until the returned value is dropped.
    pub(crate) fn raise(&self) -> Raised {
        self.0.send_modify(|waits| *waits += 1);
        Raised(self.clone())
    }

    /// The number of waits, and a way to wait for a change.
    pub(crate) fn listen(&self) -> watch::Receiver<usize> {
        self.0.subscribe()
    }
}

/// One wait; ends when it is dropped.
#[derive(Debug)]
#[must_use = "the demand ends when this is dropped"]
pub(crate) struct Raised(Demand);

impl Drop for Raised {
    fn drop(&mut self) {
        self.0.0.send_modify(|waits| *waits = waits.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lasts_as_long_as_a_task_waits() {
        let demand = Demand::default();
        let waits = demand.listen();
        let (one, other) = (demand.raise(), demand.raise());
        drop(one);
        assert_eq!(*waits.borrow(), 1);
        drop(other);
        assert_eq!(*waits.borrow(), 0);
    }
}
