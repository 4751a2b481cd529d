//! Which refusals are believed: those that stand in contrast with an acceptance.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use forwarder_connector::Verdict;

use crate::world::{MemorySink, Plot, divide, hold, reject, rows, until};

/// Refuses what `is_bad` says, with or without a name, and everything while the flag is up.
fn refuses(
    sink: &MemorySink,
    named: bool,
    is_bad: impl Fn(&str) -> bool + Send + 'static,
) -> Arc<AtomicBool> {
    let everything = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&everything);
    sink.answers(move |rows| {
        let bad = if flag.load(Ordering::SeqCst) {
            Some(0)
        } else {
            rows.iter().position(|row| is_bad(row))
        };
        match bad {
            None => Verdict::Delivered,
            Some(row) if named => reject([row]),
            Some(_) => divide(),
        }
    });
    everything
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_refuses_everything_for_a_while_costs_no_row() {
    for (named, ordered) in [(false, false), (false, true), (true, false), (true, true)] {
        let world = Plot::new().sink_with("splunk", |it| it.ordered = ordered).start();
        let splunk = world.sink("splunk");
        let everything = refuses(splunk, named, |_| false);
        everything.store(true, Ordering::SeqCst);
        let shard = world.shard(7);
        for first in [1, 101, 201, 301] {
            shard.put(rows(first..=first + 99));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let asked = splunk.attempts().len();
        assert!(asked < 60, "{asked} requests before it pauses (named: {named}, {ordered})");
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert!(splunk.attempts().len() < asked + 40, "it is asked slowly");
        assert_eq!(world.dead_letters.rows(), [""; 0]);

        everything.store(false, Ordering::SeqCst);
        shard.until_saved("4").await;
        assert_eq!(splunk.received_sorted(), rows(1..=400), "each of them once");
        assert_eq!(ordered, splunk.received() == rows(1..=400));
        assert_eq!(world.dead_letters.rows(), [""; 0]);
        world.is_at_rest().await;
    }
}

#[tokio::test(start_paused = true)]
async fn rows_in_ones_and_twos_are_kept_too_while_everything_is_refused() {
    for named in [false, true] {
        let world = Plot::new().sink("splunk").start();
        let splunk = world.sink("splunk");
        let everything = refuses(splunk, named, |_| false);
        everything.store(true, Ordering::SeqCst);
        let shard = world.shard(7);
        for row in 1..=60 {
            shard.put(rows(row..=row));
            tokio::time::sleep(Duration::from_millis(70)).await;
        }
        everything.store(false, Ordering::SeqCst);
        shard.until_saved("60").await;
        assert_eq!(splunk.received_sorted(), rows(1..=60));
        assert_eq!(world.dead_letters.rows(), [""; 0], "named: {named}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_that_is_accepted_alone_was_not_the_culprit() {
    let world = Plot::new().sink("splunk").start();
    let mut first = true;
    world.sink("splunk").answers(move |_| {
        if std::mem::take(&mut first) { reject([2]) } else { Verdict::Delivered }
    });
    let shard = world.shard(7);
    shard.put(rows(1..=5));
    shard.until_saved("1").await;
    assert_eq!(world.sink("splunk").received_sorted(), rows(1..=5));
    assert_eq!(world.dead_letters.rows(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_bad_row_with_no_other_to_compare_with_waits_for_one() {
    let world = Plot::new().sink("splunk").start();
    refuses(world.sink("splunk"), false, |row| row == "1");
    let shard = world.shard(7);
    shard.put(rows(1..=1));
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(world.dead_letters.rows(), [""; 0]);
    let asked = world.sink("splunk").attempts().len();
    assert!((20..200).contains(&asked), "asked {asked} times in an hour");

    shard.put(rows(2..=2));
    shard.until_saved("2").await;
    assert_eq!(world.sink("splunk").received(), ["2"]);
    assert_eq!(world.dead_letters.rows(), ["1"]);
    world.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_bad_row_that_is_named_again_and_again_needs_no_other() {
    let world = Plot::new().sink("splunk").start();
    refuses(world.sink("splunk"), true, |row| row == "1");
    let shard = world.shard(7);
    shard.put(rows(1..=1));
    shard.until_saved("1").await;
    assert_eq!(world.dead_letters.rows(), ["1"]);
    let attempts = world.sink("splunk").attempts();
    assert_eq!(attempts.len(), 6);
    assert!(attempts[5].0 - attempts[0].0 > Duration::from_secs(15), "with waits between");
}

#[tokio::test(start_paused = true)]
async fn bad_rows_side_by_side_stop_no_other() {
    for ordered in [false, true] {
        let soon = |it: &mut forwarder_pipeline::DeliverySettings| {
            it.ordered = ordered;
            it.retry.longest_hold = Duration::from_secs(5);
        };
        let world = Plot::new().sink_with("splunk", soon).start();
        let splunk = world.sink("splunk");
        let is_bad = |row: &str| (100..130).contains(&row.parse::<u32>().unwrap());
        refuses(splunk, false, is_bad);
        let shard = world.shard(7);
        shard.put(rows(1..=400));
        until("the others arrive", || splunk.received().len() == 370).await;
        shard.until_saved("1").await;
        assert_eq!(world.dead_letters.letters().len(), 30);
        assert_eq!(splunk.received().is_sorted_by_key(|row| row.parse::<u32>().unwrap()), ordered);
        let asked = splunk.attempts().len();
        assert!(asked < 30 * 14, "{asked} requests for 30 bad rows (ordered: {ordered})");
    }
}

#[tokio::test(start_paused = true)]
async fn more_bad_rows_than_are_believed_are_kept_while_others_are_delivered() {
    let world = Plot::new().sink("splunk").start();
    let splunk = world.sink("splunk");
    refuses(splunk, true, |row| row.parse::<u32>().unwrap().is_multiple_of(8));
    let shard = world.shard(7);
    shard.put(rows(1..=480));
    until("the good rows arrive", || splunk.received().len() == 420).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.dead_letters.letters().len(), 50, "5 % of a thousand");
    assert_eq!(shard.store.saves(), []);

    splunk.is_well();
    shard.until_saved("1").await;
    assert_eq!(splunk.received().len(), 430);
}

/// Refuses so many percent of all requests whatever is in them, and always what holds row 50.
fn refuses_at_random(sink: &MemorySink, percent: u64, seed: u64, named: bool) {
    let mut state = seed;
    sink.answers(move |rows| {
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        let is_moody = next() % 100 < percent;
        let bad = rows.iter().position(|row| row == "50");
        match bad.or(is_moody.then_some(0)) {
            None => Verdict::Delivered,
            Some(row) if named => reject([row]),
            Some(_) => divide(),
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_refuses_half_of_all_requests_at_random_costs_no_good_row_and_still_finds_the_bad()
 {
    for (seed, named) in [(1, false), (2, false), (3, true), (4, true)] {
        let world = Plot::new().sink("splunk").start();
        let splunk = world.sink("splunk");
        refuses_at_random(splunk, 50, seed, named);
        let shard = world.shard(7);
        for row in 1..=200 {
            shard.put(rows(row..=row));
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        // A bad row takes its time there.
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        shard.until_saved("200").await;
        assert_eq!(splunk.received().len(), 199, "named: {named}");
        assert_eq!(world.dead_letters.rows(), ["50"], "named: {named}");
    }
}

/// No fixed number of refusals would do: at 90 % one good row in eight is refused twenty times.
#[tokio::test(start_paused = true)]
async fn a_receiver_that_refuses_most_requests_at_random_costs_no_good_row() {
    for seed in 0..24 {
        let (percent, named) = ([70, 80, 90, 98][seed as usize % 4], seed % 8 < 4);
        let world = Plot::new().sink("splunk").start();
        let splunk = world.sink("splunk");
        refuses_at_random(splunk, percent, seed, named);
        let shard = world.shard(7);
        for first in (1..=400).step_by(5) {
            shard.put(rows(first..=first + 4));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_secs(14_400)).await;
        let letters = world.dead_letters.rows();
        assert!(letters.is_empty() || letters == ["50"], "{percent} %, {named}: {letters:?}");
        // What is not decided waits, and is delivered when the receiver has recovered.
        splunk.is_well();
        shard.until_saved("80").await;
        assert_eq!(splunk.received().len() + letters.len(), 400, "{percent} %, {named}");
        assert_eq!(world.dead_letters.rows(), letters);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_sent_again_soon_once_the_sink_takes_something_else() {
    let world = Plot::new().sink_with("splunk", |it| it.concurrency = 2).start();
    let splunk = world.sink("splunk");
    let is_down = Arc::new(AtomicBool::new(true));
    let down = Arc::clone(&is_down);
    splunk.answers(move |_| if down.load(Ordering::SeqCst) { hold() } else { Verdict::Delivered });
    let shard = world.shard(7);
    shard.put(rows(1..=1));
    // Waits have grown to a minute by now.
    tokio::time::sleep(Duration::from_secs(600)).await;
    shard.put(rows(2..=2));
    tokio::time::sleep(Duration::from_millis(100)).await;
    is_down.store(false, Ordering::SeqCst);
    let begun = tokio::time::Instant::now();
    shard.until_saved("2").await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_row_refused_in_a_body_and_once_alone_is_asked_about_again() {
    let world = Plot::new().sink("splunk").start();
    let alone = AtomicUsize::new(0);
    world.sink("splunk").answers(move |rows| match rows {
        [row] if row == "2" && alone.fetch_add(1, Ordering::SeqCst) == 0 => divide(),
        [_] => Verdict::Delivered,
        _ => divide(),
    });
    let shard = world.shard(7);
    shard.put(rows(1..=3));
    shard.until_saved("1").await;
    assert_eq!(world.dead_letters.rows(), [] as [&str; 0]);
    assert_eq!(world.sink("splunk").received_sorted(), ["1", "2", "3"]);
}
