//! What the collector takes, what it refuses, and with which words.

use forwarder_receivers::hec::HecReceiver;
use serde_json::json;

use crate::client::{Splunk, event, events, gzip, said};

#[tokio::test]
async fn events_arrive_with_their_metadata() {
    let receiver = HecReceiver::builder().start().await.unwrap();
    let splunk = Splunk::of(&receiver);

    let reply = splunk
        .send(concat!(
            r#"{"time":1700000000.123,"host":"h","source":"s","sourcetype":"t","index":"i","#,
            r#""event":{"a": 1},"fields":{"k":"v"}}"#,
            r#"{"time":"1700000001","event":"text"}"#,
        ))
        .await;
    assert_eq!(reply, (200, json!({"text": "Success", "code": 0})));

    let received = receiver.stop().await;
    let [first, second] = &received.events[..] else { panic!("{:?}", received.events) };
    assert_eq!(first.time.as_deref(), Some("1700000000.123"));
    assert_eq!(first.host.as_deref(), Some("h"));
    assert_eq!(first.source.as_deref(), Some("s"));
    assert_eq!(first.sourcetype.as_deref(), Some("t"));
    assert_eq!(first.index.as_deref(), Some("i"));
    assert_eq!(first.event_json, r#"{"a": 1}"#, "as sent, spaces included");
    assert_eq!(first.fields["k"], "v");
    assert_eq!(second.time.as_deref(), Some("1700000001"));
    assert_eq!(second.event, "text");
    assert_eq!(second.host, None);
}

#[tokio::test]
async fn every_alias_of_an_endpoint_answers() {
    let receiver = HecReceiver::builder().start().await.unwrap();
    let splunk = Splunk::of(&receiver);

    for path in ["", "/event", "/event/1.0", "/raw", "/raw/1.0"] {
        let path = format!("/services/collector{path}");
        assert_eq!(said(splunk.post(&path, event("x"))).await.0, 200, "{path}");
    }
    assert_eq!(said(splunk.post("/services/collectr", event("x"))).await.0, 404);
    assert_eq!(said(splunk.get("/services/collector/event")).await.0, 405);
}

#[tokio::test]
async fn a_wrong_token_is_refused_in_splunks_words() {
    let receiver = HecReceiver::builder().token("right").start().await.unwrap();
    let splunk = Splunk::of(&receiver);
    let anonymous = || splunk.anonymous("/services/collector/event");
    let with = |header: &'static str| anonymous().header("authorization", header);

    for (request, status, code, text) in [
        (anonymous(), 401, 2, "Token is required"),
        (with("right"), 401, 3, "Invalid authorization"),
        (with("Bearer right"), 401, 3, "Invalid authorization"),
        (with("Splunk wrong"), 403, 4, "Invalid token"),
        (
            splunk.anonymous("/services/collector/event?token=right"),
            400,
            16,
            "Query string authorization is not enabled",
        ),
    ] {
        assert_eq!(said(request).await, (status, json!({"text": text, "code": code})));
    }
    assert_eq!(said(with("Splunk right")).await.0, 200);
    assert_eq!(said(with("Basic eDpyaWdodA==")).await.0, 200, "x:right as basic authentication");
    assert_eq!(receiver.tally().received, 2);
}

#[tokio::test]
async fn one_bad_event_refuses_the_request_and_is_named_from_zero() {
    let receiver = HecReceiver::builder().index("main").start().await.unwrap();
    let splunk = Splunk::of(&receiver);
    let nested = r#"{"event":"x","fields":{"a":{"b":1}}}"#;

    for (bad, code, text) in [
        (r#"{"event":"x","index":"secret"}"#, 7, "Incorrect index"),
        (r#"{"host":"h"}"#, 12, "Event field is required"),
        (r#"{"event":""}"#, 13, "Event field cannot be blank"),
        (nested, 15, "Error in handling indexed fields"),
        (r#"{"event":"x"},"#, 6, "Invalid data format"),
    ] {
        let index = if code == 6 { 2 } else { 1 };
        let reply = splunk.send(format!("{}{bad}{}", event("a"), event("b"))).await;
        let expected = json!({"text": text, "code": code, "invalid-event-number": index});
        assert_eq!(reply, (400, expected), "{bad}");
    }
    assert_eq!(receiver.tally().received, 0, "nothing of a refused request stays");
    assert_eq!(splunk.send(r#"{"event":"x","index":"main"}"#).await.0, 200);
}

#[tokio::test]
async fn an_array_is_not_a_batch_and_nothing_is_no_data() {
    let receiver = HecReceiver::builder().start().await.unwrap();
    let splunk = Splunk::of(&receiver);

    let (status, reply) = splunk.send(format!("[{}]", event("a"))).await;
    assert_eq!((status, &reply["code"]), (400, &json!(6)));
    for empty in ["", " \n"] {
        assert_eq!(splunk.send(empty).await, (400, json!({"text": "No data", "code": 5})));
    }
}

#[tokio::test]
async fn an_event_above_the_largest_size_refuses_the_request() {
    let receiver = HecReceiver::builder().max_event_bytes(100).start().await.unwrap();
    let splunk = Splunk::of(&receiver);

    let (status, reply) = splunk.send(events(["small", &"x".repeat(100)])).await;
    let expected = json!({"text": "Invalid data format", "code": 6, "invalid-event-number": 1});
    assert_eq!((status, reply), (400, expected));
}

#[tokio::test]
async fn a_compressed_body_counts_in_full() {
    let receiver = HecReceiver::builder().max_content_length(10_000).start().await.unwrap();
    let splunk = Splunk::of(&receiver);
    let compressed = |text: &str| {
        splunk
            .post("/services/collector/event", gzip(text.as_bytes()))
            .header("content-encoding", "gzip")
    };

    assert_eq!(said(compressed(&events(["a", "b"]))).await.0, 200);
    let bomb = event(&"x".repeat(20_000));
    assert!(gzip(bomb.as_bytes()).len() < 1_000);
    assert_eq!(said(compressed(&bomb)).await.0, 413, "small on the wire, too large inside");

    let not_gzip = splunk.post("/services/collector/event", event("x"));
    assert_eq!(said(not_gzip.header("content-encoding", "gzip")).await.0, 400);
    let mut cut = gzip(event("x").as_bytes());
    cut.truncate(cut.len() - 10);
    let cut = splunk.post("/services/collector/event", cut);
    assert_eq!(said(cut.header("content-encoding", "gzip")).await.0, 400);

    let tally = receiver.tally();
    assert_eq!((tally.received, tally.gzip_requests), (2, 1));
    assert_eq!(tally.bytes, events(["a", "b"]).len() as u64);
}

#[tokio::test]
async fn a_body_above_the_limit_gets_413_without_a_hec_code() {
    let receiver = HecReceiver::builder().max_content_length(50).start().await.unwrap();
    let splunk = Splunk::of(&receiver);

    let request = splunk.post("/services/collector/event", event(&"x".repeat(60)));
    let reply = request.send().await.unwrap();
    assert_eq!(reply.status().as_u16(), 413);
    assert!(reply.text().await.unwrap().contains("maximum is 50"));

    receiver.faults().limit_content(1_000);
    assert_eq!(splunk.send(event(&"x".repeat(60))).await.0, 200);
}

#[tokio::test]
async fn raw_text_is_split_at_line_ends() {
    let receiver = HecReceiver::builder().start().await.unwrap();
    let splunk = Splunk::of(&receiver);

    let path = "/services/collector/raw?sourcetype=access%20log&host=web";
    assert_eq!(said(splunk.post(path, "one\ntwo\n\n")).await.0, 200);
    assert_eq!(said(splunk.post(path, "\n")).await, (400, json!({"text": "No data", "code": 5})));

    let received = receiver.received();
    let lines: Vec<_> = received.events.iter().map(|event| event.event.clone()).collect();
    assert_eq!(lines, ["one", "two"]);
    assert_eq!(received.events[1].sourcetype.as_deref(), Some("access log"));
}

#[tokio::test]
async fn health_needs_no_token_and_refuses_a_wrong_one() {
    let receiver = HecReceiver::builder().token("right").start().await.unwrap();
    let splunk = Splunk::of(&receiver);
    let health = || splunk.get("/services/collector/health");
    let with = |header: &'static str| health().header("authorization", header);

    assert_eq!(said(health()).await, (200, json!({"text": "HEC is healthy", "code": 17})));
    assert_eq!(said(with("Splunk right")).await.0, 200);
    let (status, reply) = said(with("Splunk wrong")).await;
    assert_eq!((status, &reply["code"]), (400, &json!(21)));
    receiver.faults().disable_token();
    let (status, reply) = said(with("Splunk right")).await;
    assert_eq!((status, &reply["code"]), (400, &json!(22)));
}
