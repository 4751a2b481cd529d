//! What a client may ask of the task that owns its connection, and what it hears.

use std::sync::Arc;
use std::time::Duration;

use forwarder_connector::{Body, Cause};
use tokio::sync::{Notify, mpsc, oneshot};

use super::proof::Sent;
use super::target::Target;

/// Bodies that may be written before the first of them is acknowledged.
pub(super) const MAX_IN_FLIGHT: usize = 8;

/// How a connection ended that we closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// The receiver has read everything and closed its side, or there was nothing to be confirmed.
    Cleanly,
    /// It did not in time. Rows that were not confirmed stay unsettled.
    Unconfirmed,
}

#[derive(Debug)]
pub(super) enum Request {
    Send { body: Body, sent: oneshot::Sender<Sent> },
    Probe { result: oneshot::Sender<Result<(), Cause>> },
}

#[derive(Debug)]
pub(super) struct CloseRequest {
    pub(super) limit: Duration,
    pub(super) closed: oneshot::Sender<Closed>,
}

/// What a link listens to.
pub(super) struct Requests {
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) closing: mpsc::Receiver<CloseRequest>,
    pub(super) confirm: Arc<Notify>,
}

/// The receiver was asked for confirmation and gives none.
pub(super) fn not_confirming(target: &Target) -> Cause {
    let text = format!(
        "{target} keeps a connection open that the forwarder has finished: it has not read to the end, or it does not \
         close connections; check that the receiver is not overloaded or suspended; no data lost, the logs wait unsettled"
    );
    Cause::new("unconfirmed", text)
}
