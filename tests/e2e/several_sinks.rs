//! Several sinks on one batch: each is served at its own pace, and none pays for another but in time.

use forwarder_emulator::Limits;
use forwarder_emulator::state::logstore::Placement;
use forwarder_tests::{Logs, PATIENCE, PROJECT, World, assert_exactly, receivers};

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_is_down_delays_the_checkpoint_and_no_other_sinks_logs() {
    let world = World::new(2).await;
    let archive = receivers::hec().start().await.unwrap();
    archive.down().await;
    let config = world
        .settings()
        .hec("splunk", &world.hec.url(), "")
        .hec("archive", &archive.url(), "")
        .write("forwarder.toml");
    let forwarder = world.start(&config, &[]);

    // One sink continues, wave by wave, while the other takes nothing.
    for wave in 1..=5u64 {
        world.put(&Logs((wave - 1) * 2_000..wave * 2_000), 100);
        world.received(wave * 2_000, &forwarder).await;
    }
    assert_eq!(world.backlog(), 100, "no checkpoint runs ahead of the slower sink");

    archive.up().await.unwrap();
    archive.wait_until(PATIENCE, |tally| tally.distinct_ids >= 10_000).await.unwrap();
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_exactly(&archive.received().ids, Logs(0..10_000).fingerprints());
    let repeated = world.assert_received(&Logs(0..10_000));
    assert_eq!(repeated, 0, "nothing is sent again to a sink that has delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_is_down_stops_the_sources_routed_to_it_and_no_others() {
    // Small blocks: one that is larger than the budget would be admitted alone.
    let limits = Limits { max_pull_bytes: 200_000, ..Limits::default() };
    let sls = World::sls(1).logstore(PROJECT, "other", 1).limits(limits);
    let world = World::of(sls, receivers::hec()).await;
    let archive = receivers::hec().start().await.unwrap();
    archive.down().await;
    let config = world
        .settings()
        .process("memory_budget", "2MiB")
        .another_source(&[("name", "other"), ("logstore", "other")])
        .hec("splunk", &world.hec.url(), "")
        .hec("archive", &archive.url(), "")
        .more("[[route]]\nwhen = { logstore = \"other\" }\nto = [\"archive\"]\n")
        .more("[[route]]\nto = [\"splunk\"]\n")
        .write("forwarder.toml");
    // Each logstore holds several times the budget.
    let logs = Logs(0..20_000);
    world.put(&logs, 100);
    for group in logs.groups(100) {
        world.sls.put(PROJECT, "other", Placement::Shard(0), [group]).unwrap();
    }
    let mut forwarder = world.start(&config, &[]);
    world.received(20_000, &forwarder).await;
    world.settled().await;
    assert_eq!(archive.tally().received, 0);
    let in_flight = forwarder.metrics().await.sum("forwarder_in_flight_bytes", &[]);
    assert!(in_flight <= 2_097_152.0, "{in_flight} bytes are held, more than the budget");

    archive.up().await.unwrap();
    archive.wait_until(PATIENCE, |tally| tally.distinct_ids >= 20_000).await.unwrap();
    forwarder.until_metric("forwarder_in_flight_bytes", &[], |bytes| bytes == 0.0).await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.assert_received(&logs), 0);
    assert_eq!(assert_exactly(&archive.received().ids, logs.fingerprints()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_out_of_reach_keeps_no_other_waiting() {
    let world = World::new(1).await;
    let logs = Logs(0..1_000);
    world.put(&logs, 100);
    // Bound and never answered: a client that connects waits.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let config = world
        .settings()
        .another_source(&[("name", "far"), ("endpoint", &silent)])
        .hec("splunk", &world.hec.url(), "")
        .write("forwarder.toml");
    let mut forwarder = world.start(&config, &[]);
    world.received(1_000, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.ask("GET", "/readyz").await.status, 503, "not all have joined");
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.assert_received(&logs), 0);
}
