//! The text of a batch: the pulled block, which is never copied, and a side arena for what the block
//! does not contain word for word (repaired UTF-8, `__tag__:` names, times, values set by plugins).
//!
//! A [`Span`] is twelve bytes' worth of "where": it can only be made by this file, and only for bytes that
//! were checked to be UTF-8. That is what lets [`Text::get`] hand out `&str` without checking the same
//! bytes again for every plugin and every sink.

use bytes::Bytes;

/// Set in [`Span::start`] for text that lives in the arena.
const IN_ARENA: u32 = 1 << 31;

/// The largest block and the largest arena: one bit of the offset says which of the two is meant.
pub(crate) const MAX_TEXT_BYTES: usize = IN_ARENA as usize - 1;

/// A range of valid UTF-8 in one [`Text`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    len: u32,
}

impl Span {
    /// The empty text, valid everywhere.
    pub(crate) const EMPTY: Self = Self { start: 0, len: 0 };

    /// A place for text that is yet to come; reads as empty and equals no span of real text.
    pub(crate) const UNSET: Self = Self { start: u32::MAX, len: 0 };

    /// Length in bytes.
    pub(crate) const fn len(self) -> u32 {
        self.len
    }
}

/// The arena is full: more than [`MAX_TEXT_BYTES`] of text was added to one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a batch cannot hold more than 2 GiB of added text")]
pub struct TextFull;

/// The block and the arena.
#[derive(Debug, Default)]
pub(crate) struct Text {
    block: Bytes,
    arena: Vec<u8>,
}

impl Text {
    /// Text over a block of at most [`MAX_TEXT_BYTES`].
    pub(crate) fn new(block: Bytes) -> Result<Self, TextFull> {
        if block.len() > MAX_TEXT_BYTES {
            return Err(TextFull);
        }
        Ok(Self { block, arena: Vec::new() })
    }

    /// The block as it was pulled.
    pub(crate) const fn block(&self) -> &Bytes {
        &self.block
    }

    /// Bytes held in addition to the block.
    pub(crate) const fn arena_bytes(&self) -> usize {
        self.arena.capacity()
    }

    /// Copies `text` into the arena.
    pub(crate) fn add(&mut self, text: &str) -> Result<Span, TextFull> {
        self.add_parts(&[text])
    }

    /// Copies the concatenation of `parts` into the arena.
    pub(crate) fn add_parts(&mut self, parts: &[&str]) -> Result<Span, TextFull> {
        let start = self.arena.len();
        for part in parts {
            self.arena.extend_from_slice(part.as_bytes());
        }
        let end = self.arena.len();
        if end > MAX_TEXT_BYTES {
            self.arena.truncate(start);
            return Err(TextFull);
        }
        Ok(Span { start: start as u32 | IN_ARENA, len: (end - start) as u32 })
    }

    /// A range of the block as text. Invalid bytes are dropped, as the official SDK does: each maximal
    /// invalid sequence vanishes and nothing takes its place. Only then is anything copied.
    pub(crate) fn admit(&mut self, range: Range) -> Result<Span, TextFull> {
        if std::str::from_utf8(range.of(&self.block)).is_ok() {
            return Ok(Span { start: range.start, len: range.len });
        }
        self.repair(range)
    }

    #[cold]
    fn repair(&mut self, range: Range) -> Result<Span, TextFull> {
        let block = self.block.clone();
        let kept: Vec<&str> = range.of(&block).utf8_chunks().map(|chunk| chunk.valid()).collect();
        self.add_parts(&kept)
    }

    /// A range inside an area of the block that [`Text::is_ascii`] has confirmed.
    #[inline]
    pub(crate) fn admit_within(&self, area: &AsciiArea, range: Range) -> Option<Span> {
        let inside = range.start >= area.0.start && range.end() <= area.0.end();
        (inside && range.end() as usize <= self.block.len())
            .then_some(Span { start: range.start, len: range.len })
    }

    /// Whether a whole area is ASCII. One pass over a log is several times cheaper than a check of each of
    /// its values, and most audit logs pass it.
    pub(crate) fn is_ascii(&self, range: Range) -> Option<AsciiArea> {
        range.of(&self.block).is_ascii().then_some(AsciiArea(range))
    }

    /// The text of a span.
    #[inline]
    #[expect(
        clippy::indexing_slicing,
        reason = "a span of another batch is a bug, and must not pass as an empty text"
    )]
    pub(crate) fn get(&self, span: Span) -> &str {
        let (buffer, start) = if span.start & IN_ARENA == 0 {
            (self.block.as_ref(), span.start as usize)
        } else {
            (self.arena.as_slice(), (span.start & !IN_ARENA) as usize)
        };
        let bytes = &buffer[start..start + span.len as usize];
        debug_assert!(std::str::from_utf8(bytes).is_ok(), "a span covers checked text");
        #[expect(
            unsafe_code,
            reason = "spans are made above only: of strings, or of ranges of the immutable block that \
                      were checked; the arena only grows, so a range of it keeps its bytes"
        )]
        // SAFETY: see the reason above; a span never leaves the batch whose text it was made from.
        unsafe {
            std::str::from_utf8_unchecked(bytes)
        }
    }
}

/// A range of the block that holds nothing but ASCII.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AsciiArea(Range);

/// A range of the block, or of another message; nothing known about its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Range {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

impl Range {
    /// One past the last byte.
    pub(crate) const fn end(self) -> u32 {
        self.start + self.len
    }

    /// The bytes of the range.
    #[inline]
    #[expect(
        clippy::indexing_slicing,
        reason = "a range of another block is a bug, and must not pass as empty"
    )]
    pub fn of(self, block: &[u8]) -> &[u8] {
        &block[self.start as usize..self.end() as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_bytes_vanish_and_valid_ranges_are_not_copied() {
        let mut text = Text::new(Bytes::from_static(b"ok\xffno\xc3\xa9")).unwrap();
        let plain = text.admit(Range { start: 0, len: 2 }).unwrap();
        assert_eq!((text.get(plain), text.arena_bytes()), ("ok", 0));
        let repaired = text.admit(Range { start: 0, len: 7 }).unwrap();
        assert_eq!(text.get(repaired), "oknoé");
    }

    #[test]
    fn a_span_outside_the_confirmed_area_is_refused() {
        let text = Text::new(Bytes::from_static(b"abc\xff")).unwrap();
        let area = text.is_ascii(Range { start: 0, len: 3 }).unwrap();
        assert!(text.admit_within(&area, Range { start: 1, len: 2 }).is_some());
        assert!(text.admit_within(&area, Range { start: 1, len: 3 }).is_none());
        assert!(text.is_ascii(Range { start: 0, len: 4 }).is_none());
    }
}
