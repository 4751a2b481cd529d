//! What "end" means as a place to begin, and how soon a run that has an end is over.

use std::process::Stdio;
use std::time::{Duration, Instant};

use forwarder_emulator::Api;
use forwarder_emulator::faults::Fault;
use forwarder_emulator::state::consumer_group::{GroupOptions, SaveCheckpoint};
use forwarder_emulator::state::shard::StartAt;
use forwarder_sls::Cursor;
use forwarder_tests::{
    Forwarder, GROUP, LOGSTORE, Logs, PROJECT, Settings, World, receivers, until,
};

/// More often than any test asks.
const ALWAYS: u32 = 1_000_000;

/// An answer from a clock that is far ahead.
fn from_the_future() -> Fault {
    Fault::SetHeader("date".to_owned(), "Fri, 01 Jan 2100 00:00:00 GMT".to_owned())
}

/// A world that holds old logs, and settings that begin at the end.
async fn world_with_old_logs() -> (World, Settings) {
    let world = World::new(2).await;
    world.sls.clock().set_back(Duration::from_secs(3_600));
    world.put(&Logs(0..1_000), 100);
    world.sls.clock().advance(Duration::from_secs(3_600));
    let settings = world.settings().source("start", "end");
    (world, settings)
}

/// Starts for the first time, cannot find out where the end is, and is killed.
async fn begins_in_vain(world: &World, settings: &Settings) {
    world.sls.faults().inject(Api::GetCursor, Fault::refuse(401, "Unauthorized"), ALWAYS);
    let config = settings.clone().hec("splunk", &world.hec.url(), "").write("vain.toml");
    let mut forwarder = world.start(&config, &[]);
    forwarder.says("cannot read, nothing is lost, asking again").await;
    forwarder.kill().await;
    world.sls.faults().clear();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_is_that_of_the_first_use_also_where_nothing_was_saved_by_then() {
    let (world, settings) = world_with_old_logs().await;
    begins_in_vain(&world, &settings).await;
    world.put(&Logs(1_000..2_000), 100);
    let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
    let mut forwarder = world.start(&config, &[]);
    world.received(1_000, &forwarder).await;
    world.settled().await;
    forwarder.says("because `start` is the end, as of the group's first use").await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.assert_received(&Logs(1_000..2_000)), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_without_checkpoint_in_a_group_that_others_used_begins_with_its_oldest_log() {
    let (world, settings) = world_with_old_logs().await;
    begins_in_vain(&world, &settings).await;
    // Another consumer has used the group since, and has saved the checkpoint of one shard only.
    let elsewhere = world.folder().join("elsewhere").display().to_string();
    let settings = settings.process("state_dir", &elsewhere);
    let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
    let mut set = Forwarder::command(world.folder());
    set.args(["group", "set", "--config", config.to_str().unwrap(), "--shard", "0", "--to", "end"]);
    assert!(set.stdout(Stdio::null()).status().await.unwrap().success());
    assert!(world.sls.checkpoints(PROJECT, LOGSTORE, GROUP).unwrap().len() == 1);
    world.put(&Logs(1_000..2_000), 100);
    let mut forwarder = world.start(&config, &[]);
    // All of shard 1, and of shard 0 what is new.
    world.received(1_500, &forwarder).await;
    world.settled().await;
    forwarder
        .says("the consumer group existed before, and there is no record of its first use")
        .await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.hec.tally().received, 1_500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_existed_counts_as_used_where_the_record_of_its_first_use_is_gone() {
    let (world, settings) = world_with_old_logs().await;
    begins_in_vain(&world, &settings).await;
    // No checkpoint was saved, and the disk is lost.
    std::fs::remove_dir_all(world.folder().join("state")).unwrap();
    world.put(&Logs(1_000..2_000), 100);
    let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
    let mut forwarder = world.start(&config, &[]);
    world.received(2_000, &forwarder).await;
    forwarder.says("shards without a checkpoint begin at their oldest log").await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.assert_received(&Logs(0..2_000)), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_use_is_on_record_before_the_group_is_created() {
    let (world, settings) = world_with_old_logs().await;
    let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
    let hour = Fault::Delay(Duration::from_secs(3_600));
    world.sls.faults().inject(Api::CreateConsumerGroup, hour, 1_000);
    let forwarder = world.start(&config, &[]);
    let record = world.folder().join("state/first-use").join(PROJECT).join(LOGSTORE).join(GROUP);
    until("the first use is on record", async || record.exists()).await;
    forwarder.kill().await;
    assert!(world.sls.checkpoints(PROJECT, LOGSTORE, GROUP).is_err(), "there is no group yet");
    world.sls.faults().clear();
    world.put(&Logs(1_000..2_000), 100);
    let forwarder = world.start(&config, &[]);
    world.received(1_000, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.assert_received(&Logs(1_000..2_000)), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_from_the_future_do_not_move_the_first_use_there() {
    let (world, settings) = world_with_old_logs().await;
    for api in [Api::ListConsumerGroup, Api::CreateConsumerGroup, Api::HeartBeat] {
        world.sls.faults().inject(api, from_the_future(), ALWAYS);
    }
    world.sls.faults().inject(Api::GetCursor, Fault::refuse(503, "ServerBusy"), ALWAYS);
    let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
    let mut forwarder = world.start(&config, &[]);
    forwarder.says("cannot read, asking again").await;
    // Where the end is could not be found out by now, and these came after the first use.
    world.put(&Logs(1_000..2_000), 100);
    world.sls.faults().clear();
    world.received(1_000, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.assert_received(&Logs(1_000..2_000)), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_leaves_the_group_out_does_not_make_it_a_new_one() {
    // Noticed by the second list, by the refusal to create the group, and without a list that is right at all.
    for wrong_lists in [1, 2, 3] {
        let (world, settings) = world_with_old_logs().await;
        begins_in_vain(&world, &settings).await;
        std::fs::remove_dir_all(world.folder().join("state")).unwrap();
        world.put(&Logs(1_000..2_000), 100);
        let none = Fault::SetBody("[]".to_owned());
        world.sls.faults().inject(Api::ListConsumerGroup, none, wrong_lists);
        let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
        let mut forwarder = world.start(&config, &[]);
        world.received(2_000, &forwarder).await;
        forwarder.says("shards without a checkpoint begin at their oldest log").await;
        world.settled().await;
        assert_eq!(forwarder.terminate().await, Some(0));
        assert_eq!(world.assert_received(&Logs(0..2_000)), 0);
        let record =
            world.folder().join("state/first-use").join(PROJECT).join(LOGSTORE).join(GROUP);
        assert!(!record.exists(), "{wrong_lists} lists");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_from_the_future_do_not_end_a_run_before_its_end() {
    let world = World::new(2).await;
    let end = world.sls.clock().now().seconds() + 6;
    for api in [Api::PullLogs, Api::HeartBeat, Api::GetCursor] {
        world.sls.faults().inject(api, from_the_future(), ALWAYS);
    }
    world.put(&Logs(0..100), 10);
    let settings = world.settings().source("end", &end.to_string());
    let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
    let mut forwarder = world.start(&config, &[]);
    world.received(100, &forwarder).await;
    let pulls = || world.sls.traffic().requests[&Api::PullLogs];
    let before = pulls();
    until("it has looked for more", async || pulls() > before + 2).await;
    assert!(world.sls.clock().now().seconds() < end, "the test is too slow to prove anything");
    world.put(&Logs(100..200), 10);
    assert_eq!(forwarder.ended().await, Some(0), "{}", forwarder.log());
    assert!(forwarder.log().contains("reached `end` in every shard"), "{}", forwarder.log());
    assert_eq!(world.assert_received(&Logs(0..200)), 0);
}

/// Cursors that no shard of these tests has.
fn beyond() -> [String; 2] {
    [1 << 62, u64::MAX].map(|position| Cursor::at(position).as_str().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_beyond_the_end_of_a_shard_is_not_the_end_of_a_run() {
    for cursor in beyond() {
        let start = Fault::SetBody(format!(r#"{{"cursor":"{cursor}"}}"#));
        let checkpoint = Fault::SetBody(format!(
            r#"[{{"shard":0,"checkpoint":"{cursor}","updateTime":1,"consumer":"x"}}]"#
        ));
        for (api, fault) in [(Api::GetCursor, start), (Api::GetCheckPoint, checkpoint)] {
            for on_invalid_cursor in ["begin", "end"] {
                let world = World::new(1).await;
                world.sls.clock().set_back(Duration::from_secs(20));
                world.put(&Logs(0..100), 10);
                world.sls.clock().advance(Duration::from_secs(20));
                let end = world.sls.clock().now().seconds() - 10;
                let settings = world.settings().source("end", &end.to_string());
                let settings = settings.source("on_invalid_cursor", on_invalid_cursor);
                world.sls.faults().inject(api, fault.clone(), 1);
                let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
                let mut forwarder = world.start(&config, &[]);
                assert_eq!(forwarder.ended().await, Some(0), "{}", forwarder.log());
                assert_eq!(world.assert_received(&Logs(0..100)), 0, "{}", forwarder.log());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_lies_where_no_position_can_be_is_asked_for_again() {
    let positions = [0, 1, 1 << 62, u64::MAX].map(|at| Cursor::at(at).as_str().to_owned());
    for cursor in positions.into_iter().chain(["!!!".to_owned()]) {
        let world = World::new(1).await;
        world.sls.clock().set_back(Duration::from_secs(20));
        world.put(&Logs(0..100), 10);
        world.sls.clock().advance(Duration::from_secs(20));
        let end = world.sls.clock().now().seconds() - 10;
        // With a checkpoint to begin at, the end is the first position that is asked for.
        begin_at_oldest(&world);
        let damaged = Fault::SetBody(format!(r#"{{"cursor":"{cursor}"}}"#));
        world.sls.faults().inject(Api::GetCursor, damaged, 1);
        let settings = world.settings().source("end", &end.to_string());
        let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
        let mut forwarder = world.start(&config, &[]);
        assert_eq!(forwarder.ended().await, Some(0), "{}", forwarder.log());
        assert_eq!(world.assert_received(&Logs(0..100)), 0, "{cursor}: {}", forwarder.log());
        assert!(!forwarder.log().contains("needs operator action"), "{}", forwarder.log());
    }
}

/// Saves a checkpoint of the only shard as a consumer does that has read nothing.
fn begin_at_oldest(world: &World) {
    let now = world.sls.clock().now();
    let options = GroupOptions { timeout: Duration::from_secs(6), order: false };
    world
        .sls
        .change(PROJECT, LOGSTORE, |it| {
            let oldest = it.shard(0)?.cursor_for(StartAt::Begin).to_string();
            it.create_group(GROUP, options)?;
            let save = SaveCheckpoint { shard: 0, cursor: &oldest, consumer: None, force: true };
            it.save_checkpoint(GROUP, save, now)
        })
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_beyond_the_end_is_of_an_older_logstore_and_skips_nothing() {
    for on_invalid_cursor in ["begin", "end"] {
        let world = World::new(1).await;
        world.put(&Logs(0..100), 10);
        let cursor = Cursor::at(1 << 62);
        let cursor = cursor.as_str();
        let now = world.sls.clock().now();
        let options = GroupOptions { timeout: Duration::from_secs(10), order: false };
        world
            .sls
            .change(PROJECT, LOGSTORE, |it| {
                it.create_group(GROUP, options)?;
                let save = SaveCheckpoint { shard: 0, cursor, consumer: None, force: true };
                it.save_checkpoint(GROUP, save, now)
            })
            .unwrap();
        let settings = world.settings().source("on_invalid_cursor", on_invalid_cursor);
        let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
        let mut forwarder = world.start(&config, &[]);
        world.received(100, &forwarder).await;
        world.settled().await;
        forwarder.says("the position lies beyond the end of the shard").await;
        assert_eq!(forwarder.terminate().await, Some(0));
        assert_eq!(world.assert_received(&Logs(0..100)), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_leaves_shards_out_does_not_end_a_run() {
    let world = World::new(2).await;
    let end = world.sls.clock().now().seconds().to_string();
    world.sls.clock().advance(Duration::from_secs(10));
    world.sls.clock().set_back(Duration::from_secs(20));
    world.put(&Logs(0..1_000), 10);
    world.sls.clock().advance(Duration::from_secs(20));
    // The second shard is granted late, as when another consumer held it.
    world.sls.faults().inject(Api::HeartBeat, Fault::SetBody("[0]".to_owned()), 3);
    world.sls.faults().inject(Api::ListShards, Fault::SetBody("[]".to_owned()), 1);
    let settings = world.settings().source("end", &end);
    let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
    let mut forwarder = world.start(&config, &[]);
    assert_eq!(forwarder.ended().await, Some(0), "{}", forwarder.log());
    assert_eq!(world.assert_received(&Logs(0..1_000)), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_of_several_hosts_that_start_together_read_nothing_old() {
    let (world, settings) = world_with_old_logs().await;
    // The first needs a moment from the group to its checkpoints, in which the others see a group without any.
    world.sls.faults().inject(Api::GetCursor, Fault::Delay(Duration::from_millis(500)), 2);
    let start = |host: &str| {
        let state = world.folder().join(host).display().to_string();
        let config = settings.clone().process("state_dir", &state);
        let config = config.source("consumer", host);
        let config = config.hec("splunk", &world.hec.url(), "").write(&format!("{host}.toml"));
        world.start(&config, &[])
    };
    let mut hosts = vec![start("one")];
    until("the group exists", async || world.sls.checkpoints(PROJECT, LOGSTORE, GROUP).is_ok())
        .await;
    hosts.extend([start("two"), start("three")]);
    for host in &mut hosts {
        host.says("joined").await;
    }
    world.put(&Logs(1_000..2_000), 100);
    world.received(1_000, &hosts[0]).await;
    world.settled().await;
    for host in hosts {
        let ended = host.stop().await;
        assert_eq!(ended.code, Some(0));
        assert!(!ended.log.contains("no record of its first use"), "{}", ended.log);
    }
    assert_eq!(world.assert_received(&Logs(1_000..2_000)), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_an_end_is_over_within_seconds_of_its_last_row() {
    let world = World::new(4).await;
    world.sls.clock().set_back(Duration::from_secs(60));
    world.put(&Logs(0..10_000), 100);
    world.sls.clock().advance(Duration::from_secs(30));
    let end = world.sls.clock().now().seconds().to_string();
    world.sls.clock().advance(Duration::from_secs(30));
    world.put(&Logs(10_000..11_000), 100);
    // As people have it: with a timeout and a heartbeat that take a while.
    let settings = world.settings().source("end", &end);
    let settings = settings.source("group_timeout", "60s").source("heartbeat_interval", "10s");
    let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
    let mut forwarder = world.start(&config, &[]);
    world.received(10_000, &forwarder).await;
    let received = Instant::now();
    assert_eq!(forwarder.ended().await, Some(0), "{}", forwarder.log());
    let took = received.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}:\n{}", forwarder.log());
    assert!(forwarder.log().contains("reached `end` in every shard"), "{}", forwarder.log());
    assert_eq!(world.assert_received(&Logs(0..10_000)), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_with_an_end_are_over_when_both_are_done() {
    let world = World::new(4).await;
    world.sls.clock().set_back(Duration::from_secs(60));
    world.put(&Logs(0..10_000), 100);
    world.sls.clock().advance(Duration::from_secs(30));
    let end = world.sls.clock().now().seconds().to_string();
    world.sls.clock().advance(Duration::from_secs(30));
    let settings = world.settings().source("end", &end).source("group_timeout", "60s");
    let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
    world.hec.down().await;
    let mut both = [world.start(&config, &[]), world.start(&config, &[])];
    until("each holds two shards", async || {
        let held = world.sls.assignment(PROJECT, LOGSTORE, GROUP);
        held.is_ok_and(|held| held.len() == 2 && held.values().all(|shards| shards.len() == 2))
    })
    .await;
    world.hec.up().await.unwrap();
    world.received(10_000, &both[0]).await;
    let received = Instant::now();
    for forwarder in &mut both {
        assert_eq!(forwarder.ended().await, Some(0), "{}", forwarder.log());
    }
    assert!(received.elapsed() < Duration::from_secs(12), "{:?}", received.elapsed());
    world.assert_received(&Logs(0..10_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_waits_for_what_other_consumers_hold_and_takes_it_over() {
    let world = World::new(2).await;
    world.sls.clock().set_back(Duration::from_secs(60));
    world.put(&Logs(0..1_000), 100);
    world.sls.clock().advance(Duration::from_secs(30));
    let end = world.sls.clock().now().seconds().to_string();
    world.sls.clock().advance(Duration::from_secs(30));
    // It holds every shard and delivers nothing.
    let nowhere = receivers::hec().start().await.unwrap();
    nowhere.faults().answer_for(u32::MAX, 503, "busy");
    let config = world.settings().hec("splunk", &nowhere.url(), "").write("stuck.toml");
    let stuck = world.start(&config, &[]);
    until("it holds both shards", async || {
        let held = world.sls.assignment(PROJECT, LOGSTORE, GROUP);
        held.is_ok_and(|held| held.values().any(|shards| shards.len() == 2))
    })
    .await;
    // Of three consumers at two shards one holds none.
    let settings = world.settings().source("end", &end).hec("splunk", &world.hec.url(), "");
    let config = settings.write("forwarder.toml");
    let mut run = world.start(&config, &[]);
    run.says("these shards are not consumed up to `end`").await;
    stuck.kill().await;
    assert_eq!(run.ended().await, Some(0), "{}", run.log());
    assert_eq!(world.assert_received(&Logs(0..1_000)), 0);
}
