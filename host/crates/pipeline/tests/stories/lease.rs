//! What a lease allows, and how runs end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use forwarder_connector::LeaseState;
use forwarder_pipeline::{Drained, ShardEnd, ShardSettings};
use tokio::time::Instant;

use crate::world::{Plot, rows, until};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_hand_over_finishes_what_is_in_flight_and_saves() {
    let world = Plot::new().sink("splunk").start();
    world.sink("splunk").takes(10 * SECOND);
    let shard = world.shard(7);
    shard.put(["1"]).put(["2"]);
    until("pulled", || shard.pulled() == 2).await;
    shard.lease(LeaseState::HandOver);
    tokio::task::yield_now().await;
    let store = Arc::clone(&shard.store);
    let pulled = shard.pulled();
    assert!(matches!(shard.end().await, ShardEnd::HandedOver { unsettled: 0 }));
    assert_eq!(store.last(), Some(pulled.to_string()));
    assert_eq!(world.sink("splunk").received_sorted(), rows(1..=2));
    world.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_hand_over_that_takes_too_long_is_given_up_and_what_is_settled_is_saved() {
    let world = Plot::new().sink("splunk").start();
    let shard = world.shard(7);
    shard.put(["1"]);
    until("the first arrived", || world.sink("splunk").received() == ["1"]).await;
    world.sink("splunk").is_down();
    shard.put(["2"]).put(["3"]);
    until("pulled", || shard.pulled() == 3).await;

    let begun = Instant::now();
    shard.lease(LeaseState::HandOver);
    let store = Arc::clone(&shard.store);
    assert!(matches!(shard.end().await, ShardEnd::HandedOver { unsettled: 2 }));
    assert_eq!(begun.elapsed().as_secs(), 30);
    assert_eq!(store.last().as_deref(), Some("1"));

    // The next owner sends them; they must not go out from here as well.
    world.sink("splunk").is_well();
    world.is_at_rest().await;
    assert_eq!(world.sink("splunk").received(), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_in_doubt_pauses_deliveries_of_its_shard_only() {
    let world = Plot::new().sink("splunk").start();
    let (doubtful, well) = (world.shard(1), world.shard(2));
    doubtful.lease(LeaseState::Suspended);
    tokio::time::sleep(SECOND).await;
    doubtful.put(["1"]);
    well.put(["2"]);
    well.until_saved("1").await;
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(world.sink("splunk").received(), ["2"]);

    doubtful.lease(LeaseState::Held);
    doubtful.until_saved("1").await;
    assert_eq!(world.sink("splunk").received(), ["2", "1"]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_in_doubt_pauses_retries_too() {
    let world = Plot::new().sink("splunk").start();
    world.sink("splunk").is_down();
    let shard = world.shard(1);
    shard.put(["1"]);
    until("asked", || !world.sink("splunk").attempts().is_empty()).await;
    shard.lease(LeaseState::Suspended);
    tokio::task::yield_now().await;
    let asked = world.sink("splunk").attempts().len();
    tokio::time::sleep(600 * SECOND).await;
    assert_eq!(world.sink("splunk").attempts().len(), asked);
    world.sink("splunk").is_well();
    shard.lease(LeaseState::Held);
    shard.until_saved("1").await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_stops_everything_and_saves_nothing() {
    let world = Plot::new().sink("splunk").start();
    let splunk = world.sink("splunk");
    let shard = world.shard(1);
    shard.put(["1"]);
    until("the first arrived", || splunk.received() == ["1"]).await;
    splunk.is_down();
    shard.put(["2"]);
    until("asked", || splunk.attempts().len() == 2).await;
    shard.lease(LeaseState::Lost);
    let store = Arc::clone(&shard.store);
    assert!(matches!(shard.end().await, ShardEnd::LeaseLost));
    assert_eq!(store.saves(), [], "not even what was delivered: it is not ours to say");
    splunk.is_well();
    world.is_at_rest().await;
    assert_eq!(splunk.received(), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_whose_owner_is_gone_is_lost() {
    let world = Plot::new().sink("splunk").start();
    let shard = world.shard(1);
    shard.put(["1"]);
    let end = shard.abandon_lease().await;
    assert!(matches!(end, ShardEnd::LeaseLost));
}

#[tokio::test(start_paused = true)]
async fn a_refused_checkpoint_is_a_lost_lease() {
    let world = Plot::new().sink("splunk").start();
    let shard = world.shard(1);
    shard.store.belongs_to_another.store(true, Ordering::SeqCst);
    shard.put(["1"]);
    assert!(matches!(shard.end().await, ShardEnd::LeaseLost));
}

#[tokio::test(start_paused = true)]
async fn a_stop_drains_saves_and_closes() {
    let world = Plot::new().sink("splunk").start();
    let splunk = Arc::clone(world.sink("splunk"));
    splunk.takes(3 * SECOND);
    let shards = [world.shard(1), world.shard(2)];
    shards[0].put(["1"]);
    shards[1].put(["2"]);
    until("pulled", || shards.iter().all(|shard| shard.pulled() == 1)).await;
    assert_eq!(world.drain(30 * SECOND).await, Drained { in_time: true });
    assert_eq!(splunk.received_sorted(), rows(1..=2));
    assert!(splunk.closed.load(Ordering::SeqCst));
    for shard in shards {
        assert_eq!(shard.store.last().as_deref(), Some("1"));
        assert!(matches!(shard.end().await, ShardEnd::Stopped { unsettled: 0 }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_without_end() {
    let world = Plot::new().sink("splunk").start();
    let splunk = Arc::clone(world.sink("splunk"));
    let shard = world.shard(1);
    shard.put(["1"]);
    until("the first arrived", || splunk.received() == ["1"]).await;
    splunk.is_down();
    shard.put(["2"]);
    until("pulled", || shard.pulled() == 2).await;
    let begun = Instant::now();
    assert_eq!(world.drain(30 * SECOND).await, Drained { in_time: false });
    assert_eq!(begun.elapsed().as_secs(), 30);
    assert_eq!(shard.store.last().as_deref(), Some("1"));
    assert!(matches!(shard.end().await, ShardEnd::Stopped { unsettled: 1 }));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_hangs_does_not_keep_the_process() {
    let world = Plot::new().sink("splunk").start();
    let splunk = Arc::clone(world.sink("splunk"));
    splunk.takes(3_600 * SECOND);
    let shard = world.shard(1);
    shard.put(["1"]);
    until("asked", || splunk.attempts().len() == 1).await;
    let begun = Instant::now();
    assert_eq!(world.drain(10 * SECOND).await, Drained { in_time: false });
    assert_eq!(begun.elapsed().as_secs(), 10);
    assert_eq!(shard.store.saves(), []);
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_a_block_that_was_pulled_and_finds_no_place_yet() {
    let narrow = |settings: &mut ShardSettings| {
        (settings.prefetch, settings.max_open_batches) = (1, 16_384);
    };
    let world = Plot::new().shards(narrow).sink("splunk").start();
    let splunk = Arc::clone(world.sink("splunk"));
    splunk.takes(SECOND);
    splunk.max_rows.store(1, Ordering::SeqCst);
    let shards = [world.shard(1), world.shard(2)];
    for number in 0..8_000 {
        shards[number % 2].put([number.to_string()]);
    }
    until("some were delivered", || !splunk.received().is_empty()).await;
    assert_eq!(world.drain(6_000 * SECOND).await, Drained { in_time: true });
    let pulled: usize = shards.iter().map(|shard| shard.pulled()).sum();
    assert!(pulled < 8_000, "the queues are full");
    assert_eq!(splunk.received().len(), pulled);
    for shard in shards {
        assert!(matches!(shard.end().await, ShardEnd::Stopped { unsettled: 0 }));
    }
}

/// The table in `lease_gate.rs`: what happens to a row that was pulled before and refused until then, and to one that
/// comes after.
#[tokio::test(start_paused = true)]
async fn a_lease_and_a_stop_allow_what_the_table_says() {
    use LeaseState::{HandOver, Held, Lost, Suspended};

    // Lease and stop; rows delivered after ten seconds, and how long the run lasts if its rows cannot be delivered.
    let table: [(LeaseState, bool, &[&str], Option<u64>); 8] = [
        (Held, false, &["1", "2"], None),
        (Held, true, &["1"], Some(40)),
        (Suspended, false, &[], None),
        (Suspended, true, &[], Some(40)),
        (HandOver, false, &["1"], Some(30)),
        (HandOver, true, &["1"], Some(30)),
        (Lost, false, &[], Some(0)),
        (Lost, true, &[], Some(0)),
    ];
    for (lease, stop, delivered, lasts) in table {
        for is_down in [false, true] {
            let world = Plot::new().sink("splunk").start();
            let splunk = Arc::clone(world.sink("splunk"));
            let shard = world.shard(1);
            splunk.is_down();
            shard.put(["1"]);
            until("asked", || !splunk.attempts().is_empty()).await;
            let begun = Instant::now();
            shard.lease(lease);
            let mut draining = tokio::task::JoinSet::new();
            if stop {
                draining.spawn(world.drain(40 * SECOND));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            shard.try_put(["2"]);
            if !is_down {
                splunk.is_well();
            }
            tokio::time::sleep(10 * SECOND).await;
            let case = format!("{lease}, stop: {stop}, down: {is_down}");
            let expected = if is_down { &[] } else { delivered };
            assert_eq!(splunk.received_sorted(), expected, "{case}");
            match lasts {
                None => assert!(shard.is_running(), "{case}"),
                Some(lasts) if is_down || delivered.is_empty() => {
                    let store = Arc::clone(&shard.store);
                    shard.end().await;
                    assert_eq!(begun.elapsed().as_secs(), lasts.max(10), "{case}");
                    assert_eq!(store.saves(), [], "{case}");
                }
                Some(_) => {
                    let store = Arc::clone(&shard.store);
                    shard.end().await;
                    assert_eq!(store.last().as_deref(), Some("1"), "{case}");
                }
            }
        }
    }
}
