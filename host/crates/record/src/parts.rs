//! A block as one batch, or as several where its logs come to more than there is room for.

use bytes::Bytes;

use crate::batch::Batch;
use crate::decode::{BlockPosition, DecodeError, Limits};
use crate::origin::Origin;

/// Reads a block part by part.
#[derive(Debug)]
pub struct BlockReader {
    block: Bytes,
    origin: Origin,
    limits: Limits,
    at: BlockPosition,
    next: Option<BlockPosition>,
    is_checked: bool,
}

impl BlockReader {
    /// Reads a decompressed `LogGroupList` from its start.
    pub fn new(block: Bytes, origin: Origin, limits: Limits) -> Self {
        Self { block, origin, limits, at: BlockPosition::default(), next: None, is_checked: false }
    }

    /// The batch at the present place, of at most about `room` bytes of table and text. Read again, it is the
    /// same batch, larger or smaller by the room.
    ///
    /// A block that has to be divided is read to its end first: nothing of a block that cannot be read whole
    /// may go out.
    ///
    /// # Errors
    ///
    /// As [`Batch::decode`].
    pub fn read(&mut self, room: usize) -> Result<Batch, DecodeError> {
        let (batch, next) = self.part(self.at, room)?;
        if !self.is_checked {
            let mut rest = next;
            while let Some(place) = rest {
                (_, rest) = self.part(place, room)?;
            }
            self.is_checked = true;
        }
        self.next = next;
        Ok(batch)
    }

    /// Continues behind the batch that was read last; `false` if nothing follows it.
    pub fn advance(&mut self) -> bool {
        let next = self.next.take();
        self.at = next.unwrap_or(self.at);
        next.is_some()
    }

    fn part(
        &self,
        from: BlockPosition,
        room: usize,
    ) -> Result<(Batch, Option<BlockPosition>), DecodeError> {
        Batch::decode_part(&self.block, self.origin.clone(), &self.limits, from, room)
    }
}
