//! Where bytes are worked on: decompress, decode, transform, encode, compress.
//!
//! Dedicated threads, one per core, each owning one [`Transform`]. The reactor never runs such work, and a
//! job never waits for anything but the processor. A simulation runs the same jobs inline, in the order of
//! submission.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::{io, thread};

use async_channel::{Receiver, Sender};
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::error;

use crate::metrics as meters;
use crate::seams::{Transform, TransformFactory};

type Job = Box<dyn FnOnce(&mut dyn Transform) + Send>;

/// A handle on the compute stage. Cheap to clone; the threads end when the last handle is dropped.
#[derive(Clone)]
pub struct Compute {
    stage: Arc<Stage>,
}

enum Stage {
    Threads(Sender<Job>),
    Inline { transform: Mutex<Box<dyn Transform>>, factory: TransformFactory },
}

/// Sandboxed code runs on the host's stack; two mebibytes are what it is configured for.
const STACK_BYTES: usize = 4 * 1024 * 1024;

impl Compute {
    /// Starts `threads` threads, with as many jobs waiting in front of them at most.
    ///
    /// # Errors
    ///
    /// The system gives no more threads.
    pub fn threads(threads: usize, factory: TransformFactory) -> io::Result<Self> {
        let threads = threads.max(1);
        let (jobs, queue) = async_channel::bounded(threads);
        for number in 0..threads {
            let (queue, factory) = (queue.clone(), Arc::clone(&factory));
            // Not joined: a thread ends by itself after the last handle, and a job it is in the middle of
            // has nobody left to tell.
            thread::Builder::new()
                .name(format!("compute-{number}"))
                .stack_size(STACK_BYTES)
                .spawn(move || work(&queue, &factory))?;
        }
        Ok(Self { stage: Arc::new(Stage::Threads(jobs)) })
    }

    /// Runs jobs where they are submitted, for simulations with a paused clock: to that clock a computing
    /// thread looks idle.
    pub fn inline(factory: TransformFactory) -> Self {
        let transform = Mutex::new(factory());
        Self { stage: Arc::new(Stage::Inline { transform, factory }) }
    }

    /// Hands a job over, waiting for a place in the queue. Its result is waited for separately, so that the
    /// next block can be pulled meanwhile.
    pub(crate) async fn submit<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut dyn Transform) -> T + Send + 'static,
    ) -> Pending<T> {
        let (answer, result) = oneshot::channel();
        let job: Job = Box::new(move |transform| {
            // The asker may have gone away meanwhile, together with its claim on the rows.
            let _ = answer.send(job(transform));
        });
        match &*self.stage {
            Stage::Threads(jobs) => {
                if let Err(async_channel::TrySendError::Full(job)) = jobs.try_send(job) {
                    let _waiting = meters::Waiting::since(Instant::now(), meters::STAGE_COMPUTE);
                    // A closed queue drops the job, which the asker sees as `Died`.
                    let _ = jobs.send(job).await;
                }
            }
            Stage::Inline { transform, factory } => {
                let mut transform = transform.lock().unwrap_or_else(PoisonError::into_inner);
                run(job, &mut transform, factory);
            }
        }
        Pending(result)
    }
}

impl std::fmt::Debug for Compute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match &*self.stage {
            Stage::Threads(_) => "Compute::Threads",
            Stage::Inline { .. } => "Compute::Inline",
        })
    }
}

/// The result of a submitted job.
#[must_use = "a job whose result nobody awaits was done in vain"]
pub(crate) struct Pending<T>(oneshot::Receiver<T>);

impl<T> Pending<T> {
    /// Waits for it.
    pub(crate) async fn result(self) -> Result<T, Died> {
        self.0.await.map_err(|_| Died)
    }
}

/// The job panicked, which is a bug of ours.
#[derive(Debug, Error)]
#[error("a compute job panicked (a bug in the forwarder; its message is on standard error)")]
pub(crate) struct Died;

fn work(queue: &Receiver<Job>, factory: &TransformFactory) {
    let mut transform = factory();
    while let Ok(job) = queue.recv_blocking() {
        run(job, &mut transform, factory);
    }
}

/// Runs one job. A panic costs the job and the transform it had in hand, nothing else.
fn run(job: Job, transform: &mut Box<dyn Transform>, factory: &TransformFactory) {
    if catch_unwind(AssertUnwindSafe(|| job(&mut **transform))).is_err() {
        error!("a compute job panicked; its shard holds, nothing was lost");
        *transform = factory();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use forwarder_record::Batch;

    use super::*;
    use crate::seams::{Halt, Outcome};

    struct Nothing;

    impl Transform for Nothing {
        fn apply(&mut self, _: &mut Batch) -> Result<Outcome, Halt> {
            Ok(Outcome::default())
        }
    }

    fn counted(made: &Arc<AtomicUsize>) -> TransformFactory {
        let made = Arc::clone(made);
        Arc::new(move || {
            made.fetch_add(1, Ordering::SeqCst);
            Box::new(Nothing)
        })
    }

    #[tokio::test]
    async fn results_can_be_awaited_in_the_order_of_submission() {
        let compute = Compute::threads(2, counted(&Arc::default())).unwrap();
        let mut pending = Vec::new();
        for number in 0..50 {
            pending.push(compute.submit(move |_| number).await);
        }
        for (number, result) in pending.into_iter().enumerate() {
            assert_eq!(result.result().await.unwrap(), number);
        }
    }

    #[tokio::test]
    async fn a_panic_costs_one_job_and_one_transform() {
        let made = Arc::default();
        for compute in
            [Compute::threads(1, counted(&made)).unwrap(), Compute::inline(counted(&made))]
        {
            made.store(0, Ordering::SeqCst);
            let bad = compute.submit(|_| -> () { panic!("on purpose") }).await;
            let good = compute.submit(|_| "still here").await;
            assert!(bad.result().await.is_err());
            assert_eq!(good.result().await.unwrap(), "still here");
            assert_ne!(made.load(Ordering::SeqCst), 0, "a fresh transform was made");
        }
    }
}
