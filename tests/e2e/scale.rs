//! A million logs, compared one by one.

use forwarder_tests::{Logs, World};

const MILLION: Logs = Logs(0..1_000_000);

#[tokio::test(flavor = "multi_thread")]
async fn a_million_logs_over_eight_shards_arrive_once_each_and_unchanged() {
    let world = World::new(8).await;
    world.put(&MILLION, 500);
    let config = world.config("forwarder.toml", "");
    let forwarder = world.start(&config, &[]);

    world.received(1_000_000, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));

    let repeated = world.assert_received(&MILLION);
    assert_eq!(repeated, 0, "nothing went wrong, so nothing may arrive twice");
}
