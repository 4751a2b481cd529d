//! A source with a plugin that uses up all CPU time delays itself, and a plugin that fails on everything is
//! suspended.

use std::time::{Duration, Instant};

use forwarder_emulator::state::logstore::Placement;
use forwarder_tests::{Forwarder, LOGSTORE, Logs, PROJECT, Settings, World, receivers};

const SPINNING: &str = "spinning";
const SHARDS: u32 = 8;

/// The exit code of a stop that left logs in SLS unsettled: those of the plugin that does not work.
const LEFT_BEHIND: Option<i32> = Some(7);

/// The source of the tests, and another whose plugin spins on every row until it is stopped, with work for all its shards.
async fn with_a_spinning_plugin(world: &World) -> Settings {
    for shard in 0..SHARDS {
        for group in Logs(0..2_000).groups(100) {
            world.sls.put(PROJECT, SPINNING, Placement::Shard(shard), [group]).unwrap();
        }
    }
    let spin = "sources = [\"spinning\"]\nconfig = { poison = \"spin\", field = \"number\" }";
    world
        .settings()
        .another_source(&[("name", SPINNING), ("logstore", SPINNING), ("consumer_group", "other")])
        .plugin(&Forwarder::plugin("misbehave"), spin)
        .hec("splunk", &world.hec.url(), "")
}

async fn world() -> World {
    World::of(World::sls(1).logstore(PROJECT, SPINNING, SHARDS), receivers::hec()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_served_next_to_a_plugin_that_takes_all_cpu_time_even_on_one_thread() {
    let world = world().await;
    let settings = with_a_spinning_plugin(&world).await;
    let config = settings.process("threads", "1").write("forwarder.toml");
    let mut forwarder = world.start(&config, &[]);
    let calls = "forwarder_plugin_calls_total";
    forwarder.until_metric(calls, &[("plugin", "misbehave")], |calls| calls >= 1.0).await;
    // A slice of the other takes five seconds, and there are eight shards with slices.
    let mut longest = Duration::ZERO;
    for round in 0..30 {
        world.put(&Logs(round * 10..(round + 1) * 10), 10);
        let began = Instant::now();
        world.received((round + 1) * 10, &forwarder).await;
        longest = longest.max(began.elapsed());
    }
    assert!(longest < Duration::from_secs(4), "a log waited for {longest:?}");
    world.settled().await;

    // Two slices were given up, and from then on the plugin is tried now and then.
    let suspended = "forwarder_plugin_suspended";
    forwarder.until_metric(suspended, &[("plugin", "misbehave")], |is| is == 1.0).await;
    let lines = forwarder.log().lines().filter(|line| line.contains("plugin suspended")).count();
    assert_eq!(lines, 1, "{}", forwarder.log());
    assert_eq!(world.sls.backlog(PROJECT, SPINNING, "other").unwrap(), u64::from(SHARDS) * 20);
    assert_eq!(forwarder.terminate().await, LEFT_BEHIND);
    assert_eq!(world.assert_received(&Logs(0..300)), 0);
    assert!(world.dead_letters().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_plugin_continues_when_a_slice_that_is_tried_succeeds() {
    let world = World::new(3).await;
    // Every row of two shards is poisoned. Traps cost little, so that this test is quick.
    for shard in 0..2 {
        let group = Logs(1_000..1_100).groups_about("poisoned", 100).next().unwrap();
        world.sls.put(PROJECT, LOGSTORE, Placement::Shard(shard), [group]).unwrap();
    }
    let poison = "config = { poison = \"trap\", field = \"__topic__\", value = \"poisoned\" }";
    let config = world
        .settings()
        .plugin(&Forwarder::plugin("misbehave"), poison)
        .hec("splunk", &world.hec.url(), "")
        .write("forwarder.toml");
    let mut forwarder = world.start(&config, &[]);
    let suspended = "forwarder_plugin_suspended";
    forwarder.until_metric(suspended, &[("plugin", "misbehave")], |is| is == 1.0).await;
    for group in Logs(0..500).groups(100) {
        world.sls.put(PROJECT, LOGSTORE, Placement::Shard(2), [group]).unwrap();
    }
    world.received(500, &forwarder).await;
    forwarder.until_metric(suspended, &[("plugin", "misbehave")], |is| is == 0.0).await;
    assert!(forwarder.log().contains("plugin works again"), "{}", forwarder.log());
    assert_eq!(forwarder.terminate().await, LEFT_BEHIND);
    assert_eq!(world.assert_received(&Logs(0..500)), 0);
}
