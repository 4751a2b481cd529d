//! Faults, seen from the client's side of the wire.

use std::time::{Duration, Instant};

use crate::wire::{Answer, Connection, group};
use forwarder_emulator::faults::Fault;
use forwarder_emulator::state::consumer_group::GroupOptions;
use forwarder_emulator::state::logstore::Placement;
use forwarder_emulator::{Api, Emulator};

const GROUP: &str = "/logstores/store/consumergroups/grp";

async fn emulator() -> Emulator {
    let emulator = Emulator::builder().logstore("p", "store", 2).start().await.unwrap();
    let groups = ["aaaaaaaa", "bbbbbbbb"].map(|text| group(&[text]));
    emulator.put("p", "store", Placement::Shard(0), groups).unwrap();
    let options = GroupOptions { timeout: Duration::from_secs(60), order: false };
    emulator.change("p", "store", |logstore| logstore.create_group("grp", options)).unwrap();
    emulator
}

/// Pulls from the beginning on a new connection; `None` if it closes early.
async fn pull(emulator: &Emulator) -> Option<Answer> {
    let begin = emulator
        .inspect(|service| service.logstore("p", "store").unwrap().shard(0).unwrap().begin());
    let head = format!(
        "GET /logstores/store/shards/0?type=log&cursor={begin} HTTP/1.1\r\nHost: p.sls.test\r\n\
         Accept-Encoding: lz4\r\n"
    );
    Connection::open(emulator.address()).await.send(&head, b"").await
}

async fn pull_with(fault: Fault) -> Option<Answer> {
    let emulator = emulator().await;
    emulator.faults().inject(Api::PullLogs, fault, 1);
    let spoiled = pull(&emulator).await;
    assert_eq!(emulator.faults().pending(), 0);
    assert_eq!(pull(&emulator).await.unwrap().number("x-log-count"), 2, "the next one is sound");
    spoiled
}

#[tokio::test]
async fn an_answer_can_be_replaced() {
    let refused = pull_with(Fault::refuse(403, "ShardReadQuotaExceed")).await.unwrap();
    assert_eq!(refused.error(), (403, "ShardReadQuotaExceed".into()));
    let page = pull_with(Fault::Html(502)).await.unwrap();
    assert_eq!((page.status, page.header("content-type")), (502, Some("text/html")));
    assert!(pull_with(Fault::Reset).await.is_none());
}

#[tokio::test]
async fn a_body_can_break_off_or_be_corrupted() {
    assert!(pull_with(Fault::CutBody).await.is_none());
    let sound = pull(&emulator().await).await.unwrap();
    let spoiled = pull_with(Fault::CorruptBody).await.unwrap();
    let differing = sound.body.iter().zip(&spoiled.body).filter(|(a, b)| a != b).count();
    assert_eq!((differing, spoiled.body.len()), (1, sound.body.len()));
}

#[tokio::test]
async fn headers_can_lie_or_be_missing() {
    let huge = pull_with(Fault::RawSize(u64::MAX)).await.unwrap();
    assert_eq!(huge.number("x-log-bodyrawsize"), u64::MAX);
    let odd = pull_with(Fault::CompressType("brotli".into())).await.unwrap();
    assert_eq!(odd.header("x-log-compresstype"), Some("brotli"));
    let lacking = pull_with(Fault::OmitHeader("x-log-cursor".into())).await.unwrap();
    assert_eq!(lacking.header("x-log-cursor"), None);
    let hidden = pull_with(Fault::HideGroups).await.unwrap();
    assert_eq!((hidden.number("x-log-count"), hidden.body.len()), (0, 0));
    assert!(hidden.header("x-log-end-of-cursor").is_some(), "the cursor has moved on");
}

#[tokio::test]
async fn an_answer_can_be_late() {
    let before = Instant::now();
    pull_with(Fault::Delay(Duration::from_millis(50))).await.unwrap();
    assert!(before.elapsed() >= Duration::from_millis(50));
}

#[tokio::test]
async fn a_lost_reply_leaves_its_effect_behind() {
    let emulator = emulator().await;
    emulator.faults().inject(Api::HeartBeat, Fault::LoseReply, 1);
    let beat = format!("POST {GROUP}?type=heartbeat&consumer=c HTTP/1.1\r\nHost: p.sls.test\r\n");
    assert!(Connection::open(emulator.address()).await.send(&beat, b"[]").await.is_none());
    assert_eq!(emulator.assignment("p", "store", "grp").unwrap()["c"], [0, 1]);
    assert_eq!(emulator.traffic().requests[&Api::HeartBeat], 1);
}

#[tokio::test]
async fn a_consumer_can_be_expired_by_hand_and_by_the_clock() {
    let emulator = emulator().await;
    let mut connection = Connection::open(emulator.address()).await;
    let beat = format!("{GROUP}?type=heartbeat&consumer=c");
    connection.call("POST", &beat, "[]").await;
    emulator.expire_consumer("p", "store", "grp", "c").unwrap();
    let refused = connection.call("POST", &beat, "[0, 1]").await;
    assert_eq!(refused.error(), (400, "NotExistConsumerWithBody".into()));

    connection.call("POST", &beat, "[]").await;
    emulator.clock().advance(Duration::from_secs(61));
    assert!(emulator.assignment("p", "store", "grp").unwrap().is_empty());
}

#[tokio::test]
async fn a_frozen_group_hands_out_nothing_and_a_trimmed_shard_invalidates_old_cursors() {
    let emulator = emulator().await;
    let mut connection = Connection::open(emulator.address()).await;
    emulator.freeze_assignment("p", "store", "grp", true).unwrap();
    let beat = format!("{GROUP}?type=heartbeat&consumer=c");
    assert_eq!(connection.call("POST", &beat, "[]").await.body, b"[]");

    let old = emulator
        .inspect(|service| service.logstore("p", "store").unwrap().shard(0).unwrap().begin());
    emulator.trim("p", "store", 0, 1).unwrap();
    let target = format!("/logstores/store/shards/0?type=log&cursor={old}");
    assert_eq!(connection.get(&target).await.error(), (400, "InvalidCursor".into()));
}

#[tokio::test]
async fn waiting_ends_when_the_condition_holds_and_stopping_closes_everything() {
    let emulator = emulator().await;
    let address = emulator.address();
    let mut connection = Connection::open(address).await;
    let beat = format!("{GROUP}?type=heartbeat&consumer=c");
    let joined = emulator.until(|service| {
        let group = service.logstore("p", "store").unwrap().group("grp").unwrap();
        group.assignment().is_member("c").then_some(())
    });
    tokio::join!(joined, connection.call("POST", &beat, "[]"));

    emulator.stop().await;
    assert!(connection.send("GET / HTTP/1.1\r\nHost: p\r\n", b"").await.is_none());
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
