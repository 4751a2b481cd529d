//! The header of an RFC 3164 message, for receivers that know no better.
//!
//! `<PRI>Mmm dd hh:mm:ss HOSTNAME TAG: `. It says neither year nor zone, so receivers fill in their own: old logs
//! land in the wrong year, which is why RFC 5424 is the default. It has no room for the event's id either.

use std::net::IpAddr;

use forwarder_record::Time;

use super::priority::Priority;
use super::rfc5424::push_name;
use crate::stamp::{Clock, TimeFormat};

/// Longest TAG (§4.1.3).
const TAG: usize = 32;
/// Longest host name; the RFC leaves it to the 1024 bytes of the whole.
const HOSTNAME: usize = 255;

/// What the header says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderSettings {
    /// Facility and severity.
    pub priority: Priority,
    /// Who speaks. A domain is cut off, as the RFC wants; an address stays whole.
    pub hostname: Option<String>,
    /// The program's name; only its letters and digits are written. Without one the text follows the host
    /// name directly.
    pub tag: Option<String>,
    /// The program's process.
    pub pid: Option<String>,
    /// Distance of the written time from UTC. Receivers assume their own zone.
    pub utc_offset_minutes: i16,
}

/// Writes headers.
#[derive(Debug, Clone)]
pub struct Header {
    /// `<14>`
    lead: Vec<u8>,
    clock: Clock,
    /// ` host tag[pid]: `
    names: Vec<u8>,
}

impl Header {
    /// A header for one sink.
    pub fn new(settings: &HeaderSettings) -> Self {
        let mut names = vec![b' '];
        let host = settings.hostname.as_deref().unwrap_or_default();
        let is_address = host.parse::<IpAddr>().is_ok();
        let short = if is_address { host } else { host.split('.').next().unwrap_or_default() };
        push_name(&mut names, short, HOSTNAME);
        names.push(b' ');
        let tag = settings.tag.as_deref().unwrap_or_default();
        let tag: String = tag.chars().filter(char::is_ascii_alphanumeric).take(TAG).collect();
        if !tag.is_empty() {
            names.extend_from_slice(tag.as_bytes());
            if let Some(pid) = settings.pid.as_deref().filter(|pid| !pid.is_empty()) {
                names.push(b'[');
                push_name(&mut names, pid, TAG);
                names.push(b']');
            }
            names.extend_from_slice(b": ");
        }
        Self {
            lead: settings.priority.to_string().into_bytes(),
            clock: Clock::new(TimeFormat::Rfc3164, settings.utc_offset_minutes),
            names,
        }
    }

    /// Appends the header; the text follows directly.
    pub fn push(&mut self, out: &mut Vec<u8>, time: Time) {
        out.extend_from_slice(&self.lead);
        self.clock.push(out, time);
        out.extend_from_slice(&self.names);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(hostname: &str, tag: &str, pid: &str) -> String {
        let text = |text: &str| Some(text.to_owned());
        let settings = HeaderSettings {
            hostname: text(hostname),
            tag: text(tag),
            pid: text(pid),
            ..HeaderSettings::default()
        };
        let mut out = Vec::new();
        Header::new(&settings).push(&mut out, Time { seconds: 1_700_000_000, nanos: 7 });
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_address_is_not_cut_like_a_name() {
        assert_eq!(header("10.0.0.1", "sls", ""), "<14>Nov 14 22:13:20 10.0.0.1 sls: ");
        assert_eq!(header("fwd.example.org", "sls", "42"), "<14>Nov 14 22:13:20 fwd sls[42]: ");
        assert_eq!(header("", "-", ""), "<14>Nov 14 22:13:20 - ");
    }
}
