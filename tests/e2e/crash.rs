//! kill -9 with batches in flight.

use std::time::Duration;

use forwarder_tests::{Logs, PATIENCE, World};

#[tokio::test(flavor = "multi_thread")]
async fn killed_four_times_with_batches_in_flight_it_loses_nothing() {
    let world = World::new(4).await;
    let logs = Logs(0..200_000);
    world.put(&logs, 200);
    let config = world.config("forwarder.toml", "");

    for kill in 1..=4u64 {
        // Slow replies: at any moment some requests are not answered yet.
        world.hec.faults().delay_replies(1_000_000, Duration::from_millis(20));
        let forwarder = world.start(&config, &[]);
        let before = world.hec.tally().distinct_ids;
        let target = (before + 1).max(kill * 20_000);
        let seen = world.hec.wait_until(PATIENCE, |tally| tally.distinct_ids >= target).await;
        assert!(seen.is_ok(), "no progress after restart {kill}:\n{}", forwarder.log());
        forwarder.kill().await;
    }
    world.hec.faults().end_script();
    assert!(world.hec.tally().distinct_ids < 200_000, "the kills came too late to matter");

    let forwarder = world.start(&config, &[]);
    world.received(200_000, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    world.assert_received(&logs);
}
