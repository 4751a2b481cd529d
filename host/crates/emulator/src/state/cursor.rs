//! A cursor: the position before one log group of one shard.
//!
//! On the wire it is the base64 text of a decimal integer, and consecutive log groups have
//! consecutive integers. Samples in the vendor's pages sometimes lack the padding, so both forms are
//! read; the padded one is written.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A position in a shard. Comparable only with cursors of the same shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor(u64);

impl Cursor {
    /// The cursor with this integer inside.
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// The integer inside, as `x-log-read-last-cursor` shows it.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// Reads the wire form; `None` unless it is base64 of decimal digits that fit 64 bits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = LENIENT.decode(text).ok()?;
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        std::str::from_utf8(&digits).ok()?.parse().ok().map(Self)
    }
}

/// Writes the wire form.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&LENIENT.encode(self.0.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_example_reads_and_writes() {
        let cursor = Cursor::parse("MTUyNDE1NTM3OTM3MzkwODQ5Ng==").unwrap();
        assert_eq!(cursor.number(), 1_524_155_379_373_908_496);
        assert_eq!(cursor.to_string(), "MTUyNDE1NTM3OTM3MzkwODQ5Ng==");
    }

    #[test]
    fn padding_may_be_missing() {
        let cursor = Cursor::from_number(1_524_155_379_373_908_496);
        assert_eq!(Cursor::parse("MTUyNDE1NTM3OTM3MzkwODQ5Ng"), Some(cursor));
    }

    #[test]
    fn what_is_not_base64_of_digits_is_no_cursor() {
        for text in ["", "*", "begin", "YWJj", "LTE=", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5"] {
            assert_eq!(Cursor::parse(text), None, "{text}");
        }
    }
}
