//! Bodies that a receiver has accepted and not yet confirmed.
//!
//! They take no request slot and keep no lane busy. Their rows stay open in the ledger, so that no checkpoint
//! passes them, and their bytes stay charged to the budget, which bounds them.

use std::sync::Arc;

use crate::deliver::Desk;
use crate::deliver::parcel::Parcel;
use crate::seams::{Confirmation, Verdict};

/// Bodies of one sink that may wait for confirmation. Beyond that its requests wait for a place here.
pub(super) const UNCONFIRMED_BODIES: usize = 4_096;

/// One such body.
pub(super) struct Unconfirmed {
    pub(super) parcel: Parcel,
    pub(super) confirmation: Confirmation,
}

impl Unconfirmed {
    /// Waits for the verdict, and lets go of rows whose lease is lost meanwhile. `None` if nothing is left to be
    /// decided.
    pub(super) async fn decided(self, desk: Arc<Desk>) -> Option<(Parcel, Verdict)> {
        let Self { mut parcel, confirmation } = self;
        let waiting = Waiting::new(&desk, &parcel);
        let mut moved = desk.bell.listen();
        let mut proof = confirmation.into_future();
        let verdict = loop {
            parcel.drop_closed();
            if parcel.is_empty() {
                return None;
            }
            tokio::select! {
                verdict = &mut proof => match verdict {
                    Verdict::Accepted(later) => proof = later.into_future(),
                    verdict => break verdict,
                },
                _ = moved.changed() => {}
            }
        };
        drop(waiting);
        Some((parcel, verdict))
    }
}

/// Keeps the gauge right, whichever way the wait ends.
struct Waiting {
    desk: Arc<Desk>,
    rows: f64,
}

impl Waiting {
    fn new(desk: &Arc<Desk>, parcel: &Parcel) -> Self {
        let rows = parcel.rows() as f64;
        desk.meters.unconfirmed.increment(rows);
        Self { desk: Arc::clone(desk), rows }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.desk.meters.unconfirmed.decrement(self.rows);
    }
}
