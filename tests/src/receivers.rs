//! Receivers that record one fingerprint per log, whatever the protocol, and comparing these as sets.

use std::collections::HashSet;
use std::sync::Arc;

use forwarder_receivers::Ids;
use forwarder_receivers::{hec, syslog};
use serde_json::{Map, Value};

use crate::Fingerprint;

/// The token of every HEC receiver of the tests.
pub const TOKEN: &str = "00000000-0000-0000-0000-00000000cafe";

/// The element of structured data that carries an event's id.
const ID_ELEMENT: &str = "forwarder@32473";

/// A HEC receiver that records a fingerprint of each event.
pub fn hec() -> hec::Builder {
    let extract = Arc::new(|envelope: &str| of_envelope(envelope));
    let mode = hec::Mode::Ids(hec::IdFrom::With(extract));
    hec::HecReceiver::builder().token(TOKEN).mode(mode)
}

/// Reads a HEC envelope as our sink writes it and says what it carries.
fn of_envelope(envelope: &str) -> Option<String> {
    let envelope: Value = serde_json::from_str(envelope).ok()?;
    let event = envelope.get("event")?.as_object()?;
    let time = envelope.get("time")?.to_string();
    let seconds = time.trim_matches('"').split('.').next()?.parse().ok()?;
    Fingerprint::of_received(seconds, texts(event)?)
}

fn texts(object: &Map<String, Value>) -> Option<Vec<(String, String)>> {
    object.iter().map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// How a log is written into the text of a syslog message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// A JSON object.
    Json,
    /// `key=value` pairs between `||`, escaped.
    Pairs,
    /// The vendor sample's form: `||` before every pair, nothing escaped.
    Seed,
}

/// A syslog receiver that records, for each message, the event's id and the fingerprint of its fields.
pub fn syslog(text: Text) -> syslog::Builder {
    let extract = Arc::new(move |message: &syslog::Parsed<'_>| of_message(message, text));
    let mode = syslog::Mode::Ids(syslog::IdFrom::With(extract));
    syslog::SyslogReceiver::builder().mode(mode)
}

fn of_message(message: &syslog::Parsed<'_>, text: Text) -> Option<String> {
    let id = message.param(ID_ELEMENT, "id")?;
    let micros = message.timestamp?.unix_micros?;
    let body = std::str::from_utf8(message.msg).ok()?;
    let fields = match text {
        Text::Json => texts(serde_json::from_str::<Value>(body).ok()?.as_object()?)?,
        Text::Pairs => pairs(body, unescaped)?,
        Text::Seed => pairs(body.strip_prefix("||")?, str::to_owned)?,
    };
    let seconds = u64::try_from(micros / 1_000_000).ok()?;
    Some(format!("{id} {}", Fingerprint::of_received(seconds, fields)?))
}

fn pairs(body: &str, read: fn(&str) -> String) -> Option<Vec<(String, String)>> {
    let pair = |text: &str| text.split_once('=').map(|(key, value)| (read(key), read(value)));
    body.split("||").map(pair).collect()
}

/// Takes a backslash from before every character that was escaped by one. Line breaks, which are spelled
/// out instead, do not occur in the logs of the tests.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        plain.extend(if c == '\\' { rest.next() } else { Some(c) });
    }
    plain
}

/// Asserts that exactly this arrived: nothing lost, nothing changed, nothing that was not sent. Returns how
/// many came more than once.
pub fn assert_exactly(received: &Ids, expected: impl IntoIterator<Item = String>) -> usize {
    let expected: HashSet<String> = expected.into_iter().collect();
    let missing: Vec<&String> =
        expected.iter().filter(|id| !received.contains(id)).take(5).collect();
    assert!(missing.is_empty(), "lost or changed, for example {missing:?}");
    let strange = received.iter().map(|(id, _)| id).filter(|id| !expected.contains(*id));
    let strange: Vec<&str> = strange.take(5).collect();
    assert!(strange.is_empty(), "never sent like this: {strange:?}");
    received.repeated().count()
}
