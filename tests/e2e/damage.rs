//! Answers of SLS that contradict themselves, are altered or cut off, hang or exceed all bounds: nothing is
//! skipped, what passes costs seconds, and what does not is said with its place.

use std::time::{Duration, Instant};

use forwarder_emulator::faults::Fault;
use forwarder_emulator::log_group::EncodedGroup;
use forwarder_emulator::state::logstore::Placement;
use forwarder_emulator::{Api, Limits};
use forwarder_record::encode::{Log, LogGroup};
use forwarder_tests::{
    Forwarder, LOGSTORE, Logs, PATIENCE, PROJECT, World, assert_exactly, receivers, until,
};

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
        // Within the data, and behind its end.
        Fault::MoveCursor(7),
        Fault::MoveCursor(1_000_000),
        Fault::refuse(400, "InvalidCursor"),
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
        let logstore = service.logstore(PROJECT, LOGSTORE);
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
    pauses_saying(&world, &["time 5 of 5", shard, &place, "no data lost, other shards continue"])
        .await;

    world.sls.faults().clear();
    let forwarder = world.start(&world.config("forwarder.toml", ""), &[]);
    world.received(1_000, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.assert_received(&logs), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_that_always_move_too_far_neither_skip_logs_nor_stop_the_shard() {
    let world = world_of_small_blocks().await;
    let logs = Logs(0..100);
    world.put(&logs, 20);
    world.sls.faults().inject(Api::PullLogs, Fault::MoveCursor(2), ALWAYS);
    let mut forwarder = world.start(&world.config("forwarder.toml", ""), &[]);
    world.received(100, &forwarder).await;
    forwarder.says("keep contradicting the log groups that were read; reading continues").await;
    world.sls.faults().clear();
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.assert_received(&logs), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_is_given_up_only_when_it_is_gone() {
    let world = World::new(1).await;
    let settings = world.settings().source("on_invalid_cursor", "end");
    let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
    world.put(&Logs(0..100), 10);
    let start = || world.start(&config, &[]);
    let invalid = Fault::refuse(400, "InvalidCursor");

    // Refused although it is stored, at the start and in the middle.
    world.sls.faults().inject(Api::PullLogs, invalid.clone(), 2);
    let forwarder = start();
    world.received(100, &forwarder).await;
    world.sls.faults().inject(Api::PullLogs, invalid, 2);
    world.put(&Logs(100..200), 10);
    world.received(200, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));

    // The answer with the checkpoint is altered: a position that is long gone, and one that is not there yet.
    for (cursor, logs) in
        [("MQ==", Logs(200..300)), ("OTk5OTk5OTk5OTk5OTk5OTk5OQ==", Logs(300..400))]
    {
        world.put(&logs, 10);
        let altered =
            format!(r#"[{{"shard":0,"checkpoint":"{cursor}","updateTime":1,"consumer":""}}]"#);
        world.sls.faults().inject(Api::GetCheckPoint, Fault::SetBody(altered), 1);
        let mut forwarder = start();
        forwarder.says("reading from the checkpoint as it is now; no data lost").await;
        world.received(logs.0.end, &forwarder).await;
        world.settled().await;
        assert_eq!(forwarder.terminate().await, Some(0));
    }
    assert_eq!(world.assert_received(&Logs(0..400)), 0);

    // Really gone: only now the setting has its effect, and what it skips is said.
    world.put(&Logs(400..500), 10);
    world.sls.trim(PROJECT, LOGSTORE, 0, 43).unwrap();
    let mut forwarder = start();
    forwarder.says("reading resumes elsewhere; data may have been lost").await;
    forwarder.says("expired_groups=3 skipped_groups=7").await;
    world.put(&Logs(500..600), 10);
    world.received(500, &forwarder).await;
    assert_eq!(forwarder.terminate().await, Some(0));
    let expected = Logs(0..400).fingerprints().chain(Logs(500..600).fingerprints());
    assert_eq!(assert_exactly(&world.hec.received().ids, expected), 0);
}

/// A log group that is small on the wire: each of its logs has this tag.
fn group_with_a_tag(topic: &str, tag: usize, logs: usize) -> EncodedGroup {
    let log = Log { time: 1_767_323_045, nanos: None, contents: vec![("a".into(), "b".into())] };
    let tags = if tag == 0 { Vec::new() } else { vec![("tag".to_owned(), "v".repeat(tag))] };
    let group =
        LogGroup { topic: topic.into(), source: String::new(), tags, logs: vec![log; logs] };
    EncodedGroup::from_encoded(&group.encode()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn log_groups_that_are_legal_alone_are_pulled_alone_where_they_are_too_much_together() {
    let world = World::new(1).await;
    let config = world
        .settings()
        .hec("splunk", &world.hec.url(), "")
        .more("[[route]]\nwhen = { topic = \"big\" }\nto = []\n[[route]]\nto = [\"splunk\"]\n")
        .write("forwarder.toml");
    world.put(&Logs(0..100), 10);
    // 450 MB each when written out, and one that is more than any block of several groups may be.
    let groups =
        [450_000, 450_000, 450_000, 700_000].map(|tag| group_with_a_tag("big", tag, 1_000));
    world.sls.put(PROJECT, LOGSTORE, Placement::Balanced, groups).unwrap();
    world.put(&Logs(100..200), 10);
    let began = Instant::now();
    let mut forwarder = world.start(&config, &[]);
    world.received(200, &forwarder).await;
    world.settled().await;
    forwarder.says("pulling a block again in smaller parts").await;
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    let ended = forwarder.stop().await;
    assert_eq!(ended.code, Some(0));
    assert!(!ended.log.contains("ERROR"), "{}", ended.log);
    assert_eq!(world.assert_received(&Logs(0..200)), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn log_groups_without_logs_are_counted() {
    let world = World::new(1).await;
    let empty = (0..5).map(|_| group_with_a_tag("empty", 0, 0));
    world.sls.put(PROJECT, LOGSTORE, Placement::Balanced, empty).unwrap();
    let mut forwarder = world.start(&world.config("forwarder.toml", ""), &[]);
    world.settled().await;
    let counted = |blocks: f64| blocks >= 1.0;
    forwarder.until_metric("forwarder_pulled_blocks_without_logs_total", &[], counted).await;
    assert_eq!(forwarder.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_pauses_says_so_in_its_metric_whatever_the_reason() {
    let world = world_of_small_blocks().await;
    let logs = Logs(0..1_000);
    world.put(&logs, 20);
    let labels = [("source", "audit"), ("shard", "0")];
    let mut forwarder = world.start(&world.config("forwarder.toml", ""), &[]);
    world.received(1_000, &forwarder).await;
    for (api, fault) in [
        (Api::PullLogs, Fault::RawSize(0)),
        (Api::PullLogs, Fault::RawSize(3 << 30)),
        (Api::PullLogs, Fault::CorruptBody),
        (Api::PullLogs, Fault::refuse(404, "ShardNotExist")),
    ] {
        world.sls.faults().inject(api, fault.clone(), ALWAYS);
        world.put(&logs, 20);
        forwarder.until_metric("forwarder_shard_holding", &labels, |holds| holds == 1.0).await;
        // Not only for a moment: also while it is tried again.
        for _ in 0..30 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let holds = forwarder.metrics().await.sum("forwarder_shard_holding", &labels);
            assert_eq!(holds, 1.0, "{fault:?}:\n{}", forwarder.log());
        }
        world.sls.faults().clear();
        if fault != Fault::CorruptBody {
            forwarder.until_metric("forwarder_shard_holding", &labels, |holds| holds == 0.0).await;
        } else {
            // Rechecked a minute later; a restart is quicker.
            forwarder.kill().await;
            forwarder = world.start(&world.config("forwarder.toml", ""), &[]);
        }
        world.settled().await;
    }
    assert_eq!(forwarder.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_that_grants_thousands_of_shards_does_not_flood_the_log() {
    let world = World::new(2).await;
    let logs = Logs(0..1_000);
    world.put(&logs, 100);
    world.sls.faults().inject(Api::HeartBeat, Fault::Grant(4_000), ALWAYS);
    let mut forwarder = world.start(&world.config("forwarder.toml", ""), &[]);
    forwarder.says("acquired many shards").await;
    world.received(1_000, &forwarder).await;
    until("all shards were tried twice", async || {
        world.sls.traffic().requests.get(&Api::GetCheckPoint).is_some_and(|asked| *asked > 8_000)
    })
    .await;
    let lines = forwarder.log().lines().count();
    assert!(lines < 100, "{lines} lines:\n{}", forwarder.log());
    world.sls.faults().clear();
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
async fn lines_about_two_sources_name_the_source() {
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
