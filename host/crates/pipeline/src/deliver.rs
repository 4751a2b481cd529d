//! Per sink: a queue, a dispatcher that packs bodies, and a bounded number of requests in flight.
//!
//! Delivery state is per sink and per row: what one sink has delivered is never sent to it again because
//! another sink refused it. The dispatcher is one task; each request is a task of its own, which it joins.

mod attempt;
mod chunk;
mod context;
mod dispatcher;
mod part;
mod rate;
mod request;
mod search;
mod shard_queues;
mod suspects;
mod unconfirmed;

use std::sync::Arc;

use forwarder_connector::Sink;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

pub use self::attempt::Delivered;
pub(crate) use self::chunk::{EncodedBatch, EncodedChunk};
pub use self::context::DeliverySettings;
pub(crate) use self::context::SinkContext;
use self::dispatcher::Dispatcher;
use crate::demand::Demand;
use crate::metrics::{self as meters, SinkMeters};
use crate::refusals::RejectWatch;

/// Chunks between the shards and the dispatcher. The queue smooths, it does not store.
const QUEUED_CHUNKS: usize = 64;

/// The way to one sink.
#[derive(Clone)]
pub(crate) struct SinkQueue {
    context: Arc<SinkContext>,
    chunks: mpsc::Sender<EncodedChunk>,
}

impl SinkQueue {
    /// The queue, and the dispatcher that empties it. It runs until `closing` says so, then sends what it
    /// has left and closes the sink.
    pub(crate) fn new(
        context: Arc<SinkContext>,
        closing: watch::Receiver<bool>,
        demand: &Demand,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (chunks, queue) = mpsc::channel(QUEUED_CHUNKS);
        let dispatcher = Dispatcher::new(Arc::clone(&context), queue, closing, demand.listen());
        (Self { context, chunks }, dispatcher.run())
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.context.name
    }

    pub(crate) fn sink(&self) -> &dyn Sink {
        &*self.context.sink
    }

    /// Counts the rows that do not fit the sink's protocol.
    pub(crate) fn unfit(&self) -> &RejectWatch {
        &self.context.unfit
    }

    pub(crate) fn meters(&self) -> &SinkMeters {
        &self.context.meters
    }

    /// Waits for a place in the queue. A chunk that cannot be queued, because the dispatcher is gone, is
    /// dropped: its shard hears of that through the ledger.
    pub(crate) async fn put(&self, chunk: EncodedChunk) {
        if let Err(mpsc::error::TrySendError::Full(chunk)) = self.chunks.try_send(chunk) {
            let _waiting = meters::Waiting::since(Instant::now(), meters::STAGE_SINK);
            let _ = self.chunks.send(chunk).await;
        }
    }
}
