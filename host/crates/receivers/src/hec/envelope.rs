//! The event envelope: objects one after another in a body, without commas and without an array.
//!
//! Envelopes are read as borrowed slices of the body; `event` and `fields` stay JSON text until someone
//! needs more. That is what lets the receiver keep ahead of the forwarder it measures.

use std::str::FromStr;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, StreamDeserializer, Value, de::StrRead};

use super::reply::Code;
use super::text::Text;

/// One accepted event, as the collector understood it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Envelope {
    /// The time as written, in seconds since the epoch: `1700000000.123`, quotes removed.
    pub time: Option<String>,
    /// Metadata `host`.
    pub host: Option<String>,
    /// Metadata `source`.
    pub source: Option<String>,
    /// Metadata `sourcetype`.
    pub sourcetype: Option<String>,
    /// Metadata `index`.
    pub index: Option<String>,
    /// The event: a string, number, object or array.
    pub event: Value,
    /// The event's JSON text, byte for byte as it was sent.
    pub event_json: String,
    /// Indexed fields.
    pub fields: Map<String, Value>,
    /// The channel of the request that brought it.
    pub channel: Option<String>,
}

/// An event about to be accepted, as a fault's predicate sees it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Candidate<'a> {
    /// Place in its request, counted from 0.
    pub index: usize,
    /// The whole envelope as it was sent (raw endpoint: the line).
    pub json: &'a str,
}

/// An envelope as it lies in the body. A key that is not listed makes the event invalid.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawEnvelope<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    time: Option<&'a RawValue>,
    #[serde(borrow)]
    host: Option<Text<'a>>,
    #[serde(borrow)]
    source: Option<Text<'a>>,
    #[serde(borrow)]
    sourcetype: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) index: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) event: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) fields: Option<&'a RawValue>,
}

/// Keeps a written `null` apart from a missing key.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl RawEnvelope<'_> {
    /// Checks everything but `fields` and the index, which need to know more.
    pub(crate) fn check(&self) -> Result<(), Code> {
        if !self.time.is_none_or(|time| is_time(time.get())) {
            return Err(Code::InvalidFormat);
        }
        match self.event.map(RawValue::get) {
            None | Some("null") => Err(Code::EventRequired),
            Some("true" | "false") => Err(Code::InvalidFormat),
            Some(text) if is_blank(text) => Err(Code::EventBlank),
            Some(_) => Ok(()),
        }
    }

    /// The owned form, for a receiver that keeps everything.
    pub(crate) fn to_envelope(&self, channel: Option<&str>) -> Result<Envelope, serde_json::Error> {
        let owned = |text: &Option<Text<'_>>| text.as_ref().map(|Text(text)| text.to_string());
        let event = self.event.map_or("null", RawValue::get);
        Ok(Envelope {
            time: self.time.map(|time| time.get().trim_matches('"').to_owned()),
            host: owned(&self.host),
            source: owned(&self.source),
            sourcetype: owned(&self.sourcetype),
            index: owned(&self.index),
            event: serde_json::from_str(event)?,
            event_json: event.to_owned(),
            fields: match self.fields {
                Some(fields) => serde_json::from_str(fields.get())?,
                None => Map::new(),
            },
            channel: channel.map(str::to_owned),
        })
    }
}

/// A number, or a string that holds one.
fn is_time(json: &str) -> bool {
    let number = match json.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').unwrap_or(rest),
        None => json,
    };
    // `f64` would also take "inf" and "nan", which are no times.
    number.starts_with(|first: char| first.is_ascii_digit() || first == '-')
        && f64::from_str(number).is_ok()
}

/// A string of nothing but white space, also where that is written as escapes.
fn is_blank(json: &str) -> bool {
    let Some(inner) = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return false;
    };
    match inner.as_bytes().first() {
        None => true,
        Some(b' ' | b'\\') => {
            serde_json::from_str(json).is_ok_and(|Text(text)| text.trim().is_empty())
        }
        Some(_) => inner.chars().all(char::is_whitespace),
    }
}

/// The envelopes of one body, in order; ends after the first that cannot be read.
pub(crate) struct Envelopes<'a> {
    body: &'a str,
    stream: StreamDeserializer<'a, StrRead<'a>, RawEnvelope<'a>>,
}

impl<'a> Envelopes<'a> {
    pub(crate) fn new(body: &'a str) -> Self {
        Self { body, stream: serde_json::Deserializer::from_str(body).into_iter() }
    }

    /// How much of the body has been read.
    pub(crate) fn offset(&self) -> usize {
        self.stream.byte_offset()
    }
}

impl<'a> Iterator for Envelopes<'a> {
    type Item = Result<(&'a str, RawEnvelope<'a>), Code>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.body.get(self.offset()..)?.trim_ascii_start();
        if rest.is_empty() {
            return None;
        }
        // serde would read an array into a struct; Splunk takes objects only.
        if !rest.starts_with('{') {
            return Some(Err(Code::InvalidFormat));
        }
        let start = self.body.len() - rest.len();
        let sent = self.stream.next()?.map_err(|_| Code::InvalidFormat);
        let json = self.body.get(start..self.offset()).unwrap_or("");
        Some(sent.map(|sent| (json, sent)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(body: &str) -> Vec<Result<(), Code>> {
        let mut seen = Vec::new();
        for read in Envelopes::new(body) {
            let checked = read.and_then(|(_, sent)| sent.check());
            seen.push(checked);
            if checked.is_err() {
                break;
            }
        }
        seen
    }

    #[test]
    fn a_body_is_objects_one_after_another() {
        let body = r#"{"event":"a"}{"event":{"b":1}} {"time":"1.5","event":[1]}
            {"time":1700000000.123,"host":"h","source":"s","sourcetype":"t","index":"i","event":7,"fields":{}}"#;

        assert_eq!(outcome(body), [Ok(()); 4]);
        let spans: Vec<_> = Envelopes::new(body).map(|read| read.ok().unwrap().0).collect();
        assert_eq!(spans[..2], [r#"{"event":"a"}"#, r#"{"event":{"b":1}}"#]);
    }

    #[test]
    fn what_splunk_refuses_is_refused_with_its_code() {
        for (event, code) in [
            (r#"[{"event":"a"}]"#, Code::InvalidFormat),
            (r#","#, Code::InvalidFormat),
            (r#"{"event":"a""#, Code::InvalidFormat),
            (r#"{"event":"a","evnt":1}"#, Code::InvalidFormat),
            (r#"{"event":"a","host":1}"#, Code::InvalidFormat),
            (r#"{"event":"a","time":"yesterday"}"#, Code::InvalidFormat),
            (r#"{"event":"a","time":"inf"}"#, Code::InvalidFormat),
            (r#"{"event":"a","time":null}"#, Code::InvalidFormat),
            (r#"{"event":true}"#, Code::InvalidFormat),
            (r#"{"host":"h"}"#, Code::EventRequired),
            (r#"{"event":null}"#, Code::EventRequired),
            (r#"{"event":""}"#, Code::EventBlank),
            (r#"{"event":" \t\u0020"}"#, Code::EventBlank),
        ] {
            let body = format!(r#"{{"event":"good"}}{event}{{"event":"not reached"}}"#);
            assert_eq!(outcome(&body), [Ok(()), Err(code)], "{event}");
        }
    }

    #[test]
    fn an_event_that_only_begins_blank_is_not_blank() {
        for event in [r#"" x""#, r#""\n.""#, r#""\\""#, r#""0""#] {
            assert_eq!(outcome(&format!(r#"{{"event":{event}}}"#)), [Ok(())], "{event}");
        }
    }
}
