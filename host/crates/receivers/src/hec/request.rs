//! What a request asks for: path, query and the headers the collector looks at.

use http::request::Parts;
use http::{Method, StatusCode, header};
use serde_json::{Map, Value};

use super::envelope::Envelope;
use super::reply::{Code, Reply};

/// The endpoints; the longer paths are aliases Splunk keeps for versioning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Event,
    Raw,
    Ack,
    Health,
}

impl Route {
    /// Where the request goes, or what Splunk says to one that goes nowhere.
    pub(crate) fn of(parts: &Parts, base: &str) -> Result<Self, Reply> {
        let path = parts.uri.path().trim_end_matches('/');
        let route = match path.strip_prefix(base).unwrap_or_default() {
            "/services/collector"
            | "/services/collector/1.0"
            | "/services/collector/event"
            | "/services/collector/event/1.0" => Self::Event,
            "/services/collector/raw" | "/services/collector/raw/1.0" => Self::Raw,
            "/services/collector/ack" | "/services/collector/ack/1.0" => Self::Ack,
            "/services/collector/health" | "/services/collector/health/1.0" => Self::Health,
            _ => {
                let body =
                    r#"{"text":"The requested URL was not found on this server.","code":404}"#;
                return Err(Reply::text(StatusCode::NOT_FOUND, "application/json", body));
            }
        };
        let expected = if route == Self::Health { Method::GET } else { Method::POST };
        if parts.method == expected {
            Ok(route)
        } else {
            let body = "Method not allowed";
            Err(Reply::text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", body))
        }
    }
}

/// A value of the query string, percent-decoded.
pub(crate) fn query(parts: &Parts, name: &str) -> Option<String> {
    let pairs = parts.uri.query()?.split('&');
    pairs
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, v)| decode(v))
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                bytes.push((high << 4) | low);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(if first == b'+' { b' ' } else { first });
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// The channel a request names; `Err` if it names one that is no GUID.
pub(crate) fn channel(parts: &Parts) -> Result<Option<String>, Reply> {
    let header = parts.headers.get("x-splunk-request-channel");
    let channel = match header {
        Some(value) => Some(String::from_utf8_lossy(value.as_bytes()).into_owned()),
        None => query(parts, "channel"),
    };
    match channel {
        Some(channel) if !is_guid(&channel) => Err(Reply::code(Code::InvalidChannel)),
        // Splunk compares GUIDs without regard to case.
        channel => Ok(channel.map(|channel| channel.to_ascii_lowercase())),
    }
}

fn is_guid(text: &str) -> bool {
    let groups = text
        .split('-')
        .map(|group| group.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(group.len()));
    groups.eq([8, 4, 4, 4, 12].map(Some))
}

/// How the body is encoded; `Err` names an encoding the collector does not know.
pub(crate) fn is_gzip(parts: &Parts) -> Result<bool, Reply> {
    match parts.headers.get(header::CONTENT_ENCODING).map(header::HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(false),
        Some(b"gzip") => Ok(true),
        Some(_) => {
            let body = "Unsupported content encoding";
            Err(Reply::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "text/plain", body))
        }
    }
}

/// What the raw endpoint takes from the query string for every line of a body.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    time: Option<String>,
    host: Option<String>,
    source: Option<String>,
    sourcetype: Option<String>,
    pub(crate) index: Option<String>,
    channel: Option<String>,
}

impl Metadata {
    pub(crate) fn of(parts: &Parts, channel: Option<&str>) -> Self {
        Self {
            time: query(parts, "time"),
            host: query(parts, "host"),
            source: query(parts, "source"),
            sourcetype: query(parts, "sourcetype"),
            index: query(parts, "index"),
            channel: channel.map(str::to_owned),
        }
    }

    /// One line as an event.
    pub(crate) fn envelope(&self, line: &str) -> Envelope {
        let event = Value::from(line);
        Envelope {
            time: self.time.clone(),
            host: self.host.clone(),
            source: self.source.clone(),
            sourcetype: self.sourcetype.clone(),
            index: self.index.clone(),
            event_json: event.to_string(),
            event,
            fields: Map::new(),
            channel: self.channel.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_a_guid() {
        assert!(is_guid("0AEEAC95-AC74-4aa9-b30d-6c4c0ac581ba"));
        for other in [
            "",
            "0aeeac95",
            "0aeeac95-ac74-4aa9-b30d-6c4c0ac581b",
            "0aeeac95-ac74-4aa9-b30d-6c4c0ac581bg",
            "0aeeac95ac744aa9b30d6c4c0ac581ba",
        ] {
            assert!(!is_guid(other), "{other}");
        }
    }

    #[test]
    fn query_values_are_percent_decoded() {
        assert_eq!(decode("a%20b+c%2F%zz%4"), "a b c/%zz%4");
    }
}
