//! Where batches come from. What a cursor is stays on the other side.

use forwarder_connector::BoxError;
use forwarder_record::{Batch, BlockReader};
use futures_util::future::BoxFuture;
use thiserror::Error;

use crate::budget::Permit;
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
