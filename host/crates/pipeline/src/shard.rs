//! One run over one shard, from lease to hand-over: pull, plan, hand out, settle, save.
//!
//! Three loops run side by side in one task and one place decides. *Pulling* opens a ticket per block and
//! submits the work; *forwarding* takes the plans in shard order and carries them out; *saving* follows the
//! ledger. [`ActiveRun::decide`] hears what they come to, the lease, and the stop of the process.
//!
//! Only a pull may be abandoned, since abandoning it moves nothing. What was pulled is finished, within the
//! drain limit. What is not settled then stays before the checkpoint and is pulled again, here or elsewhere.

mod damage;
mod loops;
mod signals;

use std::sync::Arc;
use std::time::Duration;

use forwarder_connector::{BoxError, LeaseState};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::Instant;
use tracing::{Span, debug, error, info, warn};

pub use self::damage::Damage;
use self::loops::{Event, Loops, Obstacle};
pub(crate) use self::signals::Stop;
use self::signals::{Signal, Signals};
use crate::batch_handle::BlockCharge;
use crate::checkpoint::CheckpointStore;
use crate::checkpoint::{LeaseGone, Saved, Saver};
use crate::compute::{Client, Compute, Lane, Pending};
use crate::demand::Demand;
use crate::destinations::Destinations;
use crate::lease_gate::{GateState, LeaseGate, LeaseGates};
use crate::ledger::{Ledger, Tally, Ticket, Unsettled};
use crate::plan::{BlockPart, BlockRest, Fault, Plan, Planned, PulledBlock};
use crate::position::{Position, ShardId};
use crate::source::{Block, Pulled, Source, SourceLost};
use crate::transform::Transform;

/// How shards are run.
#[derive(Debug, Clone)]
pub struct ShardSettings {
    /// Blocks of one shard between pull and settle at most; the byte budget usually binds first.
    pub max_open_batches: usize,
    /// Blocks of one shard that are pulled ahead of the compute stage at most.
    pub prefetch: usize,
    /// A checkpoint is saved at most this often, at hand-over, and at the stop.
    pub checkpoint_interval: Duration,
    /// How long a shard that another consumer waits for may take to finish what is in flight.
    pub hand_over_limit: Duration,
    /// How long the last save of a run is repeated while the store does not answer.
    pub save_limit: Duration,
    /// How long a shard that holds waits before it tries again from the checkpoint: the delay that a person
    /// sees after having repaired things.
    pub hold_recheck: Duration,
    /// How long a run of which something was abandoned continues delivering before it starts again: fewer
    /// repetitions, and no racing round in circles.
    pub restart_pause: Duration,
}

impl Default for ShardSettings {
    fn default() -> Self {
        Self {
            max_open_batches: 256,
            prefetch: 4,
            checkpoint_interval: Duration::from_secs(5),
            hand_over_limit: Duration::from_secs(30),
            save_limit: Duration::from_secs(5),
            hold_recheck: Duration::from_secs(60),
            restart_pause: Duration::from_secs(1),
        }
    }
}

/// What the program brings for one run over a shard.
pub struct ShardRun {
    /// Which shard, for metrics, log lines and safe points.
    pub shard: ShardId,
    /// Where its blocks come from.
    pub source: Box<dyn Source>,
    /// Where its checkpoint is kept.
    pub store: Arc<dyn CheckpointStore>,
    /// The checkpoint that the source starts from, if there is one; it is not saved again.
    pub stored: Option<Position>,
    /// The block that the run before could not read, if it ended for that.
    pub damage: Option<Damage>,
    /// What the lease allows. If the sender is gone, so is the lease.
    pub lease: watch::Receiver<LeaseState>,
}

/// Why a run over a shard ended. In every case the checkpoint is behind everything that is not settled.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ShardEnd {
    /// The source has no more to give, and all of it is settled and saved.
    #[error("shard is consumed to its end")]
    Finished,
    /// Another consumer waits; the lease can be released now.
    #[error("shard handed over with {unsettled} batches unsettled")]
    HandedOver {
        /// Batches that the next owner will see again.
        unsettled: usize,
    },
    /// The process stops.
    #[error("shard stopped with {unsettled} batches unsettled")]
    Stopped {
        /// Batches that will be pulled again after a restart.
        unsettled: usize,
    },
    /// The lease is gone. Nothing was saved.
    #[error("lease was lost")]
    LeaseLost,
    /// The source cannot continue under this lease.
    #[error(transparent)]
    SourceLost(SourceLost),
    /// Start again from the checkpoint, with a new source: something was abandoned, or the shard
    /// has held for a while and it is time to look whether the cause was repaired.
    #[error("shard starts again from its checkpoint")]
    Restart,
    /// A block could not be read. Start again from the checkpoint, with a new source, after
    /// [`Damage::pause`]: the block was probably damaged in the network.
    #[error("shard starts again from its checkpoint, to pull a damaged block again")]
    Damaged(Damage),
}

/// The process's part of a run.
#[derive(Clone)]
pub(crate) struct PipelineContext {
    pub(crate) destinations: Arc<Destinations>,
    pub(crate) compute: Compute,
    pub(crate) settings: ShardSettings,
    pub(crate) demand: Demand,
    pub(crate) gates: LeaseGates,
    pub(crate) stop: Stop,
}

/// Runs over a shard until its end, see [`ShardEnd`]. The caller's span names source and shard; nothing that
/// is logged here repeats them.
pub(crate) async fn run(pipeline: PipelineContext, run: ShardRun) -> ShardEnd {
    let ShardRun { shard, mut source, store, stored, damage, lease } = run;
    let lane = pipeline.compute.lane(Client::Source(Arc::clone(&shard.source)));
    let ledger = Ledger::new(shard);
    let mut saver = Saver::new(&ledger, store, stored.clone());
    let mut signals = Signals::new(lease, pipeline.stop.clone());
    let run = ActiveRun {
        lane,
        gate: pipeline.gates.gate(),
        room: Arc::new(Semaphore::new(pipeline.settings.max_open_batches.max(1))),
        ledger,
        pipeline,
        start: stored,
        damage,
    };
    let goal = run.decide(&mut *source, &mut saver, &mut signals).await;
    // Before the last save, which takes its time.
    run.gate.set(GateState::Closed);
    let holds = matches!(goal, Ok(Goal::Hold));
    let end = match goal {
        Ok(goal) => run.end(goal, &mut saver, &mut signals).await,
        Err(LeaseGone(cause)) => run.lost(&cause),
    };
    let meters = run.ledger.meters();
    meters.at_rest();
    // Said until something of the shard is delivered again: the next run begins with the same obstacle.
    if holds || matches!(end, ShardEnd::SourceLost(_)) {
        meters.holding.set(1.0);
    } else if !matches!(end, ShardEnd::Restart | ShardEnd::Damaged(_)) {
        meters.holding.set(0.0);
    }
    let Tally { delivered, dead_lettered, filtered } = run.ledger.tally();
    info!(delivered, dead_lettered, filtered, "{end}");
    end
}

/// What the loops of one run share.
struct ActiveRun {
    pipeline: PipelineContext,
    lane: Lane,
    ledger: Ledger,
    gate: Arc<LeaseGate>,
    /// A permit per open batch.
    room: Arc<Semaphore>,
    /// Where the run begins.
    start: Option<Position>,
    /// What the run before could not read.
    damage: Option<Damage>,
}

impl Drop for ActiveRun {
    /// However a run ends, also by being dropped: what it leaves in the queues of the sinks is pulled again, so it
    /// must neither be sent from here nor wait there for news of its lease.
    fn drop(&mut self) {
        self.gate.set(GateState::Closed);
    }
}

/// A block at the compute stage, and its claim.
struct PendingPlan {
    /// Where it was pulled from.
    at: Option<Position>,
    ticket: Ticket,
    made: Pending<Result<Planned, Fault>>,
}

/// What a run is heading for once it no longer pulls.
#[derive(Debug)]
enum Goal {
    /// The source has no more to give.
    Finish,
    /// The source broke off.
    SourceLost(SourceLost),
    /// Pause until the operator has acted, then start again.
    Hold,
    HandOver,
    Stop,
    /// Something was abandoned: let the rest finish, then start again.
    Restart,
    /// A block could not be read: let what came before it finish, then pull it again.
    PullAgain(Damage),
}

impl Goal {
    /// Whether it is reached once nothing is in flight. The others take their time.
    const fn is_reached_when_quiet(&self) -> bool {
        !matches!(self, Self::Hold | Self::Restart)
    }

    /// Whether the run ends because another consumer or the stop wants it to.
    const fn is_ordered(&self) -> bool {
        matches!(self, Self::HandOver | Self::Stop)
    }
}

impl ActiveRun {
    /// The one place that decides. Returns what the run came to, or nothing if the lease is gone.
    async fn decide(
        &self,
        source: &mut dyn Source,
        saver: &mut Saver,
        signals: &mut Signals,
    ) -> Result<Goal, LeaseGone> {
        let limits = &self.pipeline.settings;
        let mut goal: Option<Goal> = None;
        let mut loops = self.start(source, saver, signals);
        loop {
            let quiet = loops.is_quiet();
            if let Some(reached) = goal.take_if(|goal| quiet && goal.is_reached_when_quiet()) {
                return Ok(reached);
            }
            let ordered = goal.as_ref().is_some_and(Goal::is_ordered);
            match loops.next().await {
                Event::LeaseGone(gone) => return Err(gone),
                Event::Signal(Signal::Lease(lease)) => {
                    self.gate.set(lease.into());
                    match lease {
                        LeaseState::Held | LeaseState::Suspended => {}
                        LeaseState::HandOver => {
                            loops.wind_up(limits.hand_over_limit, ordered);
                            goal = Some(goal.filter(Goal::is_ordered).unwrap_or(Goal::HandOver));
                        }
                        LeaseState::Lost => return Err(LeaseGone("heard of by heartbeat".into())),
                    }
                }
                Event::Signal(Signal::Stop { by }) => {
                    loops.wind_up(by.saturating_duration_since(Instant::now()), ordered);
                    goal = Some(goal.filter(Goal::is_ordered).unwrap_or(Goal::Stop));
                }
                Event::PullingEnded(Ok(())) => goal = goal.or(Some(Goal::Finish)),
                Event::PullingEnded(Err(lost)) => goal = goal.or(Some(Goal::SourceLost(lost))),
                Event::Forwarded(Ok(())) => {}
                // A hand-over or a stop that is under way ends when its time comes.
                Event::Forwarded(Err(obstacle)) => {
                    let next = self.meet(&obstacle);
                    if !ordered {
                        let pause = obstacle.fault.retry_in();
                        loops.wind_up(pause.unwrap_or(limits.hold_recheck), false);
                        goal = Some(next);
                    }
                }
                Event::Unsettled(Unsettled { open, abandoned }) => {
                    self.ledger.meters().open_batches.set((open + abandoned) as f64);
                    let already =
                        matches!(goal, Some(Goal::Hold | Goal::Restart | Goal::PullAgain(_)));
                    if abandoned > 0 && !ordered && !already {
                        loops.wind_up(limits.restart_pause, false);
                        goal = Some(Goal::Restart);
                    }
                }
                Event::TimeIsUp => return Ok(goal.unwrap_or(Goal::Restart)),
            }
        }
    }

    fn start<'a>(
        &'a self,
        source: &'a mut dyn Source,
        saver: &'a mut Saver,
        signals: &'a mut Signals,
    ) -> Loops<'a> {
        let (planned, plans) = mpsc::channel(self.pipeline.settings.prefetch.max(1));
        let (may_pull, pulls) = watch::channel(true);
        let interval = self.pipeline.settings.checkpoint_interval;
        Loops {
            may_pull,
            pulling: Some(Box::pin(self.pull(source, planned, pulls))),
            forwarding: Some(Box::pin(self.forward(plans))),
            saving: Box::pin(saver.follow(&self.ledger, interval)),
            signals,
            unsettled: self.ledger.unsettled(),
            deadline: None,
            demand: &self.pipeline.demand,
            waiting: None,
        }
    }

    /// Pulls, opens tickets and submits the work, until the source ends or it may no longer. Only the waits
    /// before a block is here are given up: what was pulled is submitted.
    async fn pull(
        &self,
        source: &mut dyn Source,
        planned: mpsc::Sender<PendingPlan>,
        mut may_pull: watch::Receiver<bool>,
    ) -> Result<(), SourceLost> {
        let mut at = self.start.clone();
        loop {
            let next = async {
                let slot = self.slot().await;
                (slot, source.pull().await)
            };
            let (slot, pulled) = tokio::select! {
                biased;
                _ = may_pull.wait_for(|may| !may) => return Ok(()),
                next = next => next,
            };
            let Some(slot) = slot else { return Ok(()) };
            match pulled? {
                Pulled::End => return Ok(()),
                Pulled::Empty { next } => {
                    self.ledger.meters().holding.set(0.0);
                    at = Some(next.clone());
                    self.ledger.skip_to(next);
                }
                Pulled::Block(Block { load, next, raw_bytes, permit }) => {
                    debug!(raw_bytes, %next, "pulled");
                    let at = at.replace(next.clone());
                    let ticket = self.ledger.open(next);
                    let pulled = PulledBlock { load, charge: BlockCharge::new(permit, slot) };
                    let to = Arc::clone(&self.pipeline.destinations);
                    // What is logged on the compute thread names source and shard as well.
                    let span = Span::current();
                    let job = move |transform: &mut dyn Transform| {
                        span.in_scope(|| Plan::make(pulled, transform, &to))
                    };
                    let made = self.lane.submit(job).await;
                    if planned.send(PendingPlan { at, ticket, made }).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// A place for one more open batch.
    async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(slot) = Arc::clone(&self.room).try_acquire_owned() {
            return Some(slot);
        }
        let _waiting = self.pipeline.demand.raise();
        Arc::clone(&self.room).acquire_owned().await.ok()
    }

    /// Carries plans out in the order of their blocks.
    async fn forward(&self, mut plans: mpsc::Receiver<PendingPlan>) -> Result<(), Obstacle> {
        while let Some(PendingPlan { at, ticket, made }) = plans.recv().await {
            if let Err(fault) = self.forward_block(ticket, made).await {
                return Err(Obstacle { at, fault });
            }
        }
        Ok(())
    }

    /// Carries out the plan of one block, or of one part of it after the other.
    async fn forward_block(
        &self,
        ticket: Ticket,
        made: Pending<Result<Planned, Fault>>,
    ) -> Result<(), Fault> {
        let mut next = Some((ticket, made.result().await??));
        while let Some((ticket, made)) = next.take() {
            let rest = match made {
                Planned::Plan(plan) => self.carry_out(plan, ticket).await?,
                Planned::TooLarge(rest) => Some((ticket, rest)),
            };
            if let Some((ticket, rest)) = rest {
                next = Some((ticket, self.make_part(rest.admit().await).await?));
            }
        }
        Ok(())
    }

    async fn carry_out(
        &self,
        plan: Plan,
        ticket: Ticket,
    ) -> Result<Option<(Ticket, BlockRest)>, Fault> {
        self.ledger.meters().pulled_records.increment(plan.pulled_rows() as u64);
        self.ledger.meters().pulled_bytes.increment(plan.raw_bytes() as u64);
        if plan.pulled_rows() == 0 {
            debug!(raw_bytes = plan.raw_bytes(), "the block holds no log");
            self.ledger.meters().blocks_without_logs.increment(1);
        }
        let rest = plan.carry_out(ticket, &self.gate, &self.pipeline.destinations).await?;
        self.ledger.meters().holding.set(0.0);
        Ok(rest)
    }

    async fn make_part(&self, part: BlockPart) -> Result<Planned, Fault> {
        let to = Arc::clone(&self.pipeline.destinations);
        let span = Span::current();
        let job = move |transform: &mut dyn Transform| {
            span.in_scope(|| Plan::make_part(part, transform, &to))
        };
        self.lane.submit(job).await.result().await?
    }

    /// Decides whether what a run cannot get past is worth another pull, or needs operator action.
    fn meet(&self, Obstacle { at, fault }: &Obstacle) -> Goal {
        let position = at.as_ref().map(tracing::field::display);
        if let Fault::Unreadable(cause) = fault {
            let damage = Damage::again(self.damage.as_ref(), at.as_ref(), cause);
            if !damage.is_lasting() {
                if damage.times_oversized() > 0 {
                    warn!(position, error = %cause, "pulling a block again in smaller parts, {damage}; no data lost");
                } else {
                    warn!(position, error = %cause, "pulling a damaged block again, {damage}; no data lost");
                }
                return Goal::PullAgain(damage);
            }
        }
        self.ledger.meters().holding.set(1.0);
        if let Some(retry_in) = fault.retry_in() {
            // The cause has its own line in the log: one for all shards.
            debug!(reason = %fault, ?retry_in, "shard paused");
            return Goal::Hold;
        }
        error!(
            position,
            error = %fault,
            recheck_in = ?self.pipeline.settings.hold_recheck,
            "shard paused: needs operator action; no data lost, other shards continue"
        );
        Goal::Hold
    }

    /// Saves what is settled and says how the run ended.
    async fn end(&self, goal: Goal, saver: &mut Saver, signals: &mut Signals) -> ShardEnd {
        let Unsettled { open, abandoned } = *self.ledger.unsettled().borrow();
        let unsettled = open + abandoned;
        let saved = tokio::select! {
            biased;
            () = signals.lost() => return ShardEnd::LeaseLost,
            saved = saver.finish(&self.ledger, self.pipeline.settings.save_limit) => saved,
        };
        match (goal, saved) {
            (_, Err(LeaseGone(cause))) => self.lost(&cause),
            (Goal::Finish, Ok(Saved::All)) if unsettled == 0 => ShardEnd::Finished,
            (Goal::Finish | Goal::Hold | Goal::Restart, Ok(_)) => ShardEnd::Restart,
            (Goal::PullAgain(damage), Ok(_)) => ShardEnd::Damaged(damage),
            (Goal::SourceLost(cause), Ok(_)) => ShardEnd::SourceLost(cause),
            (Goal::HandOver, Ok(_)) => ShardEnd::HandedOver { unsettled },
            (Goal::Stop, Ok(_)) => ShardEnd::Stopped { unsettled },
        }
    }

    fn lost(&self, cause: &BoxError) -> ShardEnd {
        warn!(
            %cause,
            "lease is gone; stopped without saving, the new owner repeats what was in flight"
        );
        ShardEnd::LeaseLost
    }
}
