//! What edits batches between pull and plan. What a component is stays on the other side.

use std::sync::Arc;
use std::time::Duration;

use forwarder_record::{Batch, RowIx};
use thiserror::Error;

/// Edits a batch in place. One per compute thread, never called from two places at once.
pub trait Transform: Send {
    /// Runs the whole chain over the batch. Rows at fault are for the implementation to isolate; what it
    /// cannot handle halts the shard.
    ///
    /// `bears` is to be asked with the bytes of the batch and of what is to be added to it, each time that these
    /// become more. Once it says no, nothing comes of it, and the batch is read again with fewer rows.
    ///
    /// # Errors
    ///
    /// [`Halt`] when the shard must not continue, not even without this batch.
    fn apply(
        &mut self,
        batch: &mut Batch,
        bears: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Option<TransformReport>, Halt>;
}

/// Makes the transform of one compute thread, on that thread; called again if a job panicked with it.
pub type TransformFactory = Arc<dyn Fn() -> Box<dyn Transform> + Send + Sync>;

/// What a chain did to a batch. The numbers are checked against the batch, because a row that neither side
/// knows of would be lost without a word.
#[derive(Debug, Default)]
pub struct TransformReport {
    /// Rows dropped on purpose, emitted ones included.
    pub dropped: usize,
    /// Rows that plugins added.
    pub emitted: usize,
    /// Rows for the dead letters.
    pub rejected: Vec<Rejected>,
    /// How many rows each plugin was given, for `max_reject_ratio`.
    pub seen: Vec<(Arc<str>, usize)>,
}

/// A row that a plugin refused, or that no instance of it survived.
#[derive(Debug)]
pub struct Rejected {
    /// Which row.
    pub row: RowIx,
    /// Which plugin.
    pub plugin: Arc<str>,
    /// Why, for a person.
    pub reason: String,
}

/// The shard must not continue without operator action; nothing of the batch was delivered.
#[derive(Debug, Error)]
#[error("plugin `{plugin}` halted the shard: {reason}")]
pub struct Halt {
    /// Which plugin.
    pub plugin: Arc<str>,
    /// Why, for a person.
    pub reason: String,
    /// When to try again, if the plugin is suspended and has said so in the log: the shard pauses that long, without
    /// a line of its own. `None` if an operator has to act.
    pub retry_in: Option<Duration>,
}
