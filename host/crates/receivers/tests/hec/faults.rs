//! Each way to misbehave, by name.

use std::time::Duration;

use forwarder_receivers::hec::{BadEvent, HecReceiver};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{SOON, Splunk, event, events};

#[tokio::test]
async fn a_busy_collector_recovers_after_the_requests_it_is_set_to_refuse() {
    let receiver = HecReceiver::builder().start().await.unwrap();
    let splunk = Splunk::of(&receiver);
    receiver.faults().busy_for(1);
    receiver.faults().busy_at_event(1, 10);

    let busy = json!({"text": "Server is busy", "code": 9});
    assert_eq!(splunk.send(event("a")).await, (503, busy));
    let busy = json!({"text": "Server is busy", "code": 9, "invalid-event-number": 10});
    assert_eq!(splunk.send(event("a")).await, (503, busy));
    assert_eq!(splunk.send(event("a")).await.0, 200);

    let received = receiver.received();
    assert_eq!(received.tally.received, 1);
    assert_eq!((received.tally.requests, received.tally.accepted_requests), (3, 1));
    assert_eq!((received.by_status[&503], received.by_code[&9], received.by_code[&0]), (2, 2, 1));
}

#[tokio::test]
async fn answers_from_in_front_of_splunk_carry_no_hec_body() {
    let receiver = HecReceiver::builder().start().await.unwrap();
    let splunk = Splunk::of(&receiver);
    let faults = receiver.faults();
    faults.throttle_for(1, Some(Duration::from_secs(7)));
    faults.splunk_web_for(1);
    faults.answer_for(1, 502, "bad gateway");
    let post = || splunk.post("/services/collector/event", event("a")).send();

    let throttled = post().await.unwrap();
    assert_eq!(throttled.status().as_u16(), 429);
    assert_eq!(throttled.headers()["retry-after"], "7");
    let web = post().await.unwrap();
    assert_eq!(web.status().as_u16(), 303);
    assert!(web.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    let gateway = post().await.unwrap();
    assert_eq!(gateway.status().as_u16(), 502);
    assert_eq!(gateway.text().await.unwrap(), "bad gateway");
    assert_eq!(receiver.tally().received, 0);
}

#[tokio::test]
async fn a_full_queue_warns_on_a_200() {
    let receiver = HecReceiver::builder().start().await.unwrap();
    let splunk = Splunk::of(&receiver);
    receiver.faults().near_capacity_for(1);

    let (status, reply) = splunk.send(event("a")).await;
    assert_eq!((status, &reply["code"]), (200, &json!(24)));
    assert_eq!(receiver.tally().received, 1, "accepted all the same");
}

#[tokio::test]
async fn a_token_can_be_disabled_and_rotated_while_events_flow() {
    let receiver = HecReceiver::builder().start().await.unwrap();
    let splunk = Splunk::of(&receiver);

    receiver.faults().disable_token();
    let refusal = json!({"text": "Token disabled", "code": 1});
    assert_eq!(splunk.send(event("a")).await, (403, refusal));
    receiver.faults().enable_token();
    assert_eq!(splunk.send(event("a")).await.0, 200);

    receiver.faults().rotate_token("new");
    let refusal = json!({"text": "Invalid token", "code": 4});
    assert_eq!(splunk.send(event("b")).await, (403, refusal));
    assert_eq!(Splunk::of(&receiver).send(event("b")).await.0, 200);
}

#[tokio::test]
async fn a_poisonous_event_is_refused_with_or_without_its_number() {
    let receiver = HecReceiver::builder().start().await.unwrap();
    let splunk = Splunk::of(&receiver);

    receiver.faults().refuse_events(BadEvent::Named, |event| event.json.contains("poison"));
    let refusal = json!({"text": "Invalid data format", "code": 6, "invalid-event-number": 2});
    assert_eq!(splunk.send(events(["a", "b", "poison", "c"])).await, (400, refusal));

    receiver.faults().refuse_events(BadEvent::Unnamed, |event| event.index == 1);
    let refusal = json!({"text": "Invalid data format", "code": 6});
    assert_eq!(splunk.send(events(["a", "b", "c"])).await, (400, refusal));
    assert_eq!(receiver.tally().received, 0);

    receiver.faults().keep_events_before_a_bad_one(true);
    splunk.send(events(["a", "b", "c"])).await;
    assert_eq!(receiver.tally().received, 1, "the one before the bad one");

    receiver.faults().accept_all_events();
    assert_eq!(splunk.send(event("poison")).await.0, 200);
}

#[tokio::test]
async fn a_lost_response_leaves_the_events_accepted() {
    let receiver = HecReceiver::builder().start().await.unwrap();
    let splunk = Splunk::of(&receiver);
    receiver.faults().lose_responses(1);

    assert!(!splunk.is_answered(event("a")).await);
    assert_eq!(receiver.tally().received, 1);
    assert!(splunk.is_answered(event("a")).await);
    assert_eq!(receiver.tally().received, 2, "a duplicate, which the sender cannot avoid");
}

#[tokio::test]
async fn a_reset_in_the_middle_of_a_body_leaves_nothing_accepted() {
    let receiver = HecReceiver::builder().start().await.unwrap();
    receiver.faults().reset_mid_body(1);

    let mut stream = TcpStream::connect(receiver.addr()).await.unwrap();
    let head = format!(
        "POST /services/collector HTTP/1.1\r\nhost: x\r\nauthorization: Splunk {}\r\n\
         content-length: 1000\r\n\r\n{{\"event\":",
        receiver.token()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let error = stream.read(&mut [0; 64]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(receiver.tally().received, 0);

    assert_eq!(Splunk::of(&receiver).send(event("a")).await.0, 200);
}

#[tokio::test]
async fn a_slow_reply_comes_after_the_events_were_accepted() {
    let receiver = HecReceiver::builder().start().await.unwrap();
    let splunk = Splunk::of(&receiver);
    receiver.faults().delay_replies(1, Duration::from_secs(3_600));

    let waiting = splunk.post("/services/collector", event("a")).send();
    tokio::select! {
        _ = waiting => panic!("the reply should have taken an hour"),
        accepted = receiver.wait_for(1, SOON) => assert_eq!(accepted.unwrap().received, 1),
    }
}

#[tokio::test]
async fn a_discarded_event_is_missing_although_the_sender_got_success() {
    let receiver = HecReceiver::builder().start().await.unwrap();
    let splunk = Splunk::of(&receiver);
    receiver.faults().discard_one();

    assert_eq!(splunk.send(events(["a", "b", "c"])).await.0, 200);
    assert_eq!(splunk.send(event("d")).await.0, 200);
    let tally = receiver.tally();
    assert_eq!((tally.received, tally.discarded), (3, 1));
}

#[tokio::test]
async fn a_collector_that_was_down_comes_back_on_the_same_port() {
    let receiver = HecReceiver::builder().start().await.unwrap();
    let splunk = Splunk::of(&receiver);
    let addr = receiver.addr();
    assert_eq!(splunk.send(event("a")).await.0, 200);
    let mut idle = TcpStream::connect(addr).await.unwrap();

    receiver.down().await;
    assert!(matches!(idle.read(&mut [0; 8]).await, Ok(0) | Err(_)), "open connections end");
    let refused = TcpStream::connect(addr).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(!splunk.is_answered(event("b")).await);

    receiver.up().await.unwrap();
    assert_eq!(receiver.addr(), addr);
    assert_eq!(splunk.send(event("b")).await.0, 200);
    assert_eq!(receiver.tally().received, 2, "what came before is still recorded");
}

#[tokio::test]
async fn a_new_collector_can_take_the_port_of_one_that_is_down() {
    let first = HecReceiver::builder().start().await.unwrap();
    let addr = first.addr();
    Splunk::of(&first).send(event("a")).await;
    // Down, not gone: no other program can take the port meanwhile.
    first.down().await;

    let second = HecReceiver::builder().bind(addr).start().await.unwrap();
    assert_eq!(second.addr(), addr);
    assert_eq!(Splunk::of(&second).send(event("a")).await.0, 200);
    let taken = HecReceiver::builder().bind(addr).start().await.err().unwrap();
    assert!(taken.to_string().contains("port 0"), "{taken}");
}

#[tokio::test]
async fn a_dropped_collector_leaves_no_connection_behind() {
    let receiver = HecReceiver::builder().start().await.unwrap();
    assert_eq!(Splunk::of(&receiver).send(event("a")).await.0, 200);
    let mut idle = TcpStream::connect(receiver.addr()).await.unwrap();
    receiver.wait_until(SOON, |tally| tally.connections == 2).await.unwrap();

    drop(receiver);
    assert!(matches!(idle.read(&mut [0; 8]).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn a_content_filter_answers_for_the_collector_while_it_is_there() {
    let receiver = HecReceiver::builder().start().await.unwrap();
    let splunk = Splunk::of(&receiver);
    receiver.faults().filter_content(403, "<script>");
    let page = splunk.post("/services/collector/event", event("<script>")).send().await.unwrap();
    assert_eq!(page.status().as_u16(), 403);
    assert!(page.text().await.unwrap().starts_with("<html>"));
    assert_eq!(splunk.send(event("a")).await.0, 200);
    receiver.faults().pass_all_content();
    assert_eq!(splunk.send(event("<script>")).await.0, 200);
}

#[tokio::test]
async fn a_gateway_resets_what_is_too_large_for_it() {
    let receiver = HecReceiver::builder().start().await.unwrap();
    let splunk = Splunk::of(&receiver);
    receiver.faults().reset_above(Some(1_000));
    let large = event(&"x".repeat(2_000));
    assert!(splunk.post("/services/collector/event", large).send().await.is_err());
    assert_eq!(splunk.send(event("a")).await.0, 200);
}

#[tokio::test]
async fn one_node_of_two_is_out_of_order() {
    let receiver = HecReceiver::builder().start().await.unwrap();
    receiver.faults().odd_connections_busy(true);
    for status in [503, 200, 503] {
        assert_eq!(Splunk::of(&receiver).send(event("a")).await.0, status);
    }
}
