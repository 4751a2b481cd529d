//! Why a shard is not read any further.

use forwarder_connector::LeaseState;

use crate::cursor::Cursor;
use crate::error::Error;

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
