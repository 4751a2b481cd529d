//! Rows that can never be delivered.

use std::sync::atomic::Ordering;
use std::time::Duration;

use forwarder_connector::{LeaseState, RefusedBy, Verdict};
use forwarder_pipeline::ShardEnd;

use crate::world::{Plot, divide, reject, rows, until};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn rows_refused_by_name_are_dead_lettered_and_the_others_sent_again() {
    let world = Plot::new().sink("splunk").start();
    world.sink("splunk").answers(|rows| {
        let bad = |row: &String| ["1", "3"].contains(&row.as_str());
        let bad: Vec<_> = (0..rows.len()).filter(|&n| bad(&rows[n])).rev().collect();
        // Twice and not in order, as a receiver might.
        if bad.is_empty() { Verdict::Delivered } else { reject([bad.clone(), bad].concat()) }
    });
    let shard = world.shard(7);
    shard.put(rows(1..=5));
    shard.until_saved("1").await;

    assert_eq!(world.sink("splunk").received_sorted(), ["2", "4", "5"]);
    assert_eq!(world.dead_letters.rows(), ["1", "3"]);
    let letter = &world.dead_letters.letters()[1];
    assert_eq!(letter.refused_by, RefusedBy::Sink("splunk".into()));
    assert_eq!(letter.reason, "event field is blank");
    assert_eq!(letter.id.as_ref().unwrap().as_str(), "p/l/7/1000/2");
    assert_eq!((letter.origin.shard, letter.topic.as_str()), (7, "actiontrail"));
    world.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn an_unnamed_bad_row_is_found_by_halving() {
    let world = Plot::new().sink("splunk").start();
    world.sink("splunk").answers(|rows| {
        if rows.iter().any(|row| row == "77") { divide() } else { Verdict::Delivered }
    });
    let shard = world.shard(7);
    shard.put(rows(1..=100));
    shard.until_saved("1").await;
    assert_eq!(world.dead_letters.rows(), ["77"]);
    assert_eq!(world.sink("splunk").received().len(), 99);
    let asked = world.sink("splunk").attempts().len();
    // One more for the contrast, five to ask again at growing distances, some when the wait of a pause was over.
    assert!(asked <= 2 * 7 + 14, "{asked} requests to find one row in a hundred");
}

#[tokio::test(start_paused = true)]
async fn a_rejection_that_names_no_row_of_the_body_is_taken_for_an_unnamed_one() {
    let world = Plot::new().sink("splunk").start();
    world.sink("splunk").answers_first([reject([99])]);
    let shard = world.shard(7);
    shard.put(rows(1..=4));
    shard.until_saved("1").await;
    assert_eq!(world.sink("splunk").requests(), [["1", "2"], ["3", "4"]]);
    assert_eq!(world.dead_letters.letters(), []);
}

#[tokio::test(start_paused = true)]
async fn a_plugins_refusals_hold_the_original_log_and_other_rows_continue() {
    let world = Plot::new().sink("splunk").start();
    let shard = world.shard(7);
    shard.put(["1", "bad-2", "3"]);
    shard.until_saved("1").await;
    assert_eq!(world.sink("splunk").received(), ["1", "3"]);
    let letters = world.dead_letters.letters();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].refused_by, RefusedBy::Plugin("audit".into()));
    assert_eq!(letters[0].reason, "no good");
    assert!(letters[0].fields.iter().any(|(key, value, _)| key == "n" && value == "bad-2"));
}

#[tokio::test(start_paused = true)]
async fn what_a_sink_cannot_encode_is_dead_lettered_for_that_sink() {
    let world = Plot::new().sink("splunk").start();
    let shard = world.shard(7);
    shard.put(["1", "huge-2", "3"]);
    shard.until_saved("1").await;
    assert_eq!(world.sink("splunk").received(), ["1", "3"]);
    assert_eq!(world.dead_letters.rows(), ["huge-2"]);
}

#[tokio::test(start_paused = true)]
async fn dead_letters_that_cannot_be_written_hold_the_checkpoint() {
    for refused in ["bad-1", "huge-1", "1"] {
        let world = Plot::new().sink("splunk").start();
        world.sink("splunk").answers(|rows| {
            let refused = rows.iter().position(|row| row == "1");
            refused.map_or(Verdict::Delivered, |row| reject([row]))
        });
        world.dead_letters.is_full.store(true, Ordering::SeqCst);
        let shard = world.shard(7);
        shard.put(["2", refused, "3"]);
        until("the good rows arrive all the same", || {
            world.sink("splunk").received() == ["2", "3"]
        })
        .await;
        tokio::time::sleep(600 * SECOND).await;
        assert_eq!(shard.store.saves(), []);
        assert_eq!(world.sink("splunk").received(), ["2", "3"], "and only once");

        world.dead_letters.is_full.store(false, Ordering::SeqCst);
        shard.until_saved("1").await;
        assert_eq!(world.dead_letters.rows(), [refused]);
    }
}

#[tokio::test(start_paused = true)]
async fn letters_that_wait_for_a_full_disk_do_not_keep_a_lost_shard() {
    let world = Plot::new().sink("splunk").start();
    world.sink("splunk").answers(|_| reject([0]));
    world.dead_letters.is_full.store(true, Ordering::SeqCst);
    let shard = world.shard(7);
    shard.put(["1"]);
    until("believed", || world.sink("splunk").attempts().len() == 4).await;
    tokio::time::sleep(SECOND).await;
    shard.lease(LeaseState::Lost);
    assert!(matches!(shard.end().await, ShardEnd::LeaseLost));
    world.is_at_rest().await;
    assert_eq!(world.dead_letters.letters(), []);
}

#[tokio::test(start_paused = true)]
async fn a_broken_plugin_does_not_turn_a_logstore_into_dead_letters() {
    let world = Plot::new().sink("splunk").start();
    let shard = world.shard(7);
    shard.put(["1"]).put((0..200).map(|n| format!("bad-{n}"))).put(["3"]);
    shard.until_saved("1").await;
    let store = std::sync::Arc::clone(&shard.store);
    assert!(matches!(shard.end().await, ShardEnd::Restart), "and looks again later");
    assert_eq!(store.last().as_deref(), Some("1"));
    assert_eq!(world.dead_letters.letters(), []);
    assert_eq!(world.sink("splunk").received(), ["1"]);
    world.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_refuses_everything_is_held_not_believed() {
    let world = Plot::new().sink("splunk").start();
    let refuse_all = |rows: &[String]| reject((0..rows.len()).collect::<Vec<_>>());
    world.sink("splunk").answers(refuse_all);
    let shard = world.shard(7);
    shard.put(rows(1..=200));
    tokio::time::sleep(600 * SECOND).await;
    assert_eq!(shard.store.saves(), []);
    assert_eq!(world.dead_letters.letters(), []);

    world.sink("splunk").is_well();
    shard.until_saved("1").await;
    assert_eq!(world.sink("splunk").received_sorted(), rows(1..=200));
}

#[tokio::test(start_paused = true)]
async fn too_many_rows_that_a_sink_cannot_encode_hold_the_shard() {
    let world = Plot::new().sink("splunk").start();
    let shard = world.shard(7);
    shard.put((0..200).map(|n| format!("huge-{n}")));
    assert!(matches!(shard.end().await, ShardEnd::Restart));
    assert_eq!(world.dead_letters.letters(), []);
}

#[tokio::test(start_paused = true)]
async fn a_small_part_that_a_sink_cannot_encode_is_believed_whatever_the_size_of_the_batch() {
    let world = Plot::new().sink("splunk").start();
    let shard = world.shard(7);
    let huge = |n: usize| n.is_multiple_of(50);
    let name = |n: usize| if huge(n) { format!("huge-{n}") } else { n.to_string() };
    shard.put((0..5_000).map(name)).put((5_000..10_000).map(name));
    shard.until_saved("2").await;
    assert_eq!(world.dead_letters.letters().len(), 200);
    assert_eq!(world.sink("splunk").received().len(), 9_800);
}
