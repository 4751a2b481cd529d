//! A syslog message: as it lies in the read buffer, and as it is kept.

use std::borrow::Cow;

use super::format_error::FormatError;
use super::structured::{self, StructuredData};

/// A well-formed message, borrowed from the bytes it was parsed from.
///
/// RFC 3164 messages have neither `msgid` nor structured data; their TAG is `app_name`, and what stands
/// in brackets behind it is `procid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parsed<'a> {
    /// Facility times eight plus severity: 0 to 191.
    pub pri: u8,
    /// When, if the message says so.
    pub timestamp: Option<Timestamp<'a>>,
    /// HOSTNAME.
    pub hostname: Option<&'a str>,
    /// APP-NAME, or TAG.
    pub app_name: Option<&'a str>,
    /// PROCID.
    pub procid: Option<&'a str>,
    /// MSGID.
    pub msgid: Option<&'a str>,
    /// STRUCTURED-DATA.
    pub structured_data: StructuredData<'a>,
    /// Whether MSG began with a byte order mark, which `msg` leaves out.
    pub bom: bool,
    /// MSG: any octets, unless `bom` promises UTF-8.
    pub msg: &'a [u8],
}

/// A timestamp as written, and the moment it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timestamp<'a> {
    /// The text, for instance `2023-11-14T22:13:20.5+08:00` or `Nov 14 22:13:20`.
    pub text: &'a str,
    /// Microseconds since the epoch; `None` for RFC 3164, which gives neither year nor zone.
    pub unix_micros: Option<i64>,
}

impl<'a> Parsed<'a> {
    /// The value of a parameter in structured data, unescaped.
    #[must_use]
    pub fn param(&self, sd_id: &str, name: &str) -> Option<Cow<'a, str>> {
        let element = self.structured_data.elements().find(|element| element.id == sd_id)?;
        element.params().find(|param| param.name == name).map(|param| param.value())
    }

    /// The form a receiver keeps.
    #[must_use]
    pub(crate) fn to_message(self) -> Message {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Message {
            pri: self.pri,
            timestamp: owned(self.timestamp.map(|timestamp| timestamp.text)),
            unix_micros: self.timestamp.and_then(|timestamp| timestamp.unix_micros),
            hostname: owned(self.hostname),
            app_name: owned(self.app_name),
            procid: owned(self.procid),
            msgid: owned(self.msgid),
            structured_data: self.structured_data.elements().map(Element::from).collect(),
            bom: self.bom,
            msg: self.msg.to_vec(),
        }
    }
}

/// A received message; see [`Parsed`] for how RFC 3164 maps to these.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Facility times eight plus severity: 0 to 191.
    pub pri: u8,
    /// The timestamp as written.
    pub timestamp: Option<String>,
    /// The moment it names, in microseconds since the epoch; `None` for RFC 3164.
    pub unix_micros: Option<i64>,
    /// HOSTNAME.
    pub hostname: Option<String>,
    /// APP-NAME, or TAG.
    pub app_name: Option<String>,
    /// PROCID.
    pub procid: Option<String>,
    /// MSGID.
    pub msgid: Option<String>,
    /// STRUCTURED-DATA, in the order sent.
    pub structured_data: Vec<Element>,
    /// Whether MSG began with a byte order mark, which `msg` leaves out.
    pub bom: bool,
    /// MSG.
    pub msg: Vec<u8>,
}

/// One element of structured data.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Element {
    /// SD-ID, for instance `sls@32473`.
    pub id: String,
    /// Names and values, unescaped, in the order sent.
    pub params: Vec<(String, String)>,
}

impl From<structured::ElementRef<'_>> for Element {
    fn from(element: structured::ElementRef<'_>) -> Self {
        let params = element.params();
        let params = params.map(|param| (param.name.to_owned(), param.value().into_owned()));
        Self { id: element.id.to_owned(), params: params.collect() }
    }
}

impl Message {
    /// Facility: 0 to 23.
    #[must_use]
    pub fn facility(&self) -> u8 {
        self.pri / 8
    }

    /// Severity: 0 (emergency) to 7 (debug).
    #[must_use]
    pub fn severity(&self) -> u8 {
        self.pri % 8
    }

    /// MSG as text; octets that are not UTF-8 are replaced.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.msg)
    }

    /// The value of a parameter in structured data.
    #[must_use]
    pub fn param(&self, sd_id: &str, name: &str) -> Option<&str> {
        let element = self.structured_data.iter().find(|element| element.id == sd_id)?;
        element.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Splits `<PRI>` off, which both formats begin with.
pub(super) fn priority(text: &str) -> Result<(u8, &str), FormatError> {
    let (digits, rest) = text
        .strip_prefix('<')
        .and_then(|text| text.split_once('>'))
        .ok_or(FormatError::Priority)?;
    let canonical = matches!(digits.as_bytes(), [b'0'..=b'9'] | [b'1'..=b'9', b'0'..=b'9', ..]);
    match digits.parse() {
        Ok(pri @ 0..=191) if canonical && digits.len() <= 3 => Ok((pri, rest)),
        _ => Err(FormatError::Priority),
    }
}

/// Splits a header field off that ends at a space or at the end of the text.
pub(super) fn field(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

/// Printable ASCII without space: what header fields are made of.
pub(super) fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}
