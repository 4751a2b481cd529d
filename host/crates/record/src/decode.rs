//! `LogGroupList` to table: the walk over the block, and flattening.
//!
//! The messages (`sls` protocol, proto2): `LogGroupList{1: LogGroup}`, `LogGroup{1: Log, 3: Topic, 4: Source,
//! 6: LogTag}`, `Log{1: Time, 2: Content, 4: Time_ns fixed32}`, `LogTag` and `Content{1: Key, 2: Value}`. Field numbers
//! as published in the official SDKs. `MachineUUID` and `Reserved` are not part of a flattened log.
//!
//! A flattened log has, in this order: `__time__`, `__topic__`, `__source__`, `__time_ns_part__` (only if not zero),
//! `__tag__:`-prefixed tags, the contents. Of equal keys the last value wins, at the first one's position.
//! Two deliberate differences from the Python SDK: the nanoseconds are a plain string, and bytes that are not
//! UTF-8 are dropped everywhere alike.

mod limits;
mod pairs;
mod table;

use bytes::Bytes;

pub use self::limits::{DecodeError, Limits};
pub use self::table::BlockPosition;
use self::table::Decoder;
use crate::batch::{Batch, CellData, RowIx};
use crate::origin::Origin;
use crate::protobuf::{Reader, Value};
use crate::row::Row;
use crate::text::{Range, Text};

impl Batch {
    /// Reads a decompressed `LogGroupList` and flattens its logs, exactly as the official SDK's consumers see
    /// them (with the repairs named above).
    ///
    /// # Errors
    ///
    /// The bytes are malformed or exceed `limits`. Nothing is skipped: a block that cannot be read whole is
    /// not read at all.
    pub fn decode(block: Bytes, origin: Origin, limits: &Limits) -> Result<Self, DecodeError> {
        let (batch, _) = decode(&block, origin, limits, BlockPosition::default(), usize::MAX)?;
        Ok(batch)
    }

    /// Reads the logs of a block from a place on (the default is its start), as many as come to about `room`
    /// bytes of table and text, and at least one. Returns where the next part begins, if there is more.
    ///
    /// A small block can unfold to much, since its tags are repeated in each of its logs, and an encoder
    /// repeats all of their text: this is how no more of it exists at a time than was planned for. A row's number in the group and its id do
    /// not depend on how a block is divided. The limits hold for all parts together.
    ///
    /// # Errors
    ///
    /// As [`Batch::decode`], for this part: what follows it has not been looked at.
    pub(crate) fn decode_part(
        block: &Bytes,
        origin: Origin,
        limits: &Limits,
        from: BlockPosition,
        room: usize,
    ) -> Result<(Self, Option<BlockPosition>), DecodeError> {
        decode(block, origin, limits, from, room)
    }
}

/// See [`Batch::decode_part`].
fn decode(
    block: &Bytes,
    origin: Origin,
    limits: &Limits,
    from: BlockPosition,
    room: usize,
) -> Result<(Batch, Option<BlockPosition>), DecodeError> {
    if block.len() > limits.max_block_bytes {
        return Err(DecodeError::TooLarge { what: "bytes", limit: limits.max_block_bytes });
    }
    let text = Text::new(block.clone())?;
    let batch = Batch { origin, text, ..Batch::default() };
    let mut decoder = Decoder::new(batch, limits, from, room)?;
    let range = |start: u32| Range { start, len: (block.len() as u32).saturating_sub(start) };
    let mut fields = Reader::new(block, range(from.group_at));
    let mut place = from;
    loop {
        place.group_at = fields.offset();
        let Some(field) = fields.next()? else { break };
        let (1, Value::Bytes(group)) = (field.number, field.value) else { continue };
        if let Some(full) = decoder.group(block, group, place)? {
            let rest = decoder.place(full);
            return Ok((decoder.batch, Some(rest)));
        }
        place = BlockPosition { group: place.group + 1, log_at: 0, row_in_group: 0, ..place };
    }
    Ok((decoder.batch, None))
}

impl Row<'_> {
    /// The log as it was pulled, before any plugin; for an added row, the log it is like.
    pub fn original(&self) -> Vec<(String, String)> {
        original(self.batch, self.root(|_| ()))
    }
}

/// The fields of one original log again, from the block: what it was before any plugin saw it.
#[expect(clippy::expect_used, reason = "a dead letter without its fields would be a log lost")]
fn original(batch: &Batch, ix: RowIx) -> Vec<(String, String)> {
    let row = batch.row_data(ix);
    let group = batch.group_of(row);
    let block = batch.text.block().clone();
    let limits = Limits::default();
    let retell = || -> Result<Vec<(String, String)>, DecodeError> {
        let text = Text::new(block.clone())?;
        let batch_of_one = Batch { text, ..Batch::default() };
        let mut decoder =
            Decoder::new(batch_of_one, &limits, BlockPosition::default(), usize::MAX)?;
        let pair = |cell: &CellData| {
            (batch.key(cell.key()).to_owned(), batch.text.get(cell.value).to_owned())
        };
        decoder.shared =
            decoder.shared_cells(&group.shared.iter().map(pair).collect::<Vec<_>>())?;
        decoder.log(&block, 0, 0, row.log)?;
        let only = decoder.batch.row(RowIx(0));
        Ok(only.cells().map(|cell| (cell.key.to_owned(), cell.value.to_owned())).collect())
    };
    retell().expect("the same bytes were decoded before")
}
