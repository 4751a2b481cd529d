//! A row as a framed syslog message.

use forwarder_record::json::is_unseen;
use forwarder_record::{Batch, Encoded, Row, RowIx, Time};

use super::escape::whole_escapes;
use super::framing::{Framer, Framing};
use super::payload::{Payload, Writer, Written};
use super::{rfc3164, rfc5424};
use crate::notes::{Notes, Oversize};
use crate::object::Lines;
use crate::template::{EventTime, FieldPath};

/// Every receiver must take this much (RFC 5424 §6.1); less would leave no room for text.
const LEAST_MESSAGE_BYTES: usize = 480;

/// Stands at the end of a message that was cut.
const CUT: &[u8] = b"...";

/// How messages are to look.
#[derive(Debug, Clone)]
pub struct EncoderSettings {
    /// What stands before the text.
    pub header: HeaderFormat,
    /// Where the time of a message is; `None` for the time of the log.
    pub time_field: Option<FieldPath>,
    /// What the text is.
    pub payload: Payload,
    /// How messages are separated.
    pub framing: Framing,
    /// Longest message, header included, frame not. Stock rsyslog takes 8096 bytes (its `8k`); several lose their place in
    /// the stream over a longer one, so this is kept to the byte.
    pub max_message_bytes: usize,
    /// What becomes of a longer one.
    pub oversize: OversizePolicy,
}

impl Default for EncoderSettings {
    fn default() -> Self {
        Self {
            header: HeaderFormat::Rfc5424(rfc5424::HeaderSettings::default()),
            time_field: None,
            payload: Payload::default(),
            framing: Framing::default(),
            max_message_bytes: 8096,
            oversize: OversizePolicy::default(),
        }
    }
}

/// Which standard the header follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderFormat {
    /// The current one.
    Rfc5424(rfc5424::HeaderSettings),
    /// The one before, on a single line whatever the framing.
    Rfc3164(rfc3164::HeaderSettings),
}

impl HeaderFormat {
    /// Sets HOSTNAME where the settings leave it out.
    #[must_use]
    pub fn with_own_name(mut self, own: impl FnOnce() -> String) -> Self {
        let (Self::Rfc5424(rfc5424::HeaderSettings { hostname, .. })
        | Self::Rfc3164(rfc3164::HeaderSettings { hostname, .. })) = &mut self;
        hostname.get_or_insert_with(own);
        self
    }
}

/// What becomes of a message that is too long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OversizePolicy {
    /// It is not written, and reported for rejection.
    #[default]
    Reject,
    /// Its end is cut off, between two characters, and marked with `...`; it is counted.
    Truncate,
}

/// Settings from which no valid message can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadSettings {
    /// Less than any receiver takes.
    #[error(
        "`max_message_bytes` is {0}; at least {LEAST_MESSAGE_BYTES} is needed for header and text"
    )]
    MessageBytes(usize),
    /// Two elements of structured data have one name, which RFC 5424 §6.3.2 forbids.
    #[error("structured data has two elements named `{0}`; give each its own")]
    DuplicateElement(String),
    /// An element without a name.
    #[error("an element of structured data has no name; write one like `meta@32473`")]
    UnnamedElement,
    /// A line break or another character that is not seen in structured data.
    #[error(
        "structured data `{0}` holds a control character or one that changes the direction of text; remove it"
    )]
    ControlCharacter(String),
    /// More than a day away from UTC.
    #[error("{0} minutes is not a distance from UTC; it lies between -1439 and 1439")]
    UtcOffset(i16),
}

/// Writes rows as messages. Made once per sink; shared by all compute threads.
#[derive(Debug)]
pub struct Encoder {
    header: HeaderWriter,
    time_field: Option<FieldPath>,
    payload: Payload,
    framing: Framing,
    lines: Lines,
    limit: usize,
    oversize: OversizePolicy,
}

#[derive(Debug, Clone)]
enum HeaderWriter {
    Rfc5424(rfc5424::Header),
    Rfc3164(rfc3164::Header),
}

impl Encoder {
    /// An encoder for one sink.
    ///
    /// # Errors
    ///
    /// [`BadSettings`] when receivers could not understand the result.
    pub fn new(settings: &EncoderSettings) -> Result<Self, BadSettings> {
        if settings.max_message_bytes < LEAST_MESSAGE_BYTES {
            return Err(BadSettings::MessageBytes(settings.max_message_bytes));
        }
        let (header, single_line) = match &settings.header {
            HeaderFormat::Rfc5424(header) => {
                check_structured_data(header)?;
                check_offset(header.utc_offset_minutes)?;
                let single_line = settings.framing == Framing::LineFeed;
                (HeaderWriter::Rfc5424(rfc5424::Header::new(header)), single_line)
            }
            HeaderFormat::Rfc3164(header) => {
                check_offset(header.utc_offset_minutes)?;
                (HeaderWriter::Rfc3164(rfc3164::Header::new(header)), true)
            }
        };
        Ok(Self {
            header,
            time_field: settings.time_field.clone(),
            payload: settings.payload.clone(),
            framing: settings.framing,
            lines: if single_line { Lines::Single } else { Lines::Free },
            limit: settings.max_message_bytes,
            oversize: settings.oversize,
        })
    }

    /// Appends the rows' framed messages to `out`. Rows with nothing to send and rows that are too long are
    /// left out and named.
    pub fn encode(&self, batch: &Batch, rows: &[RowIx], out: &mut Encoded) -> Notes {
        let mut header = self.header.clone();
        let mut framer = Framer::new(self.framing);
        let mut writer = Writer::new(&self.payload, batch, self.lines);
        let mut notes = Notes::default();
        for &ix in rows {
            let row = batch.row(ix);
            let start = framer.open(&mut out.bytes);
            let time = EventTime::of(&row, self.time_field.as_ref());
            self.push_header(&mut header, &mut out.bytes, &row, notes.time(time));
            let text = out.bytes.len();
            let written = writer.push(&mut out.bytes, &row);
            if written == Written::Nothing {
                out.discard_row();
                notes.empty.push(ix);
                continue;
            }
            let bytes = out.bytes.len() - start;
            if bytes > self.limit {
                let end = start + self.limit;
                if self.oversize == OversizePolicy::Reject || end < text + CUT.len() {
                    out.discard_row();
                    notes.oversize.push(Oversize { row: ix, bytes, limit: self.limit });
                    continue;
                }
                cut(&mut out.bytes, end);
                notes.truncated += 1;
            }
            notes.ambiguous += usize::from(written == Written::Ambiguous);
            framer.close(&mut out.bytes, start);
            out.end_row(ix);
        }
        notes
    }

    fn push_header(&self, header: &mut HeaderWriter, out: &mut Vec<u8>, row: &Row<'_>, time: Time) {
        match header {
            HeaderWriter::Rfc5424(header) => {
                let id = if header.wants_id() { row.id() } else { None };
                header.read(row);
                header.push(out, Some(time), id.as_ref().map(|id| id.as_str()));
                out.push(b' ');
            }
            HeaderWriter::Rfc3164(header) => header.push(out, time),
        }
    }
}

fn check_structured_data(header: &rfc5424::HeaderSettings) -> Result<(), BadSettings> {
    let own = header.id_element.iter();
    let names = own.chain(header.structured_data.iter().map(|element| &element.id));
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if name.is_empty() {
            return Err(BadSettings::UnnamedElement);
        }
        if !seen.insert(rfc5424::sd_name(name)) {
            return Err(BadSettings::DuplicateElement(name.clone()));
        }
    }
    for element in &header.structured_data {
        if element.params.iter().any(|(_, value)| value.contains(is_unseen)) {
            return Err(BadSettings::ControlCharacter(element.id.clone()));
        }
    }
    Ok(())
}

fn check_offset(minutes: i16) -> Result<(), BadSettings> {
    if (-1439..=1439).contains(&minutes) { Ok(()) } else { Err(BadSettings::UtcOffset(minutes)) }
}

/// Shortens `out` to at most `end` bytes with the mark at its end: between two characters, and not inside an
/// escape.
fn cut(out: &mut Vec<u8>, end: usize) {
    let mut keep = end.saturating_sub(CUT.len());
    let is_inside_character = |at: usize| out.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
    while is_inside_character(keep) {
        keep -= 1;
    }
    out.truncate(whole_escapes(out, keep));
    out.extend_from_slice(CUT);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_falls_between_characters_and_behind_escapes() {
        for (text, end, kept) in [
            ("0123456789", 8, "01234..."),
            ("01杭州789", 8, "01杭..."),
            ("01杭州789", 7, "01..."),
            ("0123\\n789", 8, "0123..."),
            ("012\\\\6789", 8, "012\\\\..."),
            ("012\\u202e9", 10, "012..."),
        ] {
            let mut out = text.as_bytes().to_vec();
            cut(&mut out, end);
            assert_eq!(String::from_utf8(out).unwrap(), kept, "{text} at {end}");
        }
    }

    #[test]
    fn settings_that_no_receiver_would_understand_are_refused() {
        let with = |header| EncoderSettings {
            header: HeaderFormat::Rfc5424(header),
            ..EncoderSettings::default()
        };
        let element = |id: &str, value: &str| rfc5424::SdElement {
            id: id.to_owned(),
            params: vec![("k".to_owned(), value.to_owned())],
        };
        let twice = rfc5424::HeaderSettings {
            structured_data: vec![element("a b", ""), element("a_b", "")],
            ..Default::default()
        };
        assert!(matches!(Encoder::new(&with(twice)), Err(BadSettings::DuplicateElement(_))));
        let broken = rfc5424::HeaderSettings {
            structured_data: vec![element("a", "x\ny")],
            ..Default::default()
        };
        assert!(matches!(Encoder::new(&with(broken)), Err(BadSettings::ControlCharacter(_))));
        let far = rfc5424::HeaderSettings { utc_offset_minutes: 1440, ..Default::default() };
        assert!(matches!(Encoder::new(&with(far)), Err(BadSettings::UtcOffset(1440))));
        let tiny = EncoderSettings { max_message_bytes: 100, ..EncoderSettings::default() };
        assert!(matches!(Encoder::new(&tiny), Err(BadSettings::MessageBytes(100))));
    }
}
