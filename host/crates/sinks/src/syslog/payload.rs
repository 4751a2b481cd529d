//! The text of a message: a row as `key=value` pairs, as JSON, or one field of it.

use forwarder_record::{Batch, Cell, Row};
use memchr::memmem::Finder;

use crate::object::{EventCells, KeyForms, Lines, Objects};

/// What the text of a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Pairs that can be taken apart again whatever the values hold: backslash, line breaks, NUL and the
    /// separator's characters are escaped with a backslash, `=` in keys only.
    Kv(Separator),
    /// The vendor sample's bytes, for sites whose parsers expect them: the separator before every pair, the
    /// first included, and no escaping. Values that hold the separator are counted as ambiguous.
    KvSeed(String),
    /// One JSON object.
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

/// A separator that could not be told from a key or value.
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
                escape: Escape::new(&[b"\\\n\r\0", separator.as_slice()].concat()),
            },
            Payload::KvSeed(separator) => Self::KvSeed {
                cells,
                separator: Box::new(Finder::new(separator)),
                escape: Escape::new(breaks),
            },
            Payload::Json => Self::Json(Objects::new(batch, cells, lines)),
            Payload::Field(key) => Self::Field { key, escape: Escape::new(breaks) },
        }
    }

    /// Appends the row's text.
    pub(super) fn push(&mut self, out: &mut Vec<u8>, row: &Row<'_>) -> Written {
        match self {
            Self::Kv { cells, keys, separator, escape } => {
                let mut written = Written::Nothing;
                for cell in cells.of(row) {
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
                for cell in cells.of(row) {
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

/// A few bytes that get a backslash in front, of which line breaks and NUL turn into letters as well.
#[derive(Debug, Clone)]
pub(super) struct Escape {
    /// Filled up with repetitions of the first; `None` if there is nothing to escape.
    needles: Option<[u8; NEEDLES]>,
    /// The same by byte value, for what is shorter than a lane.
    is_needle: [bool; 256],
}

impl Escape {
    fn new(bytes: &[u8]) -> Self {
        let needles = bytes.first().map(|&first| {
            let mut needles = [first; NEEDLES];
            needles.iter_mut().zip(bytes).for_each(|(needle, &byte)| *needle = byte);
            needles
        });
        let is_needle = std::array::from_fn(|byte| bytes.iter().any(|&b| usize::from(b) == byte));
        Self { needles, is_needle }
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
            out.extend_from_slice(&[b'\\', letter(byte)]);
            rest = after;
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
        let hit = |byte: u8| needles.iter().fold(false, |found, &needle| found | (byte == needle));
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

const fn letter(byte: u8) -> u8 {
    match byte {
        b'\n' => b'n',
        b'\r' => b'r',
        0 => b'0',
        other => other,
    }
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
            let escaped = escaped("\\\n\r\0|", &text);
            prop_assert!(!escaped.contains(['\n', '\r', '\0']));
            let mut read = String::new();
            let mut chars = escaped.chars();
            while let Some(c) = chars.next() {
                prop_assert!(c != '|');
                read.push(match c {
                    '\\' => match chars.next().unwrap() { 'n' => '\n', 'r' => '\r', '0' => '\0', other => other },
                    other => other,
                });
            }
            prop_assert_eq!(read, text);
        }
    }
}
