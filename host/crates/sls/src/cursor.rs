//! Positions in a shard.
//!
//! A cursor is opaque to everyone else. This is the one file that may look inside: the text is base64
//! of a decimal integer, and consecutive log groups of a shard have consecutive integers (pages
//! "GetCursor" and "PullLogs"; samples of the documentation drop the padding now and then). Integers of
//! different shards are unrelated, and nothing is read into their digits.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Real cursors have 28 characters; this only keeps nonsense out of URLs and logs.
const MAX_LENGTH: usize = 256;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A place between two log groups of one shard: the group *at* the cursor is the next one to read.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Cursor(Arc<str>);

/// A text that cannot be a cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a cursor is 1 to 256 visible ASCII characters")]
pub struct CursorError;

impl Cursor {
    /// Takes the service's text as it is.
    ///
    /// # Errors
    ///
    /// Empty, overlong, or not visible ASCII. Whether the service knows it, only the service can say.
    pub fn new(text: &str) -> Result<Self, CursorError> {
        let sound =
            (1..=MAX_LENGTH).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if sound { Ok(Self(text.into())) } else { Err(CursorError) }
    }

    /// The cursor of the group with this integer.
    pub fn at(position: u64) -> Self {
        Self(BASE64.encode(position.to_string()).into())
    }

    /// The text that travels.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The integer inside, if the text has the known form.
    pub fn position(&self) -> Option<u64> {
        let digits = BASE64.decode(self.0.as_bytes()).ok()?;
        let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        if plain { std::str::from_utf8(&digits).ok()?.parse().ok() } else { None }
    }

    /// Whether this position certainly lies before `other` of the same shard.
    pub(crate) fn lies_before(&self, other: &Self) -> bool {
        matches!((self.position(), other.position()), (Some(here), Some(there)) if here < there)
    }

    /// Whether this position lies at or behind `end` of the same shard. Falls back to equality where
    /// the integers cannot be read.
    pub fn reaches(&self, end: &Self) -> bool {
        match (self.position(), end.position()) {
            (Some(here), Some(there)) => here >= there,
            _ => self == end,
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position() {
            Some(position) => write!(f, "Cursor({position})"),
            None => write!(f, "Cursor({:?})", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_documented_sample_reads_with_and_without_padding() {
        let padded = Cursor::new("MTUyNDE1NTM3OTM3MzkwODQ5Ng==").unwrap();
        let bare = Cursor::new("MTUyNDE1NTM3OTM3MzkwODQ5Ng").unwrap();
        assert_eq!(padded.position(), Some(1_524_155_379_373_908_496));
        assert_eq!(bare.position(), padded.position());
        assert_eq!(Cursor::at(1_524_155_379_373_908_496), padded);
    }

    #[test]
    fn a_strange_cursor_is_carried_but_not_understood() {
        for text in ["begin", "LTE=", "MS4w", "!!", "KzE="] {
            assert_eq!(Cursor::new(text).unwrap().position(), None, "{text}");
        }
        for text in ["", "a b", "a\n", "é"] {
            assert!(Cursor::new(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_position_survives_the_text(position: u64) {
            prop_assert_eq!(Cursor::at(position).position(), Some(position));
        }
    }
}
