//! The header of an RFC 5424 message: everything before the text.
//!
//! `<PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID SD`. Only the time and the event's id change from row to
//! row; the rest is worked out once.

use std::str::FromStr;

use forwarder_record::json::is_unseen;
use forwarder_record::{Row, Time};

use super::priority::Priority;
use crate::stamp::{Clock, TimeFormat};
use crate::template::Template;

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
    /// What comes from the log.
    pub from_log: FromLog,
}

/// Parts of the header that come from the log, each in the place of the fixed one. A facility or severity that is none
/// is what the template says without the log, and if that is none either, the fixed one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FromLog {
    /// A facility's name or number.
    pub facility: Option<Template>,
    /// A severity's name or number.
    pub severity: Option<Template>,
    /// Who speaks.
    pub hostname: Option<Template>,
    /// The program's name.
    pub app_name: Option<Template>,
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
    /// What `lead` and `names` are made of where something of them comes from the log.
    per_row: Option<Box<HeaderSettings>>,
    /// Scratch.
    text: String,
    /// Elements that are the same for every message.
    elements: Vec<u8>,
    /// `[forwarder@32473 id="`, or nothing.
    id_lead: Vec<u8>,
}

impl Header {
    /// A header for one sink.
    pub fn new(settings: &HeaderSettings) -> Self {
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
            lead: lead(settings.priority),
            clock: Clock::new(TimeFormat::Rfc5424, settings.utc_offset_minutes),
            names: names(settings, settings.hostname.as_deref(), settings.app_name.as_deref()),
            per_row: (settings.from_log != FromLog::default()).then(|| Box::new(settings.clone())),
            text: String::new(),
            elements,
            id_lead,
        }
    }

    /// Takes what comes from the log from a row, for the headers that follow.
    #[inline]
    pub fn read(&mut self, row: &Row<'_>) {
        if self.per_row.is_some() {
            self.read_row(row);
        }
    }

    fn read_row(&mut self, row: &Row<'_>) {
        let Self { per_row: Some(settings), text, .. } = self else { return };
        let FromLog { facility, severity, hostname, app_name } = &settings.from_log;
        let priority = Priority {
            facility: code(facility.as_ref(), row, text).unwrap_or(settings.priority.facility),
            severity: code(severity.as_ref(), row, text).unwrap_or(settings.priority.severity),
        };
        let mut name = |template: &Option<Template>, fixed: &Option<String>| match template {
            Some(template) => {
                template.render(row, text);
                Some(text.clone())
            }
            None => fixed.clone(),
        };
        let hostname = name(hostname, &settings.hostname);
        let app_name = name(app_name, &settings.app_name);
        self.lead = lead(priority);
        self.names = names(settings, hostname.as_deref(), app_name.as_deref());
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

/// `<14>1 `
fn lead(priority: Priority) -> Vec<u8> {
    format!("{priority}1 ").into_bytes()
}

/// ` host app procid msgid `
fn names(settings: &HeaderSettings, hostname: Option<&str>, app_name: Option<&str>) -> Vec<u8> {
    let mut names = vec![b' '];
    for (name, limit) in [
        (hostname, HOSTNAME),
        (app_name, APP_NAME),
        (settings.procid.as_deref(), PROCID),
        (settings.msgid.as_deref(), MSGID),
    ] {
        push_name(&mut names, name.unwrap_or_default(), limit);
        names.push(b' ');
    }
    names
}

/// The facility or severity that a template gives for a row.
fn code<T: FromStr>(template: Option<&Template>, row: &Row<'_>, text: &mut String) -> Option<T> {
    let template = template?;
    template.render(row, text);
    text.parse().ok().or_else(|| template.without_fields().parse().ok())
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

/// Exactly three characters are escaped in a PARAM-VALUE (§6.3.3). Characters that are not seen, for which there is
/// no escape, become `_` as in names.
fn push_param_value(out: &mut Vec<u8>, value: &str) {
    // Ids and names mostly need nothing, and are in every message.
    let stays = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\' | b']');
    if value.bytes().all(stays) {
        return out.extend_from_slice(value.as_bytes());
    }
    for c in value.chars() {
        if matches!(c, '"' | '\\' | ']') {
            out.push(b'\\');
        }
        let c = if is_unseen(c) { '_' } else { c };
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
}
