//! What a pull brings: data to be read, nothing, or an end.

use super::pull_error::PullError;
use super::shard::{Puller, Step, ended};
use crate::api::{PullHead, PullResponse};
use crate::cursor::Cursor;
use crate::error::{CallTo, Error};
use crate::wire::Block;
use bytes::Bytes;

impl Puller {
    /// Waits for what comes next in the shard. May be abandoned at any time without moving anything.
    ///
    /// # Errors
    ///
    /// Only ends, see [`PullError`]. Failures of network and service are waited out.
    pub async fn pull(&mut self) -> Result<Pull<'_>, PullError> {
        let mut state = self.context.state.clone();
        let step = tokio::select! {
            biased;
            ended = ended(&mut state) => return Err(PullError::Ended(ended)),
            step = self.step() => step?,
        };
        Ok(match step {
            Step::Data(response) => Pull::Data(Pulled::new(self, response)),
            Step::Empty(next_cursor) => Pull::Empty { next_cursor },
            Step::ReachedEnd(cursor) => Pull::ReachedEnd { cursor },
        })
    }
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
