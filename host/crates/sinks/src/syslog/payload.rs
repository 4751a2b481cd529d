//! The text of a message: a row as `key=value` pairs, as JSON, or one field of it.

use forwarder_record::{Batch, Cell, Row};
use memchr::memmem::Finder;

use crate::object::{C1_LEAD, EventCells, KeyForms, Lines, Objects};

/// What the text of a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Pairs that can be taken apart again whatever the values hold: backslash and the separator's characters are
    /// escaped with a backslash, `=` in keys only; control characters are written `\n`, `\r`, `\t`, `\0` or
    /// `\u` with four hexadecimal digits, so that none of them leaves raw.
    Kv(Separator),
    /// The vendor sample's bytes, for sites whose parsers expect them: the separator before every pair, the
    /// first included, and no escaping. Values that hold the separator are counted as ambiguous.
    KvSeed(String),
    /// One JSON object without raw control characters.
    Json,
    /// The value of one field and nothing else; rows without it have nothing to send.
    Field(String),
}

impl Default for Payload {
    fn default() -> Self {
        Self::Kv(Separator(b"||".to_vec()))
    }
}

/// What stands between two pairs, `||` for example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Separator(Vec<u8>);

/// A separator that could be part of a key or value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` cannot separate pairs; use one to four punctuation marks, spaces or tabs, without `=` and `\\`"
)]
pub struct BadSeparator(String);

impl Separator {
    /// Takes one to four ASCII punctuation marks, spaces or tabs, other than `=` and the backslash.
    ///
    /// # Errors
    ///
    /// [`BadSeparator`] for anything else: letters would escape half the text.
    pub fn new(text: &str) -> Result<Self, BadSeparator> {
        let fits = |byte: u8| {
            (byte.is_ascii_punctuation() || matches!(byte, b' ' | b'\t'))
                && !matches!(byte, b'=' | b'\\')
        };
        if (1..=4).contains(&text.len()) && text.bytes().all(fits) {
            Ok(Self(text.as_bytes().to_vec()))
        } else {
            Err(BadSeparator(text.to_owned()))
        }
    }
}

/// Writes the texts of one batch's rows.
pub(super) enum Writer<'a> {
    Kv { cells: EventCells, keys: KeyForms, separator: &'a [u8], escape: Escape },
    KvSeed { cells: EventCells, separator: Box<Finder<'a>>, escape: Escape },
    Json(Objects),
    Field { key: &'a str, escape: Escape },
}

/// What became of one row's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// It is there.
    Clear,
    /// It is there, but a value holds the unescaped separator.
    Ambiguous,
    /// There was nothing to write.
    Nothing,
}

impl<'a> Writer<'a> {
    pub(super) fn new(payload: &'a Payload, batch: &Batch, lines: Lines) -> Self {
        let cells = EventCells::without_time(batch);
        let breaks: &[u8] = if lines == Lines::Single { b"\n\r\0" } else { b"" };
        match payload {
            Payload::Kv(Separator(separator)) => Self::Kv {
                cells,
                keys: KeyForms::new(batch),
                separator,
                escape: Escape::all_controls(&[b"\\", separator.as_slice()].concat()),
            },
            Payload::KvSeed(separator) => Self::KvSeed {
                cells,
                separator: Box::new(Finder::new(separator)),
                escape: Escape::new(breaks),
            },
            Payload::Json => Self::Json(Objects::new(batch, cells, Lines::Single)),
            Payload::Field(key) => Self::Field { key, escape: Escape::new(breaks) },
        }
    }

    /// Appends the row's text.
    pub(super) fn push(&mut self, out: &mut Vec<u8>, row: &Row<'_>) -> Written {
        match self {
            Self::Kv { cells, keys, separator, escape } => {
                let mut written = Written::Nothing;
                for cell in row.cells() {
                    if !cells.hold(&cell) {
                        continue;
                    }
                    if written != Written::Nothing {
                        out.extend_from_slice(separator);
                    }
                    written = Written::Clear;
                    out.extend_from_slice(keys.get(&cell, |form, key| escape.push_key(form, key)));
                    escape.push(out, cell.value.as_bytes());
                }
                written
            }
            Self::KvSeed { cells, separator, escape } => {
                let mut written = Written::Nothing;
                for cell in row.cells() {
                    if !cells.hold(&cell) {
                        continue;
                    }
                    if holds(separator, &cell) {
                        written = Written::Ambiguous;
                    } else if written == Written::Nothing {
                        written = Written::Clear;
                    }
                    out.extend_from_slice(separator.needle());
                    escape.push(out, cell.key.as_bytes());
                    out.push(b'=');
                    escape.push(out, cell.value.as_bytes());
                }
                written
            }
            Self::Json(objects) => {
                if objects.push(out, row) {
                    Written::Clear
                } else {
                    Written::Nothing
                }
            }
            Self::Field { key, escape } => match row.get(key) {
                Some(cell) if !cell.value.is_empty() => {
                    escape.push(out, cell.value.as_bytes());
                    Written::Clear
                }
                _ => Written::Nothing,
            },
        }
    }
}

fn holds(separator: &Finder<'_>, cell: &Cell<'_>) -> bool {
    let Some(&first) = separator.needle().first() else { return false };
    let value = cell.value.as_bytes();
    // Most values do not even hold its first character, and that is cheaper to see.
    memchr::memchr(first, value).is_some() && separator.find(value).is_some()
}

/// How many bytes are compared at a time, and with how many at most. Fixed, so that the compiler can do it
/// with vector instructions.
const LANE: usize = 16;
const NEEDLES: usize = 8;

/// A few bytes that get a backslash in front, of which control characters turn into letters or numbers as well.
#[derive(Debug, Clone)]
pub(super) struct Escape {
    /// Every byte below it is escaped.
    floor: u8,
    /// Filled up with repetitions of the first; `None` if there is nothing to escape.
    needles: Option<[u8; NEEDLES]>,
    /// The same by byte value, for what is shorter than a lane.
    is_needle: [bool; 256],
}

impl Escape {
    /// Escapes these bytes.
    fn new(bytes: &[u8]) -> Self {
        Self::above(0, bytes)
    }

    /// Escapes these bytes and every control character: C0, DEL and C1.
    fn all_controls(bytes: &[u8]) -> Self {
        Self::above(b' ', &[&[DEL, C1_LEAD], bytes].concat())
    }

    fn above(floor: u8, bytes: &[u8]) -> Self {
        let needles = bytes.first().map(|&first| {
            let mut needles = [first; NEEDLES];
            needles.iter_mut().zip(bytes).for_each(|(needle, &byte)| *needle = byte);
            needles
        });
        let is_needle = std::array::from_fn(|byte| {
            byte < usize::from(floor) || bytes.iter().any(|&b| usize::from(b) == byte)
        });
        Self { floor, needles, is_needle }
    }

    #[inline]
    fn push(&self, out: &mut Vec<u8>, text: &[u8]) {
        let Some(needles) = &self.needles else {
            out.extend_from_slice(text);
            return;
        };
        let mut rest = text;
        while let Some(at) = self.position(needles, rest) {
            let (clean, tail) = rest.split_at_checked(at).unwrap_or((rest, &[]));
            out.extend_from_slice(clean);
            let Some((&byte, after)) = tail.split_first() else { return };
            rest = push_escaped(out, byte, after);
        }
        out.extend_from_slice(rest);
    }

    /// `key=`, where an `=` inside the key is escaped too: readers split at the first bare one.
    fn push_key(&self, out: &mut Vec<u8>, key: &str) {
        for (nth, part) in key.split('=').enumerate() {
            if nth > 0 {
                out.extend_from_slice(b"\\=");
            }
            self.push(out, part.as_bytes());
        }
        out.push(b'=');
    }

    /// Where the first needle is.
    #[inline]
    fn position(&self, needles: &[u8; NEEDLES], text: &[u8]) -> Option<usize> {
        // Without a branch per comparison, so that a whole lane is done at once.
        let hit = |byte: u8| {
            needles.iter().fold(byte < self.floor, |found, &needle| found | (byte == needle))
        };
        let (lanes, tail) = text.as_chunks::<LANE>();
        for (nth, lane) in lanes.iter().enumerate() {
            if lane.iter().fold(false, |found, &byte| found | hit(byte)) {
                return lane.iter().position(|&byte| hit(byte)).map(|at| nth * LANE + at);
            }
        }
        let looked_up =
            |&byte: &u8| self.is_needle.get(usize::from(byte)).copied().unwrap_or(false);
        tail.iter().position(looked_up).map(|at| lanes.len() * LANE + at)
    }
}

const DEL: u8 = 0x7f;

/// Appends the escape of `byte`; returns what is left of what follows it.
fn push_escaped<'a>(out: &mut Vec<u8>, byte: u8, after: &'a [u8]) -> &'a [u8] {
    let letter = match byte {
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0 => b'0',
        C1_LEAD => return push_c1(out, after),
        0..b' ' | DEL => {
            push_number(out, byte);
            return after;
        }
        other => other,
    };
    out.extend_from_slice(&[b'\\', letter]);
    after
}

/// The second byte decides whether a character that begins with [`C1_LEAD`] is a control character.
fn push_c1<'a>(out: &mut Vec<u8>, after: &'a [u8]) -> &'a [u8] {
    match after.split_first() {
        Some((&second @ 0x80..=0x9f, rest)) => {
            push_number(out, second);
            rest
        }
        _ => {
            out.push(C1_LEAD);
            after
        }
    }
}

/// `\u` with four digits, as in JSON, for a character below U+0100.
fn push_number(out: &mut Vec<u8>, code: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
    out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(code >> 4), digit(code & 15)]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(bytes: &str, text: &str) -> String {
        let mut out = Vec::new();
        Escape::new(bytes.as_bytes()).push(&mut out, text.as_bytes());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_the_chosen_bytes_are_escaped() {
        assert_eq!(escaped("\\\n\r\0|", "a|b\\c\nd\re\0f=g"), "a\\|b\\\\c\\nd\\re\\0f=g");
        assert_eq!(escaped("", "a\nb\\"), "a\nb\\");
        assert_eq!(escaped("\n", "0123456789abcdef0123\n"), "0123456789abcdef0123\\n");
    }

    #[test]
    fn every_control_character_is_escaped_and_its_neighbours_are_not() {
        let mut out = Vec::new();
        let text = "a\tb\u{1b}[2J\u{7f}\u{80}\u{9b}\u{9f}\u{a0}£é杭|\\";
        Escape::all_controls(b"\\|").push(&mut out, text.as_bytes());
        let expected = "a\\tb\\u001b[2J\\u007f\\u0080\\u009b\\u009f\u{a0}£é杭\\|\\\\";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_separator_is_punctuation() {
        for good in ["||", " ", "\t", ", ", "|", ";;;;"] {
            assert!(Separator::new(good).is_ok(), "{good:?}");
        }
        for bad in ["", "=", "\\", "a", "|||||", "\n", "¦"] {
            assert!(Separator::new(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_escaped_reads_back(text in any::<String>()) {
            let mut out = Vec::new();
            Escape::all_controls(b"\\|").push(&mut out, text.as_bytes());
            let escaped = String::from_utf8(out).unwrap();
            prop_assert!(!escaped.contains(char::is_control));
            let mut read = String::new();
            let mut chars = escaped.chars();
            while let Some(c) = chars.next() {
                prop_assert!(c != '|');
                read.push(match c {
                    '\\' => match chars.next().unwrap() {
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        '0' => '\0',
                        'u' => {
                            let digits: String = chars.by_ref().take(4).collect();
                            char::from_u32(u32::from_str_radix(&digits, 16).unwrap()).unwrap()
                        }
                        other => other,
                    },
                    other => other,
                });
            }
            prop_assert_eq!(read, text);
        }
    }
}
