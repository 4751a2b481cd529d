//! Indexer acknowledgement, from the sender's side.

use forwarder_receivers::hec::{AckPolicy, HecReceiver};
use serde_json::json;

use crate::client::{CHANNEL, Splunk, event, events, said};

async fn acknowledging() -> HecReceiver {
    HecReceiver::builder().acks(true).start().await.unwrap()
}

#[tokio::test]
async fn a_request_is_acknowledged_once() {
    let receiver = acknowledging().await;
    let splunk = Splunk::of(&receiver);

    let (_, first) = splunk.send_in_channel(events(["a", "b"])).await;
    assert_eq!(first, json!({"text": "Success", "code": 0, "ackId": 0}), "one id per request");
    let (_, second) = splunk.send_in_channel(event("c")).await;
    assert_eq!(second["ackId"], 1);

    let answer = json!({"acks": {"0": true, "1": true, "2": false}});
    assert_eq!(splunk.ask(r#"{"acks":[0,1,2]}"#).await, (200, answer));
    let forgotten = json!({"acks": {"0": false, "1": false}});
    assert_eq!(splunk.ask(r#"{"acks":[0,1]}"#).await, (200, forgotten));
    assert_eq!(receiver.received().events[0].channel.as_deref(), Some(CHANNEL));
}

#[tokio::test]
async fn without_a_proper_channel_nothing_is_taken() {
    let receiver = acknowledging().await;
    let splunk = Splunk::of(&receiver);

    let (status, reply) = splunk.send(event("a")).await;
    assert_eq!((status, &reply["code"]), (400, &json!(10)));
    let odd = splunk.post("/services/collector?channel=one", event("a"));
    let (status, reply) = said(odd).await;
    assert_eq!((status, &reply["code"]), (400, &json!(11)));
    assert_eq!(receiver.tally().received, 0);
}

#[tokio::test]
async fn a_token_without_acknowledgement_says_so_when_asked() {
    let receiver = HecReceiver::builder().start().await.unwrap();
    let splunk = Splunk::of(&receiver);

    let (_, reply) = splunk.send_in_channel(event("a")).await;
    assert_eq!(reply, json!({"text": "Success", "code": 0}), "no ackId");
    let refusal = json!({"text": "ACK is disabled", "code": 14});
    assert_eq!(splunk.ask(r#"{"acks":[0]}"#).await, (400, refusal));
}

#[tokio::test]
async fn acknowledgements_can_be_held_back_and_let_go() {
    let receiver = acknowledging().await;
    let splunk = Splunk::of(&receiver);
    receiver.faults().acknowledge(AckPolicy::Never);
    splunk.send_in_channel(event("a")).await;

    for _ in 0..3 {
        assert_eq!(splunk.ask(r#"{"acks":[0]}"#).await.1, json!({"acks": {"0": false}}));
    }
    receiver.faults().acknowledge(AckPolicy::Prompt);
    assert_eq!(splunk.ask(r#"{"acks":[0]}"#).await.1, json!({"acks": {"0": true}}));
}

#[tokio::test]
async fn a_lost_answer_takes_the_acknowledgement_with_it() {
    let receiver = acknowledging().await;
    let splunk = Splunk::of(&receiver);
    splunk.send_in_channel(event("a")).await;

    receiver.faults().lose_ack_replies(1);
    let path = format!("/services/collector/ack?channel={CHANNEL}");
    assert!(splunk.post(&path, r#"{"acks":[0]}"#).send().await.is_err());
    assert_eq!(splunk.ask(r#"{"acks":[0]}"#).await.1, json!({"acks": {"0": false}}));
}

#[tokio::test]
async fn an_indexer_that_crashes_accepts_and_never_acknowledges() {
    let receiver = acknowledging().await;
    let splunk = Splunk::of(&receiver);
    receiver.faults().lose_before_indexing(1);

    assert_eq!(splunk.send_in_channel(event("a")).await.1["ackId"], 0);
    assert_eq!(splunk.ask(r#"{"acks":[0]}"#).await.1, json!({"acks": {"0": false}}));
    assert_eq!(receiver.tally().received, 0);

    splunk.send_in_channel(event("a")).await;
    assert_eq!(splunk.ask(r#"{"acks":[1]}"#).await.1, json!({"acks": {"1": true}}));
    assert_eq!(receiver.tally().received, 1);
}

#[tokio::test]
async fn an_expired_channel_counts_from_zero_again() {
    let receiver = acknowledging().await;
    let splunk = Splunk::of(&receiver);
    receiver.faults().acknowledge(AckPolicy::Never);
    assert_eq!(splunk.send_in_channel(event("a")).await.1["ackId"], 0);

    receiver.faults().expire_channels();
    assert_eq!(splunk.ask(r#"{"acks":[0]}"#).await.1, json!({"acks": {"0": false}}));
    assert_eq!(splunk.send_in_channel(event("b")).await.1["ackId"], 0);
}
