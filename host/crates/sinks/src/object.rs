//! Rows as JSON objects: the shape that HEC events, syslog's `json` payload and JSON lines share.
//!
//! The hot path of most deployments. Each cell costs one copy of its key's ready-made form, one pass
//! over its value and one closing quote; nothing is allocated per cell or per row.

use forwarder_record::json::{escape_into, push_verbatim};
use forwarder_record::{Batch, Cell, Format, KeyId, Row};

/// Fields that say when the log was written. They travel as the event's time, not as part of it, as in
/// the vendor's sample.
const TIME_FIELDS: [&str; 2] = ["__time__", "__time_ns_part__"];

/// Which cells belong to the event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventCells {
    time: [Option<KeyId>; 2],
}

impl EventCells {
    /// All but the time, which the receiver gets elsewhere.
    pub(crate) fn without_time(batch: &Batch) -> Self {
        Self { time: TIME_FIELDS.map(|key| batch.key_id(key)) }
    }

    /// All of them.
    pub(crate) fn all() -> Self {
        Self { time: [None; 2] }
    }

    /// Whether a cell is one of them. Asked in a plain loop: a filter is not always inlined, which costs as much as
    /// the cell.
    #[inline(always)]
    pub(crate) fn hold(self, cell: &Cell<'_>) -> bool {
        let Self { time: [seconds, nanos] } = self;
        Some(cell.key_id) != seconds && Some(cell.key_id) != nanos
    }
}

/// The form each key of a batch takes in the output, worked out at its first use.
#[derive(Debug)]
pub(crate) struct KeyForms {
    bytes: Vec<u8>,
    /// By key number: start and end in `bytes`; equal for a key that was not met yet.
    places: Vec<(u32, u32)>,
}

impl KeyForms {
    pub(crate) fn new(batch: &Batch) -> Self {
        Self { bytes: Vec::new(), places: vec![(0, 0); batch.key_count()] }
    }

    /// The form of the cell's key; `write` makes it and must write something.
    #[inline]
    #[expect(
        clippy::indexing_slicing,
        reason = "there is a place for each key of the batch; a field without its key would be lost"
    )]
    pub(crate) fn get(&mut self, cell: &Cell<'_>, write: impl FnOnce(&mut Vec<u8>, &str)) -> &[u8] {
        let place = &mut self.places[cell.key_id.index()];
        if place.0 == place.1 {
            let start = self.bytes.len();
            write(&mut self.bytes, cell.key);
            *place = (start as u32, self.bytes.len() as u32);
        }
        &self.bytes[place.0 as usize..place.1 as usize]
    }
}

/// Writes rows of one batch as JSON objects.
#[derive(Debug)]
pub(crate) struct Objects {
    cells: EventCells,
    keys: KeyForms,
    lines: Lines,
}

/// Whether an object may hold raw control characters, which only JSON shipped verbatim brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lines {
    /// As they come.
    Free,
    /// None: a line break ends the record, and receivers rewrite the others.
    Single,
}

impl Objects {
    pub(crate) fn new(batch: &Batch, cells: EventCells, lines: Lines) -> Self {
        Self { cells, keys: KeyForms::new(batch), lines }
    }

    /// Appends the row; `false`, and nothing written, if it has no cell to show.
    pub(crate) fn push(&mut self, out: &mut Vec<u8>, row: &Row<'_>) -> bool {
        let start = out.len();
        for cell in row.cells() {
            if !self.cells.hold(&cell) {
                continue;
            }
            let form = self.keys.get(&cell, key_form);
            match cell.format {
                Format::Text => {
                    out.extend_from_slice(form);
                    escape_into(out, cell.value);
                    out.push(b'"');
                }
                Format::Json => {
                    // The same form without the quote that opens a string.
                    out.extend_from_slice(form.split_last().map_or(form, |(_quote, rest)| rest));
                    push_json(out, cell.value, self.lines);
                }
            }
        }
        // Every form begins with the comma that separates it from the one before.
        match out.get_mut(start) {
            None => false,
            Some(comma) => {
                *comma = b'{';
                out.push(b'}');
                true
            }
        }
    }
}

/// `,"key":"`, from the comma before a member to the quote that opens its text.
fn key_form(form: &mut Vec<u8>, key: &str) {
    form.extend_from_slice(b",\"");
    escape_into(form, key);
    form.extend_from_slice(b"\":\"");
}

/// Appends checked JSON. What may stand raw inside a string and is not seen is escaped. On a single line, white
/// space between tokens becomes spaces (RFC 8259 §2); inside a string it cannot stand raw.
fn push_json(out: &mut Vec<u8>, json: &str, lines: Lines) {
    let start = out.len();
    push_verbatim(out, json);
    let is_space = |byte: u8| matches!(byte, b'\n' | b'\r' | b'\t');
    if lines == Lines::Single && memchr::memchr3(b'\n', b'\r', b'\t', json.as_bytes()).is_some() {
        for byte in out.iter_mut().skip(start).filter(|byte| is_space(**byte)) {
            *byte = b' ';
        }
    }
}
