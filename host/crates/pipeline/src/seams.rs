//! Where the core meets the world: five small traits, owned by the core, implemented by the program's wiring.
//!
//! They speak of batches, rows, positions and verdicts; what a cursor, a component or a HEC reply is stays on
//! the other side. The futures are boxed, so that a program can have mixed sinks in one list: that is one
//! allocation per request, none per row.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forwarder_record::{Batch, BlockReader, Encoded, RowIx};
use futures_util::future::BoxFuture;
use thiserror::Error;

use crate::budget::Permit;
use crate::dead_letter::Letter;
use crate::deliver::Parcel;
use crate::ledger::SafePoint;
use crate::position::Position;

/// An error of the other side of a seam: to be shown to a person, never to be looked into.
pub type BoxError = Box<dyn Error + Send + Sync>;

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
    ) -> Result<Option<Outcome>, Halt>;
}

/// Makes the transform of one compute thread, on that thread; called again if a job panicked with it.
pub type TransformFactory = Arc<dyn Fn() -> Box<dyn Transform> + Send + Sync>;

/// What a chain did to a batch. The numbers are checked against the batch, because a row that neither side
/// knows of would be lost without a word.
#[derive(Debug, Default)]
pub struct Outcome {
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

/// Takes responsibility for rows, or says why not.
pub trait Sink: Send + Sync {
    /// Its name in the configuration.
    fn name(&self) -> &str;

    /// Encodes rows of a batch, each separable from the next. Runs on a compute thread.
    ///
    /// Every row is either encoded, or named in the report, or counted there as blank.
    fn encode(&self, batch: &Batch, rows: &[RowIx], out: &mut Encoded) -> EncodeReport;

    /// Whether [`Sink::pack`] does work that belongs on a compute thread, such as compression.
    fn packs(&self) -> bool {
        false
    }

    /// Makes a request body of encoded rows. As it stands, a body is its parts one after the other.
    fn pack(&self, parts: &[Bytes]) -> Vec<Bytes> {
        parts.to_vec()
    }

    /// The most that may go into one body. Asked for every body, so that a sink can learn from refusals.
    fn limits(&self) -> BodyLimits;

    /// Sends one body and waits for the answer, with a time limit of its own.
    ///
    /// One attempt: repeating it is for the pipeline. The future may be dropped when the process stops; then
    /// it is not known whether the far side has the rows, and they are sent again after the restart.
    fn deliver<'a>(&'a self, parcel: &'a Parcel) -> BoxFuture<'a, Verdict>;

    /// Rows that were accepted are waited for: ask the far side for their confirmation now, if it can be
    /// asked. Called again and again while that is so; returns at once.
    fn confirm(&self) {}

    /// Ends connections in an orderly way, after the last delivery.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// Why rows were not delivered: a key for counting, and a sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text}")]
pub struct Cause {
    reason: &'static str,
    text: String,
}

impl Cause {
    /// `reason` is one of a small fixed set of `snake_case` words, since refusals are counted by it; `text` says
    /// what happened, where, and what to do about it.
    pub fn new(reason: &'static str, text: impl Into<String>) -> Self {
        Self { reason, text: text.into() }
    }

    /// The key.
    pub const fn reason(&self) -> &'static str {
        self.reason
    }
}

/// What became of rows that were not encoded.
#[derive(Debug, Default)]
pub struct EncodeReport {
    /// Rows that this sink can never send, such as oversize ones, each with the reason.
    pub rejected: Vec<(RowIx, Cause)>,
    /// Rows in which nothing was left to send.
    pub blank: usize,
}

/// The most that may go into one body, before packing. A single row that exceeds it is sent alone.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// Encoded bytes.
    pub max_bytes: usize,
    /// Rows.
    pub max_rows: usize,
}

/// A verdict that is still to come, about rows that the far side has accepted.
///
/// Until it says [`Verdict::Delivered`], the rows are ours: they are not settled, and no checkpoint passes
/// them. One that is dropped settles nothing.
pub struct Confirmation(BoxFuture<'static, Verdict>);

impl Confirmation {
    /// `proof` resolves to what the far side finally says. Anything but [`Verdict::Delivered`] is treated like
    /// the answer to a request: after [`Verdict::Retry`] the rows are sent again.
    pub fn new(proof: impl Future<Output = Verdict> + Send + 'static) -> Self {
        Self(Box::pin(proof))
    }

    pub(crate) fn into_future(self) -> BoxFuture<'static, Verdict> {
        self.0
    }
}

impl std::fmt::Debug for Confirmation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Confirmation").finish_non_exhaustive()
    }
}

/// A sink's answer. The core never gives a retry up, and believes a refusal only when the same receiver has
/// accepted something else meanwhile, see `deliver/search.rs`.
#[derive(Debug)]
pub enum Verdict {
    /// The far side has taken responsibility for the rows.
    Delivered,
    /// The far side has the rows and has not yet confirmed that it is responsible for them. The request is
    /// over, so the next may begin; the rows are settled when the confirmation comes. In order
    /// (`ordered`), later rows of the shard may follow: a sink that accepts rows repeats them in order by
    /// itself, or does not use this.
    Accepted(Confirmation),
    /// Not now; the same bytes may succeed later.
    Retry {
        /// What the far side asked us to wait, if it did.
        after: Option<Duration>,
        /// For the log.
        cause: Cause,
    },
    /// Not these rows, as the far side says; the rest of the parcel is worth sending.
    Reject {
        /// Rows of the parcel, counted from zero.
        rows: Vec<usize>,
        /// For the dead letter.
        cause: Cause,
    },
    /// Too large, or refused without a word about which row is to blame: send parts of it.
    Divide {
        /// For the log, or for the dead letter.
        cause: Cause,
    },
    /// Nothing from us will be taken until a person acts: keep the rows, ask again slowly.
    Hold {
        /// For the person.
        cause: Cause,
    },
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

/// Keeps what can never be delivered.
pub trait DeadLetters: Send + Sync {
    /// Writes the letters; `Ok` means that they survive a loss of power. Written twice is better than not:
    /// after an error all of them are offered again.
    fn write<'a>(&'a self, letters: &'a [Letter]) -> BoxFuture<'a, Result<(), BoxError>>;
}
