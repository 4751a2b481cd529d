//! The header of an RFC 5424 message: everything before the text.
//!
//! `<PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID SD`. Only the time and the event's id change from row to
//! row; the rest is worked out once.

use forwarder_record::Time;

use super::priority::Priority;
use crate::stamp::{Clock, Style};

/// Lengths that RFC 5424 §6 allows: host name, application, process, message kind, SD names.
const HOSTNAME: usize = 255;
const APP_NAME: usize = 48;
const PROCID: usize = 128;
const MSGID: usize = 32;
const SD_NAME: usize = 32;

/// What the header says. A `None` or empty name is written as `-`; characters that a name may not hold become
/// `_`, and what is too long is cut.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderSettings {
    /// Facility and severity.
    pub priority: Priority,
    /// Who speaks: full name, address or short name, in that order of preference (§6.2.4).
    pub hostname: Option<String>,
    /// The program's name; the vendor sample's `tag`.
    pub app_name: Option<String>,
    /// The program's process.
    pub procid: Option<String>,
    /// The kind of message.
    pub msgid: Option<String>,
    /// Structured data of every message.
    pub structured_data: Vec<SdElement>,
    /// SD-ID of the element that carries the event's id, such as `forwarder@32473`.
    pub id_element: Option<String>,
    /// Distance of the written time from UTC.
    pub utc_offset_minutes: i16,
}

/// `[id name="value" …]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SdElement {
    /// SD-ID; a private one ends in `@` and an enterprise number.
    pub id: String,
    /// Names and values.
    pub params: Vec<(String, String)>,
}

/// Writes headers.
#[derive(Debug, Clone)]
pub struct Header {
    /// `<14>1 `
    lead: Vec<u8>,
    clock: Clock,
    /// ` host app procid msgid `
    names: Vec<u8>,
    /// Elements that are the same for every message.
    elements: Vec<u8>,
    /// `[forwarder@32473 id="`, or nothing.
    id_lead: Vec<u8>,
}

impl Header {
    /// A header for one sink.
    pub fn new(settings: &HeaderSettings) -> Self {
        let mut names = vec![b' '];
        for (name, limit) in [
            (&settings.hostname, HOSTNAME),
            (&settings.app_name, APP_NAME),
            (&settings.procid, PROCID),
            (&settings.msgid, MSGID),
        ] {
            push_name(&mut names, name.as_deref().unwrap_or_default(), limit);
            names.push(b' ');
        }
        let mut elements = Vec::new();
        for element in &settings.structured_data {
            push_element(&mut elements, element);
        }
        let mut id_lead = Vec::new();
        if let Some(id) = &settings.id_element {
            id_lead.push(b'[');
            id_lead.extend_from_slice(sd_name(id).as_bytes());
            id_lead.extend_from_slice(b" id=\"");
        }
        Self {
            lead: format!("{}1 ", settings.priority).into_bytes(),
            clock: Clock::new(Style::Rfc5424, settings.utc_offset_minutes),
            names,
            elements,
            id_lead,
        }
    }

    /// Appends the header, without the space that a text would follow after. No time is written as `-`; the
    /// id is left out if there is none or if it was not asked for.
    pub fn push(&mut self, out: &mut Vec<u8>, time: Option<Time>, id: Option<&str>) {
        out.extend_from_slice(&self.lead);
        match time {
            Some(time) => self.clock.push(out, time),
            None => out.push(b'-'),
        }
        out.extend_from_slice(&self.names);
        let id = id.filter(|_| self.wants_id());
        if id.is_none() && self.elements.is_empty() {
            out.push(b'-');
        }
        if let Some(id) = id {
            out.extend_from_slice(&self.id_lead);
            push_param_value(out, id);
            out.extend_from_slice(b"\"]");
        }
        out.extend_from_slice(&self.elements);
    }

    /// Whether an id would be written.
    pub fn wants_id(&self) -> bool {
        !self.id_lead.is_empty()
    }
}

/// The SD-ID or parameter name that is written for `name`: printable ASCII without `=`, `]` and `"`.
pub fn sd_name(name: &str) -> String {
    let clean =
        |c: char| if c.is_ascii_graphic() && !matches!(c, '=' | ']' | '"') { c } else { '_' };
    name.chars().map(clean).take(SD_NAME).collect()
}

/// A header field: printable ASCII, `-` for none.
pub(super) fn push_name(out: &mut Vec<u8>, name: &str, limit: usize) {
    if name.is_empty() {
        out.push(b'-');
    }
    let clean = |c: char| if c.is_ascii_graphic() { c as u8 } else { b'_' };
    out.extend(name.chars().map(clean).take(limit));
}

fn push_element(out: &mut Vec<u8>, element: &SdElement) {
    out.push(b'[');
    out.extend_from_slice(sd_name(&element.id).as_bytes());
    for (name, value) in &element.params {
        out.push(b' ');
        out.extend_from_slice(sd_name(name).as_bytes());
        out.extend_from_slice(b"=\"");
        push_param_value(out, value);
        out.push(b'"');
    }
    out.push(b']');
}

/// Exactly three characters are escaped in a PARAM-VALUE (§6.3.3).
fn push_param_value(out: &mut Vec<u8>, value: &str) {
    for byte in value.bytes() {
        if matches!(byte, b'"' | b'\\' | b']') {
            out.push(b'\\');
        }
        out.push(byte);
    }
}
