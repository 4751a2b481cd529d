//! Text to JSON string and back.

use std::borrow::Cow;

/// Appends `text` as the inside of a JSON string (no quotes): `"`, `\` and characters that are not seen
/// ([`is_unseen`]) are escaped, everything else is copied in runs as long as possible.
#[inline(always)]
pub fn escape_into(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    loop {
        let clean = clean_prefix(rest);
        let (run, tail) = rest.split_at(clean);
        out.extend_from_slice(run);
        rest = match tail {
            [] => return,
            [byte @ ..0x80, after @ ..] => {
                push_ascii(out, *byte);
                after
            }
            wide => push_wide(out, wide),
        };
    }
}

/// Appends valid JSON as it is, but for characters inside its strings that are not seen and may stand raw
/// there: they are escaped, which changes no value. White space between tokens stays.
#[inline]
pub fn push_verbatim(out: &mut Vec<u8>, json: &str) {
    // Nothing of the kind is in plain ASCII, and that is several times cheaper to see.
    if json.bytes().fold(0, u8::max) < 0x7f {
        out.extend_from_slice(json.as_bytes());
    } else {
        push_verbatim_with(out, json);
    }
}

fn push_verbatim_with(out: &mut Vec<u8>, json: &str) {
    let mut rest = json;
    while let Some((at, found)) = rest.char_indices().find(|&(_, c)| c >= '\x7f' && is_unseen(c)) {
        let (run, tail) = rest.split_at(at);
        out.extend_from_slice(run.as_bytes());
        push_number(out, found);
        (_, rest) = tail.split_at(found.len_utf8());
    }
    out.extend_from_slice(rest.as_bytes());
}

/// Whether a character shows nothing of itself and may change how its neighbours are shown or read: controls
/// (C0, DEL, C1), line and paragraph separators, what turns the direction of text, what is invisible. They are
/// never written raw to JSON, to a log or to a terminal.
pub const fn is_unseen(c: char) -> bool {
    matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
}

/// Whether a byte above ASCII may begin the UTF-8 of a character that is not seen ([`is_unseen`]).
pub const fn may_begin_unseen(byte: u8) -> bool {
    matches!(byte, 0xc2 | 0xd8 | 0xe1 | 0xe2 | 0xef | 0xf3)
}

/// Appends a character as `\u` with four hexadecimal digits, above U+FFFF as two of them.
#[cold]
pub fn push_number(out: &mut Vec<u8>, c: char) {
    c.encode_utf16(&mut [0; 2]).iter().for_each(|&unit| push_unit(out, unit));
}

/// Appends `text` as a JSON string with its quotes.
#[expect(clippy::expect_used, reason = "an empty text in its place would be data lost")]
pub fn push_string(out: &mut String, text: &str) {
    let mut bytes = std::mem::take(out).into_bytes();
    bytes.push(b'"');
    escape_into(&mut bytes, text);
    bytes.push(b'"');
    *out = String::from_utf8(bytes)
        .expect("escapes are ASCII, and runs are cut before and after whole characters");
}

/// What a raw JSON value reads as: strings without quotes and escapes, anything else as it is written. Half
/// a surrogate pair becomes U+FFFD.
pub fn text_of(raw: &str) -> Cow<'_, str> {
    let Some(inside) = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')) else {
        return Cow::Borrowed(raw);
    };
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    let mut text = String::with_capacity(inside.len());
    let mut rest = inside;
    while let Some((run, escaped)) = rest.split_once('\\') {
        text.push_str(run);
        rest = unescape_one(&mut text, escaped);
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// Whether a byte must be escaped, or may begin a character that must.
const fn is_suspect(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\') | (byte == 0x7f) | may_begin_unseen(byte)
}

/// The same by byte value, for what is shorter than a lane.
#[expect(
    clippy::indexing_slicing,
    reason = "evaluated when compiled, and within the table's bounds"
)]
const IS_SUSPECT: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = is_suspect(byte as u8);
        byte += 1;
    }
    table
};

/// Bytes that are compared at a time. Fixed, so that the compiler does it with vector instructions.
const LANE: usize = 16;

/// How many bytes from the start need no escape.
#[inline(always)]
fn clean_prefix(bytes: &[u8]) -> usize {
    let ascii = ascii_prefix(bytes);
    match bytes.get(ascii) {
        Some(0x80..) => wide_prefix(bytes, ascii),
        _ => ascii,
    }
}

/// How many bytes from the start are ASCII and need no escape.
#[inline(always)]
fn ascii_prefix(bytes: &[u8]) -> usize {
    let Some((first, rest)) = bytes.split_first_chunk::<8>() else { return short_prefix(bytes) };
    // The first word alone: in text with many escapes most runs are short.
    let found = bytes_to_stop_at(u64::from_le_bytes(*first));
    if found != 0 {
        return found.trailing_zeros() as usize / 8;
    }
    let (pairs, tail) = rest.as_chunks::<16>();
    for (nth, pair) in pairs.iter().enumerate() {
        // Two words at a time have one branch, and do not wait for each other.
        let pair = u128::from_le_bytes(*pair);
        let (low, high) = (bytes_to_stop_at(pair as u64), bytes_to_stop_at((pair >> 64) as u64));
        if low | high != 0 {
            let zeros = if low != 0 { low.trailing_zeros() } else { 64 + high.trailing_zeros() };
            return 8 + nth * 16 + zeros as usize / 8;
        }
    }
    let Some((last, tail)) = tail.split_first_chunk::<8>() else {
        return bytes.len() - tail.len() + short_prefix(tail);
    };
    let found = bytes_to_stop_at(u64::from_le_bytes(*last));
    let before = bytes.len() - tail.len() - 8;
    if found != 0 {
        return before + found.trailing_zeros() as usize / 8;
    }
    before + 8 + short_prefix(tail)
}

/// The same for less than a word.
#[inline(always)]
fn short_prefix(bytes: &[u8]) -> usize {
    let mut at = 0;
    for &byte in bytes {
        if (byte < 0x20) | (byte == b'"') | (byte == b'\\') | (byte >= 0x7f) {
            break;
        }
        at += 1;
    }
    at
}

/// The top bit of each byte of `word` that must be escaped or is not ASCII, looked for in all eight at once.
///
/// Subtracting borrows across bytes only above one that is found, so the lowest bit set is always right; adding never
/// carries, since 255 is not a byte of UTF-8.
const fn bytes_to_stop_at(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let below_space = word.wrapping_sub(EACH * 0x20) & !word;
    let quote = word ^ (EACH * b'"' as u64);
    let backslash = word ^ (EACH * b'\\' as u64);
    let is_quote = quote.wrapping_sub(EACH) & !quote;
    let is_backslash = backslash.wrapping_sub(EACH) & !backslash;
    let delete_or_wide = word.wrapping_add(EACH);
    (below_space | is_quote | is_backslash | delete_or_wide) & (EACH * 0x80)
}

/// The same from a byte at `at` that is not ASCII. Apart, so that plain ASCII does not pay for it.
#[inline(never)]
fn wide_prefix(bytes: &[u8], mut at: usize) -> usize {
    loop {
        at += suspect_at(bytes.get(at..).unwrap_or_default());
        match bytes.get(at) {
            Some(0x80..) => match harmless_len(bytes.get(at..).unwrap_or_default()) {
                Some(len) => at += len,
                None => return at,
            },
            _ => return at,
        }
    }
}

/// Where the first suspect byte is, or the end.
fn suspect_at(bytes: &[u8]) -> usize {
    let looked_up = |&byte: &u8| IS_SUSPECT.get(usize::from(byte)).copied().unwrap_or(false);
    let (lanes, tail) = bytes.as_chunks::<LANE>();
    for (nth, lane) in lanes.iter().enumerate() {
        // Without a branch per byte, so that a whole lane is done at once.
        if lane.iter().fold(false, |found, &byte| found | is_suspect(byte)) {
            return nth * LANE + lane.iter().position(looked_up).unwrap_or_default();
        }
    }
    lanes.len() * LANE + tail.iter().position(looked_up).unwrap_or(tail.len())
}

/// The length of the character that `bytes` begin with, unless it must be escaped.
#[inline]
fn harmless_len(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [0xc2, 0x80..=0x9f | 0xad, ..]
        | [0xd8, 0x9c, ..]
        | [0xe1, 0xa0, 0x8e, ..]
        | [0xe2, 0x80, 0x8b..=0x8f | 0xa8..=0xae, ..]
        | [0xe2, 0x81, 0xa0..=0xaf, ..]
        | [0xef, 0xbb, 0xbf, ..]
        | [0xef, 0xbf, 0xb9..=0xbb, ..]
        | [0xf3, 0xa0, 0x80 | 0x81, ..] => None,
        [0xc2 | 0xd8, ..] => Some(2),
        [0xf3, ..] => Some(4),
        _ => Some(3),
    }
}

#[cold]
#[inline(never)]
fn push_ascii(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => return push_unit(out, byte.into()),
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Escapes the character that `bytes` begin with; returns what follows it.
#[cold]
#[inline(never)]
#[expect(clippy::expect_used, reason = "the rest of the text must not be left out")]
fn push_wide<'a>(out: &mut Vec<u8>, bytes: &'a [u8]) -> &'a [u8] {
    const LONGEST: usize = 4;
    let first = bytes.get(..LONGEST).unwrap_or(bytes);
    let valid = first.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let found = valid.chars().next().expect("a run ends before a whole character");
    push_number(out, found);
    bytes.split_at(found.len_utf8()).1
}

/// `\u001b`
fn push_unit(out: &mut Vec<u8>, unit: u16) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digit = |shift: u16| HEX.get(usize::from(unit >> shift & 15)).copied().unwrap_or(b'0');
    out.extend_from_slice(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
}

/// Reads one escape after its backslash; returns what follows it.
fn unescape_one<'a>(text: &mut String, escaped: &'a str) -> &'a str {
    let mut chars = escaped.chars();
    let plain = match chars.next() {
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('u') => return unescape_unit(text, chars.as_str()),
        Some(other) => other,
        None => return "",
    };
    text.push(plain);
    chars.as_str()
}

/// Reads four hex digits, and the second half of a surrogate pair where one follows.
fn unescape_unit<'a>(text: &mut String, digits: &'a str) -> &'a str {
    let Some((first, rest)) = hex_unit(digits) else {
        text.push(char::REPLACEMENT_CHARACTER);
        return digits;
    };
    if let Some((second, after)) = rest.strip_prefix("\\u").and_then(hex_unit)
        && let Some(Ok(pair)) = char::decode_utf16([first, second]).next()
        && pair.len_utf16() == 2
    {
        text.push(pair);
        return after;
    }
    text.push(char::from_u32(first.into()).unwrap_or(char::REPLACEMENT_CHARACTER));
    rest
}

fn hex_unit(digits: &str) -> Option<(u16, &str)> {
    let (unit, rest) = digits.split_at_checked(4)?;
    let valid = unit.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some((u16::from_str_radix(unit, 16).ok().filter(|_| valid)?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_read_as_what_they_mean() {
        for (raw, text) in [
            (r#""a\n\"\\\/\u0041""#, "a\n\"\\/A"),
            (r#""\ud83d\ude00""#, "😀"),
            (r#""\ud83d x""#, "\u{fffd} x"),
            (r#""\ud83d\u0041""#, "\u{fffd}A"),
            ("12.5", "12.5"),
            ("null", "null"),
            (r#"{"a":1}"#, r#"{"a":1}"#),
        ] {
            assert_eq!(text_of(raw), text, "{raw}");
        }
    }

    /// Every character, each after a few others, so that lanes and tails are met at every place.
    fn all_characters() -> impl Iterator<Item = (char, String)> {
        ('\0'..=char::MAX)
            .zip((0..40).cycle())
            .map(|(c, before)| (c, format!("{}{c}杭“", "x".repeat(before))))
    }

    #[test]
    fn exactly_what_is_not_seen_is_escaped() {
        for (c, text) in all_characters() {
            let mut out = Vec::new();
            escape_into(&mut out, &text);
            let is_raw = out == text.as_bytes();
            assert_eq!(is_raw, !is_unseen(c) && c != '"' && c != '\\', "{c:?}");
            let json = format!("\"{}\"", String::from_utf8(out).unwrap());
            assert_eq!(text_of(&json), text, "{c:?}");
        }
    }

    #[test]
    fn strings_inside_verbatim_json_keep_their_value_and_show_what_they_hold() {
        let json = "{ \"a\":\t\"x\u{9b}2J\x7f\u{202e}杭\u{e0041}\",\n\"b\":1}";
        let mut out = Vec::new();
        push_verbatim(&mut out, json);
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out, "{ \"a\":\t\"x\\u009b2J\\u007f\\u202e杭\\udb40\\udc41\",\n\"b\":1}");
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&out), value(json));
        for plain in ["", "{\"a\": [1,\n2]}", "\"杭“”\""] {
            let mut out = Vec::new();
            push_verbatim(&mut out, plain);
            assert_eq!(out, plain.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn what_is_escaped_reads_back(text in any::<String>()) {
            let mut json = String::new();
            push_string(&mut json, &text);
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text.as_str());
            prop_assert_eq!(text_of(&json), text);
        }
    }
}
