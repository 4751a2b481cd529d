//! What a pull brings: data to be read, nothing, or an end.

use bytes::Bytes;

use super::board::LeaseState;
use super::shard::Puller;
use crate::api::{PullHead, PullResponse};
use crate::cursor::Cursor;
use crate::error::{CallTo, Error};
use crate::wire::Block;

/// Why there is nothing more to pull.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// The lease has ended: `HandOver` (finish, save, release) or `Lost` (stop, release).
    #[error("the lease of the shard has ended: the shard is {0}")]
    Ended(LeaseState),
    /// The shard does not exist any more.
    #[error("the shard does not exist any more")]
    ShardMissing(#[source] Error),
    /// The position is no longer valid, and the configuration says that an operator decides.
    #[error(
        "the position is no longer valid, logs have probably expired unread; set the group's \
         checkpoint, or `on_invalid_cursor` to `begin` or `end`"
    )]
    InvalidCursor(#[source] Error),
    /// The answers about one position stay damaged, however often it is asked for.
    #[error(
        "the logs at cursor {cursor} could not be read {times} times in a row: {cause}; if this stays so, move \
         the group's checkpoint behind it (`forwarder group set`)"
    )]
    Damaged {
        /// The position.
        cursor: Cursor,
        /// How many answers were damaged in a row.
        times: u32,
        /// What was wrong with the last one.
        cause: String,
    },
    /// A single log group is larger than any block may be.
    #[error(
        "one log group holds {raw_size} bytes, more than the limit of {limit}; raise `max_block`"
    )]
    TooLarge {
        /// Unpacked bytes of the log group.
        raw_size: u64,
        /// The configured limit.
        limit: u64,
    },
}

/// What a pull brought.
#[derive(Debug)]
pub enum Pull<'a> {
    /// Log groups, still to be received.
    Data(Pulled<'a>),
    /// Nothing, but the position may have moved. If everything before is delivered, save it: only so is a
    /// read-only shard ever finished, and only so does a filter that matches nothing make progress.
    Empty {
        /// The position now.
        next_cursor: Cursor,
    },
    /// The configured end. Keep the lease until the group has no more leases; further pulls wait.
    ReachedEnd {
        /// The position of the end.
        cursor: Cursor,
    },
}

/// Log groups whose headers are here and whose body is not. Wait for memory now, knowing
/// [`raw_size`](Self::raw_size), then receive it. Dropping it moves nothing: the next pull brings the
/// same.
pub struct Pulled<'a> {
    puller: &'a mut Puller,
    response: Box<PullResponse>,
}

impl<'a> Pulled<'a> {
    pub(super) fn new(puller: &'a mut Puller, response: Box<PullResponse>) -> Self {
        Self { puller, response }
    }

    /// What the headers say.
    pub fn head(&self) -> &PullHead {
        self.response.head()
    }

    /// The call that was answered, with its address.
    pub fn call(&self) -> &CallTo {
        self.response.call()
    }

    /// Bytes of the block when unpacked; at most the configured limit.
    pub fn raw_size(&self) -> u64 {
        self.head().raw_size()
    }

    /// What to save as checkpoint once the block is delivered.
    pub fn next_cursor(&self) -> &Cursor {
        self.head().next_cursor()
    }

    /// Receives the block as it travelled; only now does the position move. Unpacking is for another
    /// thread; if that fails, the shard is read again from its checkpoint by another puller.
    ///
    /// # Errors
    ///
    /// The body did not arrive or is not what its headers claim. The next pull waits a moment and then
    /// brings the same log groups, or ends with [`PullError::Damaged`].
    pub async fn block(self) -> Result<Block, Error> {
        self.receive(|_| Ok(())).await.map(|(block, ())| block)
    }

    /// Receives and unpacks the block.
    ///
    /// # Errors
    ///
    /// As [`block`](Self::block), or the block is damaged; the position moves only if it is sound.
    pub async fn body(self) -> Result<Bytes, Error> {
        let call = self.response.call().clone();
        let unpack = |block: &Block| block.unpack().map_err(|source| Error::Block { call, source });
        self.receive(unpack).await.map(|(_, body)| body)
    }

    async fn receive<T>(
        self,
        check: impl FnOnce(&Block) -> Result<T, Error>,
    ) -> Result<(Block, T), Error> {
        let Self { puller, response } = self;
        let limit = puller.block_limit();
        let head = response.head().clone();
        let received = response.block(limit).await.and_then(|block| Ok((check(&block)?, block)));
        match received {
            Ok((checked, block)) => {
                puller.received(&head, block.packed_size());
                Ok((block, checked))
            }
            Err(error) => {
                puller.defer(&error);
                Err(error)
            }
        }
    }
}

impl std::fmt::Debug for Pulled<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pulled({:?})", self.head())
    }
}
