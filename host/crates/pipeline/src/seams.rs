//! Where the core meets sources, plugins and checkpoints: three small traits, owned by the core, implemented by
//! the program's wiring. They speak of batches and positions; what a cursor or a component is stays on the other side.
//! Sinks and dead letters are in `forwarder_connector`, since libraries implement them that do not know the core.

use std::sync::Arc;
use std::time::Duration;

use forwarder_connector::BoxError;
use forwarder_record::{Batch, BlockReader, RowIx};
use futures_util::future::BoxFuture;
use thiserror::Error;

use crate::budget::Permit;
use crate::ledger::SafePoint;
use crate::position::Position;

/// Where batches come from. One per lease on a shard.
pub trait Source: Send {
    /// Waits for the next block and the position after it. Abandoning the wait moves nothing.
    ///
    /// Pacing, retries and the wait for the byte budget are owned by the source: it asks
    /// [`Budget::admit`](crate::Budget::admit) before it asks the server.
    fn pull(&mut self) -> BoxFuture<'_, Result<Pulled, SourceLost>>;
}

/// What a pull brought.
#[derive(Debug)]
pub enum Pulled {
    /// Rows, perhaps.
    Block(Block),
    /// Nothing up to `next`, because nothing was written or a query left nothing over. It is progress all
    /// the same, and will be saved as such.
    Empty {
        /// Where to pull from next.
        next: Position,
    },
    /// The shard has no more to give, and never will.
    End,
}

/// A pulled block that has not been looked into.
pub struct Block {
    /// Decompresses and decodes, on compute threads.
    pub load: Box<dyn Load>,
    /// Where to pull from once this block is settled.
    pub next: Position,
    /// Size when decompressed, as the server declared it.
    pub raw_bytes: u64,
    /// The bytes of the budget that it was admitted with.
    pub permit: Permit,
}

/// The work that makes batches of a block.
pub trait Load: Send {
    /// Makes a batch of what is next: all that is left of the block, or as many logs of it as come to about `room`
    /// bytes of table and text, and at least one. Asked again, it reads from the same place.
    ///
    /// # Errors
    ///
    /// [`Unreadable`] at the first call if any part of the block is.
    fn read(&mut self, room: usize) -> Result<Batch, Unreadable>;

    /// Continues behind what was read last; `false` if that was the end of the block.
    fn advance(&mut self) -> bool;
}

impl Load for BlockReader {
    fn read(&mut self, room: usize) -> Result<Batch, Unreadable> {
        Self::read(self, room).map_err(|cause| Unreadable(Box::new(cause)))
    }

    fn advance(&mut self) -> bool {
        Self::advance(self)
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { next, raw_bytes, permit, load: _ } = self;
        let mut shown = f.debug_struct("Block");
        shown.field("next", next).field("raw_bytes", raw_bytes).field("permit", permit);
        shown.finish_non_exhaustive()
    }
}

/// A block that does not decompress, does not decode, or exceeds a limit. The shard holds: continuing would
/// lose what is in it.
#[derive(Debug, Error)]
#[error("block could not be read: {0}")]
pub struct Unreadable(#[source] pub BoxError);

/// The source will give nothing more under this lease.
#[derive(Debug, Error)]
#[error("source cannot continue: {0}")]
pub struct SourceLost(#[source] pub BoxError);

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
