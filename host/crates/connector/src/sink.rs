//! The interface of a sink.

use bytes::Bytes;
use forwarder_record::{Batch, Encoded, RowIx};
use futures_util::future::BoxFuture;

use crate::body::{Body, BodyLimits};
use crate::verdict::{Answer, Cause};

/// Takes responsibility for rows, or says why not.
///
/// The way of a row has three steps, and the core owns the time between them: [`encode`](Self::encode) rows of a batch
/// and [`pack`](Self::pack) what several batches came to, both on a compute thread, then
/// [`deliver`](Self::deliver) the body. A sink does not repeat, queue or count attempts.
///
/// The futures are boxed, so that a program can have mixed sinks in one list: that is one allocation per request,
/// none per row.
pub trait Sink: Send + Sync {
    /// Its name in the configuration.
    fn name(&self) -> &str;

    /// What "delivered" means here, for people who plan for the worst.
    fn delivered_means(&self) -> &'static str;

    /// Encodes rows of a batch, each separable from the next. Runs on a compute thread.
    ///
    /// Every row is either encoded, or named in the report, or counted there as blank.
    fn encode(&self, batch: &Batch, rows: &[RowIx], out: &mut Encoded) -> EncodeReport;

    /// Whether [`Sink::pack`] does work that belongs on a compute thread, such as compression.
    fn packs(&self) -> bool {
        false
    }

    /// Makes a body of encoded rows; `rows` is how many the segments hold together. As it stands, a body is its
    /// segments one after the other.
    fn pack(&self, segments: Vec<Bytes>, rows: usize) -> Body {
        Body::plain(segments, rows)
    }

    /// The most that may go into one body. Asked for every body, so that a sink can learn from refusals.
    fn limits(&self) -> BodyLimits;

    /// Sends one body and waits for the answer, with a time limit of its own.
    ///
    /// One attempt: repeating it is for the core. The future may be dropped when the process stops; then it is not
    /// known whether the receiver has the rows, and they are sent again after the restart.
    fn deliver<'a>(&'a self, body: &'a Body) -> BoxFuture<'a, Answer>;

    /// Rows that were accepted are waited for: ask the receiver for their confirmation now, if it can be asked.
    /// Called again and again while that is so; returns at once.
    fn confirm(&self) {}

    /// Asks whether the receiver answers at all.
    ///
    /// # Errors
    ///
    /// Why not, and what to do.
    fn reachable(&self) -> BoxFuture<'_, Result<(), Cause>> {
        Box::pin(async { self.probe().await.map(drop) })
    }

    /// Asks the receiver what it would do with our logs, without sending one. Returns what could not be found out.
    ///
    /// # Errors
    ///
    /// Why it would not take them, and what to do.
    fn probe(&self) -> BoxFuture<'_, Result<Vec<String>, Cause>>;

    /// Resolves once the receiver has left for good, so that the process should end. Most never do.
    fn receiver_left(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    /// Ends connections in an orderly way, after the last delivery.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// What became of rows that were not encoded.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use = "rows named here were not encoded and are still to be accounted for"]
pub struct EncodeReport {
    /// Rows that this sink can never send, such as oversize ones, each with the reason.
    pub rejected: Vec<(RowIx, Cause)>,
    /// Rows in which nothing was left to send.
    pub blank: usize,
}
