//! Key and value of a content or a tag, and where the contents of a log lie: what the walk over a block does most.

use crate::protobuf::{Malformed, Reader, Value};
use crate::text::Range;

/// Key and value of a `Content` or a `LogTag`; each empty when absent, the last one when repeated.
#[inline(always)]
pub(super) fn pair(block: &[u8], range: Range) -> Result<(Range, Range), Malformed> {
    match usual_pair(range.of(block), range.start) {
        Some(pair) => Ok(pair),
        None => any_pair(block, range),
    }
}

/// Apart from [`pair`], so that the usual form is read in place: handing two ranges back through memory would
/// cost more than reading them.
#[cold]
fn any_pair(block: &[u8], range: Range) -> Result<(Range, Range), Malformed> {
    let mut key = Range::default();
    let mut value = Range::default();
    let mut fields = Reader::new(block, range);
    while let Some(field) = fields.next()? {
        match (field.number, field.value) {
            (1, Value::Bytes(range)) => key = range,
            (2, Value::Bytes(range)) => value = range,
            _ => {}
        }
    }
    Ok((key, value))
}

/// The form that every writer produces: key, then value, nothing else; the key shorter than 128 bytes, the value
/// than 16 KiB.
#[inline(always)]
fn usual_pair(bytes: &[u8], start: u32) -> Option<(Range, Range)> {
    let [0x0a, key_len @ 0..0x80, rest @ ..] = bytes else { return None };
    let key = Range { start: start + 2, len: u32::from(*key_len) };
    let (value_len, head, value) = match rest.get(usize::from(*key_len)..)? {
        [0x12, len @ 0..0x80, value @ ..] => (u32::from(*len), 2, value),
        [0x12, low, high @ 0..0x80, value @ ..] => {
            (u32::from(*low & 0x7f) | u32::from(*high) << 7, 3, value)
        }
        _ => return None,
    };
    let value_range = Range { start: key.end() + head, len: value_len };
    (value.len() == value_len as usize).then_some((key, value_range))
}

/// The part of a log that holds contents and nothing else, as writers put it: what comes before them is the
/// time, which is written in bytes above 127, and what may follow are the nanoseconds, a tag and four bytes.
pub(super) fn contents_area(block: &[u8], log: Range, first_content: u32) -> Range {
    const NANOS: [u8; 5] = [0x25, 0, 0, 0, 0];
    let bytes = log.of(block);
    let tail = bytes.len().checked_sub(NANOS.len()).and_then(|at| bytes.get(at));
    let nanos = if tail == NANOS.first() { NANOS.len() as u32 } else { 0 };
    let end = log.end() - nanos;
    Range { start: first_content, len: end.saturating_sub(first_content) }
}
