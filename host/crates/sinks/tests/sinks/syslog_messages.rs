//! Syslog messages as a receiver takes them apart.

use forwarder_record::encode::{Log, LogGroup};
use forwarder_record::json::{is_unseen, text_of};
use forwarder_record::{Batch, Encoded};
use forwarder_sinks::Notes;
use forwarder_sinks::syslog::rfc5424::HeaderSettings;
use forwarder_sinks::syslog::{
    Encoder, EncoderSettings, Framing, HeaderFormat, OversizePolicy, Payload, Separator,
};
use proptest::prelude::*;

use crate::batches::{batch, decode, edit, rows, texts};

fn encode(settings: &EncoderSettings, batch: &Batch) -> (Vec<String>, Notes) {
    let mut out = Encoded::default();
    let notes = Encoder::new(settings).unwrap().encode(batch, &rows(batch), &mut out);
    (texts(&out), notes)
}

fn with_id() -> HeaderFormat {
    HeaderFormat::Rfc5424(HeaderSettings {
        hostname: Some("fwd-1".into()),
        app_name: Some("sls".into()),
        id_element: Some("forwarder@32473".into()),
        ..HeaderSettings::default()
    })
}

#[test]
fn a_message_carries_time_and_stable_id() {
    let settings = EncoderSettings { header: with_id(), ..EncoderSettings::default() };
    let (frames, _) = encode(&settings, &batch(&[(1_700_000_000, 5_000_000, &[("k", "a|b")])]));
    let message = "<14>1 2023-11-14T22:13:20.005Z fwd-1 sls - - [forwarder@32473 id=\"p/l/3/7/0\"] \
                   __source__=10.0.0.1||__topic__=t||k=a\\|b";
    let sorted = |frame: &str| {
        let (head, text) = frame.rsplit_once("] ").unwrap();
        let mut pairs: Vec<&str> = text.split("||").collect();
        pairs.sort_unstable();
        format!("{head}] {}", pairs.join("||"))
    };
    assert_eq!(sorted(&frames[0]), format!("{} {message}", message.len()));
}

#[test]
fn nested_json_brings_no_control_character_and_stays_the_same_value() {
    let nested = "{\r\n\t\"a\": \"\\n\u{7f}\u{85}\u{9b}\u{202e}\u{2066}\u{2028}é\u{a0}\",\n \"b\": [1,\r\n2]\n}\n";
    let mut batch = batch(&[(1, 0, &[("event", nested)])]);
    edit(&mut batch, |edits| {
        edits.nest("event".into());
        edits.keep(vec!["event".into()]);
    });
    for framing in [Framing::OctetCounting, Framing::LineFeed] {
        let settings =
            EncoderSettings { payload: Payload::Json, framing, ..EncoderSettings::default() };
        let (frames, _) = encode(&settings, &batch);
        let message = split(&frames[0], framing).remove(0);
        assert!(!message.contains(is_unseen), "{message:?}");
        let text = &message[message.find('{').unwrap()..];
        let read: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(read["event"], serde_json::from_str::<serde_json::Value>(nested).unwrap());
    }
}

#[test]
fn json_with_line_breaks_stays_on_one_line_under_line_feeds() {
    let mut batch = batch(&[(1, 0, &[("event", "{\r\n\"a\": \"\\n\"\n}"), ("k", "l1\nl2")])]);
    edit(&mut batch, |edits| {
        edits.nest("event".into());
        edits.keep(vec!["event".into(), "k".into()]);
    });
    for (payload, text) in [
        (Payload::Json, r#"{"event":{  "a": "\n" },"k":"l1\nl2"}"#),
        (Payload::KvSeed("||".into()), "||event={\\r\\n\"a\": \"\\n\"\\n}||k=l1\\nl2"),
        (Payload::Field("k".into()), "l1\\nl2"),
    ] {
        let settings =
            EncoderSettings { payload, framing: Framing::LineFeed, ..EncoderSettings::default() };
        let (frames, _) = encode(&settings, &batch);
        let expected = format!("<14>1 1970-01-01T00:00:01Z - - - - - {text}\n");
        assert_eq!(frames, [expected], "{:?}", settings.payload);
    }
}

#[test]
fn the_samples_form_counts_values_that_hold_the_separator() {
    let settings =
        EncoderSettings { payload: Payload::KvSeed("||".into()), ..EncoderSettings::default() };
    let batch = batch(&[(1, 0, &[("a", "x|y")]), (1, 0, &[("a", "x||y")])]);
    let (frames, notes) = encode(&settings, &batch);
    assert_eq!((frames.len(), notes.ambiguous), (2, 1));
}

#[test]
fn too_long_a_message_is_reported_or_cut_but_never_sent() {
    let long = "é".repeat(1000);
    let batch =
        batch(&[(1, 0, &[("k", "short")]), (1, 0, &[("k", &long)]), (1, 0, &[("k", "short")])]);
    let settings =
        EncoderSettings { max_message_bytes: 480, payload: Payload::Json, ..Default::default() };
    let (frames, notes) = encode(&settings, &batch);
    assert_eq!(frames.len(), 2);
    let [oversize] = notes.oversize.as_slice() else { panic!("{notes:?}") };
    assert_eq!((oversize.row, oversize.limit), (rows(&batch)[1], 480));
    assert!(oversize.bytes > 2000 && oversize.to_string().contains("max_message"));

    let settings = EncoderSettings { oversize: OversizePolicy::Truncate, ..settings };
    let (frames, notes) = encode(&settings, &batch);
    assert_eq!((frames.len(), notes.truncated), (3, 1));
    let (length, message) = frames[1].split_once(' ').unwrap();
    assert_eq!(length, message.len().to_string());
    assert!((478..=480).contains(&message.len()) && message.ends_with("é..."), "{message}");
}

#[test]
fn rows_with_nothing_to_say_are_named() {
    let batch = batch(&[(1, 0, &[("a", "1")]), (2, 0, &[("b", "2")]), (3, 0, &[("a", "")])]);
    let settings = EncoderSettings { payload: Payload::Field("a".into()), ..Default::default() };
    let (frames, notes) = encode(&settings, &batch);
    assert_eq!(frames.len(), 1);
    assert_eq!(notes.empty, rows(&batch)[1..]);
}

proptest! {
    /// Any rows, both framings: the stream falls apart into the messages, each header is read by a parser that
    /// is not ours, and the pairs are the row's fields.
    #[test]
    fn a_stream_reads_back_as_its_rows(
        logs in prop::collection::vec(
            (any::<u32>(), 0u32..1_000_000_000,
             prop::collection::vec((any::<String>(), any::<String>()), 1..6)),
            1..8,
        ),
        octets: bool,
        separator in prop::sample::select(vec!["||", " ", ";", "\t", "|;,"]),
    ) {
        let logs: Vec<Log> = logs
            .into_iter()
            .map(|(time, nanos, contents)| Log { time, nanos: Some(nanos), contents })
            .collect();
        let batch = decode(&LogGroup { topic: "t".into(), logs, ..LogGroup::default() });
        let framing = if octets { Framing::OctetCounting } else { Framing::LineFeed };
        let settings = EncoderSettings {
            header: with_id(),
            framing,
            payload: Payload::Kv(Separator::new(separator).unwrap()),
            max_message_bytes: 1 << 20,
            ..EncoderSettings::default()
        };
        let mut out = Encoded::default();
        let notes = Encoder::new(&settings).unwrap().encode(&batch, &rows(&batch), &mut out);
        prop_assert_eq!(notes, Notes::default());
        let messages = split(std::str::from_utf8(&out.bytes).unwrap(), framing);
        prop_assert_eq!(messages.len(), batch.live_rows());
        let raw = |c: char| is_unseen(c) && !separator.contains(c);
        prop_assert!(!messages.iter().any(|message| message.contains(raw)));
        for (message, row) in messages.iter().zip(batch.rows()) {
            let read = syslog_loose::parse_message(message, syslog_loose::Variant::RFC5424);
            prop_assert_eq!(read.hostname, Some("fwd-1"));
            let id = read.structured_data[0].params().next().unwrap().1;
            prop_assert_eq!(id, row.id().unwrap().to_string());
            let time = read.timestamp.unwrap();
            prop_assert_eq!(time.timestamp(), i64::try_from(row.time().seconds).unwrap());
            prop_assert_eq!(time.timestamp_subsec_micros(), row.time().nanos / 1000);
            // That parser trims the text, so it is taken from behind the structured data.
            let (_, text) = message.split_once("\"] ").unwrap();
            let fields: Vec<(String, String)> = row
                .cells()
                .filter(|cell| !matches!(cell.key, "__time__" | "__time_ns_part__"))
                .map(|cell| (cell.key.to_owned(), cell.value.to_owned()))
                .collect();
            prop_assert_eq!(pairs(text, separator), fields);
        }
    }
}

fn split(mut stream: &str, framing: Framing) -> Vec<&str> {
    if framing == Framing::LineFeed {
        return stream.strip_suffix('\n').unwrap().split('\n').collect();
    }
    let mut messages = Vec::new();
    while !stream.is_empty() {
        let (length, rest) = stream.split_once(' ').unwrap();
        let (message, rest) = rest.split_at(length.parse().unwrap());
        messages.push(message);
        stream = rest;
    }
    messages
}

/// Reads pairs as the payload's description says: apart at the bare separator, at the first bare `=`.
fn pairs(text: &str, separator: &str) -> Vec<(String, String)> {
    let mut pairs = vec![(String::new(), None::<String>)];
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix(separator) {
            pairs.push((String::new(), None));
            rest = after;
            continue;
        }
        let pair = pairs.last_mut().unwrap();
        rest = &rest[c.len_utf8()..];
        let c = match c {
            '=' if pair.1.is_none() => {
                pair.1 = Some(String::new());
                continue;
            }
            '\\' => {
                let escaped = rest.chars().next().unwrap();
                rest = &rest[escaped.len_utf8()..];
                match escaped {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    '0' => '\0',
                    'u' => {
                        // Two numbers for a character above U+FFFF.
                        let is_pair =
                            matches!(rest.as_bytes(), [b'd', b'8'..=b'9' | b'a'..=b'b', ..]);
                        let (digits, after) = rest.split_at(if is_pair { 10 } else { 4 });
                        rest = after;
                        text_of(&format!("\"\\u{digits}\"")).chars().next().unwrap()
                    }
                    other => other,
                }
            }
            other => other,
        };
        pair.1.as_mut().unwrap_or(&mut pair.0).push(c);
    }
    pairs.into_iter().map(|(key, value)| (key, value.unwrap())).collect()
}
