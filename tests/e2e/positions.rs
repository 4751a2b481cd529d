//! Where reading begins, and how it continues when positions move: begin, end and a time; expired logs;
//! filters that match nothing; shards that split; a service that has a bad day.

use std::time::Duration;

use forwarder_emulator::faults::Fault;
use forwarder_emulator::{Api, Emulator};
use forwarder_tests::{
    Forwarder, GROUP, LOGSTORE, Logs, PATIENCE, PROJECT, Settings, World, assert_exactly, until,
};

const HOUR: Duration = Duration::from_secs(3_600);

/// Starts a process for a group of its own that writes the logs it gets to a file.
fn starting_at(world: &World, start: &str, group: &str) -> Forwarder {
    let settings: Settings =
        world.settings().source("start", start).source("consumer_group", group);
    let config = settings.write(&format!("{group}.toml"));
    world.start(&config, &["--sink", &format!("file:{group}.jsonl")])
}

/// The numbers in the file of a group, in order.
fn written(world: &World, group: &str) -> Vec<u64> {
    let text = std::fs::read_to_string(world.folder().join(format!("{group}.jsonl")));
    let number = |line: &str| {
        let log: serde_json::Value = serde_json::from_str(line).unwrap();
        log["number"].as_str().unwrap().parse().unwrap()
    };
    let mut numbers: Vec<u64> = text.unwrap_or_default().lines().map(number).collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_starts_at_the_beginning_the_end_or_a_time() {
    let world = World::new(2).await;
    world.sls.clock().set_back(2 * HOUR);
    world.put(&Logs(0..1_000), 100);
    world.sls.clock().advance(HOUR);
    let midway = world.sls.clock().now().seconds();
    world.put(&Logs(1_000..2_000), 100);
    world.sls.clock().advance(HOUR);

    // The time by which logs are found is that of their receipt, and the sample's forms of it are read.
    let groups = [
        ("begin", "from-begin", 0),
        ("end", "from-end", 2_000),
        (&midway.to_string(), "from-midway", 1_000),
        ("2018-12-26 0:0:0", "from-2018", 0),
    ];
    let mut running = Vec::new();
    for (start, group, _) in &groups {
        let mut forwarder = starting_at(&world, start, group);
        // A start at the end has settled where that is before more logs come.
        forwarder.until_metric("forwarder_pulls_total", &[], |pulls| pulls >= 2.0).await;
        running.push(forwarder);
    }
    world.put(&Logs(2_000..3_000), 100);
    for ((start, group, first), forwarder) in groups.iter().zip(running) {
        world.settled_for(group).await;
        let ended = forwarder.stop().await;
        assert_eq!(ended.code, Some(0));
        assert_eq!(written(&world, group), (*first..3_000).collect::<Vec<u64>>(), "{start}");
        let logged = ended.log.contains("`2018-12-26 0:0:0` is read in");
        assert_eq!(logged, start.contains(' '), "a time without a zone is logged: {}", ended.log);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_means_the_same_after_a_restart() {
    let world = World::new(1).await;
    world.sls.clock().set_back(HOUR);
    world.put(&Logs(0..100), 100);
    world.sls.clock().advance(HOUR);
    let mut forwarder = starting_at(&world, "end", "tail");
    forwarder.until_metric("forwarder_pulls_total", &[], |pulls| pulls >= 1.0).await;
    forwarder.kill().await;
    // Nothing was delivered, and yet what comes while no process runs is not skipped.
    world.put(&Logs(100..200), 100);
    let forwarder = starting_at(&world, "end", "tail");
    world.settled_for("tail").await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(written(&world, "tail"), (100..200).collect::<Vec<u64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_that_expired_unread_are_counted_and_the_oldest_that_are_left_come_next() {
    let world = World::new(1).await;
    world.put(&Logs(0..1_000), 100);
    let config = world.config("forwarder.toml", "");
    let forwarder = world.start(&config, &[]);
    world.received(1_000, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));

    // Down for longer than the logs are kept: ten groups were read, five more are gone.
    world.put(&Logs(1_000..2_000), 100);
    world.sls.trim(PROJECT, LOGSTORE, 0, 15).unwrap();
    let mut forwarder = world.start(&config, &[]);
    world.received(1_500, &forwarder).await;
    world.settled().await;
    forwarder
        .says("the position is no longer valid, reading resumes elsewhere; data may have been lost")
        .await;
    let labels = [("source", "audit"), ("shard", "0")];
    let resets = forwarder.metrics().await.sum("forwarder_invalid_cursor_resets_total", &labels);
    assert_eq!(resets, 1.0);
    assert_eq!(forwarder.terminate().await, Some(0));
    let expected = Logs(0..1_000).fingerprints().chain(Logs(1_500..2_000).fingerprints());
    assert_eq!(assert_exactly(&world.hec.received().ids, expected), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_may_want_to_decide_where_to_continue() {
    let world = World::new(1).await;
    world.put(&Logs(0..100), 10);
    let held = world.settings().source("on_invalid_cursor", "fail");
    let config = held.hec("splunk", &world.hec.url(), "").write("fail.toml");
    let forwarder = world.start(&config, &[]);
    world.received(100, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    world.put(&Logs(100..200), 10);
    world.sls.trim(PROJECT, LOGSTORE, 0, 15).unwrap();
    let mut forwarder = world.start(&config, &[]);
    forwarder.says("set the group's checkpoint, or `on_invalid_cursor` to `begin` or `end`").await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.hec.tally().received, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_matches_nothing_moves_the_checkpoint_all_the_same() {
    let world = World::new(2).await;
    world.put(&Logs(0..2_000), 100);
    let query = "* | where status = '500'";
    let settings = world.settings().source("query", query);
    let config = settings.hec("splunk", &world.hec.url(), "").write("nothing.toml");
    let forwarder = world.start(&config, &[]);
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.hec.tally().requests, 0);

    // And one that matches some of them.
    let settings = world.settings().source("query", "* | where status = '404'");
    let settings = settings.source("consumer_group", "some");
    let config = settings.hec("splunk", &world.hec.url(), "").write("some.toml");
    let forwarder = world.start(&config, &[]);
    world.settled_for("some").await;
    assert_eq!(forwarder.terminate().await, Some(0));
    let matches =
        |id: &String| id.split(':').next().unwrap().parse::<u64>().unwrap().is_multiple_of(7);
    let expected = Logs(0..2_000).fingerprints().filter(matches);
    assert_eq!(assert_exactly(&world.hec.received().ids, expected), 0);
}

/// Splits a shard in the middle of its range.
fn split(sls: &Emulator, shard: u32) {
    let now = sls.clock().now();
    let split = sls.change(PROJECT, LOGSTORE, |logstore| {
        let keys = logstore.shard(shard)?.keys();
        let begin = u128::from_str_radix(&keys.begin_key().to_string(), 16).unwrap();
        let end = u128::from_str_radix(&keys.end_key().to_string(), 16).unwrap();
        logstore.split(shard, begin + (end - begin) / 2, now)
    });
    split.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_that_split_and_merge_while_running_are_read_to_their_ends_and_on_in_their_children()
{
    for in_order in ["false", "true"] {
        let world = World::new(2).await;
        let settings = world.settings().source("in_order", in_order);
        let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
        let mut forwarder = world.start(&config, &[]);
        world.put(&Logs(0..5_000), 50);
        split(&world.sls, 0);
        world.put(&Logs(5_000..10_000), 50);
        split(&world.sls, 1);
        world.put(&Logs(10_000..15_000), 50);
        world.received(15_000, &forwarder).await;
        let now = world.sls.clock().now();
        world.sls.change(PROJECT, LOGSTORE, |logstore| logstore.merge(2, now)).unwrap();
        world.put(&Logs(15_000..20_000), 50);
        world.received(20_000, &forwarder).await;
        world.settled().await;
        // What is read to its end is given back: shards 0 and 1, and of their children 2 and 3.
        forwarder.until_metric("forwarder_shards_held", &[], |shards| shards == 3.0).await;
        assert_eq!(forwarder.terminate().await, Some(0));
        assert_eq!(world.assert_received(&Logs(0..20_000)), 0, "in_order = {in_order}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_a_bad_day_delays_logs_and_loses_and_repeats_none() {
    let world = World::new(4).await;
    world.put(&Logs(0..10_000), 50);
    let faults = world.sls.faults();
    for (api, fault, times) in [
        (Api::ListConsumerGroup, Fault::Html(502), 1),
        (Api::HeartBeat, Fault::refuse(500, "InternalServerError"), 2),
        (Api::GetCheckPoint, Fault::Reset, 2),
        (Api::GetCursor, Fault::refuse(503, "ServerBusy"), 2),
        (Api::PullLogs, Fault::refuse(403, "ReadQuotaExceed"), 2),
        (Api::PullLogs, Fault::Html(504), 1),
        (Api::PullLogs, Fault::CutBody, 2),
        (Api::PullLogs, Fault::LoseReply, 1),
        (Api::PullLogs, Fault::Delay(Duration::from_millis(300)), 1),
        (Api::UpdateCheckPoint, Fault::LoseReply, 2),
        (Api::UpdateCheckPoint, Fault::refuse(500, "InternalServerError"), 2),
    ] {
        faults.inject(api, fault, times);
    }
    let config = world.config("forwarder.toml", "");
    let mut forwarder = world.start(&config, &[]);
    until("every fault has struck", async || {
        assert!(forwarder.is_running(), "{}", forwarder.log());
        world.sls.faults().pending() == 0
    })
    .await;
    world.put(&Logs(10_000..20_000), 50);
    world.received(20_000, &forwarder).await;
    world.settled().await;
    let ended = forwarder.stop().await;
    assert_eq!(ended.code, Some(0));
    assert!(ended.log.contains("asking again"), "{}", ended.log);
    assert_eq!(world.assert_received(&Logs(0..20_000)), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_cannot_be_saved_is_logged_with_its_reason_and_saved_later() {
    let world = World::new(1).await;
    world.put(&Logs(0..1_000), 100);
    let config = world.config("forwarder.toml", "");
    let mut forwarder = world.start(&config, &[]);
    world.received(1_000, &forwarder).await;
    world.settled().await;
    let denied = Fault::refuse(401, "Unauthorized");
    world.sls.faults().inject(Api::UpdateCheckPoint, denied, 3);
    world.put(&Logs(1_000..2_000), 100);
    forwarder.says("checkpoint not saved").await;
    forwarder.says("the service refused UpdateCheckPoint at http://127.0.0.1:").await;
    forwarder.says("`log:ConsumerGroupUpdateCheckPoint`").await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.assert_received(&Logs(0..2_000)), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_is_damaged_is_pulled_again_at_once() {
    let world = World::new(2).await;
    let logs = Logs(0..2_000);
    world.put(&logs, 100);
    world.sls.faults().inject(Api::PullLogs, Fault::CorruptBody, 1);
    let config = world.config("forwarder.toml", "");
    let mut forwarder = world.start(&config, &[]);
    forwarder.says("pulling a damaged block again, time 1 of 5; no data lost").await;
    forwarder.says("the answer to PullLogs at http://127.0.0.1:").await;
    forwarder.says("check that the endpoint is that of SLS").await;
    world.received(2_000, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.assert_received(&logs), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_group_larger_than_any_block_may_be_holds_its_shard_and_no_other() {
    let world = World::new(2).await;
    // Two groups, one to each shard: the first is far beyond the limit.
    world.put(&Logs(0..10_000), 10_000);
    world.put(&Logs(10_000..10_100), 100);
    let narrow = world.settings().source("max_block", "1MiB");
    let config = narrow.hec("splunk", &world.hec.url(), "").write("narrow.toml");
    let mut forwarder = world.start(&config, &[]);
    forwarder.says("more than the limit of 1048576; raise `max_block`").await;
    world.received(100, &forwarder).await;
    assert_eq!(forwarder.terminate().await, Some(0));

    let config = world.config("wide.toml", "");
    let forwarder = world.start(&config, &[]);
    world.received(10_100, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.assert_received(&Logs(0..10_100)), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_the_service_forgot_joins_again_and_repeats_at_most_what_was_in_flight() {
    let world = World::new(2).await;
    let config = world.config("forwarder.toml", "");
    let mut forwarder = world.start(&config, &[]);
    world.put(&Logs(0..5_000), 50);
    world.received(5_000, &forwarder).await;
    world.settled().await;
    let members = world.sls.assignment(PROJECT, LOGSTORE, GROUP).unwrap();
    let consumer = members.keys().next().unwrap();
    world.sls.expire_consumer(PROJECT, LOGSTORE, GROUP, consumer).unwrap();
    forwarder.until_metric("forwarder_membership_lost_total", &[], |lost| lost >= 1.0).await;
    world.put(&Logs(5_000..10_000), 50);
    world.hec.wait_until(PATIENCE, |tally| tally.distinct_ids >= 10_000).await.unwrap();
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    world.assert_received(&Logs(0..10_000));
}
