//! The official Python SDK against the emulator: the foreign oracle.
//!
//! Our client and our emulator share their canonical forms, so they could be wrong together. The vendor's
//! consumer shares nothing with either. It runs unmodified, in processes of its own, against an emulator
//! that checks every signature.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test should stop where it fails"
)]

mod consumer;
mod sdk;

use std::collections::BTreeSet;
use std::time::Duration;

use consumer::{Consumer, GROUP, KEY, LOGSTORE, PROJECT, Processed, Settings, python};
use forwarder_emulator::samples::Samples;
use forwarder_emulator::sign_check::SignatureCheck;
use forwarder_emulator::state::Service;
use forwarder_emulator::state::assignment::ShardHolding;
use forwarder_emulator::state::logstore::Placement;
use forwarder_emulator::{Api, Emulator, GroupSize, load};
use forwarder_sls::AccessKey;
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt as _;

/// Far beyond what any wait here takes; reached only if something never happens.
const PATIENCE: Duration = Duration::from_secs(120);

async fn emulator(shards: u32) -> Emulator {
    let key = AccessKey::new(KEY.0, KEY.1);
    let builder = Emulator::builder().logstore(PROJECT, LOGSTORE, shards);
    builder.signatures(SignatureCheck::Strict(key)).start().await.unwrap()
}

/// Stores `count` logs from number `from` on, in small groups over all writable shards.
fn put(emulator: &Emulator, from: u64, count: u64) {
    let size = GroupSize { logs: 25, ..GroupSize::default() };
    let groups = Samples::audit(7).group_size(size).starting_at(from).groups(count);
    emulator.put(PROJECT, LOGSTORE, Placement::Balanced, groups).unwrap();
}

async fn until(emulator: &Emulator, what: &str, mut holds: impl FnMut(&Service) -> bool) {
    let found = emulator.until(|service| holds(service).then_some(()));
    let in_time = tokio::time::timeout(PATIENCE, found).await;
    assert!(in_time.is_ok(), "never happened: {what}");
}

async fn until_all_is_committed(emulator: &Emulator) {
    until(emulator, "all is committed", |service| {
        service.logstore(PROJECT, LOGSTORE).unwrap().backlog(GROUP) == Ok(0)
    })
    .await;
}

async fn until_held(emulator: &Emulator, consumer: &str, shards: usize) {
    until(emulator, &format!("{consumer} holds {shards} shards"), |service| {
        let group = service.logstore(PROJECT, LOGSTORE).unwrap().group(GROUP);
        group.is_ok_and(|group| group.assignment().held_by(consumer).len() == shards)
    })
    .await;
}

fn ids<'a>(processed: impl IntoIterator<Item = &'a Processed>) -> Vec<&'a str> {
    processed.into_iter().flat_map(|batch| &batch.ids).map(String::as_str).collect()
}

/// Every id from 0 to `count` is there, and none twice.
fn assert_exactly(count: u64, mut seen: Vec<&str>) {
    seen.sort_unstable();
    let expected: Vec<_> = (0..count).map(Samples::id).collect();
    assert!(seen == expected, "{} ids seen, {count} expected", seen.len());
}

#[tokio::test]
async fn one_consumer_gets_every_log_once_and_word_for_word() {
    let emulator = emulator(4).await;
    put(&emulator, 0, 20_000);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/samples.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let now = emulator.clock().now();
    let groups = load::json_lines(text.as_bytes(), GroupSize::default(), now);
    emulator.put(PROJECT, LOGSTORE, Placement::Balanced, groups.unwrap()).unwrap();

    let settings = Settings { auth_version: "v4", ..Settings::default() };
    let consumer = Consumer::start(&emulator, "a", settings).await;
    until_all_is_committed(&emulator).await;
    let processed = consumer.stop().await;

    assert_exactly(20_000, ids(&processed));
    let lines: BTreeSet<String> = text.lines().map(|line| sorted(parse(line))).collect();
    let others = processed.iter().flat_map(|batch| &batch.others);
    assert_eq!(others.map(|log| sorted(log.clone())).collect::<BTreeSet<_>>(), lines);
}

fn parse(line: &str) -> Map<String, Value> {
    serde_json::from_str(line).unwrap()
}

/// A flattened log as text, fields sorted. The SDK prints nanoseconds as a list of one.
fn sorted(mut log: Map<String, Value>) -> String {
    if let Some(Value::Array(nanos)) = log.get("__time_ns_part__") {
        let text = nanos[0].clone();
        log.insert("__time_ns_part__".to_owned(), text);
    }
    log.sort_keys();
    Value::Object(log).to_string()
}

#[tokio::test]
async fn two_consumers_share_the_shards_and_nothing_is_processed_twice() {
    let emulator = emulator(4).await;
    put(&emulator, 0, 4_000);
    let a = Consumer::start(&emulator, "a", Settings::default()).await;
    until_held(&emulator, "a", 4).await;
    let b = Consumer::start(&emulator, "b", Settings::default()).await;
    until_held(&emulator, "b", 2).await;
    until_held(&emulator, "a", 2).await;
    put(&emulator, 4_000, 4_000);
    until_all_is_committed(&emulator).await;

    let (a, b) = tokio::join!(a.stop(), b.stop());
    assert!(!b.is_empty(), "the second consumer got nothing");
    assert_exactly(8_000, ids(a.iter().chain(&b)));
}

#[tokio::test]
async fn the_survivor_takes_over_when_the_other_is_killed() {
    let emulator = emulator(4).await;
    let settings = Settings { groups: 5, ..Settings::default() };
    let (a, b) = tokio::join!(
        Consumer::start(&emulator, "a", settings),
        Consumer::start(&emulator, "b", settings)
    );
    until_held(&emulator, "a", 2).await;
    until_held(&emulator, "b", 2).await;
    put(&emulator, 0, 4_000);
    until(&emulator, "a has begun", |_| !a.processed().is_empty()).await;
    let a = a.kill().await;
    until_held(&emulator, "b", 4).await;
    until_all_is_committed(&emulator).await;

    // What was processed but not yet committed is pulled again: at least once, not exactly once.
    let b = b.stop().await;
    assert!(a.iter().any(|batch| !batch.ids.is_empty()));
    let seen: BTreeSet<_> = ids(a.iter().chain(&b)).into_iter().map(str::to_owned).collect();
    assert_eq!(seen, (0..4_000).map(Samples::id).collect());
}

#[tokio::test]
async fn children_of_a_split_wait_until_their_parent_is_consumed() {
    let emulator = emulator(1).await;
    put(&emulator, 0, 500);
    let now = emulator.clock().now();
    emulator.change(PROJECT, LOGSTORE, |logstore| logstore.split(0, 1 << 127, now)).unwrap();
    put(&emulator, 500, 500);

    let settings = Settings { in_order: true, groups: 10, ..Settings::default() };
    let consumer = Consumer::start(&emulator, "a", settings).await;
    until_all_is_committed(&emulator).await;
    until(&emulator, "shard 0 is over", |service| {
        let group = service.logstore(PROJECT, LOGSTORE).unwrap().group(GROUP).unwrap();
        group.assignment().holding(0) == Some(&ShardHolding::Over)
    })
    .await;

    let processed = consumer.stop().await;
    let parent: Vec<_> = processed.iter().map(|batch| batch.shard == 0).collect();
    assert!(parent.is_sorted_by(|earlier, later| earlier >= later), "a child came early");
    assert_exactly(1_000, ids(&processed));
}

#[tokio::test]
async fn a_consumer_that_was_expelled_comes_back() {
    let emulator = emulator(2).await;
    put(&emulator, 0, 500);
    let consumer = Consumer::start(&emulator, "a", Settings::default()).await;
    until_all_is_committed(&emulator).await;
    emulator.expire_consumer(PROJECT, LOGSTORE, GROUP, "a").unwrap();
    until_held(&emulator, "a", 2).await;
    put(&emulator, 500, 500);
    until_all_is_committed(&emulator).await;
    assert_exactly(1_000, ids(&consumer.stop().await));
}

#[tokio::test]
async fn the_sdks_other_calls_are_answered_as_it_expects() {
    let emulator = emulator(1).await;
    let mut client = python(&emulator, "client.py").spawn().unwrap();
    let settings = Settings { auth_version: "v4", ..Settings::default() }.line("c");
    client.stdin.take().unwrap().write_all(settings.as_bytes()).await.unwrap();
    let output = client.wait_with_output().await.unwrap();
    assert!(output.status.success());
    let mut said: Value = serde_json::from_slice(&output.stdout).unwrap();

    for shard in said["pulled"].as_array_mut().unwrap() {
        assert_eq!((&shard["at_end"], &shard["count"]), (&json!(true), &json!(1)));
        let log = shard["logs"][0].as_object_mut().unwrap();
        assert_eq!((&log["text"], &log["__topic__"]), (&json!("日志"), &json!("topic")));
    }
    let mut expected = json!({
        "shards": [[0, "readwrite"], [1, "readwrite"]],
        "cursor_time_is_now": true,
        "filtered": [0, 1],
        "split": [[0, "readonly"], [2, "readwrite"], [3, "readwrite"]],
        "merged": [[4, "readwrite"], [2, "readonly"], [3, "readonly"]],
        "groups": [["made-by-python", 20, true]],
        "held": [0, 1, 2, 3, 4],
        "checkpoint": ["c", true],
        "codes": {
            "create group again": "ConsumerGroupAlreadyExist",
            "unknown project": "ProjectNotExist",
            "unknown logstore": "LogStoreNotExist",
            "old cursor": "InvalidCursor",
            "not ours": "ConsumerNotExist",
            "unknown consumer": "NotExistConsumerWithBody",
            "deleted project": "ProjectNotExist",
        },
    });
    expected["pulled"] = said["pulled"].clone();
    assert_eq!(said, expected);
    assert_eq!(emulator.traffic().requests[&Api::PutLogs], 2);
}
