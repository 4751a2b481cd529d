//! Hash-key ranges: which part of the 128-bit MD5 space a shard takes.

use std::fmt;

/// A range of hash keys: `begin` included, `end` excluded, except that the highest key of all belongs
/// to the last range (the service writes it as `ffff…`, excluded, and takes it all the same).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRange {
    begin: u128,
    end: u128,
}

impl KeyRange {
    /// The whole space cut into `parts` ranges of equal size (at least one), lowest first.
    pub fn partition(parts: u32) -> impl Iterator<Item = Self> {
        let parts = u128::from(parts.max(1));
        let bound =
            move |part: u128| if part == parts { u128::MAX } else { u128::MAX / parts * part };
        (0..parts).map(move |part| Self { begin: bound(part), end: bound(part + 1) })
    }

    /// Reads a hash key as it appears in `key=`: 32 hex digits.
    pub fn parse_key(text: &str) -> Option<u128> {
        let hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if hex { u128::from_str_radix(text, 16).ok() } else { None }
    }

    /// Whether a log group with this hash key goes here.
    pub fn contains(&self, key: u128) -> bool {
        self.begin <= key && (key < self.end || self.end == u128::MAX)
    }

    /// Cuts the range in two at `key`; `None` unless `key` lies strictly inside.
    pub fn split_at(&self, key: u128) -> Option<(Self, Self)> {
        let inside = self.begin < key && key < self.end;
        inside.then_some((Self { begin: self.begin, end: key }, Self { begin: key, end: self.end }))
    }

    /// Whether `other` begins where this range ends.
    pub(crate) fn touches(&self, other: &Self) -> bool {
        self.end == other.begin
    }

    /// This range and its right neighbour as one.
    #[must_use]
    pub(crate) fn joined_with(&self, right: &Self) -> Self {
        Self { begin: self.begin, end: right.end }
    }

    /// `inclusiveBeginKey`: 32 hex digits.
    pub fn begin_key(&self) -> impl fmt::Display {
        HexKey(self.begin)
    }

    /// `exclusiveEndKey`: 32 hex digits.
    pub fn end_key(&self) -> impl fmt::Display {
        HexKey(self.end)
    }
}

struct HexKey(u128);

impl fmt::Display for HexKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_covers_every_key_once() {
        for parts in [1, 2, 3, 7, 64] {
            let ranges: Vec<_> = KeyRange::partition(parts).collect();
            assert_eq!(ranges.len(), parts as usize);
            for key in [0, 1, u128::MAX / 2, u128::MAX - 1, u128::MAX] {
                assert_eq!(ranges.iter().filter(|range| range.contains(key)).count(), 1, "{key:x}");
            }
            assert!(ranges.windows(2).all(|pair| pair[0].touches(&pair[1])));
        }
    }

    #[test]
    fn a_range_splits_only_strictly_inside() {
        let whole = KeyRange::partition(1).next().unwrap();
        assert!(whole.split_at(0).is_none());
        assert!(whole.split_at(u128::MAX).is_none());
        let (left, right) = whole.split_at(1 << 127).unwrap();
        assert_eq!(left.end_key().to_string(), "80000000000000000000000000000000");
        assert_eq!(left.joined_with(&right), whole);
    }

    #[test]
    fn a_key_is_32_hex_digits() {
        assert_eq!(KeyRange::parse_key("0000000000000000000000000000000F"), Some(15));
        assert_eq!(KeyRange::parse_key("f"), None);
        assert_eq!(KeyRange::parse_key("+000000000000000000000000000000f"), None);
    }
}
