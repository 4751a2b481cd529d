//! The text of a message: a row as `key=value` pairs, as JSON, or one field of it.

use forwarder_record::{Batch, Cell, Row};
use memchr::memmem::Finder;

use super::escape::Escape;
use crate::object::{EventCells, KeyForms, Lines, Objects};

/// What the text of a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Pairs that can be taken apart again whatever the values hold: backslash and the separator's characters are
    /// escaped with a backslash, `=` in keys only; characters that are not seen (`json::is_unseen`: controls, what
    /// turns the direction of text, what is invisible) are written `\n`, `\r`, `\t`, `\0` or `\u` with four
    /// hexadecimal digits as in JSON, so that none of them leaves raw.
    Kv(Separator),
    /// The vendor sample's bytes, for sites whose parsers expect them: the separator before every pair, the
    /// first included, and no escaping. Values that hold the separator are counted as ambiguous.
    KvSeed(String),
    /// One JSON object, in which the same characters are escaped.
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
                escape: Escape::unseen(&[b"\\", separator.as_slice()].concat()),
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
                    escape.push(out, cell.value);
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
                    escape.push(out, cell.key);
                    out.push(b'=');
                    escape.push(out, cell.value);
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
                    escape.push(out, cell.value);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_separator_is_punctuation() {
        for good in ["||", " ", "\t", ", ", "|", ";;;;"] {
            assert!(Separator::new(good).is_ok(), "{good:?}");
        }
        for bad in ["", "=", "\\", "a", "|||||", "\n", "¦"] {
            assert!(Separator::new(bad).is_err(), "{bad:?}");
        }
    }
}
