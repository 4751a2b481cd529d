//! Text to JSON string and back.

use std::borrow::Cow;

/// Appends `text` as the inside of a JSON string (no quotes): `"`, `\` and control characters are escaped,
/// everything else is copied in runs as long as possible.
#[inline]
pub fn escape_into(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    loop {
        let clean = clean_prefix(rest);
        let (run, tail) = rest.split_at_checked(clean).unwrap_or((rest, &[]));
        out.extend_from_slice(run);
        let Some((&byte, after)) = tail.split_first() else { return };
        push_escaped(out, byte);
        rest = after;
    }
}

/// Appends `text` as a JSON string with its quotes.
pub fn push_string(out: &mut String, text: &str) {
    let mut bytes = std::mem::take(out).into_bytes();
    bytes.push(b'"');
    escape_into(&mut bytes, text);
    bytes.push(b'"');
    // Escapes are ASCII and runs are cut at ASCII characters only, so this is the text again.
    *out = String::from_utf8(bytes).unwrap_or_default();
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

const fn must_escape(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// How many bytes from the start need no escape.
#[inline]
fn clean_prefix(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    for (nth, word) in words.iter().enumerate() {
        let found = bytes_to_escape(u64::from_le_bytes(*word));
        if found != 0 {
            return nth * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let at = tail.iter().position(|&byte| must_escape(byte)).unwrap_or(tail.len());
    words.len() * 8 + at
}

/// The top bit of each byte of `word` that must be escaped, looked for in all eight at once.
///
/// Subtracting borrows across bytes only above one that is found, so the lowest bit set is always right.
const fn bytes_to_escape(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let below_space = word.wrapping_sub(EACH * 0x20) & !word;
    let quote = word ^ (EACH * b'"' as u64);
    let backslash = word ^ (EACH * b'\\' as u64);
    let is_quote = quote.wrapping_sub(EACH) & !quote;
    let is_backslash = backslash.wrapping_sub(EACH) & !backslash;
    (below_space | is_quote | is_backslash) & (EACH * 0x80)
}

#[cold]
fn push_escaped(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend(
                [byte >> 4, byte & 15]
                    .map(|digit| HEX.get(usize::from(digit)).copied().unwrap_or(b'0')),
            );
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
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
