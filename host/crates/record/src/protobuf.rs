//! Just enough of the protobuf wire format to walk a `LogGroupList`: varints, length-delimited fields and
//! the skipping of everything unknown. Nothing here allocates; every length is checked against what is left.
//!
//! Source: the protobuf encoding specification; the messages are listed in `decode.rs`.

pub use crate::text::Range;

/// How deep groups (wire types 3 and 4, long deprecated) may nest before they are called malformed.
const MAX_GROUP_DEPTH: u8 = 16;

/// The bytes are not a protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed protobuf at byte {at}: {what}")]
pub struct Malformed {
    /// Offset in the message, for a pulled block in the decompressed block.
    pub at: usize,
    /// What was expected there.
    pub what: &'static str,
}

/// One field: its number and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The number that the message's definition gives it.
    pub number: u32,
    /// What it holds.
    pub value: Value,
}

/// A field's value by wire type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// A number, a truth value or a choice.
    Varint(u64),
    /// Eight bytes, of which no message of ours makes use.
    Fixed64,
    /// A text, bytes or a message: where it lies in the message that was walked.
    Bytes(Range),
    /// Four bytes, least significant first.
    Fixed32(u32),
    /// Fields between two marks, which are skipped.
    Group,
}

/// The fields of a message, each with key and value as they stand there. Ends after the first error.
#[expect(
    clippy::indexing_slicing,
    reason = "a reader only moves forward in its message, and no field may turn out empty"
)]
pub fn fields(message: &[u8]) -> impl Iterator<Item = Result<(Field, &[u8]), Malformed>> {
    let reader = match u32::try_from(message.len()) {
        Ok(_) => Ok(Reader { bytes: message, at: 0 }),
        Err(_) => Err(Malformed { at: 0, what: "a message below 4 GiB" }),
    };
    let mut rest = Some(reader);
    std::iter::from_fn(move || {
        let mut reader = match rest.take()? {
            Ok(reader) => reader,
            Err(malformed) => return Some(Err(malformed)),
        };
        let start = reader.at;
        let next = reader.next().transpose()?;
        Some(next.map(|field| {
            rest = Some(Ok(reader));
            (field, &message[start..reader.at])
        }))
    })
}

/// Walks the fields of one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    /// The block up to the end of the message.
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// The fields of the message that `range` holds.
    #[inline]
    pub(crate) fn new(block: &'a [u8], range: Range) -> Self {
        // A range that reaches too far is noticed at the field that the block ends in.
        let bytes = block.get(..range.end() as usize).unwrap_or(block);
        Self { bytes, at: range.start as usize }
    }

    /// Where the next field begins in the block.
    #[inline]
    pub(crate) const fn offset(&self) -> u32 {
        self.at as u32
    }

    /// The next field, or `None` at the end of the message.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Result<Option<Field>, Malformed> {
        if self.at >= self.bytes.len() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| self.malformed("a field number"))?;
        if number == 0 {
            return Err(self.malformed("a field number above zero"));
        }
        let value = self.value((key & 7) as u8, number)?;
        Ok(Some(Field { number, value }))
    }

    #[inline(always)]
    fn value(&mut self, wire_type: u8, number: u32) -> Result<Value, Malformed> {
        match wire_type {
            0 => self.varint().map(Value::Varint),
            1 => self.skip(8).map(|_| Value::Fixed64),
            2 => {
                let len = self.varint()?;
                let len = usize::try_from(len).map_err(|_| self.malformed("a length"))?;
                self.skip(len).map(Value::Bytes)
            }
            3 => self.skip_group(number).map(|()| Value::Group),
            5 => {
                let range = self.skip(4)?;
                let bytes = self.bytes.get(range.start as usize..).and_then(|b| b.first_chunk());
                bytes
                    .map(|four| Value::Fixed32(u32::from_le_bytes(*four)))
                    .ok_or_else(|| self.malformed("four bytes"))
            }
            _ => Err(self.malformed("a known wire type")),
        }
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for shift in 0..10 {
            let Some(&byte) = self.bytes.get(self.at) else {
                return Err(self.malformed("the rest of a varint"));
            };
            self.at += 1;
            value |= u64::from(byte & 0x7f) << (7 * shift);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.malformed("a varint of at most ten bytes"))
    }

    #[inline]
    fn skip(&mut self, len: usize) -> Result<Range, Malformed> {
        if len > self.bytes.len().saturating_sub(self.at) {
            return Err(self.malformed("as many bytes as the length says"));
        }
        let range = Range { start: self.at as u32, len: len as u32 };
        self.at += len;
        Ok(range)
    }

    /// Skips a group: everything up to the end tag of the same number.
    fn skip_group(&mut self, number: u32) -> Result<(), Malformed> {
        let mut open = vec![number];
        while let Some(&innermost) = open.last() {
            let key = self.varint()?;
            let number = (key >> 3) as u32;
            match (key & 7) as u8 {
                3 if open.len() < usize::from(MAX_GROUP_DEPTH) => open.push(number),
                3 => return Err(self.malformed("shallower groups")),
                4 if number == innermost => drop(open.pop()),
                4 => return Err(self.malformed("the end of the innermost group")),
                wire_type => drop(self.value(wire_type, number)?),
            }
        }
        Ok(())
    }

    #[cold]
    const fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { at: self.at, what }
    }
}
