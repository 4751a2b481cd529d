//! A row as a HEC event: the envelope Splunk wants around it, and the event itself.

use bytes::Bytes;
use forwarder_connector::Body;
use forwarder_record::json::escape_into;
use forwarder_record::{Batch, Encoded, Row, RowIx};

use super::body;
use crate::notes::Notes;
use crate::object::{EventCells, Lines, Objects};
use crate::stamp::push_epoch;
use crate::template::{EventTime, FieldPath, Template};

/// How events are to look.
#[derive(Debug, Clone)]
pub struct EncoderSettings {
    /// `host` of the events; empty for Splunk's default.
    pub host: Template,
    /// `source` of the events; empty for the token's default.
    pub source: Template,
    /// `sourcetype` of the events; empty for the token's default.
    pub sourcetype: Template,
    /// `index` of the events; empty for the token's default, and so is a value of the log that no index can be
    /// called.
    pub index: Template,
    /// Where the time of the events is; `None` for the time of the log.
    pub time_field: Option<FieldPath>,
    /// What `event` holds.
    pub event_format: EventFormat,
    /// Send the row's stable id as the indexed field `event_id`, so that a search can remove repetitions.
    pub event_id: bool,
    /// Compress bodies.
    pub gzip: bool,
}

impl Default for EncoderSettings {
    fn default() -> Self {
        Self {
            host: Template::default(),
            source: Template::default(),
            sourcetype: Template::default(),
            index: Template::default(),
            time_field: None,
            event_format: EventFormat::Object,
            event_id: true,
            gzip: true,
        }
    }
}

/// What the `event` of the envelope holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EventFormat {
    /// The row as a JSON object.
    #[default]
    Object,
    /// A string that holds the row as a JSON object, as the vendor's sample sends it. Splunk indexes the
    /// same text either way; this one is larger, and is for sites whose searches rely on it.
    JsonString,
}

/// Writes rows as events. Made once per sink; shared by all compute threads.
#[derive(Debug)]
pub struct Encoder {
    metadata: Metadata,
    time_field: Option<FieldPath>,
    event_format: EventFormat,
    event_id: bool,
    gzip: bool,
}

impl Encoder {
    /// An encoder for one sink.
    pub fn new(settings: &EncoderSettings) -> Self {
        Self {
            metadata: Metadata::new(settings),
            time_field: settings.time_field.clone(),
            event_format: settings.event_format,
            event_id: settings.event_id,
            gzip: settings.gzip,
        }
    }

    /// Appends the rows' events to `out`. Rows with nothing to send are left out and named.
    pub fn encode(&self, batch: &Batch, rows: &[RowIx], out: &mut Encoded) -> Notes {
        let mut objects = Objects::new(batch, EventCells::without_time(batch), Lines::Free);
        let mut notes = Notes::default();
        let (mut inner, mut id) = (String::new(), String::new());
        for &ix in rows {
            let row = batch.row(ix);
            out.bytes.extend_from_slice(b"{\"time\":");
            push_epoch(&mut out.bytes, notes.time(EventTime::of(&row, self.time_field.as_ref())));
            self.metadata.push(&mut out.bytes, &row, &mut id);
            let written = match self.event_format {
                EventFormat::Object => objects.push(&mut out.bytes, &row),
                EventFormat::JsonString => push_as_string(&mut objects, &mut inner, out, &row),
            };
            if !written {
                out.discard_row();
                notes.empty.push(ix);
                continue;
            }
            if self.event_id {
                push_id(&mut out.bytes, &row, &mut id);
            }
            out.bytes.push(b'}');
            out.end_row(ix);
        }
        notes
    }

    /// Whether bodies are compressed.
    pub(super) const fn compresses(&self) -> bool {
        self.gzip
    }

    /// Makes a body of encoded rows; `rows` is how many the segments hold together. Compresses if so
    /// configured, else copies nothing.
    pub fn pack(&self, segments: Vec<Bytes>, rows: usize) -> Body {
        if self.gzip
            && let Ok(body) = body::gzip(&segments, rows)
        {
            return body;
        }
        Body::plain(segments, rows)
    }
}

/// `,"host":"…",…,"event":`, everything between the time and the event.
#[derive(Debug)]
enum Metadata {
    /// The same for every event.
    Fixed(Vec<u8>),
    /// Values of the log among it.
    FromLog(Vec<(&'static str, Template)>),
}

impl Metadata {
    fn new(settings: &EncoderSettings) -> Self {
        let EncoderSettings { host, source, sourcetype, index, .. } = settings;
        let members =
            [("host", host), ("source", source), ("sourcetype", sourcetype), (INDEX, index)];
        if members.iter().any(|(_, value)| value.as_fixed().is_none()) {
            return Self::FromLog(members.map(|(key, value)| (key, value.clone())).into());
        }
        let mut fixed = Vec::new();
        for (key, value) in members {
            push_member(&mut fixed, key, value.as_fixed().unwrap_or_default());
        }
        fixed.extend_from_slice(EVENT);
        Self::Fixed(fixed)
    }

    /// Appends it for a row; `text` is scratch.
    #[inline]
    fn push(&self, out: &mut Vec<u8>, row: &Row<'_>, text: &mut String) {
        match self {
            Self::Fixed(fixed) => out.extend_from_slice(fixed),
            Self::FromLog(members) => {
                for (key, value) in members {
                    value.render(row, text);
                    if *key != INDEX || value.as_fixed().is_some() || is_index_name(text) {
                        push_member(out, key, text);
                    }
                }
                out.extend_from_slice(EVENT);
            }
        }
    }
}

const INDEX: &str = "index";
const EVENT: &[u8] = b",\"event\":";

/// An empty string is a value to Splunk, and a wrong one; only leaving the key out means "default".
fn push_member(out: &mut Vec<u8>, key: &str, value: &str) {
    if !value.is_empty() {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\":\"");
        escape_into(out, value);
        out.push(b'"');
    }
}

/// Lower-case letters, digits, `_` and `-`, the first one a letter or digit: an index that begins with `_` is one of
/// Splunk's own.
fn is_index_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.bytes().next().is_some_and(is_plain)
        && text.bytes().all(|byte| is_plain(byte) || matches!(byte, b'_' | b'-'))
        && text.len() <= 80
}

/// The object inside a string: its JSON is escaped once more. `inner` is scratch.
fn push_as_string(
    objects: &mut Objects,
    inner: &mut String,
    out: &mut Encoded,
    row: &Row<'_>,
) -> bool {
    let mut bytes = std::mem::take(inner).into_bytes();
    bytes.clear();
    let written = objects.push(&mut bytes, row);
    *inner = text(bytes);
    out.bytes.push(b'"');
    escape_into(&mut out.bytes, inner);
    out.bytes.push(b'"');
    written
}

/// The check is a fraction of the escaping that follows.
#[expect(clippy::expect_used, reason = "an event without its text would be delivered as if whole")]
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("a row is written from `str`s and ASCII")
}

/// Indexed fields: flat, next to the event. Nothing where the source gives no stable id.
fn push_id(out: &mut Vec<u8>, row: &Row<'_>, id: &mut String) {
    id.clear();
    if row.write_id(id) {
        out.extend_from_slice(b",\"fields\":{\"event_id\":\"");
        escape_into(out, id);
        out.extend_from_slice(b"\"}");
    }
}
