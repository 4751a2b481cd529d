//! Receivers that are down, busy, or refuse.

use std::time::Duration;

use forwarder_receivers::hec::Mode;
use forwarder_tests::{Logs, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_down_for_half_a_minute_costs_nothing() {
    let world = World::new(2).await;
    let config = world.config("forwarder.toml", "");
    let mut forwarder = world.start(&config, &[]);
    world.put(&Logs(0..10_000), 100);
    world.received(10_000, &forwarder).await;

    world.hec.down().await;
    // Input continues while it is not taken: thirty seconds, a second at a time.
    let mut second = tokio::time::interval(Duration::from_secs(1));
    for nth in 0..30 {
        second.tick().await;
        let from = 10_000 + nth * 2_000;
        world.put(&Logs(from..from + 2_000), 100);
    }
    assert!(forwarder.is_running(), "a receiver that is down is no reason to exit");
    world.hec.up().await.unwrap();

    world.received(70_000, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    world.assert_received(&Logs(0..70_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_down_at_the_start_is_waited_for() {
    let world = World::new(1).await;
    world.put(&Logs(0..1_000), 100);
    world.hec.down().await;
    let config = world.config("forwarder.toml", "");
    let mut forwarder = world.start(&config, &[]);
    forwarder.says("nothing was lost").await;

    world.hec.up().await.unwrap();
    world.received(1_000, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    world.assert_received(&Logs(0..1_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_receiver_and_a_rotated_token_delay_logs_but_lose_none() {
    let world = World::new(2).await;
    let config = world.config("forwarder.toml", "");
    world.hec.faults().busy_for(3);
    world.put(&Logs(0..5_000), 100);
    let mut forwarder = world.start(&config, &[]);
    world.received(5_000, &forwarder).await;

    world.hec.faults().disable_token();
    world.put(&Logs(5_000..10_000), 100);
    forwarder.says("nothing was lost").await;
    world.hec.faults().enable_token();
    world.received(10_000, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.assert_received(&Logs(0..10_000)), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_ordered_each_shard_arrives_in_order() {
    let world = World::with_mode(4, Mode::Events).await;
    world.put(&Logs(0..20_000), 50);
    // Requests that fail now and then: a later one must not overtake.
    world.hec.faults().busy_for(5);
    let sink = "ordered = true\nmax_body = \"64KiB\"\nevent_id = true";
    let config = world.settings().hec("splunk", &world.hec.url(), sink).write("forwarder.toml");
    let forwarder = world.start(&config, &[]);
    world.hec.wait_for(20_000, forwarder_tests::PATIENCE).await.unwrap();
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));

    // An id is project/logstore/shard/cursor/row: within a shard, cursor and row must ascend.
    let mut last = std::collections::BTreeMap::new();
    for event in world.hec.received().events.iter() {
        let id = event.fields.get("event_id").and_then(|id| id.as_str()).unwrap().to_owned();
        let mut parts = id.split('/').skip(2).map(|part| part.parse::<u64>().unwrap());
        let (shard, cursor, row) =
            (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        let before = last.insert(shard, (cursor, row));
        assert!(before < Some((cursor, row)), "shard {shard}: {before:?} then {cursor}/{row}");
    }
    assert_eq!(last.len(), 4);
}
