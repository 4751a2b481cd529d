//! Bodies that a receiver has accepted and not yet confirmed.
//!
//! They take no request slot and keep no queue busy. Their rows stay open in the ledger, so that no checkpoint
//! passes them, and their bytes stay charged to the budget, which bounds them.

use forwarder_connector::{Confirmation, Verdict};

use crate::deliver::context::SinkContext;
use crate::deliver::request::Request;

/// Bodies of one sink that may wait for confirmation. Beyond that its requests wait for a place here.
pub(super) const UNCONFIRMED_BODIES: usize = 4_096;

/// One such body.
pub(super) struct Unconfirmed {
    pub(super) request: Request,
    pub(super) confirmation: Confirmation,
    /// The number of the request.
    pub(super) number: u64,
}

/// What became of one.
pub(super) struct Decided {
    pub(super) request: Request,
    pub(super) verdict: Verdict,
    pub(super) number: u64,
}

impl Unconfirmed {
    /// Waits for the verdict, and lets go of rows whose lease is lost meanwhile. `None` if nothing is left to be
    /// decided.
    pub(super) async fn decided(self, context: &SinkContext) -> Option<Decided> {
        let Self { mut request, confirmation, number } = self;
        let _waiting = Waiting::new(context, &request);
        let verdict = context.gates.unless(|| request.all_lost(), confirmation.verdict()).await?;
        Some(Decided { request, verdict, number })
    }
}

/// Keeps the gauge right, whichever way the wait ends.
struct Waiting<'d> {
    context: &'d SinkContext,
    rows: f64,
}

impl<'d> Waiting<'d> {
    fn new(context: &'d SinkContext, request: &Request) -> Self {
        let rows = request.rows() as f64;
        context.meters.unconfirmed.increment(rows);
        Self { context, rows }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.context.meters.unconfirmed.decrement(self.rows);
    }
}
