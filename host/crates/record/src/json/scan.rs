//! Skipping over JSON, byte by byte where it must be, string by string where it can be.

use std::ops::Range;

use super::{JsonPathError, text_of};

/// A position in JSON text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// The next byte that is not white space, without consuming it.
    #[inline]
    fn peek(&mut self) -> Result<u8, JsonPathError> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(&byte) => return Ok(byte),
                None => return Err(JsonPathError),
            }
        }
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Result<(), JsonPathError> {
        if self.peek()? != byte {
            return Err(JsonPathError);
        }
        self.at += 1;
        Ok(())
    }

    /// Skips one value and returns where it was.
    pub(super) fn value(mut self) -> Result<Range<usize>, JsonPathError> {
        self.peek()?;
        let start = self.at;
        self.skip_value()?;
        Ok(start..self.at)
    }

    /// Whether brackets outside strings, in valid JSON, are nested deeper than `limit`.
    pub(super) fn is_deeper_than(mut self, limit: usize) -> bool {
        let mut depth = 0usize;
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b'"' => match self.skip_string() {
                    Ok(()) => continue,
                    Err(JsonPathError) => return false,
                },
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > limit {
                return true;
            }
            self.at += 1;
        }
        false
    }

    fn skip_value(&mut self) -> Result<(), JsonPathError> {
        match self.peek()? {
            b'"' => self.skip_string(),
            b'{' | b'[' => self.skip_container(),
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                let rest = self.bytes.get(self.at..).unwrap_or_default();
                let ends =
                    |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
                self.at += rest.iter().position(ends).unwrap_or(rest.len());
                Ok(())
            }
            _ => Err(JsonPathError),
        }
    }

    /// From the opening quote past the closing one.
    #[inline]
    fn skip_string(&mut self) -> Result<(), JsonPathError> {
        self.at += 1;
        loop {
            let rest = self.bytes.get(self.at..).ok_or(JsonPathError)?;
            let found = memchr::memchr2(b'"', b'\\', rest).ok_or(JsonPathError)?;
            self.at += found + 1;
            if rest.get(found) == Some(&b'"') {
                return Ok(());
            }
            self.at += 1; // what is escaped does not end the string
        }
    }

    /// From the opening bracket past the closing one. Counts brackets only; nesting costs no stack.
    fn skip_container(&mut self) -> Result<(), JsonPathError> {
        let mut depth = 0usize;
        loop {
            match *self.bytes.get(self.at).ok_or(JsonPathError)? {
                b'"' => {
                    self.skip_string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
    }
}

/// The name of a member or the index of an element.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    name: Name<'a>,
    /// Where the entry begins: at its key, or at its value in an array.
    pub(super) start: usize,
}

#[derive(Debug, Clone, Copy)]
enum Name<'a> {
    /// Raw text between the quotes.
    Member(&'a [u8]),
    Index(usize),
}

impl Entry<'_> {
    /// Whether the path element `step` names this entry.
    pub(super) fn is(&self, step: &str) -> bool {
        match self.name {
            Name::Member(raw) if memchr::memchr(b'\\', raw).is_none() => raw == step.as_bytes(),
            Name::Member(raw) => {
                let quoted = [b"\"", raw, b"\""].concat();
                std::str::from_utf8(&quoted).is_ok_and(|quoted| text_of(quoted) == step)
            }
            // A guest's path may be as long as it likes, and an array too: what is not a number is recognised by its
            // length, not read again for each element.
            Name::Index(index) => {
                step.len() <= MAX_DIGITS && !has_leading_zero(step) && step.parse() == Ok(index)
            }
        }
    }
}

/// Digits of the largest index.
const MAX_DIGITS: usize = 20;

fn has_leading_zero(step: &str) -> bool {
    step.starts_with('+') || (step.len() > 1 && step.starts_with('0'))
}

/// The members of an object or the elements of an array, one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entries<'a> {
    scan: Scan<'a>,
    is_object: bool,
    index: usize,
    /// Where the comma before the present entry stands.
    pub(super) comma: Option<usize>,
}

impl<'a> Entries<'a> {
    /// Enters the container at the position of `scan`.
    pub(super) fn open(mut scan: Scan<'a>) -> Result<Self, JsonPathError> {
        let is_object = match scan.peek()? {
            b'{' => true,
            b'[' => false,
            _ => return Err(JsonPathError),
        };
        scan.at += 1;
        Ok(Self { scan, is_object, index: 0, comma: None })
    }

    pub(super) const fn is_object(&self) -> bool {
        self.is_object
    }

    /// The next entry's name, or `None` at the closing bracket, which [`Entries::at`] then points to. The
    /// value is to be skipped or entered next.
    #[inline]
    pub(super) fn next_key(&mut self) -> Result<Option<Entry<'a>>, JsonPathError> {
        let close = if self.is_object { b'}' } else { b']' };
        if self.scan.peek()? == close {
            return Ok(None);
        }
        if self.index > 0 {
            self.comma = Some(self.scan.at);
            self.scan.expect(b',')?;
            self.scan.peek()?;
        }
        let start = self.scan.at;
        let name = if self.is_object { self.member()? } else { Name::Index(self.index) };
        self.index += 1;
        Ok(Some(Entry { name, start }))
    }

    #[inline]
    fn member(&mut self) -> Result<Name<'a>, JsonPathError> {
        if self.scan.peek()? != b'"' {
            return Err(JsonPathError);
        }
        let start = self.scan.at + 1;
        self.scan.skip_string()?;
        let raw = self.scan.bytes.get(start..self.scan.at - 1).ok_or(JsonPathError)?;
        self.scan.expect(b':')?;
        Ok(Name::Member(raw))
    }

    /// The position of the present entry's value.
    pub(super) const fn value(&self) -> Scan<'a> {
        self.scan
    }

    pub(super) fn skip_value(&mut self) -> Result<(), JsonPathError> {
        self.scan.skip_value()
    }

    /// Where the walk stands.
    pub(super) const fn at(&self) -> usize {
        self.scan.at()
    }

    /// How many entries were passed.
    pub(super) const fn passed(&self) -> usize {
        self.index
    }

    /// Where the comma after the present entry stands, once its value was skipped.
    pub(super) fn comma_after(mut self) -> Option<usize> {
        (self.scan.peek() == Ok(b',')).then_some(self.scan.at)
    }
}
