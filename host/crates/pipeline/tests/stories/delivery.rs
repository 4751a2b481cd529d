//! What sinks answer, and what becomes of the rows.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::world::{Plot, divide, hold, reject, retry, rows, until};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_busy_sink_delays_rows_but_loses_none() {
    let world = Plot::new().sink("splunk").start();
    world.sink("splunk").answers_first([retry(None), retry(None)]);
    let shard = world.shard(7);

    shard.put(rows(1..=100));
    shard.until_saved("1").await;

    let attempts = world.sink("splunk").attempts();
    assert_eq!(attempts.len(), 3);
    assert!(attempts.iter().all(|(_, sent)| *sent == rows(1..=100)), "the same bytes each time");
    assert_eq!(world.sink("splunk").received(), rows(1..=100));
    world.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn waits_grow_and_the_servers_wish_wins_when_it_is_longer() {
    let world = Plot::new().sink("splunk").start();
    world.sink("splunk").answers_first([retry(None), retry(None), retry(Some(40 * SECOND))]);
    let shard = world.shard(7);
    shard.put(["1"]);
    shard.until_saved("1").await;

    let attempts = world.sink("splunk").attempts();
    let waits: Vec<_> = attempts.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(waits[0] >= SECOND / 4 && waits[0] <= SECOND * 6 / 10, "{waits:?}");
    assert!(waits[1] >= SECOND / 2 && waits[1] <= SECOND * 11 / 10, "{waits:?}");
    assert!(waits[2] >= 40 * SECOND && waits[2] <= 41 * SECOND, "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_holds_rows_until_it_is_accepted() {
    let world = Plot::new().sink("splunk").start();
    world.sink("splunk").answers(|_| hold());
    let shard = world.shard(7);
    shard.put(["1"]).put(["2"]);

    tokio::time::sleep(600 * SECOND).await;
    assert_eq!(shard.store.saves(), []);
    let asked = world.sink("splunk").attempts().len();
    assert!((8..50).contains(&asked), "asked slowly, not {asked} times in ten minutes");

    world.sink("splunk").is_well();
    shard.until_saved("2").await;
    assert_eq!(world.sink("splunk").received_sorted(), rows(1..=2));
    assert_eq!(world.dead_letters.letters(), []);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_sent_in_halves() {
    let world = Plot::new().sink("splunk").start();
    world.sink("splunk").answers(|rows| {
        if rows.len() > 3 { divide() } else { forwarder_connector::Verdict::Delivered }
    });
    let shard = world.shard(7);
    shard.put(rows(1..=10));
    shard.until_saved("1").await;
    assert_eq!(world.sink("splunk").received(), rows(1..=10), "in order, none twice");
    assert!(world.sink("splunk").requests().len() >= 4);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_is_down_does_not_keep_rows_from_another() {
    let world = Plot::new().sink("splunk").sink("qradar").start();
    world.sink("qradar").is_down();
    let shard = world.shard(7);
    shard.put(rows(1..=10)).put(rows(11..=20));
    until("splunk has all", || world.sink("splunk").received().len() == 20).await;
    tokio::time::sleep(600 * SECOND).await;
    assert_eq!(shard.store.saves(), [], "qradar has nothing yet");

    world.sink("qradar").is_well();
    shard.until_saved("2").await;
    assert_eq!(world.sink("qradar").received_sorted(), rows(1..=20));
    assert_eq!(world.sink("splunk").received_sorted(), rows(1..=20), "nothing was sent twice");
    world.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn rows_of_several_shards_share_a_body_while_another_is_in_flight() {
    let world = Plot::new().sink("splunk").start();
    let splunk = world.sink("splunk");
    splunk.takes(SECOND);
    let shards = [world.shard(0), world.shard(1), world.shard(2)];
    shards[0].put(["1"]);
    until("the first is in flight", || splunk.attempts().len() == 1).await;
    let begun = splunk.attempts()[0].0;
    for (shard, row) in shards.iter().zip(["2", "3", "4"]) {
        shard.put([row]);
    }
    until("all arrived", || splunk.received().len() == 4).await;

    let attempts = splunk.attempts();
    assert_eq!(attempts[0].1, ["1"], "nothing was in flight, so it did not wait");
    assert_eq!(attempts.len(), 2, "the others went together");
    let waited = attempts[1].0 - begun;
    assert!(
        waited >= Duration::from_millis(20) && waited < Duration::from_millis(30),
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_request_does_not_keep_later_rows_unless_order_matters() {
    for ordered in [false, true] {
        let world = Plot::new().sink_with("splunk", |settings| settings.ordered = ordered).start();
        let splunk = world.sink("splunk");
        let mut first = true;
        splunk.answers(move |_| {
            if std::mem::take(&mut first) {
                retry(None)
            } else {
                forwarder_connector::Verdict::Delivered
            }
        });
        let shard = world.shard(7);
        shard.put(["1"]);
        until("the first was refused", || splunk.attempts().len() == 1).await;
        for row in rows(2..=9) {
            shard.put([row]);
        }
        shard.until_saved("9").await;
        let in_order = splunk.received() == rows(1..=9);
        assert_eq!(in_order, ordered);
        assert_eq!(splunk.received_sorted(), rows(1..=9));
    }
}

#[tokio::test(start_paused = true)]
async fn in_order_even_when_rows_are_refused_divided_and_retried() {
    let world = Plot::new().sink_with("splunk", |settings| settings.ordered = true).start();
    let splunk = world.sink("splunk");
    splunk.max_rows.store(7, Ordering::SeqCst);
    let mut asked = 0;
    splunk.answers(move |rows| {
        asked += 1;
        if let Some(bad) = rows.iter().position(|row| row == "13" || row == "27") {
            return reject([bad]);
        }
        match (asked % 4, rows.len()) {
            (0, _) => retry(None),
            (1, 2..) => divide(),
            (2, 2..) => reject([1]),
            _ => forwarder_connector::Verdict::Delivered,
        }
    });
    let shard = world.shard(7);
    for first in [1, 11, 21, 31] {
        shard.put(rows(first..=first + 9));
    }
    // A receiver that also blames good rows is asked many times about a bad one.
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    shard.until_saved("4").await;
    let numbers =
        |rows: Vec<String>| -> Vec<u32> { rows.iter().map(|row| row.parse().unwrap()).collect() };
    let received = numbers(splunk.received());
    assert!(received.is_sorted(), "{received:?}");
    let mut all = [received, numbers(world.dead_letters.rows())].concat();
    all.sort_unstable();
    assert_eq!(all, (1..=40).collect::<Vec<_>>());
    assert_eq!(world.dead_letters.rows(), ["13", "27"]);
}

#[tokio::test(start_paused = true)]
async fn a_body_never_exceeds_what_the_sink_takes() {
    let world = Plot::new().sink("splunk").start();
    world.sink("splunk").max_rows.store(4, Ordering::SeqCst);
    let shard = world.shard(7);
    shard.put(rows(1..=10)).put(rows(11..=13));
    shard.until_saved("2").await;
    assert_eq!(world.sink("splunk").received_sorted(), rows(1..=13));
    assert!(world.sink("splunk").requests().iter().all(|request| request.len() <= 4));
}

#[tokio::test(start_paused = true)]
async fn requests_in_flight_are_bounded() {
    let world = Plot::new().sink_with("splunk", |settings| settings.concurrency = 3).start();
    let splunk = world.sink("splunk");
    splunk.max_rows.store(1, Ordering::SeqCst);
    splunk.takes(SECOND);
    let shard = world.shard(7);
    shard.put(rows(1..=10));
    shard.until_saved("1").await;
    let starts: Vec<_> = splunk.attempts().into_iter().map(|(at, _)| at).collect();
    for at in &starts {
        let together = starts.iter().filter(|other| *other >= at && **other - *at < SECOND).count();
        assert!(together <= 3, "{together} at once");
    }
}
