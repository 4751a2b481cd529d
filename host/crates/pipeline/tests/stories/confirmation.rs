//! Rows that a receiver has accepted and confirms later, or never.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forwarder_connector::{Answer, Cause, Confirmation, LeaseState, Verdict};
use forwarder_pipeline::ShardEnd;
use tokio::sync::oneshot;

use crate::world::{MemorySink, Plot, divide, hold, retry, rows, until};

const SECOND: Duration = Duration::from_secs(1);

/// The proofs of what a sink has accepted, in order.
#[derive(Clone, Default)]
struct Proofs(Arc<Mutex<Vec<oneshot::Sender<Verdict>>>>);

impl Proofs {
    /// Makes the sink accept everything.
    fn of(sink: &MemorySink) -> Self {
        let proofs = Self::default();
        let given = proofs.clone();
        sink.answers(move |_| {
            let (proof, heard) = oneshot::channel();
            given.0.lock().unwrap().push(proof);
            let never =
                || Verdict::Retry { after: None, cause: Cause::new("gone", "sink is gone") };
            let confirmation =
                Confirmation::new(async move { heard.await.unwrap_or_else(|_| never()) });
            Answer::Accepted(confirmation)
        });
        proofs
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Answers the oldest one.
    fn answer(&self, verdict: Verdict) {
        let _ = self.0.lock().unwrap().remove(0).send(verdict);
    }
}

#[tokio::test(start_paused = true)]
async fn accepted_rows_free_the_request_and_hold_the_checkpoint_until_they_are_confirmed() {
    let world = Plot::new().sink_with("siem", |settings| settings.concurrency = 1).start();
    let proofs = Proofs::of(world.sink("siem"));
    world.sink("siem").max_rows.store(1, Ordering::SeqCst);
    let shard = world.shard(7);
    shard.put(["1"]).put(["2"]).put(["3"]);
    until("one request slot sends all three", || proofs.len() == 3).await;
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(shard.store.saves(), [], "accepted is not delivered");
    assert_eq!(world.sink("siem").asked.load(Ordering::SeqCst), 0, "nothing waits for them");

    proofs.answer(Verdict::Delivered);
    shard.until_saved("1").await;
    proofs.answer(Verdict::Delivered);
    proofs.answer(Verdict::Delivered);
    shard.until_saved("3").await;
    assert_eq!(world.sink("siem").attempts().len(), 3);
    world.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn rows_that_are_not_confirmed_are_sent_again() {
    let world = Plot::new().sink("siem").start();
    let proofs = Proofs::of(world.sink("siem"));
    let shard = world.shard(7);
    shard.put(["1"]);
    until("sent", || proofs.len() == 1).await;
    proofs.answer(retry(Some(SECOND)));
    until("sent again", || proofs.len() == 1).await;
    proofs.answer(hold());
    until("and again", || proofs.len() == 1).await;
    proofs.answer(Verdict::Delivered);
    shard.until_saved("1").await;
    assert_eq!(world.sink("siem").attempts().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_settlement_has_the_sink_asked_for_it() {
    // Two blocks fit; the third pull waits for bytes.
    let world = Plot::new().sink("siem").budget(4_000).start();
    let proofs = Proofs::of(world.sink("siem"));
    let asked = |world: &crate::world::World| world.sink("siem").asked.load(Ordering::SeqCst);
    let shard = world.shard(7);
    for row in rows(1..=50) {
        shard.put([row.repeat(100)]);
    }
    until("the budget is used up", || asked(&world) > 0).await;
    let confirming = async {
        loop {
            while proofs.len() > 0 {
                proofs.answer(Verdict::Delivered);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = shard.until_saved("50") => {}
        () = confirming => {}
    }

    // A shard that comes to its end, one that is handed over, and a process that stops.
    let (before, ended) = (asked(&world), world.shard(8));
    ended.put(["51"]).put_end();
    until("asked at the end", || asked(&world) > before && proofs.len() == 1).await;
    proofs.answer(Verdict::Delivered);
    assert!(matches!(ended.end().await, ShardEnd::Finished));

    let handed_over = world.shard(9);
    handed_over.put(["52"]);
    until("accepted", || proofs.len() == 1).await;
    let before = asked(&world);
    handed_over.lease(LeaseState::HandOver);
    until("asked for the hand-over", || asked(&world) > before).await;
    proofs.answer(Verdict::Delivered);
    assert!(matches!(handed_over.end().await, ShardEnd::HandedOver { unsettled: 0 }));
}

#[tokio::test(start_paused = true)]
async fn a_stop_without_confirmation_leaves_the_rows_unsettled_and_says_so() {
    let world = Plot::new().sink("siem").start();
    let proofs = Proofs::of(world.sink("siem"));
    let (sink, shard) = (Arc::clone(world.sink("siem")), world.shard(7));
    shard.put(["1"]);
    until("accepted", || proofs.len() == 1).await;
    let drained = world.drain(5 * SECOND).await;
    assert!(!drained.in_time);
    assert!(sink.asked.load(Ordering::SeqCst) > 0, "a stop asks");
    assert_eq!(shard.store.saves(), []);
    assert!(matches!(shard.end().await, ShardEnd::Stopped { unsettled: 1 }));
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_lets_go_of_what_was_only_accepted() {
    let world = Plot::new().sink("siem").start();
    let proofs = Proofs::of(world.sink("siem"));
    let shard = world.shard(7);
    shard.put(["1"]);
    until("accepted", || proofs.len() == 1).await;
    shard.lease(LeaseState::Lost);
    world.is_at_rest().await;
    proofs.answer(Verdict::Delivered);
    assert_eq!(shard.store.saves(), []);
    assert!(matches!(shard.end().await, ShardEnd::LeaseLost));
    assert_eq!(world.sink("siem").attempts().len(), 1, "nor is it sent again");
}

#[tokio::test(start_paused = true)]
async fn a_row_that_is_accepted_and_never_confirmed_is_found_by_what_is() {
    for ordered in [false, true] {
        let world = Plot::new().sink_with("siem", |settings| settings.ordered = ordered).start();
        let confirmed = Arc::new(Mutex::new(Vec::new()));
        let read = Arc::clone(&confirmed);
        // As a receiver does whose kernel takes everything and whose program fails on one message.
        world.sink("siem").answers(move |rows| {
            let (rows, read) = (rows.to_vec(), Arc::clone(&read));
            Answer::Accepted(Confirmation::new(async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                if rows.iter().any(|row| row == "77") {
                    return divide();
                }
                read.lock().unwrap().extend(rows);
                Verdict::Delivered
            }))
        });
        let shard = world.shard(7);
        for first in [1, 101, 201, 301] {
            shard.put(rows(first..=first + 99));
        }
        shard.until_saved("4").await;
        let mut others = rows(1..=400);
        others.retain(|row| row != "77");
        let mut confirmed = confirmed.lock().unwrap().clone();
        assert!(!ordered || confirmed == others, "in order");
        confirmed.sort_by_key(|row| (row.len(), row.clone()));
        assert_eq!(confirmed, others, "each of them once");
        assert_eq!(world.dead_letters.rows(), ["77"]);
        world.is_at_rest().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_only_accepted_is_nothing_to_compare_a_refusal_with() {
    let world = Plot::new().sink("siem").start();
    world.sink("siem").answers(move |_| {
        Answer::Accepted(Confirmation::new(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            divide()
        }))
    });
    let shard = world.shard(7);
    shard.put(rows(1..=100));
    tokio::time::sleep(3_600 * SECOND).await;
    assert_eq!(world.dead_letters.rows(), [""; 0]);
    world.sink("siem").is_well();
    shard.until_saved("1").await;
    assert_eq!(world.sink("siem").received_sorted(), rows(1..=100));
    world.is_at_rest().await;
}
