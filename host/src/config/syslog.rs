//! `type = "syslog"`: RFC 5424 over TCP or TLS.

use std::time::Duration;

use super::address::{self, Address, SYSLOG, Transport};
use super::legacy::{self, Script};
use super::raw::{Context, Section};
use super::tls::{self, TlsConfig};

/// Where messages go and how they are written.
#[derive(Debug, Clone)]
pub struct SyslogConfig {
    /// The receiver.
    pub address: Address,
    /// How one message is told from the next.
    pub framing: Framing,
    /// How a log becomes the text of a message.
    pub payload: Payload,
    /// Facility, 0 to 23 (RFC 5424, table 1).
    pub facility: u8,
    /// Severity, 0 to 7 (RFC 5424, table 2).
    pub severity: u8,
    /// HOSTNAME; `None` is this host's name.
    pub hostname: Option<String>,
    /// APP-NAME; `None` is written `-`.
    pub app_name: Option<String>,
    /// Whether each message carries the log's stable id as structured data.
    pub event_id: bool,
    /// The largest message, in bytes; receivers cut or drop longer ones in ways that harm the next.
    pub max_message: u64,
    /// What happens to a longer one.
    pub oversize: Oversize,
    /// How long connecting or a stalled write may take.
    pub timeout: Duration,
    /// Whom we trust.
    pub tls: TlsConfig,
}

/// How one message is told from the next (RFC 6587).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// The length before the message; safe for every content.
    OctetCounting,
    /// A line feed behind it; line breaks inside are escaped.
    Lf,
}

/// How a log becomes the text of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// One JSON object.
    Json,
    /// `key=value` pairs with the separator between them, escaped.
    KeyValue {
        /// Between two pairs.
        separator: String,
    },
    /// The sample's form: the separator before every pair, nothing escaped but line breaks.
    Seed {
        /// Before every pair.
        separator: String,
    },
}

/// What happens to a message that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oversize {
    /// It becomes a dead letter.
    DeadLetter,
    /// It is cut at a character boundary, and counted.
    Truncate,
}

/// The keywords of RFC 5424, table 1, by number; the sample writes them `FAC_…`.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

/// The sample's names that are not the keyword in capitals.
const FACILITY_ALIASES: &[(&str, u8)] =
    &[("kernel", 0), ("log_audit", 13), ("log_alert", 14), ("clock2", 15), ("security", 4)];

/// The keywords of RFC 5424, table 2, by number; the sample writes them `SEV_…`.
const SEVERITIES: [&str; 8] =
    ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// Other names in use for the same severities.
const SEVERITY_ALIASES: &[(&str, u8)] =
    &[("emergency", 0), ("critical", 2), ("error", 3), ("warn", 4), ("informational", 6)];

const SECOND: Duration = Duration::from_secs(1);

/// Reads the settings of a syslog sink.
pub(super) fn check(section: &mut Section, cx: &mut Context<'_>) -> Option<SyslogConfig> {
    legacy::rename(Script::Syslog, section, cx);
    let allow_plaintext = section.flag("allow_plaintext", cx).is_some_and(|found| found.value);
    let address = address(section, allow_plaintext, cx);
    section.choice("format", &[("rfc5424", ())], cx);
    let framings = [("octet_counting", Framing::OctetCounting), ("lf", Framing::Lf)];
    let framing = section.choice("framing", &framings, cx);
    let payload = payload(section, cx);
    let facility = code(section, "facility", "FAC_", &FACILITIES, FACILITY_ALIASES, cx);
    let severity = code(section, "severity", "SEV_", &SEVERITIES, SEVERITY_ALIASES, cx);
    let hostname = header(section, "hostname", 255, cx);
    let app_name = header(section, "app_name", 48, cx);
    let event_id = section.flag("event_id", cx).is_none_or(|found| found.value);
    let max_message = section.size("max_message", 480..=16 << 20, cx);
    let oversizes = [("dead_letter", Oversize::DeadLetter), ("truncate", Oversize::Truncate)];
    let oversize = section.choice("oversize", &oversizes, cx);
    let timeout = section.duration("timeout", SECOND..=3600 * SECOND, cx);
    let tls = tls::check(section, cx);
    Some(SyslogConfig {
        address: address?,
        framing: framing.map_or(Framing::OctetCounting, |found| found.value),
        payload,
        facility: facility.unwrap_or(1),
        severity: severity.unwrap_or(6),
        hostname,
        app_name,
        event_id,
        max_message: max_message.map_or(65_536, |found| found.value),
        oversize: oversize.map_or(Oversize::DeadLetter, |found| found.value),
        timeout: timeout.map_or(30 * SECOND, |found| found.value),
        tls,
    })
}

/// Reads `address`, or the sample's `host`, `port` and `protocol`.
fn address(section: &mut Section, allow_plaintext: bool, cx: &mut Context<'_>) -> Option<Address> {
    let in_parts = section.has("host") && !section.has("address");
    if in_parts {
        return address_from_parts(section, allow_plaintext, cx);
    }
    for part in ["host", "port", "protocol"] {
        let message = format!("`{part}` is part of `address` here");
        section.refuse(part, &message, "write `address = \"tls://HOST:PORT\"`", cx);
    }
    let found = section.required("address", cx)?;
    if found.value.starts_with("udp://") {
        cx.error(&found.at, UDP, UDP_HELP);
        return None;
    }
    Some(with_port(address::check("address", &found, SYSLOG, allow_plaintext, cx)?, None))
}

fn address_from_parts(
    section: &mut Section,
    allow_plaintext: bool,
    cx: &mut Context<'_>,
) -> Option<Address> {
    let host = section.text("host", cx)?;
    let port = section.whole("port", 1..=65_535, cx).map(|found| found.value);
    let protocols = [("tcp", Some(Transport::Plain)), ("tls", Some(Transport::Tls)), ("udp", None)];
    let protocol = section.choice("protocol", &protocols, cx);
    let transport = match protocol {
        Some(found) => match found.value {
            Some(transport) => transport,
            None => {
                cx.error(&found.at, UDP, UDP_HELP);
                return None;
            }
        },
        None => Transport::Tls,
    };
    match address::parse(&host.value, SYSLOG) {
        Ok(parsed) if parsed.port.is_none() && !host.value.contains("://") => {
            let port = port.and_then(|port| u16::try_from(port).ok());
            let address = with_port(Address { transport, ..parsed }, port);
            address::allowed("protocol", address, &host.at, allow_plaintext, SYSLOG, cx)
        }
        _ => {
            let help =
                "write the name or address alone, or `address = \"tls://HOST:PORT\"` instead";
            cx.error(&host.at, "`host` is not the name of a host", help);
            None
        }
    }
}

const UDP: &str = "syslog over UDP is not offered: nobody would notice what it loses";
const UDP_HELP: &str = "use `address = \"tls://HOST:PORT\"` or \"tcp://HOST:PORT\"";

/// The port as written, as given apart, or the one that is usual: 6514 (RFC 5425), 514 by custom.
fn with_port(address: Address, apart: Option<u16>) -> Address {
    let usual = match address.transport {
        Transport::Tls => 6514,
        Transport::Plain => 514,
    };
    Address { port: address.port.or(apart).or(Some(usual)), ..address }
}

/// JSON unless a separator or `payload` asks for pairs.
fn payload(section: &mut Section, cx: &mut Context<'_>) -> Payload {
    let separator = section.text("separator", cx);
    let words = [("json", 'j'), ("kv", 'k'), ("kv_seed", 's')];
    let payload = section.choice("payload", &words, cx).map(|found| found.value);
    let at = separator.as_ref().map(|found| found.at.clone());
    let text = separator.map_or_else(|| "||".to_owned(), |found| found.value);
    match (payload, at) {
        (Some('j'), Some(at)) => {
            cx.error(
                &at,
                "`separator` has no meaning for `payload = \"json\"`",
                "remove one of them",
            );
            Payload::Json
        }
        (Some('j'), None) | (None, None) => Payload::Json,
        (_, Some(at)) if text.is_empty() || text.contains(['\\', '=', '\r', '\n']) => {
            let help = "use something like \"||\"";
            cx.error(&at, "`separator` cannot be told from what it separates", help);
            Payload::Json
        }
        (Some('s'), _) => Payload::Seed { separator: text },
        _ => Payload::KeyValue { separator: text },
    }
}

/// A number or a name, with the sample's prefix or without, in any case.
fn code(
    section: &mut Section,
    key: &'static str,
    prefix: &str,
    names: &[&str],
    aliases: &[(&str, u8)],
    cx: &mut Context<'_>,
) -> Option<u8> {
    let found = section.word_or_number(key, cx)?;
    let word = found.value.to_ascii_lowercase();
    let word = word.strip_prefix("syslogclient.").unwrap_or(&word);
    let word = word.strip_prefix(&prefix.to_ascii_lowercase()).unwrap_or(word);
    let by_name = names.iter().position(|name| *name == word).and_then(|ix| u8::try_from(ix).ok());
    let by_alias = aliases.iter().find(|(name, _)| *name == word).map(|(_, code)| *code);
    let by_number = word.parse::<u8>().ok().filter(|code| usize::from(*code) < names.len());
    let code = by_name.or(by_alias).or(by_number);
    if code.is_none() {
        let help = format!("use 0 to {}, or one of {}", names.len() - 1, names.join(", "));
        cx.error(&found.at, format!("`{key}` cannot be `{}`", found.value), help);
    }
    code
}

/// A header field: printable US-ASCII without spaces, of bounded length (RFC 5424, section 6).
fn header(
    section: &mut Section,
    key: &'static str,
    max: usize,
    cx: &mut Context<'_>,
) -> Option<String> {
    let found = section.text(key, cx).filter(|found| !matches!(found.value.as_str(), "" | "-"))?;
    if found.value.len() > max || !found.value.bytes().all(|byte| (33..=126).contains(&byte)) {
        let help = format!("use at most {max} printable ASCII characters without spaces");
        cx.error(&found.at, format!("`{key}` does not fit into a syslog header"), help);
        return None;
    }
    Some(found.value)
}
