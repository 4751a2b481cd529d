//! The engine that the program runs: sinks started once, one run per shard lease, one orderly end.
//!
//! Every task has an owner that joins it. A sink's dispatcher that ends without being asked to is a bug,
//! and [`Pipeline::failed`] reports it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use forwarder_connector::{DeadLetters, Sink};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout};
use tracing::warn;

use crate::compute::Compute;
use crate::dead_letter::DeadLetterWriter;
use crate::deliver::{DeliverySettings, SinkContext, SinkQueue};
use crate::demand::Demand;
use crate::destinations::{Destinations, PluginWatches};
use crate::lease_gate::LeaseGates;
use crate::metrics as meters;
use crate::position::ShardId;
use crate::refusals::RejectLimit;
use crate::retry::RetryPolicy;
use crate::route::RouteTable;
use crate::shard::{self, PipelineContext, ShardEnd, ShardRun, ShardSettings};

/// What a pipeline is made of.
pub struct PipelineParts {
    /// The sinks, each with how it is served. Names must differ.
    pub sinks: Vec<(Arc<dyn Sink>, DeliverySettings)>,
    /// The routing table.
    pub routes: RouteTable,
    /// Where bytes are worked on.
    pub compute: Compute,
    /// Where refused rows go.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// The waits while dead letters cannot be written (those of a hold).
    pub dead_letter_retry: RetryPolicy,
    /// How many refusals by each plugin are believed.
    pub plugin_refusals: RejectLimit,
    /// How shards are run.
    pub shards: ShardSettings,
    /// Who waits for settlements; the same as in the sources' budgets.
    pub demand: Demand,
}

/// A running pipeline.
pub struct Pipeline {
    context: PipelineContext,
    dispatchers: JoinSet<()>,
    stop: watch::Sender<Option<Instant>>,
    closing: watch::Sender<bool>,
    /// One receiver per run; the channel is closed when the last run has ended.
    runs: watch::Sender<()>,
    /// Batches that runs had to leave unsettled when they were stopped.
    left_behind: Arc<AtomicUsize>,
}

/// How the draining went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Every run settled what it had pulled, and every sink was closed in time.
    pub in_time: bool,
}

/// After the drain, sinks get what is left of the grace period to finish a request and close their connections, but
/// not longer than this …
const CLOSING_LIMIT: Duration = Duration::from_secs(5);
/// … and not less.
const LEAST_CLOSING: Duration = Duration::from_millis(200);

impl Pipeline {
    /// Starts the sinks. Must be called inside a runtime.
    pub fn start(parts: PipelineParts) -> Self {
        let gates = LeaseGates::new();
        let (stop, closing) = (watch::Sender::new(None), watch::Sender::new(false));
        let dead_letters =
            DeadLetterWriter::new(parts.dead_letters, parts.dead_letter_retry, gates.clone());
        let dead_letters = Arc::new(dead_letters);
        let mut dispatchers = JoinSet::new();
        let mut sinks = Vec::with_capacity(parts.sinks.len());
        for (sink, settings) in parts.sinks {
            let context = SinkContext::new(
                sink,
                settings,
                &parts.compute,
                Arc::clone(&dead_letters),
                gates.clone(),
            );
            let (queue, dispatcher) = SinkQueue::new(context, closing.subscribe(), &parts.demand);
            dispatchers.spawn(dispatcher);
            sinks.push(queue);
        }
        let plugins = PluginWatches::new(parts.plugin_refusals);
        let destinations = Destinations::new(parts.routes, sinks, dead_letters, plugins);
        let context = PipelineContext {
            destinations: Arc::new(destinations),
            compute: parts.compute,
            settings: parts.shards,
            demand: parts.demand,
            gates,
            stop: stop.subscribe(),
        };
        let (runs, left_behind) = (watch::Sender::new(()), Arc::default());
        Self { context, dispatchers, stop, closing, runs, left_behind }
    }

    /// A handle with which shards are run, for the tasks that hold the leases.
    pub fn runner(&self) -> Runner {
        let (runs, left_behind) = (self.runs.clone(), Arc::clone(&self.left_behind));
        Runner { context: self.context.clone(), runs, left_behind }
    }

    /// Resolves if a sink's dispatcher dies, which is a bug: the process should end with an error. Nothing
    /// was lost. The future may be dropped and asked for again.
    pub async fn failed(&mut self) -> DispatcherDied {
        match self.dispatchers.join_next().await {
            Some(Err(error)) => DispatcherDied::Panicked(error),
            Some(Ok(())) => DispatcherDied::Ended,
            // A pipeline without sinks has nothing that could die.
            None => std::future::pending().await,
        }
    }

    /// Stops all runs, gives them `grace` to finish what they have pulled and to save their checkpoints,
    /// then closes the sinks. The heartbeats must continue meanwhile.
    pub async fn drain(mut self, grace: Duration) -> Drained {
        let by = Instant::now() + grace;
        self.stop.send_replace(Some(by));
        // Runs end at the deadline, plus the last save, plus a little.
        let patience = grace + self.context.settings.save_limit + Duration::from_secs(1);
        let ended = timeout(patience, self.runs.closed()).await.is_ok();
        self.closing.send_replace(true);
        let left = by.saturating_duration_since(Instant::now());
        let limit = left.clamp(LEAST_CLOSING, CLOSING_LIMIT);
        let closed =
            timeout(limit, async { while self.dispatchers.join_next().await.is_some() {} });
        let closed = closed.await.is_ok();
        if !closed {
            warn!("a sink did not close in time, ending its requests");
            self.dispatchers.shutdown().await;
        }
        let settled = self.left_behind.load(Ordering::Relaxed) == 0;
        Drained { in_time: ended && closed && settled }
    }
}

/// Runs shards. Cheap to clone.
#[derive(Clone)]
pub struct Runner {
    context: PipelineContext,
    runs: watch::Sender<()>,
    left_behind: Arc<AtomicUsize>,
}

impl Runner {
    /// Runs over one shard for as long as the lease, the source and the process allow; see [`ShardEnd`].
    ///
    /// To be spawned into a set that is joined. Dropping the future is safe and wasteful: what was in
    /// flight is not settled and is pulled again.
    pub async fn run_shard(&self, run: ShardRun) -> ShardEnd {
        let _running = self.runs.subscribe();
        let end = shard::run(self.context.clone(), run).await;
        if let ShardEnd::Stopped { unsettled } = end {
            self.left_behind.fetch_add(unsettled, Ordering::Relaxed);
        }
        end
    }

    /// Says of a shard without a run whether it is paused and needs operator action; no longer, once it is released.
    pub fn set_holding(&self, shard: &ShardId, holds: bool) {
        meters::shard_holding(shard, holds);
    }
}

/// A sink's dispatcher ended while the pipeline was running.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DispatcherDied {
    /// It panicked.
    #[error("a sink's dispatcher panicked (a bug in the forwarder): {0}")]
    Panicked(#[source] JoinError),
    /// It returned.
    #[error("a sink's dispatcher ended by itself (a bug in the forwarder)")]
    Ended,
}
