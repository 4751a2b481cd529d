//! Where bytes are worked on: decompress, decode, transform, encode, compress.
//!
//! Dedicated threads, one per core, each owning one [`Transform`]. The reactor never runs such work, and a
//! job never waits for anything but the processor. A simulation runs the same jobs inline, in the order of
//! submission.
//!
//! Every source and every sink has a [`Lane`] of its own, and lanes get equal shares of CPU time
//! (`queue.rs`): a source whose plugin is slow delays itself. Since a job cannot be interrupted, all threads may be
//! busy with long jobs of one lane when another gets work. Then a relief thread of that lane takes
//! over (`threads.rs`), and the operating system divides the cores. That holds with one thread as well.

mod job;
mod queue;
mod threads;

use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, io};

use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

pub(crate) use self::job::Client;
use self::job::{Job, Work, run};
use self::queue::LaneNumber;
pub use self::threads::COMPUTE_STACK_BYTES;
use self::threads::Threads;
use crate::metrics as meters;
use crate::transform::{Transform, TransformFactory};

/// A handle on the compute stage. Cheap to clone; the threads end when the last handle is dropped.
#[derive(Clone)]
pub struct Compute {
    stage: Arc<Stage>,
}

enum Stage {
    Threads(Threads),
    Inline { transform: Mutex<Box<dyn Transform>>, factory: TransformFactory },
}

impl Compute {
    /// Starts `threads` threads. In front of them, each source and each sink has as many places to wait.
    ///
    /// # Errors
    ///
    /// The system gives no more threads.
    pub fn threads(threads: usize, factory: TransformFactory) -> io::Result<Self> {
        let threads = Threads::start(threads.max(1), factory)?;
        Ok(Self { stage: Arc::new(Stage::Threads(threads)) })
    }

    /// Runs jobs where they are submitted, for simulations with a paused clock: to that clock a computing
    /// thread looks idle.
    pub fn inline(factory: TransformFactory) -> Self {
        let transform = Mutex::new(factory());
        Self { stage: Arc::new(Stage::Inline { transform, factory }) }
    }

    /// The lane of a client: the same one each time.
    pub(crate) fn lane(&self, client: Client) -> Lane {
        let (number, places) = match &*self.stage {
            Stage::Threads(threads) => threads.lane(client),
            Stage::Inline { .. } => (0, Arc::new(Semaphore::new(1))),
        };
        Lane { compute: self.clone(), number, places }
    }
}

impl fmt::Debug for Compute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &*self.stage {
            Stage::Threads(_) => "Compute::Threads",
            Stage::Inline { .. } => "Compute::Inline",
        })
    }
}

/// One client's way to the compute stage.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    compute: Compute,
    number: LaneNumber,
    /// Jobs that may wait. Given out in the order of asking, so that the shards of a source take turns.
    places: Arc<Semaphore>,
}

impl Lane {
    /// Hands a job over, waiting for a place in the queue. Its result is waited for separately, so that the
    /// next block can be pulled meanwhile.
    pub(crate) async fn submit<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut dyn Transform) -> T + Send + 'static,
    ) -> Pending<T> {
        let (answer, result) = oneshot::channel();
        let work: Work = Box::new(move |transform| {
            // The asker may have gone away meanwhile, together with its claim on the rows.
            let _ = answer.send(job(transform));
        });
        match &*self.compute.stage {
            Stage::Threads(threads) => {
                let place = self.place().await;
                threads.submit(self.number, Job { work, place });
            }
            Stage::Inline { transform, factory } => {
                let mut transform = transform.lock().unwrap_or_else(PoisonError::into_inner);
                run(work, &mut transform, factory);
            }
        }
        Pending(result)
    }

    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(place);
        }
        let _waiting = meters::Waiting::since(Instant::now(), meters::STAGE_COMPUTE);
        // The semaphore is never closed.
        Arc::clone(&self.places).acquire_owned().await.ok()
    }
}

/// The result of a submitted job.
#[must_use = "a job whose result is not awaited was done in vain"]
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

#[cfg(test)]
mod tests;
