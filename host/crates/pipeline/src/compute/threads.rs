//! The threads of the compute stage: some that serve all lanes, and a relief thread per lane.
//!
//! A job cannot be interrupted; with hostile plugins it may take seconds. The relief thread of a lane works while
//! the lane has work, none of it is being done, and the other threads have all been busy with the same jobs
//! for [`PATIENCE`]. It holds a transform (and with it instances of plugins) only as long as it is needed.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Semaphore;
use tracing::warn;

use super::job::{Client, Job, run};
use super::queue::{FairQueue, LaneNumber, Taken};
use crate::transform::{Transform, TransformFactory};

/// The stack of each thread that transforms run on. Sandboxed code runs on it too.
pub const COMPUTE_STACK_BYTES: usize = 4 * 1024 * 1024;

/// How long all threads may be busy with the same jobs before lanes that wait are relieved. Ordinary jobs take
/// some ten milliseconds.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long a relief thread keeps its transform after its last job.
const RELIEF_KEPT: Duration = Duration::from_secs(10);

/// Threads, which end when this is dropped and the queue is empty.
pub(super) struct Threads {
    stage: Arc<Stage>,
}

struct Stage {
    state: Mutex<State>,
    /// A job was submitted, or the stage is closed.
    work: Condvar,
    factory: TransformFactory,
    /// Jobs of one lane that may wait.
    places: usize,
}

struct State {
    queue: FairQueue<Job>,
    lanes: Vec<LaneEntry>,
    /// Threads that wait for work, relief threads not counted.
    idle: usize,
    /// When one of these last began a job.
    last_start: Instant,
    closed: bool,
}

struct LaneEntry {
    client: Client,
    places: Arc<Semaphore>,
    relief: Arc<Condvar>,
    /// Whether the relief thread waits for the lane's next job, rather than watching over one.
    relief_asleep: bool,
}

impl Threads {
    pub(super) fn start(threads: usize, factory: TransformFactory) -> io::Result<Self> {
        let state = State {
            queue: FairQueue::new(),
            lanes: Vec::new(),
            idle: 0,
            last_start: Instant::now(),
            closed: false,
        };
        let stage = Arc::new(Stage {
            state: Mutex::new(state),
            work: Condvar::new(),
            factory,
            places: threads,
        });
        let this = Self { stage: Arc::clone(&stage) };
        for number in 0..threads {
            let stage = Arc::clone(&stage);
            spawn(format!("compute-{number}"), move || stage.serve())?;
        }
        Ok(this)
    }

    /// The lane of a client, with the places in front of it.
    pub(super) fn lane(&self, client: Client) -> (LaneNumber, Arc<Semaphore>) {
        let mut state = self.stage.state();
        if let Some(number) = state.lanes.iter().position(|lane| lane.client == client)
            && let Some(lane) = state.lanes.get(number)
        {
            return (number, Arc::clone(&lane.places));
        }
        let number = state.queue.add_lane();
        let places = Arc::new(Semaphore::new(self.stage.places));
        let relief = Arc::new(Condvar::new());
        let stage = Arc::clone(&self.stage);
        let signal = Arc::clone(&relief);
        if let Err(cause) =
            spawn(format!("relief-{number}"), move || stage.relieve(number, &signal))
        {
            warn!(%client, %cause, "no thread to relieve this one when all compute threads are busy with long jobs");
        }
        let lane = LaneEntry { client, places: Arc::clone(&places), relief, relief_asleep: false };
        state.lanes.push(lane);
        (number, places)
    }

    pub(super) fn submit(&self, lane: LaneNumber, job: Job) {
        let mut state = self.stage.state();
        state.queue.push(lane, job);
        if let Some(lane) = state.lanes.get_mut(lane)
            && std::mem::take(&mut lane.relief_asleep)
        {
            lane.relief.notify_one();
        }
        drop(state);
        self.stage.work.notify_one();
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let mut state = self.stage.state();
        state.closed = true;
        state.lanes.iter().for_each(|lane| lane.relief.notify_one());
        drop(state);
        self.stage.work.notify_all();
    }
}

impl Stage {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of the threads that serve all lanes.
    fn serve(&self) {
        let mut transform = (self.factory)();
        while let Some(taken) = self.next() {
            self.run(taken, &mut transform);
        }
    }

    fn next(&self) -> Option<Taken<Job>> {
        let mut state = self.state();
        loop {
            if let Some(taken) = state.queue.take() {
                state.last_start = Instant::now();
                return Some(taken);
            }
            if state.closed {
                return None;
            }
            state.idle += 1;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// The relief thread of a lane.
    fn relieve(&self, lane: LaneNumber, signal: &Condvar) {
        let mut transform = None;
        while let Some(taken) = self.next_to_relieve(lane, signal, &mut transform) {
            let transform = transform.get_or_insert_with(|| (self.factory)());
            self.run(taken, transform);
        }
    }

    fn next_to_relieve(
        &self,
        lane: LaneNumber,
        signal: &Condvar,
        transform: &mut Option<Box<dyn Transform>>,
    ) -> Option<Taken<Job>> {
        let mut state = self.state();
        while !state.closed {
            let wait = if state.queue.has_jobs(lane) {
                let stuck_for = state.last_start.elapsed();
                let stuck = state.idle == 0 && stuck_for >= PATIENCE;
                if stuck && state.queue.is_stranded(lane) {
                    return state.queue.take_from(lane);
                }
                Some(PATIENCE.checked_sub(stuck_for).unwrap_or(PATIENCE))
            } else {
                state.set_relief_asleep(lane);
                transform.is_some().then_some(RELIEF_KEPT)
            };
            let (next, in_time) = wait_for(signal, state, wait);
            state = next;
            if !in_time && !state.queue.has_jobs(lane) && transform.is_some() {
                // Instances of plugins are dropped outside the lock.
                drop(state);
                *transform = None;
                state = self.state();
            }
        }
        None
    }

    fn run(&self, taken: Taken<Job>, transform: &mut Box<dyn Transform>) {
        let ticket = taken.ticket();
        let Job { work, place } = taken.job;
        drop(place);
        let began = thread_cpu_time();
        run(work, transform, &self.factory);
        let cpu = thread_cpu_time().saturating_sub(began);
        self.state().queue.finished(ticket, cpu);
    }
}

impl State {
    fn set_relief_asleep(&mut self, lane: LaneNumber) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.relief_asleep = true;
        }
    }
}

/// Waits for the signal, perhaps not for longer than `limit`. False if the time is up.
fn wait_for<'a>(
    signal: &Condvar,
    state: MutexGuard<'a, State>,
    limit: Option<Duration>,
) -> (MutexGuard<'a, State>, bool) {
    match limit {
        None => (signal.wait(state).unwrap_or_else(PoisonError::into_inner), true),
        Some(limit) => {
            let (state, result) =
                signal.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner);
            (state, !result.timed_out())
        }
    }
}

/// A thread that is not joined: it ends by itself after the last handle, and a job it is in the middle of has
/// no asker any more.
fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name).stack_size(COMPUTE_STACK_BYTES).spawn(work).map(drop)
}

/// CPU time that this thread has used. A job is charged what it used, not what it waited for a core.
fn thread_cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}
