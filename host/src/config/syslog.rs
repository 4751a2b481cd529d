//! `type = "syslog"`: RFC 5424 over TCP or TLS.

use std::str::FromStr;
use std::time::Duration;

use forwarder_sinks::Template;
use forwarder_sinks::syslog::rfc5424::{self, FromLog};
use forwarder_sinks::syslog::{
    ClientSettings, EncoderSettings, Facility, Framing, HeaderFormat, OversizePolicy, Payload,
    Priority, Security, Separator, Severity, SyslogSettings, Target, WindowLimits,
};

use super::address::{self, Address, SYSLOG, Transport};
use super::legacy::{self, Script};
use super::raw::{Context, Section};
use super::timeouts::Timeouts;
use super::{template, tls};

/// SD-ID of the element that carries the event's id. 32473 is the number reserved for examples
/// (RFC 5612), which is what projects without one of their own are left with.
const ID_ELEMENT: &str = "forwarder@32473";

const SECOND: Duration = Duration::from_secs(1);

/// Reads the settings of a syslog sink, which tries a receiver again that it cannot reach after `longest_pause` at the
/// latest.
pub(super) fn check(
    section: &mut Section,
    longest_pause: Duration,
    cx: &mut Context<'_>,
) -> Option<SyslogSettings> {
    legacy::rename(Script::Syslog, section, cx);
    let allow_plaintext = section.flag("allow_plaintext", cx).is_some_and(|found| found.value);
    let target = target(section, allow_plaintext, cx);
    section.choice("format", &[("rfc5424", ())], cx);
    let framings = [("octet_counting", Framing::OctetCounting), ("lf", Framing::LineFeed)];
    let framing = section.choice("framing", &framings, cx);
    let payload = payload(section, cx);
    let (facility, facility_from_log) = code(section, "facility", Facility::USER, cx);
    let (severity, severity_from_log) = code(section, "severity", Severity::INFO, cx);
    let (hostname, hostname_from_log) = header(section, "hostname", 255, cx);
    let (app_name, app_name_from_log) = header(section, "app_name", 48, cx);
    let from_log = FromLog {
        facility: facility_from_log,
        severity: severity_from_log,
        hostname: hostname_from_log,
        app_name: app_name_from_log,
    };
    let time_field = template::time_field(section, cx);
    let event_id = section.flag("event_id", cx).is_none_or(|found| found.value);
    let max_message = section.size("max_message", 480..=16 << 20, cx);
    let oversizes =
        [("dead_letter", OversizePolicy::Reject), ("truncate", OversizePolicy::Truncate)];
    let oversize = section.choice("oversize", &oversizes, cx);
    let window = resend(section, cx);
    let timeouts = Timeouts::read(section, 30 * SECOND, cx);
    let tls = tls::check(section, cx);
    let header = rfc5424::HeaderSettings {
        priority: Priority { facility, severity },
        hostname,
        app_name,
        id_element: event_id.then(|| ID_ELEMENT.to_owned()),
        from_log,
        ..rfc5424::HeaderSettings::default()
    };
    Some(SyslogSettings {
        messages: EncoderSettings {
            header: HeaderFormat::Rfc5424(header),
            time_field,
            payload,
            framing: framing.map_or(Framing::OctetCounting, |found| found.value),
            max_message_bytes: max_message
                .map_or(EncoderSettings::default().max_message_bytes, |found| found.value),
            oversize: oversize.map_or(OversizePolicy::Reject, |found| found.value),
        },
        receiver: ClientSettings {
            target: target?,
            tls,
            connect_timeout: timeouts.connect,
            write_timeout: timeouts.request,
            window,
            longest_pause,
        },
    })
}

/// Reads `resend_window`, in bytes, and `resend_age`.
fn resend(section: &mut Section, cx: &mut Context<'_>) -> WindowLimits {
    let WindowLimits { bytes, age } = WindowLimits::default();
    let wanted = section.size("resend_window", 0..=1 << 30, cx);
    let for_long = section.duration("resend_age", SECOND..=3600 * SECOND, cx);
    WindowLimits {
        bytes: wanted.map_or(bytes, |found| found.value),
        age: for_long.map_or(age, |found| found.value),
    }
}

/// Reads `address`, or the sample's `host`, `port` and `protocol`.
fn target(section: &mut Section, allow_plaintext: bool, cx: &mut Context<'_>) -> Option<Target> {
    let in_parts = section.has("host") && !section.has("address");
    if in_parts {
        return target_from_parts(section, allow_plaintext, cx);
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
    address::check("address", &found, SYSLOG, allow_plaintext, cx).map(target_at)
}

fn target_from_parts(
    section: &mut Section,
    allow_plaintext: bool,
    cx: &mut Context<'_>,
) -> Option<Target> {
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
            let address = Address { transport, port, ..parsed };
            address::allowed("protocol", address, &host.at, allow_plaintext, SYSLOG, cx)
                .map(target_at)
        }
        _ => {
            let help =
                "write the name or address alone, or `address = \"tls://HOST:PORT\"` instead";
            cx.error(&host.at, "`host` is not the name of a host", help);
            None
        }
    }
}

const UDP: &str = "syslog over UDP is not offered: no one would notice what it loses";
const UDP_HELP: &str = "use `address = \"tls://HOST:PORT\"` or \"tcp://HOST:PORT\"";

fn target_at(Address { transport, host, port }: Address) -> Target {
    let security = match transport {
        Transport::Tls => Security::Tls,
        Transport::Plain => Security::Plain,
    };
    Target::new(security, host, port)
}

/// JSON unless a separator or `payload` asks for pairs.
fn payload(section: &mut Section, cx: &mut Context<'_>) -> Payload {
    #[derive(Clone, Copy)]
    enum Form {
        Json,
        Pairs,
        Seed,
    }
    let words = [("json", Form::Json), ("kv", Form::Pairs), ("kv_seed", Form::Seed)];
    let form = section.choice("payload", &words, cx).map(|found| found.value);
    let Some(written) = section.text("separator", cx) else {
        return match form {
            Some(Form::Json) | None => Payload::Json,
            Some(Form::Pairs) => Payload::default(),
            Some(Form::Seed) => Payload::KvSeed("||".to_owned()),
        };
    };
    match (form, Separator::new(&written.value)) {
        (Some(Form::Json), _) => {
            let message = "`separator` has no meaning for `payload = \"json\"`";
            cx.error(&written.at, message, "remove one of them");
            Payload::Json
        }
        (Some(Form::Seed), _) if !written.value.is_empty() => Payload::KvSeed(written.value),
        (_, Ok(separator)) => Payload::Kv(separator),
        (_, Err(reason)) => {
            cx.error(&written.at, reason.to_string(), "the sample's is \"||\"");
            Payload::Json
        }
    }
}

/// A facility or severity: a number or a name, the sample's constants included; or a template, whose text without
/// the log must be one too if there is any.
fn code<T: FromStr<Err: std::fmt::Display>>(
    section: &mut Section,
    key: &'static str,
    usual: T,
    cx: &mut Context<'_>,
) -> (T, Option<Template>) {
    let Some(found) = section.word_or_number(key, cx) else { return (usual, None) };
    let Some(template) = template::parse(key, &found, cx) else { return (usual, None) };
    let fixed = template.as_fixed().map(str::to_owned);
    let from_log = fixed.is_none().then(|| template.clone());
    let text = fixed.unwrap_or_else(|| template.without_fields());
    if text.is_empty() && from_log.is_some() {
        return (usual, from_log);
    }
    match text.parse() {
        Ok(code) => (code, from_log),
        Err(reason) => {
            let reason: T::Err = reason;
            cx.error(&found.at, format!("cannot read `{key}`"), reason.to_string());
            (usual, None)
        }
    }
}

/// A header field: printable US-ASCII without spaces, of bounded length (RFC 5424, section 6); or a template, whose
/// text is made so for each log.
fn header(
    section: &mut Section,
    key: &'static str,
    max: usize,
    cx: &mut Context<'_>,
) -> (Option<String>, Option<Template>) {
    let found = section.text(key, cx).filter(|found| !matches!(found.value.as_str(), "" | "-"));
    let Some(found) = found else { return (None, None) };
    let Some(template) = template::parse(key, &found, cx) else { return (None, None) };
    let Some(text) = template.as_fixed() else { return (None, Some(template)) };
    if text.len() > max || !text.bytes().all(|byte| (33..=126).contains(&byte)) {
        let help = format!("use at most {max} printable ASCII characters without spaces");
        cx.error(&found.at, format!("`{key}` does not fit into a syslog header"), help);
        return (None, None);
    }
    (Some(text.to_owned()), None)
}
