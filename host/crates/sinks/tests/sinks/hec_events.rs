//! HEC events as a JSON reader sees them.

use forwarder_record::encode::{Log, LogGroup};
use forwarder_record::{Batch, Encoded};
use forwarder_sinks::hec::{Encoder, EncoderSettings, EventFormat};
use forwarder_sinks::{Notes, Template};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::batches::{batch, decode, edit, rows, texts};

fn encode(settings: &EncoderSettings, batch: &Batch) -> (Vec<Value>, Notes) {
    let mut out = Encoded::default();
    let notes = Encoder::new(settings).encode(batch, &rows(batch), &mut out);
    let read = |text: String| serde_json::from_str(&text).unwrap();
    (texts(&out).into_iter().map(read).collect(), notes)
}

#[test]
fn an_event_has_time_metadata_fields_and_a_stable_id() {
    let settings = EncoderSettings {
        host: Template::fixed("h"),
        source: Template::fixed("s\"1"),
        sourcetype: Template::fixed("aliyun"),
        index: Template::fixed("cloud"),
        ..EncoderSettings::default()
    };
    let (events, _) = encode(&settings, &batch(&[(1_700_000_000, 123_000_000, &[("k", "v\n")])]));
    let expected = json!({
        "time": 1_700_000_000.123, "host": "h", "source": "s\"1", "sourcetype": "aliyun", "index": "cloud",
        "event": {"k": "v\n", "__topic__": "t", "__source__": "10.0.0.1"},
        "fields": {"event_id": "p/l/3/7/0"},
    });
    assert_eq!(events, [expected]);
}

#[test]
fn the_time_is_written_digit_for_digit() {
    let mut out = Encoded::default();
    let batch = batch(&[(1_700_000_000, 123_000_000, &[("k", "v")]), (5, 0, &[("k", "v")])]);
    let _ = Encoder::new(&EncoderSettings::default()).encode(&batch, &rows(&batch), &mut out);
    let texts = texts(&out);
    assert!(texts[0].starts_with(r#"{"time":1700000000.123,"event":{"#), "{}", texts[0]);
    assert!(texts[1].starts_with(r#"{"time":5,"event":{"#), "{}", texts[1]);
}

#[test]
fn empty_metadata_and_an_unwanted_id_are_left_out() {
    let settings = EncoderSettings { event_id: false, ..EncoderSettings::default() };
    let (events, _) = encode(&settings, &batch(&[(1, 0, &[("k", "v")])]));
    let keys: Vec<_> = events[0].as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["time", "event"]);
}

#[test]
fn a_nested_field_is_shipped_word_for_word() {
    let json = "{\"b\" : [1.0, 1e400],\n \"a\":\"\\u0041\"}";
    let mut batch = batch(&[(1, 0, &[("event", json), ("k", "v")])]);
    edit(&mut batch, |edits| edits.nest("event".into()));
    let mut out = Encoded::default();
    let _ = Encoder::new(&EncoderSettings::default()).encode(&batch, &rows(&batch), &mut out);
    assert!(texts(&out)[0].contains(&format!("\"event\":{json},\"k\":\"v\"")), "{:?}", texts(&out));
}

#[test]
fn the_samples_form_is_a_string_that_holds_the_event() {
    let settings =
        EncoderSettings { event_format: EventFormat::JsonString, ..EncoderSettings::default() };
    let mut batch = batch(&[(1, 0, &[("q", "say \"hi\"\\"), ("event", r#"{"a":[1,"x"]}"#)])]);
    edit(&mut batch, |edits| edits.nest("event".into()));
    let (events, _) = encode(&settings, &batch);
    let inner: Value = serde_json::from_str(events[0]["event"].as_str().unwrap()).unwrap();
    let expected = json!({
        "q": "say \"hi\"\\", "event": {"a": [1, "x"]}, "__topic__": "t", "__source__": "10.0.0.1",
    });
    assert_eq!(inner, expected);
}

#[test]
fn a_row_with_nothing_left_is_named_and_not_sent() {
    let mut batch = batch(&[(1, 0, &[("a", "1")]), (2, 0, &[("b", "2")]), (3, 0, &[("a", "3")])]);
    edit(&mut batch, |edits| edits.keep(vec!["a".into(), "__time__".into()]));
    for event_format in [EventFormat::Object, EventFormat::JsonString] {
        let (events, notes) =
            encode(&EncoderSettings { event_format, ..EncoderSettings::default() }, &batch);
        assert_eq!(notes.empty, [rows(&batch)[1]]);
        assert_eq!(events.len(), 2);
        assert_eq!(events[1]["time"], 3);
    }
}

proptest! {
    /// Whatever the fields hold: a body is JSON values back to back, and their members are the row's fields.
    #[test]
    fn a_body_reads_back_as_its_rows(
        logs in prop::collection::vec(
            (any::<u32>(), prop::option::of(0u32..1_000_000_000),
             prop::collection::vec((any::<String>(), any::<String>()), 1..6)),
            1..8,
        ),
        gzip: bool,
        as_string: bool,
    ) {
        let logs: Vec<Log> = logs
            .into_iter()
            .map(|(time, nanos, contents)| Log { time, nanos, contents })
            .collect();
        let batch = decode(&LogGroup { topic: "t".into(), logs, ..LogGroup::default() });
        let event_format = if as_string { EventFormat::JsonString } else { EventFormat::Object };
        let encoder =
            Encoder::new(&EncoderSettings { gzip, event_format, ..EncoderSettings::default() });
        let mut out = Encoded::default();
        let notes = encoder.encode(&batch, &rows(&batch), &mut out);
        prop_assert_eq!(notes, Notes::default());
        let (bytes, ..) = out.into_parts();
        let (first, second) = bytes.split_at(bytes.len() / 2);
        let body = encoder.pack(vec![first.to_vec().into(), second.to_vec().into()], batch.live_rows());

        let wire = body.segments().concat();
        let raw = if gzip { gunzip(&wire) } else { wire };
        prop_assert_eq!(raw.len(), body.raw_bytes());
        let read: Vec<Value> = serde_json::Deserializer::from_slice(&raw)
            .into_iter()
            .collect::<Result<_, _>>()
            .unwrap();
        prop_assert_eq!(read.len(), batch.live_rows());
        for (event, row) in read.iter().zip(batch.rows()) {
            let fields: serde_json::Map<String, Value> = row
                .cells()
                .filter(|cell| !matches!(cell.key, "__time__" | "__time_ns_part__"))
                .map(|cell| (cell.key.to_owned(), cell.value.into()))
                .collect();
            let written = match &event["event"] {
                Value::String(inner) => serde_json::from_str(inner).unwrap(),
                object => object.clone(),
            };
            prop_assert_eq!(written, Value::Object(fields));
            prop_assert_eq!(&event["fields"]["event_id"], &row.id().unwrap().to_string());
        }
    }
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Read;
    let mut raw = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut raw).unwrap();
    raw
}
