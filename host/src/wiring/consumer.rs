//! One source at work: joins its consumer group, and runs the pipeline over every shard it is granted,
//! for as long as it is granted.
//!
//! The membership outlives the work: heartbeats continue until the last shard is drained and released, so
//! that no other consumer starts on what is still being finished here.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use forwarder_backoff::{Backoff, Waits};
use forwarder_pipeline::{Budget, Damage, Runner, ShardEnd, ShardId, ShardRun};
use forwarder_sls::group::{FirstUse as FirstUseRecord, PullError};
use forwarder_sls::{Chain, Client, ConsumerGroup, ConsumerName, GroupConfig, JoinError, Lease};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, error_span};

use super::line_limit::LineLimit;
use super::source::{self, NoKey, ShardCheckpoints, ShardSource};
use crate::config::source::{Credentials, SourceConfig};
use crate::exit::{Exit, Failure};
use crate::first_use::FirstUse;
use crate::problem::Problem;

/// Wait before a group is joined again that did not answer, and before a shard is tried again that
/// could not be read.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// Heartbeats continue this long for shards that are not released although they should be.
const LEAVE_LIMIT: Duration = Duration::from_secs(10);

/// A source that SLS has refused asks again after so long.
const REFUSED_AGAIN: Waits =
    Waits { first: Duration::from_secs(5), longest: Duration::from_secs(60) };

/// How many sources of the process work or may yet work. Once there is none, a refusal ends the process: then it is most
/// likely a mistake in the config, and better reported than left in the log of what seems to work.
#[derive(Debug)]
pub struct Sources(watch::Sender<usize>);

impl Sources {
    /// So many sources, none of which has been refused.
    pub fn new(sources: usize) -> Self {
        Self(watch::Sender::new(sources))
    }

    /// One was refused, or has ended. Whether any remains; of sources that go at the same time, one hears that it was
    /// the last.
    pub fn gone(&self) -> bool {
        let mut any_remain = false;
        self.0.send_modify(|remaining| {
            *remaining = remaining.saturating_sub(1);
            any_remain = *remaining > 0;
        });
        any_remain
    }

    /// One that was refused works after all.
    fn back(&self) {
        self.0.send_modify(|remaining| *remaining += 1);
    }

    fn any_remain(&self) -> bool {
        *self.0.borrow() > 0
    }

    /// Waits until none remains, at most for `limit`.
    async fn none_remain(&self, limit: Duration) {
        let mut remaining = self.0.subscribe();
        // The sender is ours and lives as long as this.
        let _ = timeout(limit, remaining.wait_for(|remaining| *remaining == 0)).await;
    }
}

/// A source that has not joined yet.
pub struct Consumer {
    config: Arc<SourceConfig>,
    /// `None` until a metadata service has given a key, which is waited for as SLS is.
    client: Option<Client>,
    group: GroupConfig,
    budget: Budget,
}

impl Consumer {
    /// Sets a source up; sends no request yet.
    ///
    /// # Errors
    /// Keys or certificates cannot be used.
    pub async fn new(
        config: SourceConfig,
        consumer: ConsumerName,
        budget: Budget,
        state_dir: &Path,
    ) -> Result<Self, Failure> {
        let is_role = matches!(config.credentials, Credentials::Role { .. });
        let client = if is_role { None } else { Some(source::client(&config).await?) };
        let mut group = source::group(&config, consumer);
        let SourceConfig { project, logstore, consumer_group, .. } = &config;
        let first_use = FirstUse::of(state_dir, project, logstore, consumer_group);
        group.first_use = Arc::new(first_use);
        Ok(Self { config: Arc::new(config), client, group, budget })
    }

    /// The span of every task of this source that is not about one shard. At the level of errors, so that no
    /// configured level takes the names of source and shard off a line that is printed.
    pub fn span(&self) -> Span {
        error_span!("source", source = %self.config.name)
    }

    /// The name of its source.
    pub fn source(&self) -> &str {
        &self.config.name
    }

    /// Joins the group. An SLS that does not answer is waited for; one that refuses is only while `sources` says that
    /// others may work.
    ///
    /// # Errors
    /// SLS refuses us in a way that time does not fix, and no other source is left.
    pub async fn join(mut self, sources: &Sources) -> Result<Member, Failure> {
        let (mut refusal, mut backoff) = (None, Backoff::default());
        loop {
            match self.attempt().await {
                Ok(group) => {
                    let (consumer, group_name) = (group.consumer(), &self.group.group);
                    tracing::info!(group = %group_name, %consumer, "joined");
                    if refusal.is_some() {
                        sources.back();
                    }
                    return Ok(Member { consumer: self, group });
                }
                Err(NotJoined::Yet(error)) => {
                    tracing::warn!(error, again_in = ?TRY_AGAIN, "cannot join yet; no data lost");
                    sleep(TRY_AGAIN).await;
                }
                Err(NotJoined::Refused { error, failure }) => {
                    let is_news = refusal.replace(failure).is_none();
                    let others_remain = if is_news { sources.gone() } else { sources.any_remain() };
                    if others_remain {
                        let again_in = backoff.after_failure(REFUSED_AGAIN);
                        tracing::error!(
                            error,
                            ?again_in,
                            "SLS refuses this source: nothing was read and no data is lost; fix the cause, no restart \
                             is needed; other sources continue"
                        );
                        sources.none_remain(again_in).await;
                    }
                }
            }
            if let Some(refusal) = refusal.take_if(|_| !sources.any_remain()) {
                return Err(refusal);
            }
        }
    }

    async fn attempt(&mut self) -> Result<ConsumerGroup, NotJoined> {
        let client = match &self.client {
            Some(client) => client,
            None => {
                let client = source::client_of_role(&self.config).await;
                self.client.insert(client.map_err(NotJoined::without_key)?)
            }
        };
        let joined = ConsumerGroup::join(client.clone(), self.group.clone()).await;
        joined.map_err(|cause| NotJoined::group(&self.config.name, &cause))
    }
}

/// Why a group was not joined.
enum NotJoined {
    /// The same may succeed later.
    Yet(String),
    /// It will not until something is changed.
    Refused { error: String, failure: Failure },
}

impl NotJoined {
    fn without_key(cause: NoKey) -> Self {
        match cause {
            NoKey::Unanswered(error) => Self::Yet(error),
            NoKey::Refused(failure) => {
                let mut messages = failure.problems.iter().map(Problem::message);
                Self::Refused { error: messages.next().unwrap_or_default().to_owned(), failure }
            }
        }
    }

    fn group(source: &str, cause: &JoinError) -> Self {
        let error = Chain(cause).to_string();
        if cause.is_retryable() {
            return Self::Yet(error);
        }
        let problem = Problem::new(format!("source `{source}`: {error}"));
        let problem = problem.help("nothing was read and nothing was lost");
        Self::Refused { error, failure: Failure::new(Exit::Source, problem) }
    }
}

impl FirstUseRecord for FirstUse {
    fn known(&self) -> Option<i64> {
        self.read()
    }

    fn record(&self, unix: i64) {
        if let Err(error) = Self::record(self, unix) {
            tracing::warn!(
                %error,
                "cannot write the time of the group's first use into `state_dir`; if this process ends before its \
                 first checkpoint, the next one begins at the oldest log"
            );
        }
    }

    fn forget(&self) {
        if let Err(error) = Self::forget(self) {
            tracing::error!(
                %error,
                "the consumer group existed before, but a wrong time of its first use cannot be removed from \
                 `state_dir`; this process begins at the oldest logs, no data lost; remove that file before the next \
                 start, which would skip logs"
            );
        }
    }
}

/// A member of a consumer group.
pub struct Member {
    consumer: Consumer,
    group: ConsumerGroup,
}

impl Member {
    /// Works until it is stopped, or until a source with an `end` has reached it. Then waits for its shards
    /// to be drained, which the pipeline bounds, and leaves.
    ///
    /// # Errors
    /// The heartbeats ended by themselves. Nothing is lost: other consumers take the shards over.
    pub async fn work(mut self, runner: Runner, stop: CancellationToken) -> Result<(), Failure> {
        let mut outcome = Ok(());
        let mut shards = JoinSet::new();
        let line_limit = Arc::new(LineLimit::new());
        // Ends with the process, or when a bounded run has reached its end in every shard.
        let over = stop.child_token();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = shards.join_next() => log_panic(ended),
                lease = self.group.next_lease() => match lease {
                    Ok(Some(lease)) => {
                        let shard = Shard {
                            config: Arc::clone(&self.consumer.config),
                            lease,
                            budget: self.consumer.budget.clone(),
                            runner: runner.clone(),
                            stop: stop.clone(),
                            over: over.clone(),
                            line_limit: Arc::clone(&line_limit),
                        };
                        let span = shard.span();
                        shards.spawn(shard.work().instrument(span));
                    }
                    Ok(None) => {
                        tracing::info!("reached `end` in every shard, and all before it is settled");
                        break;
                    }
                    Err(cause) => {
                        let message = format!("source `{}`: {cause}", self.consumer.config.name);
                        outcome = Err(Failure::new(Exit::Internal, Problem::new(message)));
                        break;
                    }
                },
            }
        }
        over.cancel();
        while let Some(ended) = shards.join_next().await {
            log_panic(ended);
        }
        if timeout(LEAVE_LIMIT, self.group.leave()).await.is_err() {
            tracing::warn!("left the group without an answer");
        }
        outcome
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(cause) = ended {
        tracing::error!(%cause, "the work on a shard ended in a bug; the shard is given back");
    }
}

/// A shard for as long as we hold it.
struct Shard {
    config: Arc<SourceConfig>,
    lease: Lease,
    budget: Budget,
    runner: Runner,
    /// The process is to stop.
    stop: CancellationToken,
    /// That, or the source has nothing more to do.
    over: CancellationToken,
    /// Lines about shards of the source that cannot be read.
    line_limit: Arc<LineLimit>,
}

/// What follows from the end of a run.
enum Next {
    /// From the checkpoint.
    Again,
    /// From the checkpoint, after this wait.
    After(Duration),
    /// There is nothing more to do, but the shard is kept: the group's run ends when all have ended.
    Keep,
    /// The shard is given back.
    Release,
}

impl Shard {
    /// The span of everything that is done for this shard. It names the source itself, and so has no parent:
    /// each line says both once.
    fn span(&self) -> Span {
        let (source, shard) = (&self.config.name, self.lease.shard());
        error_span!(parent: None, "shard", %source, shard)
    }

    async fn work(self) {
        let mut damage = None;
        loop {
            match self.run(&mut damage).await {
                Next::Again => {}
                Next::After(wait) => tokio::select! {
                    () = self.given_up() => break,
                    () = sleep(wait) => {}
                },
                Next::Keep => break self.given_up().await,
                Next::Release => break,
            }
        }
        self.runner.set_holding(&self.id(), false);
    }

    fn id(&self) -> ShardId {
        ShardId::new(self.config.name.as_str(), self.lease.shard())
    }

    /// One run from the checkpoint on. `damage` is the block that the one before could not read.
    async fn run(&self, damage: &mut Option<Damage>) -> Next {
        let shard = self.lease.shard();
        let mut puller = self.lease.puller();
        let started = tokio::select! {
            started = puller.start() => started,
            // A start that is refused, for lack of a permission, is asked for until the lease ends.
            () = self.stop.cancelled() => return Next::Release,
        };
        let start = match started {
            Ok(cursor) => source::position(&cursor),
            Err(PullError::Ended(_)) => return Next::Release,
            Err(cause) => return self.pause(&cause),
        };
        if let Some(times) = damage.as_ref().map(Damage::times_oversized).filter(|times| *times > 0)
        {
            puller.ask_for_less(times);
        }
        let origin = source::origin(&self.config, shard);
        let source = ShardSource::new(puller, origin, self.budget.clone(), self.config.max_block);
        let run = ShardRun {
            shard: self.id(),
            source: Box::new(source),
            store: Arc::new(ShardCheckpoints::new(self.lease.checkpoints())),
            stored: Some(start),
            damage: damage.clone(),
            lease: self.lease.state(),
        };
        self.next(self.runner.run_shard(run).await, damage)
    }

    fn next(&self, end: ShardEnd, damage: &mut Option<Damage>) -> Next {
        match end {
            // Not where only the run is over: what is to be read again was not delivered.
            ShardEnd::Restart | ShardEnd::Damaged(_) if self.stop.is_cancelled() => Next::Release,
            ShardEnd::Restart => Next::Again,
            ShardEnd::Damaged(again) => {
                let wait = again.pause();
                *damage = Some(again);
                Next::After(wait)
            }
            ShardEnd::Finished => {
                self.lease.finish();
                Next::Keep
            }
            ShardEnd::SourceLost(cause) => self.pause(&*cause.0),
            _ => Next::Release,
        }
    }

    /// The shard is paused: needs operator action, and is looked at again and again.
    fn pause(&self, cause: &(dyn std::error::Error + 'static)) -> Next {
        self.runner.set_holding(&self.id(), true);
        if let Some(left_out) = self.line_limit.admit() {
            tracing::error!(
                error = %Chain(cause), again_in = ?TRY_AGAIN, lines_left_out = left_out,
                "shard paused, it cannot be read: needs operator action; no data lost, other shards continue"
            );
        }
        Next::After(TRY_AGAIN)
    }

    /// Waits until the shard is no longer ours to keep.
    async fn given_up(&self) {
        let mut state = self.lease.state();
        tokio::select! {
            () = self.over.cancelled() => {}
            _ = state.wait_for(|state| state.has_ended()) => {}
        }
    }
}
