//! Memory is bounded by the budget plus a constant, whatever the sinks do and however much is to be read.

use std::time::Duration;

use forwarder_emulator::state::logstore::Placement;
use forwarder_receivers::hec::Mode;
use forwarder_receivers::syslog::SyslogReceiver;
use forwarder_tests::{LOGSTORE, Logs, PATIENCE, PROJECT, World, receivers};

/// The default budget, and what else may be resident: the program, what the first blocks grow by until their
/// growth is known, bodies being packed, and what the allocator keeps. `README.md` tells people to plan for 256.
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

    // It goes out slowly: every buffer on the way is in use.
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
