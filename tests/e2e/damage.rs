//! Answers of SLS that contradict themselves, are altered or cut off, hang or exceed all bounds: nothing is
//! skipped, what passes costs seconds, and what does not is said with its place.

use std::time::{Duration, Instant};

use forwarder_emulator::faults::Fault;
use forwarder_emulator::{Api, Limits};
use forwarder_tests::{Forwarder, Logs, PATIENCE, World, receivers, until};

/// More often than any test asks.
const ALWAYS: u32 = 1_000_000;

/// A shard that is read in blocks of about ten groups.
async fn world_of_small_blocks() -> World {
    let limits = Limits { max_pull_bytes: 100_000, ..Limits::default() };
    World::of(World::sls(1).limits(limits), receivers::hec()).await
}

fn header(name: &str, value: &str) -> Fault {
    Fault::SetHeader(name.to_owned(), value.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_answers_are_asked_for_again_at_once_and_none_is_taken_for_no_data() {
    for fault in [
        Fault::RawSize(0),
        header("x-log-count", "0"),
        header("x-log-count", "999"),
        Fault::HideGroups,
        header("x-log-cursor", "MQ=="),
        Fault::RawSize(77),
        Fault::RawSize(u64::MAX),
        Fault::CompressType("brotli".to_owned()),
        Fault::OmitHeader("x-log-cursor".to_owned()),
        Fault::CorruptBody,
        Fault::ShortenBody,
        Fault::CutBody,
    ] {
        let world = world_of_small_blocks().await;
        let logs = Logs(0..4_000);
        world.put(&logs, 20);
        let config = world.config("forwarder.toml", "");
        world.sls.faults().inject(Api::PullLogs, fault.clone(), 3);
        let began = Instant::now();
        let forwarder = world.start(&config, &[]);
        world.received(4_000, &forwarder).await;
        world.settled().await;
        let took = began.elapsed();
        let ended = forwarder.stop().await;
        assert_eq!(ended.code, Some(0));
        assert_eq!(world.assert_received(&logs), 0, "{fault:?}");
        assert!(took < Duration::from_secs(30), "{fault:?} took {took:?}:\n{}", ended.log);
        assert!(!ended.log.contains("ERROR"), "{fault:?}:\n{}", ended.log);
    }
}

/// Starts, waits for the words with which a shard pauses, and ends it.
async fn pauses_saying(world: &World, words: &[&str]) {
    let mut forwarder = world.start(&world.config("forwarder.toml", ""), &[]);
    for text in words {
        forwarder.says(text).await;
    }
    forwarder.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_damaged_pauses_its_shard_at_its_cursor_and_skips_nothing() {
    let world = world_of_small_blocks().await;
    let logs = Logs(0..1_000);
    world.put(&logs, 20);
    let cursor = world.sls.inspect(|service| {
        let logstore = service.logstore(forwarder_tests::PROJECT, forwarder_tests::LOGSTORE);
        logstore.unwrap().shard(0).unwrap().begin().to_string()
    });
    let shard = "ERROR shard{source=audit shard=0}";
    world.sls.faults().inject(Api::PullLogs, Fault::RawSize(0), ALWAYS);
    let place = format!("the logs at cursor {cursor} could not be read 6 times in a row");
    pauses_saying(&world, &[shard, &place, "`x-log-bodyrawsize` is 0", "PullLogs at http://"])
        .await;

    world.sls.faults().clear();
    world.sls.faults().inject(Api::PullLogs, Fault::CorruptBody, ALWAYS);
    let place = format!("position={cursor}");
    pauses_saying(&world, &["time 5 of 5", shard, &place, "nothing was lost, other shards go on"])
        .await;

    world.sls.faults().clear();
    let forwarder = world.start(&world.config("forwarder.toml", ""), &[]);
    world.received(1_000, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.assert_received(&logs), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_damaged_answer_at_the_start_does_not_end_the_process() {
    let world = World::new(1).await;
    let logs = Logs(0..100);
    world.put(&logs, 10);
    for api in
        [Api::ListConsumerGroup, Api::HeartBeat, Api::GetCheckPoint, Api::GetCursor, Api::PullLogs]
    {
        world.sls.faults().inject(api, Fault::ShortenBody, 1);
        world.sls.faults().inject(api, Fault::CutBody, 1);
    }
    let forwarder = world.start(&world.config("forwarder.toml", ""), &[]);
    world.received(100, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.assert_received(&logs), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pulled_of_a_shard_that_is_gone_is_delivered_first() {
    let world = world_of_small_blocks().await;
    let logs = Logs(0..1_000);
    world.put(&logs, 20);
    world.hec.down().await;
    let mut forwarder = world.start(&world.config("forwarder.toml", ""), &[]);
    forwarder.until_metric("forwarder_pulled_groups_total", &[], |groups| groups == 50.0).await;
    for api in [Api::PullLogs, Api::UpdateCheckPoint] {
        world.sls.faults().inject(api, Fault::refuse(404, "ShardNotExist"), ALWAYS);
    }
    until("the shard is known to be gone", async || {
        let asked = |world: &World| world.sls.traffic().requests[&Api::PullLogs];
        let before = asked(&world);
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.sls.faults().pending() < u64::from(ALWAYS) * 2 && asked(&world) == before
    })
    .await;
    world.hec.up().await.unwrap();
    world.received(1_000, &forwarder).await;
    forwarder.says("the shard does not exist any more").await;
    forwarder.terminate().await;
    assert_eq!(world.assert_received(&logs), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_only_informs_delays_nothing() {
    let world = world_of_small_blocks().await;
    let logs = Logs(0..10_000);
    world.put(&logs, 20);
    let faults = world.sls.faults();
    faults.inject(Api::PullLogs, Fault::OmitHeader("x-log-cursor-time".to_owned()), ALWAYS);
    faults.inject(Api::GetCursorTime, Fault::Delay(Duration::from_secs(3_600)), ALWAYS);
    let began = Instant::now();
    let forwarder = world.start(&world.config("forwarder.toml", ""), &[]);
    world.received(10_000, &forwarder).await;
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    assert!(world.sls.traffic().requests[&Api::GetCursorTime] > 0, "it was asked");
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.assert_received(&logs), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_that_grants_more_shards_than_there_are_costs_no_memory() {
    let world = World::new(2).await;
    let logs = Logs(0..1_000);
    world.put(&logs, 100);
    world.sls.faults().inject(Api::HeartBeat, Fault::Grant(200_000), ALWAYS);
    let mut forwarder = world.start(&world.config("forwarder.toml", ""), &[]);
    forwarder.says("more than 4096 entries").await;
    forwarder.says("HeartBeat at http://").await;
    assert!(forwarder.peak_memory() < 200 << 20, "{}", forwarder.peak_memory());
    world.sls.faults().clear();
    world.received(1_000, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.assert_received(&logs), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_about_two_sources_can_be_told_apart() {
    let world = World::new(1).await;
    world.put(&Logs(0..100), 10);
    for api in [Api::PullLogs, Api::HeartBeat] {
        world.sls.faults().inject(api, Fault::refuse(503, "ServerBusy"), 6);
    }
    let settings = world.settings().log("format", "json");
    let settings = settings.another_source(&[("name", "second"), ("consumer_group", "other")]);
    let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
    let forwarder: Forwarder = world.start(&config, &[]);
    world.hec.wait_until(PATIENCE, |tally| tally.received >= 200).await.unwrap();
    world.settled_for("other").await;
    world.settled().await;
    let ended = forwarder.stop().await;
    let mut sources = std::collections::BTreeSet::new();
    let lines =
        ended.log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    for line in lines.filter(|line| line["level"] == "WARN") {
        let Some(error) = line["error"].as_str() else { continue };
        assert!(error.contains(" at http://127.0.0.1:"), "{line}");
        assert!(error.contains("; "), "a next step is missing: {line}");
        sources
            .insert(line["span"]["source"].as_str().unwrap_or_else(|| panic!("{line}")).to_owned());
        if error.contains("PullLogs") {
            assert_eq!(line["span"]["shard"], 0, "{line}");
        }
    }
    assert_eq!(sources.into_iter().collect::<Vec<_>>(), ["audit", "second"]);
}
