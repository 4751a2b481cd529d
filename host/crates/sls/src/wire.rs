//! Bodies: compressed on the wire, bounded everywhere.
//!
//! The service packs data as a raw LZ4 block (no frame, no size in front); the plain size stands only in
//! `x-log-bodyrawsize`. That number is a claim. Nothing is allocated from it before it was compared with
//! the caller's limit and with what the format can do at all. What is inside the block is not our
//! business: these are bytes.

use bytes::Bytes;

/// LZ4 spends at least one byte on 255 bytes of output, plus a few to begin and end with.
const MAX_RATIO: u64 = 255;
const SLACK: u64 = 64;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    Plain,
    /// A raw LZ4 block.
    Lz4,
}

impl Compression {
    /// Reads `x-log-compresstype`; absent means plain.
    ///
    /// # Errors
    ///
    /// A type we never asked for.
    pub fn from_header(value: Option<&str>) -> Result<Self, BlockError> {
        match value {
            None | Some("") => Ok(Self::Plain),
            Some(name) if name.eq_ignore_ascii_case("lz4") => Ok(Self::Lz4),
            Some(other) => Err(BlockError::UnknownCompression(other.chars().take(32).collect())),
        }
    }

    /// The largest body that can unpack to `raw_size`, so that nothing longer is read from the network.
    pub(crate) fn max_packed_size(self, raw_size: u64) -> u64 {
        match self {
            Self::Plain => raw_size,
            Self::Lz4 => raw_size.saturating_add(raw_size / MAX_RATIO).saturating_add(SLACK),
        }
    }

    /// Whether `packed` bytes can unpack to `raw_size`.
    pub(crate) fn can_hold(self, raw_size: u64, packed: u64) -> bool {
        match self {
            Self::Plain => packed == raw_size,
            Self::Lz4 => {
                raw_size <= packed.saturating_mul(MAX_RATIO).saturating_add(SLACK)
                    && packed <= self.max_packed_size(raw_size)
            }
        }
    }
}

/// A body that does not hold what its headers claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// `x-log-compresstype` names something we did not ask for.
    #[error("the body is packed as `{0}`, which was not asked for")]
    UnknownCompression(String),
    /// More plain bytes than the caller takes.
    #[error("the block holds {raw_size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Plain size, as claimed.
        raw_size: u64,
        /// The caller's limit.
        limit: u64,
    },
    /// The claimed size cannot come out of so few bytes, or so many bytes cannot have gone in.
    #[error("{packed} packed bytes cannot hold the claimed {raw_size}")]
    ImpossibleSize {
        /// Plain size, as claimed.
        raw_size: u64,
        /// Bytes received.
        packed: u64,
    },
    /// The LZ4 block is damaged.
    #[error("the LZ4 block is damaged: {0}")]
    Damaged(String),
    /// The block unpacks to another size than claimed.
    #[error("the block unpacks to {actual} bytes where {raw_size} were claimed")]
    WrongSize {
        /// Plain size, as claimed.
        raw_size: u64,
        /// Plain size, as found.
        actual: u64,
    },
}

/// A packed body with the size it claims to have when unpacked. Unpacking is a matter of CPU and may be
/// done on another thread.
#[derive(Debug, Clone)]
pub struct Block {
    packed: Bytes,
    compression: Compression,
    raw_size: u64,
    limit: u64,
}

impl Block {
    /// A body as received; `limit` bounds the plain size.
    ///
    /// # Errors
    ///
    /// The claimed size is above the limit, or impossible for this many bytes.
    pub fn new(
        packed: Bytes,
        compression: Compression,
        raw_size: u64,
        limit: u64,
    ) -> Result<Self, BlockError> {
        if raw_size > limit {
            return Err(BlockError::TooLarge { raw_size, limit });
        }
        let received = packed.len() as u64;
        if !compression.can_hold(raw_size, received) {
            return Err(BlockError::ImpossibleSize { raw_size, packed: received });
        }
        Ok(Self { packed, compression, raw_size, limit })
    }

    /// Plain size in bytes, as claimed; never above the limit.
    pub fn raw_size(&self) -> u64 {
        self.raw_size
    }

    /// Size on the wire in bytes.
    pub(crate) fn packed_size(&self) -> u64 {
        self.packed.len() as u64
    }

    /// The plain bytes. Allocates exactly the claimed size, once.
    ///
    /// # Errors
    ///
    /// The block is damaged or unpacks to another size.
    pub fn unpack(&self) -> Result<Bytes, BlockError> {
        match self.compression {
            Compression::Plain => Ok(self.packed.clone()),
            Compression::Lz4 => unpack_lz4(&self.packed, self.raw_size, self.limit),
        }
    }
}

fn unpack_lz4(packed: &[u8], raw_size: u64, limit: u64) -> Result<Bytes, BlockError> {
    if raw_size == 0 {
        return Ok(Bytes::new());
    }
    let capacity =
        usize::try_from(raw_size).map_err(|_| BlockError::TooLarge { raw_size, limit })?;
    let plain = lz4_flex::block::decompress(packed, capacity)
        .map_err(|error| BlockError::Damaged(error.to_string()))?;
    // A shorter block is as wrong as a longer one: what follows would be parsed as if it were whole.
    if plain.len() != capacity {
        return Err(BlockError::WrongSize { raw_size, actual: plain.len() as u64 });
    }
    Ok(plain.into())
}

/// Packs a body for sending, in the form [`Block::unpack`] reads.
pub fn compress_lz4(plain: &[u8]) -> Vec<u8> {
    lz4_flex::block::compress(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: u64 = 1 << 20;

    fn lz4(packed: impl Into<Bytes>, raw_size: u64) -> Result<Bytes, BlockError> {
        Block::new(packed.into(), Compression::Lz4, raw_size, LIMIT)?.unpack()
    }

    #[test]
    fn a_claim_is_checked_before_anything_is_allocated() {
        let packed = compress_lz4(&[b'x'; 1000]);
        assert_eq!(lz4(packed.clone(), 1000).unwrap().len(), 1000);
        let huge = Block::new(packed.clone().into(), Compression::Lz4, u64::MAX, u64::MAX);
        assert!(matches!(huge, Err(BlockError::ImpossibleSize { .. })));
        assert!(matches!(lz4(packed, LIMIT + 1), Err(BlockError::TooLarge { .. })));
        assert!(matches!(lz4(vec![0; 4000], 100), Err(BlockError::ImpossibleSize { .. })));
    }

    #[test]
    fn another_size_than_claimed_is_an_error_not_a_shorter_block() {
        let packed = compress_lz4(&[b'x'; 1000]);
        assert!(lz4(packed.clone(), 999).is_err());
        assert_eq!(lz4(packed, 1001), Err(BlockError::WrongSize { raw_size: 1001, actual: 1000 }));
    }

    #[test]
    fn a_plain_body_must_have_the_claimed_size() {
        let block =
            |claim| Block::new(Bytes::from_static(b"abc"), Compression::Plain, claim, LIMIT);
        assert_eq!(block(3).unwrap().unpack().unwrap(), "abc");
        assert!(block(2).is_err() && block(4).is_err());
    }

    #[test]
    fn an_unknown_packing_is_named() {
        assert_eq!(Compression::from_header(None), Ok(Compression::Plain));
        assert_eq!(Compression::from_header(Some("LZ4")), Ok(Compression::Lz4));
        let error = Compression::from_header(Some("zstd")).unwrap_err();
        assert!(error.to_string().contains("`zstd`"));
    }

    proptest! {
        #[test]
        fn packing_is_undone_by_unpacking(plain in prop::collection::vec(any::<u8>(), 0..5000)) {
            let unpacked = lz4(compress_lz4(&plain), plain.len() as u64).unwrap();
            prop_assert_eq!(&unpacked[..], &plain[..]);
        }

        #[test]
        fn no_bytes_and_no_claim_make_it_panic_or_grow(
            packed in prop::collection::vec(any::<u8>(), 0..400),
            claim in prop_oneof![0..5000u64, any::<u64>()],
        ) {
            if let Ok(plain) = lz4(packed, claim) {
                prop_assert_eq!(plain.len() as u64, claim);
                prop_assert!(claim <= LIMIT);
            }
        }

        #[test]
        fn a_damaged_block_never_yields_another_size(
            plain in prop::collection::vec(0..4u8, 1..2000),
            at in any::<prop::sample::Index>(),
            byte: u8,
        ) {
            let mut packed = compress_lz4(&plain);
            let at = at.index(packed.len());
            packed[at] = byte;
            if let Ok(unpacked) = lz4(packed, plain.len() as u64) {
                prop_assert_eq!(unpacked.len(), plain.len());
            }
        }
    }
}
