//! Backslashes in the text of a message that is not JSON.

use forwarder_record::json::{is_unseen, may_begin_unseen, push_number};

/// How many bytes are compared at a time, and with how many at most. Fixed, so that the compiler can do it
/// with vector instructions.
const WIDTH: usize = 16;
const NEEDLES: usize = 8;

const DEL: u8 = 0x7f;

/// A few characters that get a backslash in front, and, if asked for, all that are not seen
/// ([`is_unseen`]), which turn into letters or numbers as well.
#[derive(Debug, Clone)]
pub(super) struct Escape {
    /// Every byte below it is escaped.
    floor: u8,
    /// Every byte from here on is looked up.
    ceiling: u8,
    /// Filled up with repetitions of the first; `None` if there is nothing to escape.
    needles: Option<[u8; NEEDLES]>,
    /// By byte value: whether it is escaped, or may begin a character that is.
    is_suspect: [bool; 256],
}

impl Escape {
    /// Escapes these bytes of ASCII.
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self::between(0, u8::MAX, bytes)
    }

    /// Escapes these bytes of ASCII and every character that is not seen.
    pub(super) fn unseen(bytes: &[u8]) -> Self {
        Self::between(b' ', DEL, bytes)
    }

    fn between(floor: u8, ceiling: u8, bytes: &[u8]) -> Self {
        let needles = bytes.first().map(|&first| {
            let mut needles = [first; NEEDLES];
            needles.iter_mut().zip(bytes).for_each(|(needle, &byte)| *needle = byte);
            needles
        });
        let is_suspect = std::array::from_fn(|at| {
            let byte = at as u8;
            let is_unseen = ceiling == DEL && (byte == DEL || may_begin_unseen(byte));
            byte < floor || is_unseen || bytes.contains(&byte)
        });
        Self { floor, ceiling, needles, is_suspect }
    }

    /// Appends the text.
    #[inline]
    pub(super) fn push(&self, out: &mut Vec<u8>, text: &str) {
        let Some(needles) = &self.needles else {
            out.extend_from_slice(text.as_bytes());
            return;
        };
        let mut rest = text;
        while let Some(at) = self.position(needles, rest.as_bytes()) {
            let (clean, tail) = rest.split_at_checked(at).unwrap_or((rest, ""));
            out.extend_from_slice(clean.as_bytes());
            let mut chars = tail.chars();
            let Some(found) = chars.next() else { return };
            push_suspect(out, found);
            rest = chars.as_str();
        }
        out.extend_from_slice(rest.as_bytes());
    }

    /// `key=`, where an `=` inside the key is escaped too: readers split at the first bare one.
    pub(super) fn push_key(&self, out: &mut Vec<u8>, key: &str) {
        for (nth, part) in key.split('=').enumerate() {
            if nth > 0 {
                out.extend_from_slice(b"\\=");
            }
            self.push(out, part);
        }
        out.push(b'=');
    }

    /// Where the first suspect byte is. It begins a character: those inside one are no suspects.
    #[inline]
    fn position(&self, needles: &[u8; NEEDLES], text: &[u8]) -> Option<usize> {
        // Without a branch per comparison, so that a whole lane is done at once.
        let hit = |byte: u8| {
            let outside = (byte < self.floor) | (byte >= self.ceiling);
            needles.iter().fold(outside, |found, &needle| found | (byte == needle))
        };
        let looked_up =
            |&byte: &u8| self.is_suspect.get(usize::from(byte)).copied().unwrap_or(false);
        let (lanes, tail) = text.as_chunks::<WIDTH>();
        for (nth, lane) in lanes.iter().enumerate() {
            if lane.iter().fold(false, |found, &byte| found | hit(byte))
                && let Some(at) = lane.iter().position(looked_up)
            {
                return Some(nth * WIDTH + at);
            }
        }
        tail.iter().position(looked_up).map(|at| lanes.len() * WIDTH + at)
    }
}

/// Appends the escape of a character, or the character if it only begins like one.
fn push_suspect(out: &mut Vec<u8>, found: char) {
    let letter = match found {
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\0' => '0',
        unseen if is_unseen(unseen) => return push_number(out, unseen),
        ascii if ascii.is_ascii() => ascii,
        seen => return out.extend_from_slice(seen.encode_utf8(&mut [0; 4]).as_bytes()),
    };
    out.extend_from_slice(&[b'\\', letter as u8]);
}

/// Bytes of a number: backslash, `u`, four digits.
const NUMBER: usize = 6;

/// How much of a text that ends at `keep` can stay so that no escape is cut: neither a backslash without what it
/// escapes, nor a number without its digits or its second half.
pub(super) fn whole_escapes(text: &[u8], keep: usize) -> usize {
    let text = text.get(..keep).unwrap_or(text);
    let first = text.len().saturating_sub(NUMBER);
    let cut_off = (first..text.len()).rev().find(|&at| begins_escape(text, at)).filter(|&at| {
        match text.get(at..).unwrap_or_default() {
            [_] => true,
            [_, b'u', digits @ ..] => digits.len() < NUMBER - 2 || is_first_half(text, at),
            _ => false,
        }
    });
    let Some(at) = cut_off else { return text.len() };
    // What is cut off may be the second half of a pair.
    let before = at.saturating_sub(NUMBER);
    if begins_escape(text, before) && is_first_half(text, before) { before } else { at }
}

/// Whether a backslash stands here that none before it escapes.
fn begins_escape(text: &[u8], at: usize) -> bool {
    let backslashes = |bytes: &[u8]| bytes.iter().rev().take_while(|&&byte| byte == b'\\').count();
    text.get(at) == Some(&b'\\')
        && text.get(..at).is_some_and(|before| backslashes(before).is_multiple_of(2))
}

/// Whether the number here is the first half of a character above U+FFFF.
fn is_first_half(text: &[u8], at: usize) -> bool {
    matches!(text.get(at..), Some([_, b'u', b'd', b'8' | b'9' | b'a' | b'b', _, _, ..]))
}

#[cfg(test)]
mod tests {
    use forwarder_record::json::text_of;
    use proptest::prelude::*;

    use super::*;

    fn escaped(escape: &Escape, text: &str) -> String {
        let mut out = Vec::new();
        escape.push(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_the_chosen_bytes_are_escaped() {
        let of = |bytes: &str, text| escaped(&Escape::new(bytes.as_bytes()), text);
        assert_eq!(of("\\\n\r\0|", "a|b\\c\nd\re\0f=g"), "a\\|b\\\\c\\nd\\re\\0f=g");
        assert_eq!(of("", "a\nb\\"), "a\nb\\");
        assert_eq!(of("\n", "0123456789abcdef0123\n"), "0123456789abcdef0123\\n");
        assert_eq!(of("\n", "\u{202e}\u{7f}杭\n"), "\u{202e}\u{7f}杭\\n");
    }

    #[test]
    fn exactly_what_is_not_seen_is_escaped() {
        let escape = Escape::unseen(b"\\|");
        // Each after a few others, so that lanes and tails are met at every place.
        for (c, before) in ('\0'..=char::MAX).zip((0..40).cycle()) {
            let text = format!("{}{c}杭“", "x".repeat(before));
            let escaped = escaped(&escape, &text);
            assert_eq!(escaped == text, !is_unseen(c) && !matches!(c, '|' | '\\'), "{c:?}");
            assert_eq!(escaped.find(is_unseen), None, "{c:?}");
        }
    }

    #[test]
    fn nothing_is_cut_inside_an_escape() {
        for (text, kept) in [
            ("ab", "ab"),
            ("ab\\", "ab"),
            ("ab\\\\", "ab\\\\"),
            ("ab\\\\u20", "ab\\\\u20"),
            ("ab\\n", "ab\\n"),
            ("ab\\u", "ab"),
            ("ab\\u202", "ab"),
            ("ab\\u202e", "ab\\u202e"),
            ("ab\\udb40", "ab"),
            ("ab\\udb40\\", "ab"),
            ("ab\\udb40\\udc4", "ab"),
            ("ab\\udb40\\udc41", "ab\\udb40\\udc41"),
            ("ab\\\\udb40\\", "ab\\\\udb40"),
            ("ab\\n123456789", "ab\\n123456789"),
        ] {
            let longer = format!("{text}and what is cut off");
            let keep = whole_escapes(longer.as_bytes(), text.len());
            assert_eq!(&longer[..keep], kept, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_escaped_reads_back(text in any::<String>()) {
            let escaped = escaped(&Escape::unseen(b"\\|"), &text);
            prop_assert!(!escaped.contains(is_unseen));
            let mut read = String::new();
            let mut rest = escaped.as_str();
            while let Some(c) = rest.chars().next() {
                prop_assert!(c != '|');
                let length = match rest.as_bytes() {
                    [b'\\', b'u', b'd', b'8'..=b'9' | b'a'..=b'b', ..] => 12,
                    [b'\\', b'u', ..] => 6,
                    [b'\\', ..] => 2,
                    _ => c.len_utf8(),
                };
                match &rest[..length] {
                    "\\0" => read.push('\0'),
                    "\\|" => read.push('|'),
                    escape if c == '\\' => read += &text_of(&format!("\"{escape}\"")),
                    plain => read += plain,
                }
                rest = &rest[length..];
            }
            prop_assert_eq!(read, text);
        }
    }
}
