//! What a daemon has written down: one JSON object to a line for each message, as it has parsed it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use serde::Deserialize;

/// The fields of a log.
pub(crate) type Fields = BTreeMap<String, String>;

/// One message, in the daemon's understanding.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Message {
    /// APP-NAME. The tests call each sink by a name of its own there.
    pub(crate) app: String,
    /// HOSTNAME.
    pub(crate) host: String,
    /// Number of the facility.
    pub(crate) facility: String,
    /// Number of the severity.
    pub(crate) severity: String,
    /// Seconds of TIMESTAMP since 1970.
    pub(crate) seconds: String,
    /// Six digits that follow.
    pub(crate) micros: String,
    /// The event's id, from the structured data.
    pub(crate) id: String,
    /// MSG.
    pub(crate) text: String,
}

/// A file that grows.
#[derive(Debug)]
pub(crate) struct Transcript {
    file: PathBuf,
    read: u64,
}

impl Transcript {
    pub(crate) fn new(file: PathBuf) -> Self {
        Self { file, read: 0 }
    }

    /// The messages that have come since the last call. A line without its end is left for the next one.
    pub(crate) fn news(&mut self) -> Vec<Message> {
        // A daemon makes the file when it has something to write.
        let Ok(mut file) = File::open(&self.file) else { return Vec::new() };
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(self.read)).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        let complete = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        self.read += complete as u64;
        let lines = bytes[..complete].split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        lines.map(message).collect()
    }
}

fn message(line: &[u8]) -> Message {
    serde_json::from_slice(line)
        .unwrap_or_else(|error| panic!("{error} in {}", String::from_utf8_lossy(line)))
}

/// Reads the text of a message as `payload = "json"` writes it.
pub(crate) fn from_json(text: &str) -> Fields {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// Reads the text of a message as `payload = "kv"` writes it. From left to right: to look for `||` would not do,
/// since a value may end in an escaped `|`.
pub(crate) fn from_pairs(text: &str) -> Fields {
    let mut fields = Fields::new();
    let (mut key, mut part) = (None, String::new());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\\' => {
                let escaped = rest.chars().next().expect("something is escaped");
                rest = &rest[escaped.len_utf8()..];
                part.push(match escaped {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    '0' => '\0',
                    'u' => {
                        let (digits, after) = rest.split_at(4);
                        rest = after;
                        char::from_u32(u32::from_str_radix(digits, 16).unwrap()).unwrap()
                    }
                    other => other,
                });
            }
            '=' if key.is_none() => key = Some(std::mem::take(&mut part)),
            '|' => {
                rest = rest.strip_prefix('|').expect("a lone `|` is escaped");
                let key = key.take().expect("a pair has a key");
                fields.insert(key, std::mem::take(&mut part));
            }
            other => part.push(other),
        }
    }
    fields.insert(key.expect("a pair has a key"), part);
    fields
}
