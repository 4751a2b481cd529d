//! Memory is bounded by the budget plus a constant, whatever the sinks do and however much is to be read.

use std::time::{Duration, Instant};

use forwarder_emulator::log_group::EncodedGroup;
use forwarder_emulator::state::logstore::Placement;
use forwarder_receivers::hec::Mode;
use forwarder_receivers::syslog::SyslogReceiver;
use forwarder_record::encode::{Log, LogGroup};
use forwarder_tests::{Forwarder, LOGSTORE, Logs, PATIENCE, PROJECT, World, receivers};

/// The default budget, and what else may be resident: the program, what the first blocks grow by until their
/// growth is known, bodies being packed, and what the allocator keeps. `docs/sizing.md` says to plan for 256.
const MOST: u64 = (64 + 128) << 20;

#[tokio::test(flavor = "multi_thread")]
async fn with_sinks_down_or_slow_and_endless_input_memory_stays_within_its_bound() {
    let hec = receivers::hec().mode(Mode::Counts);
    let world = World::of(World::sls(4), hec).await;
    // The same half megabyte over and over: two gigabytes that cost the service nothing.
    let group = Logs(0..2_000).groups(2_000).next().unwrap();
    let times = 2_u64 << 30;
    for _ in 0..times / group.encoded().len() as u64 {
        world.sls.put(PROJECT, LOGSTORE, Placement::Balanced, [group.clone()]).unwrap();
    }
    let siem = SyslogReceiver::builder()
        .mode(forwarder_receivers::syslog::Mode::Counts)
        .start()
        .await
        .unwrap();
    siem.faults().pause_reading();
    world.hec.down().await;
    let config = world
        .settings()
        .process("shutdown_grace", "1s")
        .hec("splunk", &world.hec.url(), "")
        .syslog("siem", &siem.url(), "")
        .write("forwarder.toml");
    let mut forwarder = world.start(&config, &[]);

    // Nothing goes out: what is held grows to the budget and no further.
    let most_of_the_budget = |bytes: f64| bytes >= 56e6;
    forwarder.until_metric("forwarder_in_flight_bytes", &[], most_of_the_budget).await;
    forwarder.until_metric("forwarder_heartbeats_total", &[], |beats| beats >= 4.0).await;
    let in_flight = forwarder.metrics().await.sum("forwarder_in_flight_bytes", &[]);
    let peak = forwarder.peak_memory();
    assert!(peak <= MOST, "{} MiB resident, {in_flight} bytes in flight", peak >> 20);

    // It goes out slowly: every buffer is in use.
    world.hec.faults().delay_replies(1_000_000, Duration::from_millis(20));
    siem.faults().resume_reading();
    world.hec.up().await.unwrap();
    let seen = world.hec.wait_until(PATIENCE, |tally| tally.wire_bytes >= 40 << 20).await;
    assert!(seen.is_ok(), "{:?}\n{}", world.hec.tally(), forwarder.log());
    let peak = forwarder.peak_memory();
    assert!(peak <= MOST, "{} MiB resident with slow sinks", peak >> 20);
    let waited = "forwarder_backpressure_seconds_total";
    forwarder.until_metric(waited, &[("stage", "pull")], |seconds| seconds > 0.0).await;
    forwarder.stop().await;
}

/// What `docs/sizing.md` says.
const LIMIT: u64 = 256 << 20;

fn encoded(tags: Vec<(String, String)>, logs: Vec<Log>) -> EncodedGroup {
    let group = LogGroup { topic: "topic".into(), source: "192.0.2.7".into(), tags, logs };
    EncodedGroup::from_encoded(&group.encode()).unwrap()
}

fn log(contents: Vec<(String, String)>) -> Log {
    Log { time: 1_767_323_045, nanos: None, contents }
}

/// Small log groups that unfold to much, each in another way: 200 MB of tags repeated in logs, 4 million cells of
/// tags, logs of nothing but their time, characters that are escaped as six, a name for each field.
fn worst_groups() -> Vec<EncodedGroup> {
    let pair = |key: String, value: &str| (key, value.to_owned());
    let few = || vec![log(vec![pair("a".into(), "b")]); 1_000];
    let long_tags = (0..20).map(|n| pair(format!("tag-{n}"), &"v".repeat(10_000))).collect();
    let many_tags = (0..4_000).map(|n| pair(format!("t{n}"), "v")).collect();
    let controls = log(vec![pair("a".into(), &"\u{1}".repeat(50_000))]);
    let names = |nth: usize| (0..100).map(move |n| pair(format!("{nth}-{n}"), "")).collect();
    vec![
        encoded(long_tags, few()),
        encoded(many_tags, few()),
        encoded(Vec::new(), vec![log(Vec::new()); 100_000]),
        encoded(Vec::new(), vec![controls; 40]),
        encoded(Vec::new(), (0..2_000).map(|nth| log(names(nth))).collect()),
    ]
}

/// Each call has its own limit of output, and a plugin that fails on larger slices is called for small ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_adds_much_in_many_small_calls_stays_within_the_limit() {
    const LOGS: u64 = 12 * 1_024;
    let world = World::of(World::sls(1), receivers::hec().mode(Mode::Counts)).await;
    for _ in 0..LOGS / 1_024 {
        let group = encoded(Vec::new(), vec![log(vec![("k".into(), "v".into())]); 1_024]);
        world.sls.put(PROJECT, LOGSTORE, Placement::Balanced, [group]).unwrap();
    }
    let config = world
        .settings()
        .hec("splunk", &world.hec.url(), "")
        .plugin(&Forwarder::plugin("misbehave"), "config = { most_rows = 40, growth = 30_000 }")
        .write("forwarder.toml");
    let begun = Instant::now();
    let mut forwarder = world.start(&config, &[]);
    let delivered = |logs: f64| logs >= LOGS as f64;
    forwarder.until_metric("forwarder_delivered_records_total", &[], delivered).await;
    world.settled().await;
    let metrics = forwarder.metrics().await;
    let delivered = metrics.sum("forwarder_delivered_records_total", &[]);
    assert_eq!(delivered, LOGS as f64, "each once");
    let failed = metrics.sum("forwarder_plugin_calls_total", &[("outcome", "trapped")]);
    assert!(failed > 0.0, "the slices were cut");
    let peak = forwarder.peak_memory();
    assert!(peak <= LIMIT, "{} MiB resident", peak >> 20);
    assert!(world.dead_letters().is_empty());
    let lines = forwarder.log().matches("calls of the plugin failed").count() as u64;
    let most = 1 + begun.elapsed().as_secs() / 10;
    assert!((1..=most).contains(&lines), "{lines} lines, one every 10 s at most");
    assert_eq!(forwarder.terminate().await, Some(0));
}

/// What a plugin sets in all rows is kept once, until a sink writes it into each: as six times as much, if it has to be
/// escaped. All shards do so at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_adds_what_unfolds_in_the_sinks_stays_within_the_limit() {
    const GROUPS: u64 = 12;
    const LOGS: u64 = GROUPS * 2_000;
    for shards in [1, 8] {
        let world = World::of(World::sls(shards), receivers::hec().mode(Mode::Counts)).await;
        for _ in 0..GROUPS {
            let group = encoded(Vec::new(), vec![log(vec![("k".into(), "v".into())]); 2_000]);
            world.sls.put(PROJECT, LOGSTORE, Placement::Balanced, [group]).unwrap();
        }
        let config = world
            .settings()
            .hec("splunk", &world.hec.url(), "gzip = false")
            .plugin(&Forwarder::plugin("misbehave"), "config = { controls = 4_000 }")
            .write("forwarder.toml");
        let mut forwarder = world.start(&config, &[]);
        let delivered = |logs: f64| logs >= LOGS as f64;
        forwarder.until_metric("forwarder_delivered_records_total", &[], delivered).await;
        world.settled().await;
        let peak = forwarder.peak_memory();
        assert!(peak <= LIMIT, "{} MiB resident, {shards} shards", peak >> 20);
        assert!(world.dead_letters().is_empty());
        assert_eq!(forwarder.terminate().await, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_that_unfold_to_much_stay_within_the_limit_and_arrive_whole() {
    for plugin in [None, Some("audit")] {
        let world = World::of(World::sls(5), receivers::hec().mode(Mode::Counts)).await;
        let siem = SyslogReceiver::builder()
            .mode(forwarder_receivers::syslog::Mode::Counts)
            .max_message_bytes(2 << 20)
            .start()
            .await
            .unwrap();
        let mut logs = 0;
        for group in worst_groups() {
            logs += group.log_count() as u64;
            world.sls.put(PROJECT, LOGSTORE, Placement::Balanced, [group]).unwrap();
        }
        let settings = world.settings().hec("splunk", &world.hec.url(), "gzip = false").syslog(
            "siem",
            &siem.url(),
            "max_message = \"2MiB\"",
        );
        let settings = match plugin {
            Some(name) => {
                let config =
                    "config = { topics = [\"*\"], fields = [\"a\"], lift = { b = \"c\" } }";
                settings.plugin(&Forwarder::plugin(name), config)
            }
            None => settings,
        };
        let mut forwarder = world.start(&settings.write("forwarder.toml"), &[]);
        let seen = siem.wait_for(logs, PATIENCE).await;
        assert!(seen.is_ok(), "{seen:?}\n{}", forwarder.log());
        world.settled().await;
        for sink in ["splunk", "siem"] {
            let delivered = [("sink", sink)];
            let delivered =
                forwarder.metrics().await.sum("forwarder_delivered_records_total", &delivered);
            assert_eq!(delivered, logs as f64, "{sink}: each once, none set aside");
        }
        let peak = forwarder.peak_memory();
        assert!(peak <= LIMIT, "{} MiB resident, plugin {plugin:?}", peak >> 20);
        assert_eq!(forwarder.terminate().await, Some(0));
    }
}
