//! The project's syslog vectors, byte for byte, and a parser that is not ours on the same bytes.

use std::collections::BTreeMap;

use forwarder_record::{Encoded, Time};
use forwarder_sinks::Notes;
use forwarder_sinks::syslog::rfc5424::{Header, HeaderSettings, SdElement};
use forwarder_sinks::syslog::{
    Encoder, EncoderSettings, Framing, HeaderFormat, Payload, Priority, Separator, rfc3164,
};
use serde_json::Value;

use crate::batches::{batch, edit, rows, texts};

/// Formats of the file that this crate writes, with the number of their vectors. `framing` is tested with
/// the framing itself, since its messages are no rows.
const COVERED: [(&str, usize); 2] = [("rfc5424", 18), ("rfc3164", 4)];
/// Formats that are not written yet.
const NOT_COVERED: [(&str, usize); 2] = [("cef", 4), ("leef", 5)];
/// `rfc5424_bom` is read by receivers' tests: common receivers keep a byte order mark as part of the text, so none
/// is written.
const ELSEWHERE: [(&str, usize); 2] = [("framing", 2), ("rfc5424_bom", 1)];

fn vectors() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/vectors/syslog.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    file["vectors"].as_array().unwrap().clone()
}

fn format(vector: &Value) -> &str {
    if vector["input"]["bom"] == true { "rfc5424_bom" } else { vector["format"].as_str().unwrap() }
}

#[test]
fn every_vector_is_covered_or_listed_as_not() {
    let mut found = BTreeMap::new();
    for vector in vectors() {
        *found.entry(format(&vector).to_owned()).or_insert(0) += 1;
    }
    let known = COVERED.into_iter().chain(NOT_COVERED).chain(ELSEWHERE);
    assert_eq!(found, known.map(|(format, count)| (format.to_owned(), count)).collect());
}

#[test]
fn messages_are_those_of_the_vectors() {
    let mut checked = BTreeMap::new();
    for vector in vectors() {
        let format = format(&vector);
        let written = match format {
            "rfc5424" if vector["input"]["timestamp"].is_null() => bare_header(&vector["input"]),
            "rfc5424" => {
                message(HeaderFormat::Rfc5424(rfc5424(&vector["input"])), &vector["input"])
            }
            "rfc3164" => {
                message(HeaderFormat::Rfc3164(rfc3164(&vector["input"])), &vector["input"])
            }
            _ => continue,
        };
        assert_eq!(written, vector["expected"].as_str().unwrap(), "{}", vector["name"]);
        second_opinion(&written, &vector);
        *checked.entry(format.to_owned()).or_insert(0) += 1;
    }
    let covered = COVERED.map(|(format, count)| (format.to_owned(), count));
    assert_eq!(checked, BTreeMap::from(covered));
}

/// No row is without a time and a text, so a header without them is written by itself.
fn bare_header(input: &Value) -> String {
    let mut out = Vec::new();
    Header::new(&rfc5424(input)).push(&mut out, None, None);
    String::from_utf8(out).unwrap()
}

fn message(header: HeaderFormat, input: &Value) -> String {
    let (payload, fields) = payload(input);
    let framing = match input["framing"].as_str() {
        Some("lf") => Framing::LineFeed,
        _ => Framing::OctetCounting,
    };
    let settings = EncoderSettings { header, payload, framing, ..EncoderSettings::default() };

    let (time, _) = timestamp(input);
    let borrowed: Vec<(&str, &str)> =
        fields.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let contents: Vec<_> = borrowed.iter().copied().filter(|(key, _)| !is_shared(key)).collect();
    let mut batch = batch(&[(u32::try_from(time.seconds).unwrap(), time.nanos, &contents)]);
    let kept: Vec<String> = fields.iter().map(|(key, _)| key.clone()).collect();
    edit(&mut batch, |edits| edits.keep(kept.clone()));

    let mut out = Encoded::default();
    let notes = Encoder::new(&settings).unwrap().encode(&batch, &rows(&batch), &mut out);
    assert_eq!(notes, Notes::default());
    unframed(&texts(&out).remove(0), framing)
}

/// Fields that every log has from its group.
fn is_shared(key: &str) -> bool {
    matches!(key, "__topic__" | "__source__")
}

fn unframed(frame: &str, framing: Framing) -> String {
    match framing {
        Framing::LineFeed => frame.strip_suffix('\n').unwrap().to_owned(),
        Framing::OctetCounting => {
            let (length, message) = frame.split_once(' ').unwrap();
            assert_eq!(length, message.len().to_string());
            message.to_owned()
        }
    }
}

fn payload(input: &Value) -> (Payload, Vec<(String, String)>) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let Some(pairs) = input.get("kv").and_then(Value::as_object) else {
        return (Payload::Field("msg".into()), vec![("msg".to_owned(), text(&input["msg"]))]);
    };
    let separator = text(&input["sep"]);
    let payload = match input["mode"].as_str() {
        Some("seed") => Payload::KvSeed(separator),
        _ => Payload::Kv(Separator::new(&separator).unwrap()),
    };
    (payload, pairs.iter().map(|(key, value)| (key.clone(), text(value))).collect())
}

fn optional(input: &Value, key: &str) -> Option<String> {
    input[key].as_str().map(str::to_owned)
}

fn priority(input: &Value) -> Priority {
    Priority {
        facility: input["facility"].as_str().unwrap().parse().unwrap(),
        severity: input["severity"].as_str().unwrap().parse().unwrap(),
    }
}

fn rfc5424(input: &Value) -> HeaderSettings {
    let element = |(id, params): (&String, &Value)| SdElement {
        id: id.clone(),
        params: params
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect(),
    };
    HeaderSettings {
        priority: priority(input),
        hostname: optional(input, "hostname"),
        app_name: optional(input, "app"),
        procid: optional(input, "procid"),
        msgid: optional(input, "msgid"),
        structured_data: input["sd"].as_object().into_iter().flatten().map(element).collect(),
        id_element: None,
        utc_offset_minutes: timestamp(input).1,
        ..HeaderSettings::default()
    }
}

fn rfc3164(input: &Value) -> rfc3164::HeaderSettings {
    rfc3164::HeaderSettings {
        priority: priority(input),
        hostname: optional(input, "hostname"),
        tag: optional(input, "tag"),
        pid: optional(input, "pid"),
        utc_offset_minutes: 0,
    }
}

/// The time, and the distance from UTC at which it is written.
fn timestamp(input: &Value) -> (Time, i16) {
    let Some(text) = input["timestamp"].as_str() else { return (Time::default(), 0) };
    let time: jiff::Timestamp = text.parse().unwrap();
    let seconds = u64::try_from(time.as_second()).unwrap();
    let nanos = u32::try_from(time.subsec_nanosecond()).unwrap();
    let minutes = if text.ends_with("+08:00") { 480 } else { 0 };
    (Time { seconds, nanos }, minutes)
}

/// What Vector's parser makes of it, against what the vector says that a receiver must see.
fn second_opinion(message: &str, vector: &Value) {
    let parsed = &vector["parsed"];
    let is_5424 = vector["format"] == "rfc5424";
    let variant =
        if is_5424 { syslog_loose::Variant::RFC5424 } else { syslog_loose::Variant::RFC3164 };
    let read = syslog_loose::parse_message(message, variant);
    let name = &vector["name"];
    let text = |key: &str| parsed[key].as_str();
    assert_eq!(read.hostname, text("hostname"), "{name}");
    assert_eq!(read.appname, text("appname"), "{name}");
    assert_eq!(read.procid.map(|id| id.to_string()).as_deref(), text("procid"), "{name}");
    assert_eq!(read.msg.trim_start_matches('\u{feff}'), text("msg").unwrap(), "{name}");
    if is_5424 {
        let instant = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
        let time = read.timestamp.map(|time| instant(&time.to_rfc3339()));
        assert_eq!(time, text("timestamp").map(instant), "{name}");
        assert_eq!(read.msgid, text("msgid"), "{name}");
        let elements: serde_json::Map<String, Value> = read
            .structured_data
            .iter()
            .map(|element| {
                let params =
                    element.params().map(|(name, value)| ((*name).to_owned(), value.into()));
                (element.id.to_owned(), Value::Object(params.collect()))
            })
            .collect();
        assert_eq!(
            &elements,
            parsed["sd"].as_object().unwrap_or(&serde_json::Map::new()),
            "{name}"
        );
    }
}
