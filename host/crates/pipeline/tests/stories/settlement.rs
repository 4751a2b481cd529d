//! When a checkpoint moves, and when it must not.

use std::sync::atomic::Ordering;
use std::time::Duration;

use forwarder_connector::{Answer, LeaseState, Verdict};
use forwarder_pipeline::ShardEnd;

use crate::world::{Plot, retry, rows, until};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn checkpoints_are_rare_and_never_the_same_twice() {
    let world = Plot::new().sink("splunk").start();
    let shard = world.shard(7);
    for row in rows(1..=20) {
        shard.put([row]);
        tokio::time::sleep(SECOND).await;
    }
    tokio::time::sleep(60 * SECOND).await;
    let saves = shard.store.saves();
    let positions: Vec<u32> = saves.iter().map(|(_, at)| at.parse().unwrap()).collect();
    assert!(positions.windows(2).all(|pair| pair[0] < pair[1]), "{positions:?}");
    assert_eq!(positions.last(), Some(&20));
    assert!(saves.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 5 * SECOND));
    assert_eq!(saves.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn empty_pulls_are_progress() {
    let world = Plot::new().sink("splunk").start();
    let shard = world.shard(7);
    shard.put_nothing().put_nothing();
    shard.until_saved("2").await;

    world.sink("splunk").is_down();
    shard.put(["1"]).put_nothing().put_nothing();
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(shard.store.last().as_deref(), Some("2"), "never past what is not delivered");
    world.sink("splunk").is_well();
    shard.until_saved("5").await;
}

#[tokio::test(start_paused = true)]
async fn rows_dropped_on_purpose_are_settled_without_a_request() {
    let world = Plot::new().sink("splunk").start();
    let shard = world.shard(7);
    shard.put(["drop-1", "drop-2"]).put(["", "drop-3"]);
    shard.until_saved("2").await;
    assert_eq!(world.sink("splunk").attempts(), []);
    world.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_rule_may_drop_on_purpose() {
    let plot = Plot::new().sink("splunk").sink("qradar");
    let world = plot.route(Some("high"), &["splunk"]).route(None, &[]).start();
    let shard = world.shard(7);
    shard.put(rows(1..=3));
    shard.until_saved("1").await;
    assert_eq!(world.sink("splunk").attempts().len() + world.sink("qradar").attempts().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_later_batch_may_arrive_first_but_the_checkpoint_waits() {
    let world = Plot::new().sink("splunk").start();
    world.sink("splunk").answers(|rows| match rows.first().map(String::as_str) {
        Some("1") => retry(None),
        _ => Verdict::Delivered,
    });
    let shard = world.shard(7);
    shard.put(["1"]);
    until("asked", || !world.sink("splunk").attempts().is_empty()).await;
    shard.put(["2"]).put(["3"]);
    until("the others arrived", || world.sink("splunk").received().len() == 2).await;
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(shard.store.saves(), []);
    world.sink("splunk").is_well();
    shard.until_saved("3").await;
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_dies_moves_no_checkpoint_and_starts_the_shard_again() {
    let world = Plot::new().sink("splunk").start();
    world.sink("splunk").answers(|rows| {
        assert_ne!(rows, ["2"], "on purpose");
        Verdict::Delivered
    });
    let shard = world.shard(7);
    shard.put(["1"]);
    until("the first arrived", || world.sink("splunk").received() == ["1"]).await;
    shard.put(["2"]);
    let store = std::sync::Arc::clone(&shard.store);
    assert!(matches!(shard.end().await, ShardEnd::Restart));
    assert_eq!(store.last().as_deref(), Some("1"), "what was settled before is saved");
    world.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_row_that_neither_side_knows_of_stops_the_shard() {
    let world = Plot::new().sink("splunk").start();
    let shard = world.shard(7);
    shard.put(["1"]).put(["2", "forget-3"]).put(["4"]);
    let store = std::sync::Arc::clone(&shard.store);
    assert!(matches!(shard.end().await, ShardEnd::Restart));
    assert_eq!(store.last().as_deref(), Some("1"));
    assert_eq!(world.sink("splunk").received(), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_block_is_pulled_again_a_few_times_and_then_holds_its_shard_and_no_other() {
    let world = Plot::new().sink("splunk").start();
    world.sink("splunk").takes(3 * SECOND);
    let (mut damage, mut pauses) = (None, Vec::new());
    for _ in 0..5 {
        let sick = world.shard_after(1, damage);
        sick.put(["1"]).put_garbage().put(["3"]);
        let store = std::sync::Arc::clone(&sick.store);
        let ShardEnd::Damaged(again) = sick.end().await else { panic!("it is worth another pull") };
        assert_eq!(store.last().as_deref(), Some("1"), "what came before was settled first");
        pauses.push(again.pause().as_millis());
        damage = Some(again);
    }
    assert_eq!(pauses, [0, 100, 200, 400, 800]);

    let (sick, well) = (world.shard_after(1, damage), world.shard(2));
    sick.put(["1"]).put_garbage().put(["3"]);
    well.put(["11"]).put(["12"]);
    well.until_saved("2").await;
    sick.until_saved("1").await;
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!(world.sink("splunk").received_sorted().iter().filter(|row| *row == "3").count(), 0);
    assert_eq!(sick.store.last().as_deref(), Some("1"));
    assert!(matches!(sick.end().await, ShardEnd::Restart), "looks again after a while");
    well.put(["13"]);
    well.until_saved("3").await;
}

#[tokio::test(start_paused = true)]
async fn a_halt_and_a_panic_hold_the_shard() {
    for row in ["halt", "panic"] {
        let world = Plot::new().sink("splunk").start();
        let shard = world.shard(1);
        shard.put(["1"]).put(["2", row]).put(["3"]);
        shard.until_saved("1").await;
        let begun = tokio::time::Instant::now();
        shard.lease(LeaseState::HandOver);
        assert!(matches!(shard.end().await, ShardEnd::HandedOver { unsettled: 1.. }));
        assert!(begun.elapsed() < SECOND, "a shard that holds is handed over at once");
        assert_eq!(world.sink("splunk").received(), ["1"]);
        world.is_at_rest().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_shard_is_the_end_of_its_run() {
    let world = Plot::new().sink("splunk").start();
    world.sink("splunk").takes(90 * SECOND);
    let shard = world.shard(1);
    shard.put(["1"]).put_nothing().put_end();
    let store = std::sync::Arc::clone(&shard.store);
    assert!(matches!(shard.end().await, ShardEnd::Finished));
    assert_eq!(store.last().as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn a_shard_is_not_finished_when_its_last_batch_was_abandoned() {
    let world = Plot::new().sink("splunk").start();
    let splunk = world.sink("splunk");
    splunk.takes(SECOND);
    splunk.answers(|_| -> Answer { panic!("on purpose") });
    let shard = world.shard(1);
    shard.put(["1"]);
    until("asked", || splunk.attempts().len() == 1).await;
    // The run hears of the end and of the loss in the same breath.
    tokio::time::sleep_until(splunk.attempts()[0].0 + SECOND).await;
    shard.put_end();
    assert!(matches!(shard.end().await, ShardEnd::Restart));
}

#[tokio::test(start_paused = true)]
async fn an_idle_shard_saves_nothing() {
    let world = Plot::new().sink("splunk").start();
    let shard = world.shard(1);
    shard.put(["1"]);
    shard.until_saved("1").await;
    for _ in 0..60 {
        shard.put_idle();
        tokio::time::sleep(SECOND).await;
    }
    assert_eq!(shard.store.saves().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_breaks_off_is_drained_and_reported() {
    let world = Plot::new().sink("splunk").start();
    let shard = world.shard(1);
    shard.put(["1"]).break_off();
    let store = std::sync::Arc::clone(&shard.store);
    let end = shard.end().await;
    assert_eq!(end.to_string(), "source cannot continue: the server is on fire");
    assert_eq!(store.last().as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_asked_again() {
    let world = Plot::new().sink("splunk").start();
    let shard = world.shard(1);
    shard.store.is_unavailable.store(true, Ordering::SeqCst);
    shard.put(["1"]);
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(shard.store.saves(), []);
    shard.put(["2"]);
    shard.store.is_unavailable.store(false, Ordering::SeqCst);
    shard.until_saved("2").await;
}

#[tokio::test(start_paused = true)]
async fn a_stalled_sink_stops_the_pulling_and_nothing_grows() {
    let world = Plot::new().sink("splunk").budget(20_000).start();
    world.sink("splunk").is_down();
    let shard = world.shard(1);
    for row in rows(1..=1_000) {
        shard.put([row]);
    }
    tokio::time::sleep(600 * SECOND).await;
    let pulled = shard.pulled();
    assert!((1..70).contains(&pulled), "{pulled} blocks pulled");
    let used = world.budget.used();

    tokio::time::sleep(600 * SECOND).await;
    assert_eq!((shard.pulled(), world.budget.used()), (pulled, used));
    world.sink("splunk").is_well();
    shard.until_saved("1000").await;
    assert_eq!(world.sink("splunk").received_sorted(), rows(1..=1_000));
    world.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn the_number_of_open_batches_is_bounded_too() {
    let plot = Plot::new().sink("splunk").shards(|shards| shards.max_open_batches = 5);
    let world = plot.start();
    world.sink("splunk").is_down();
    let shard = world.shard(1);
    for row in rows(1..=50) {
        shard.put([row]);
    }
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(shard.pulled(), 5);
    world.sink("splunk").is_well();
    shard.until_saved("50").await;
}

/// Real threads, real time, sinks that misbehave in every way: none lost, and none twice except where a
/// sink refused a whole request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_sinks_answer_every_row_arrives_or_is_a_dead_letter() {
    let impatient = |settings: &mut forwarder_pipeline::DeliverySettings| {
        settings.retry.first = Duration::from_millis(1);
        settings.retry.longest = Duration::from_millis(4);
        settings.retry.first_hold = Duration::from_millis(2);
        settings.retry.longest_hold = Duration::from_millis(4);
        settings.refusals.max_ratio = 1.0;
    };
    let plot = Plot::new().sink_with("splunk", impatient).sink_with("qradar", impatient);
    let plot = plot.threads(2).budget(200_000);
    let hurry = |shards: &mut forwarder_pipeline::ShardSettings| {
        shards.checkpoint_interval = Duration::from_millis(10);
    };
    let world = plot.shards(hurry).start();
    for (sink, rows) in [("splunk", 37), ("qradar", 11)] {
        world.sink(sink).max_rows.store(rows, Ordering::SeqCst);
        let mut asked = 0_u32;
        world.sink(sink).answers(move |rows| {
            asked += 1;
            match asked % 7 {
                1 => retry(None),
                2 => crate::world::hold(),
                3 if rows.len() > 1 => crate::world::divide(),
                4 => crate::world::reject([0]),
                _ => Verdict::Delivered,
            }
        });
    }
    let shards: Vec<_> = (0..4).map(|number| world.shard(number)).collect();
    for block in 0..100 {
        for (number, shard) in (0..).zip(&shards) {
            let first = (block * 4 + number) * 20 + 1;
            shard.put(rows(first..=first + 19));
        }
    }
    for shard in &shards {
        shard.until_saved("100").await;
    }
    let letters = world.dead_letters.letters();
    for sink in ["splunk", "qradar"] {
        let name = forwarder_connector::RefusedBy::Sink(sink.into());
        let refused = letters.iter().filter(|letter| letter.refused_by == name);
        let refused = refused.map(|letter| letter.fields.last().unwrap().1.clone());
        let mut all: Vec<_> = refused.chain(world.sink(sink).received()).collect();
        all.sort_by_key(|row| (row.len(), row.clone()));
        assert_eq!(all, rows(1..=8_000), "{sink}");
    }
    world.is_at_rest().await;
}
