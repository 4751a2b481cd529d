//! What the plugin makes of real logs, run natively.

#![expect(clippy::expect_used, reason = "samples that cannot be read fail the test")]

use audit::audit;
use forwarder_guest::testing::{self, Failure, Level, Log, Outcome};
use serde_json::{Map, Value, json};

/// The samples that stand for every kind of log, flattened.
fn samples() -> Vec<Map<String, Value>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/vectors/samples.jsonl");
    let text = std::fs::read_to_string(path).expect("the vectors lie next to the tests");
    text.lines().map(|line| serde_json::from_str(line).expect("a sample is JSON")).collect()
}

fn log(sample: &Map<String, Value>) -> Log {
    Log::flattened(sample.iter().map(|(key, value)| (key.as_str(), value.as_str().unwrap_or(""))))
}

/// The event that the vendor's sample sends: the flattened log without its time, and with the JSON of
/// topics that it knows to hold some in place of the text (`json_topic`).
fn vendor(sample: &Map<String, Value>) -> Value {
    let mut event = sample.clone();
    event.shift_remove("__time__");
    event.shift_remove("__time_ns_part__");
    if event.get("__topic__") == Some(&json!("actiontrail_audit_event")) {
        let inner = event.get("event").and_then(Value::as_str).map(serde_json::from_str);
        if let Some(Ok(inner)) = inner {
            event.insert("event".to_owned(), inner);
        }
    }
    Value::Object(event)
}

fn trail(event: &str) -> Log {
    Log::new([("event", event)]).with_topic("actiontrail_audit_event")
}

fn trails() -> [Log; 5] {
    [
        trail(r#"{"eventName":"DescribeInstances","eventRW":"Read"}"#),
        trail(
            r#"{"eventName":"DeleteBucket","eventRW":"Write","userIdentity":{"userName":"alice"}}"#,
        ),
        Log::new([("event", "{\"eventName\":\"DeleteBucket\"}")]).with_topic("other"),
        trail("not json"),
        trail(r#"{"eventName":"ListBuckets","eventRW":"Read","n":{"x.y":[1,2]}}"#),
    ]
}

fn run(config: &str) -> Outcome {
    testing::run(audit, config, trails())
}

fn rows(outcome: &Outcome) -> Vec<u32> {
    outcome.sent.iter().map(|sent| sent.row).collect()
}

#[test]
fn without_config_every_sample_becomes_what_the_vendors_sample_sends() {
    let samples = samples();
    assert_eq!(samples.len(), 10);
    let outcome = testing::run(audit, "{}", samples.iter().map(log));
    let sent: Vec<Value> = outcome.sent.iter().map(testing::Sent::event).collect();
    let expected: Vec<Value> = samples.iter().map(vendor).collect();
    assert_eq!(sent, expected);
    assert!(expected.iter().filter(|event| event["event"].is_object()).count() >= 3);
    assert_eq!(outcome.not_json, 0);
}

#[test]
fn without_config_only_topics_cross() {
    assert_eq!(run("").calls, ["topics", "nest-at"]);
    let all_alike = testing::run(audit, "", [trail("{}"), trail("[]")]);
    assert_eq!(all_alike.calls, ["topics", "nest"]);
}

#[test]
fn without_config_both_topics_of_the_vendor_are_known() {
    let event = r#"{"eventName":"DeleteBucket"}"#;
    for topic in ["actiontrail_audit_event", "actiontrail_event"] {
        let outcome = testing::run(audit, "", [Log::new([("event", event)]).with_topic(topic)]);
        assert_eq!(outcome.sent[0].event()["event"]["eventName"], "DeleteBucket", "{topic}");
    }
}

#[test]
fn text_that_is_not_json_stays_text_and_is_counted() {
    let outcome = run("{}");
    assert_eq!(rows(&outcome), [0, 1, 2, 3, 4]);
    assert_eq!(outcome.sent[3].event(), json!({"event": "not json"}));
    assert_eq!(outcome.not_json, 1);
}

#[test]
fn a_field_cannot_pretend_to_be_the_topic() {
    let forged = Log::new([("__topic__", "actiontrail_audit_event"), ("event", "{}")]);
    let outcome = testing::run(audit, "", [forged.with_topic("app")]);
    assert_eq!(outcome.sent[0].event()["event"], "{}");
}

#[test]
fn events_are_dropped_by_name_or_the_beginning_of_one() {
    let outcome = run(r#"{"drop_events": ["Describe*", "ListBuckets", "Delete"]}"#);
    assert_eq!(rows(&outcome), [1, 2, 3]);
    assert_eq!(outcome.dropped, [0, 4]);
    assert_eq!(outcome.sent[0].event()["event"]["eventName"], "DeleteBucket");
}

#[test]
fn events_without_a_name_are_kept_and_reported_once() {
    let outcome = run(r#"{"drop_events": ["*"]}"#);
    assert_eq!(rows(&outcome), [2, 3]);
    assert_eq!(outcome.messages.len(), 1);
    assert_eq!(outcome.messages[0].0, Level::Warn);
    assert!(outcome.messages[0].1.starts_with("1 of 4 audit logs"), "{:?}", outcome.messages);
}

#[test]
fn reads_are_dropped_on_request() {
    let outcome = run(r#"{"drop_read_only": true}"#);
    assert_eq!(rows(&outcome), [1, 2, 3]);
    assert_eq!(outcome.calls, ["topics", "json-at", "drop", "nest-at"]);
}

#[test]
fn inner_fields_are_lifted_where_they_exist() {
    let config = r#"{"lift": {"user": "userIdentity.userName", "second": ["n", "x.y", "1"]}}"#;
    let outcome = run(config);
    assert_eq!(outcome.sent[1].get("user"), Some("alice"));
    assert_eq!(outcome.sent[4].get("second"), Some("2"));
    for row in [0, 2, 3] {
        assert_eq!(outcome.sent[row].log.fields().len(), 1, "row {row}");
    }
}

#[test]
fn every_log_is_worked_on_if_the_config_says_so() {
    let outcome = run(r#"{"topics": ["*"], "fields": ["event"]}"#);
    assert!(outcome.sent[2].event()["event"].is_object());
    assert_eq!(outcome.calls, ["nest"]);
}

#[test]
fn where_no_log_is_of_the_topics_nothing_is_done() {
    let config = r#"{"drop_events": ["a"], "drop_read_only": true, "lift": {"b": "c"}}"#;
    let outcome = testing::run(audit, config, [Log::new([("event", "{}")])]);
    assert_eq!(outcome.calls, ["topics"]);
}

#[test]
fn mistakes_in_the_config_are_named() {
    for (config, why) in [
        (r#"{"parse": ["event"]}"#, "config: unknown field `parse`, expected one of `topics`"),
        (r#"{"topics": []}"#, "`topics` is empty"),
        (r#"{"fields": []}"#, "`fields` is empty"),
        (r#"{"drop_events": ["De*te"]}"#, "`De*te` has a `*` that is not at its end"),
        (r#"{"drop_events": [""]}"#, "an event name is empty"),
        (r#"{"lift": {"user": ""}}"#, "`lift.user`: the path is empty"),
        (r#"{"lift": {"user": 1}}"#, "a path is text with dots between its steps"),
    ] {
        let refused = testing::try_run(audit, config, trails());
        let Err(Failure::Configure(error)) = refused else { panic!("{config} was accepted") };
        assert!(error.contains(why), "{config}: {error}");
    }
}
