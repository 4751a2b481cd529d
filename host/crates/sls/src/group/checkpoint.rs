//! Saves how far a shard is done: never by force, and never under a lease that has been lost.
//!
//! Official clients force their checkpoints, so that one that already lost a shard overwrites the
//! progress of the new owner. Here a refused save is news: the lease is gone.

use std::sync::Arc;

use forwarder_connector::LeaseState;

use super::shard_context::ShardContext;
use crate::cursor::Cursor;
use crate::error::Error;

/// A checkpoint that was not saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// The shard is not ours any more; its holder continues from the last checkpoint that was saved.
    #[error("shard {shard} is not ours any more, its checkpoint was not saved")]
    LeaseLost {
        /// Which shard.
        shard: u32,
        /// The service's word, unless we knew before asking.
        #[source]
        source: Option<Error>,
    },
    /// It did not work several times in a row. The lease stands; save again later.
    #[error("cannot save the checkpoint of shard {shard}")]
    Failed {
        /// Which shard.
        shard: u32,
        /// Why the last attempt failed.
        #[source]
        source: Error,
    },
}

/// Saves checkpoints under one lease.
#[derive(Clone)]
pub struct Checkpoints {
    context: Arc<ShardContext>,
}

impl Checkpoints {
    pub(super) fn new(context: Arc<ShardContext>) -> Self {
        Self { context }
    }

    /// Which shard.
    pub fn shard(&self) -> u32 {
        self.context.shard
    }

    /// Saves `cursor` as the next log group to read. A checkpoint equal to the last one is not written
    /// again. Saves of one shard happen one after the other.
    ///
    /// # Errors
    ///
    /// See [`SaveError`]. After `LeaseLost` the lease's state is [`LeaseState::Lost`].
    pub async fn save(&self, cursor: &Cursor) -> Result<(), SaveError> {
        let context = &*self.context;
        let mut saved = context.saved.lock().await;
        if context.state() == LeaseState::Lost {
            return Err(self.lost(None));
        }
        if saved.as_ref() == Some(cursor) {
            return Ok(());
        }
        let config = &context.membership.config;
        let mut state = context.state.clone();
        let save = context.membership.client.update_checkpoint(
            &config.logstore,
            &config.group,
            &config.consumer,
            context.shard,
            cursor,
        );
        let outcome = tokio::select! {
            biased;
            outcome = save => outcome,
            _ = state.wait_for(|state| *state == LeaseState::Lost) => return Err(self.lost(None)),
        };
        let error = match outcome {
            Ok(()) => {
                *saved = Some(cursor.clone());
                tracing::debug!(%cursor, "checkpoint saved");
                return Ok(());
            }
            Err(error) => error,
        };
        if error.membership_lost() {
            // Every shard is gone, not just this one. The next heartbeat joins again.
            context.membership.lease_table.expel();
        } else if error.ownership_lost() {
            context.lose();
        } else {
            // Also where the shard does not exist any more: no other consumer has it, so what was pulled of it is
            // still ours to deliver.
            return Err(SaveError::Failed { shard: context.shard, source: error });
        }
        Err(self.lost(Some(error)))
    }

    fn lost(&self, source: Option<Error>) -> SaveError {
        SaveError::LeaseLost { shard: self.context.shard, source }
    }
}
