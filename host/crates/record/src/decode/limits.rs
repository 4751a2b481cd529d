//! What a block may come to, and why one is not read.

use crate::protobuf::Malformed;
use crate::text::{MAX_TEXT_BYTES, TextFull};

/// Hard limits on what a block may unfold to. A block of a few megabytes could otherwise claim a table of
/// many gigabytes, since the tags of a group are repeated in each of its logs.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Decompressed bytes of one block.
    pub max_block_bytes: usize,
    /// Logs in one block.
    pub max_rows: usize,
    /// Fields of one log, tags included.
    pub max_fields: usize,
    /// Fields of all logs of the block together.
    pub max_cells: usize,
    /// Bytes of topics, sources and tags of all logs of the block together, names included. A group holds
    /// them once; whatever writes its logs writes them once per log.
    pub max_shared_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_block_bytes: 64 << 20,
            max_rows: 1 << 20,
            max_fields: 1 << 14,
            max_cells: 1 << 24,
            max_shared_bytes: 512 << 20,
        }
    }
}

/// Why a block could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes are not a `LogGroupList`.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The block is valid but larger than we are prepared to hold.
    #[error("the block exceeds the limit of {limit} {what}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The limit that was exceeded.
        limit: usize,
    },
}

impl From<TextFull> for DecodeError {
    fn from(_: TextFull) -> Self {
        Self::TooLarge { what: "bytes of text", limit: MAX_TEXT_BYTES }
    }
}
