//! Saves safe points: at most every so often, never the same twice, never backwards, never by force.

use std::sync::Arc;
use std::time::Duration;

use forwarder_connector::BoxError;
use futures_util::future::BoxFuture;
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

use crate::ledger::{Ledger, SafePoint};
use crate::metrics::ShardMeters;
use crate::position::Position;
use crate::retry::RetryPolicy;

/// Remembers how far a shard is. Accepts nothing weaker than a safe point.
pub trait CheckpointStore: Send + Sync {
    /// Saves it, by no force: a store that another consumer owns by now must refuse.
    fn save<'a>(&'a self, point: &'a SafePoint) -> BoxFuture<'a, Result<(), SaveError>>;
}

/// A checkpoint that was not saved.
#[derive(Debug, Error)]
pub enum SaveError {
    /// Another consumer owns the shard. Nothing more is delivered or saved.
    #[error("lease is gone: {0}")]
    LeaseLost(#[source] BoxError),
    /// Not now; asked again with the next safe point.
    #[error("checkpoint could not be saved: {0}")]
    Unavailable(#[source] BoxError),
}

/// Keeps the stored checkpoint of one shard close behind its ledger.
pub(crate) struct Saver {
    meters: ShardMeters,
    store: Arc<dyn CheckpointStore>,
    /// Newest safe point that is not saved.
    pending: Option<SafePoint>,
    /// What the store holds, as far as we know.
    saved: Option<Position>,
    /// Sequence number of the newest safe point we were given.
    reached: u64,
    /// When the oldest batch was pulled of those that are settled and not saved.
    unsaved_since: Option<Instant>,
}

/// The store says that the shard is another consumer's.
#[derive(Debug)]
pub(crate) struct LeaseGone(pub(crate) BoxError);

/// How the last save of a run went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Saved {
    /// The store holds all there is to save.
    All,
    /// The store did not answer in time; a restart repeats some rows.
    NotYet,
}

impl Saver {
    /// `stored` is the checkpoint that the run starts from, if there is one.
    pub(crate) fn new(
        ledger: &Ledger,
        store: Arc<dyn CheckpointStore>,
        stored: Option<Position>,
    ) -> Self {
        let meters = ledger.meters().clone();
        let (pending, unsaved_since) = (None, None);
        Self { meters, store, pending, saved: stored, reached: 0, unsaved_since }
    }

    /// Follows the ledger, saving every `interval`. Ends only with the lease; may be dropped at any time,
    /// then a save may or may not have happened.
    pub(crate) async fn follow(&mut self, ledger: &Ledger, interval: Duration) -> LeaseGone {
        loop {
            sleep(interval).await;
            self.note(ledger);
            if let Err(gone) = self.save().await {
                return gone;
            }
            let oldest = self.unsaved_since.or_else(|| ledger.oldest());
            let age = oldest.map_or(Duration::ZERO, |pulled| pulled.elapsed());
            self.meters.checkpoint_age.set(age.as_secs_f64());
        }
    }

    /// Saves what is settled at the end of a run, repeating it for at most `limit`.
    pub(crate) async fn finish(
        &mut self,
        ledger: &Ledger,
        limit: Duration,
    ) -> Result<Saved, LeaseGone> {
        self.note(ledger);
        let mut backoff = RetryPolicy::default().retries();
        let saving = async {
            loop {
                self.save().await?;
                if self.pending.is_none() {
                    return Ok(Saved::All);
                }
                sleep(backoff.wait(None)).await;
            }
        };
        timeout(limit, saving).await.unwrap_or(Ok(Saved::NotYet))
    }

    fn note(&mut self, ledger: &Ledger) {
        let Some(point) = ledger.safe_point() else { return };
        if point.seq() < self.reached {
            // A ledger never moves backwards, and a checkpoint least of all.
            return;
        }
        self.reached = point.seq();
        let stored = self.saved.as_ref() == Some(point.next());
        let since = self.unsaved_since.unwrap_or_else(|| point.since());
        self.unsaved_since = (!stored).then_some(since);
        self.pending = (!stored).then_some(point);
    }

    /// Saves the pending point, if there is one. It stays pending if the store is out of order.
    async fn save(&mut self) -> Result<(), LeaseGone> {
        let Some(point) = &self.pending else { return Ok(()) };
        match self.store.save(point).await {
            Ok(()) => {
                debug!(position = %point.next(), "checkpoint saved");
                self.meters.checkpoints_saved.increment(1);
                self.saved = Some(point.next().clone());
                self.pending = None;
                self.unsaved_since = None;
                Ok(())
            }
            Err(SaveError::LeaseLost(cause)) => {
                self.meters.checkpoints_refused.increment(1);
                Err(LeaseGone(cause))
            }
            Err(SaveError::Unavailable(cause)) => {
                self.meters.checkpoints_failed.increment(1);
                warn!(
                    error = %cause,
                    "checkpoint not saved, trying again; a restart now would repeat some rows"
                );
                Ok(())
            }
        }
    }
}
