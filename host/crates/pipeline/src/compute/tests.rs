use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use forwarder_record::Batch;

use super::*;
use crate::transform::{Halt, TransformReport};

struct Nothing;

impl Transform for Nothing {
    fn apply(
        &mut self,
        _: &mut Batch,
        _: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Option<TransformReport>, Halt> {
        Ok(Some(TransformReport::default()))
    }
}

fn counted(made: &Arc<AtomicUsize>) -> TransformFactory {
    let made = Arc::clone(made);
    Arc::new(move || {
        made.fetch_add(1, Ordering::SeqCst);
        Box::new(Nothing)
    })
}

fn source(compute: &Compute, name: &str) -> Lane {
    compute.lane(Client::Source(name.into()))
}

/// Fills the threads, and every place in front of them, with jobs that end when the sender is dropped.
async fn occupy(lane: &Lane, jobs: usize) -> (mpsc::Sender<()>, Vec<Pending<()>>) {
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let mut pending = Vec::new();
    for _ in 0..jobs {
        let released = Arc::clone(&released);
        let wait = move |_: &mut dyn Transform| _ = released.lock().unwrap().recv();
        pending.push(lane.submit(wait).await);
    }
    (release, pending)
}

#[tokio::test]
async fn results_can_be_awaited_in_the_order_of_submission() {
    let lane = source(&Compute::threads(2, counted(&Arc::default())).unwrap(), "a");
    let mut pending = Vec::new();
    for number in 0..50 {
        pending.push(lane.submit(move |_| number).await);
    }
    for (number, result) in pending.into_iter().enumerate() {
        assert_eq!(result.result().await.unwrap(), number);
    }
}

#[tokio::test]
async fn a_panic_costs_one_job_and_one_transform() {
    let made = Arc::default();
    for compute in [Compute::threads(1, counted(&made)).unwrap(), Compute::inline(counted(&made))] {
        made.store(0, Ordering::SeqCst);
        let lane = source(&compute, "a");
        let bad = lane.submit(|_| -> () { panic!("on purpose") }).await;
        let good = lane.submit(|_| "still here").await;
        assert!(bad.result().await.is_err());
        assert_eq!(good.result().await.unwrap(), "still here");
        assert_ne!(made.load(Ordering::SeqCst), 0, "a fresh transform was made");
    }
}

#[tokio::test]
async fn a_client_that_occupies_every_thread_and_place_does_not_keep_others_from_being_served() {
    for threads in [1, 2] {
        let compute = Compute::threads(threads, counted(&Arc::default())).unwrap();
        let (slow, other) = (source(&compute, "slow"), source(&compute, "other"));
        let sink = compute.lane(Client::Sink("slow".into()));
        let (release, occupied) = occupy(&slow, 2 * threads).await;
        for number in 0..20 {
            assert_eq!(other.submit(move |_| number).await.result().await.unwrap(), number);
            assert_eq!(sink.submit(move |_| number).await.result().await.unwrap(), number);
        }
        drop(release);
        for job in occupied {
            job.result().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_client_has_one_lane_however_often_it_asks() {
    let compute = Compute::threads(1, counted(&Arc::default())).unwrap();
    let (one, again) = (source(&compute, "a"), source(&compute, "a"));
    assert_eq!(one.number, again.number);
    assert_ne!(one.number, compute.lane(Client::Sink("a".into())).number);
}

#[tokio::test]
async fn jobs_that_wait_when_the_last_handle_goes_are_still_done() {
    let lane = source(&Compute::threads(1, counted(&Arc::default())).unwrap(), "a");
    let (release, occupied) = occupy(&lane, 2).await;
    drop((release, lane));
    for job in occupied {
        job.result().await.unwrap();
    }
}
