//! One shard's reading: find the position, pull, wait, pull again.
//!
//! Everything the network or the service may do is dealt with here, by waiting and asking again from the
//! same position. A caller hears only of data, of its absence, and of ends. Any wait may be abandoned at
//! any time: the position moves when a block has been received whole, and not before.
//!
//! A damaged answer is asked for again at once, a few times; then the caller hears of it, since an operator may
//! have to act. Nothing that only informs is waited for here: the age of what is read is asked for in a task
//! of its own.

mod doubt;

use std::sync::Arc;
use std::time::Duration;

use forwarder_connector::LeaseState;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::checkpoint::{Checkpoints, SaveError};
use super::idle_wait::IdleWait;
use super::lag::Lag;
use super::pull_count::PullCount;
use super::pull_error::PullError;
use super::shard_context::ShardContext;
use super::start::Beginning;
use crate::api::{CursorFrom, PullHead, PullRequest, PullResponse};
use crate::backoff::Backoff;
use crate::cursor::Cursor;
use crate::error::{Chain, Error, RetryClass};
use crate::wire::BlockError;

/// How many damaged answers in a row are followed by another question before the caller hears of them. With
/// the waits between, about a second and a half.
const DAMAGED_AT_MOST: u32 = 6;

/// Reads one shard under a lease.
pub struct Puller {
    pub(super) context: Arc<ShardContext>,
    position: Option<Cursor>,
    end: End,
    count: PullCount,
    idle: IdleWait,
    backoff: Backoff,
    damage: Damage,
    /// The position replaces one that was no longer valid, and the caller does not know it yet.
    replaced: bool,
    /// The position was read from a checkpoint or a start, and no answer has shown that it is one of this shard.
    is_untried: bool,
    /// No request before this.
    not_before: Instant,
    asked: Instant,
    lag: Lag,
}

/// Damaged answers in a row.
struct Damage {
    backoff: Backoff,
    /// What was wrong with the last one.
    cause: String,
}

enum End {
    /// Never.
    Open,
    /// At a time that is not resolved yet, or still to come.
    Time(i64),
    /// At a position.
    At(Cursor),
    /// Reached and reported.
    Reported,
}

/// What a pull came to.
pub(super) enum Step {
    Data(Box<PullResponse>),
    Empty(Cursor),
    ReachedEnd(Cursor),
}

impl Puller {
    pub(super) fn new(context: Arc<ShardContext>) -> Self {
        let membership = &context.membership;
        let config = &membership.config;
        let now = Instant::now();
        Self {
            position: None,
            end: config.end.map_or(End::Open, End::Time),
            count: PullCount::new(config.block_target),
            idle: IdleWait::new(config.idle.0, config.idle.1),
            backoff: membership.single.backoff(),
            damage: Damage { backoff: membership.single.backoff(), cause: String::new() },
            replaced: false,
            is_untried: false,
            not_before: now,
            asked: now,
            lag: Lag::default(),
            context,
        }
    }

    /// Finds where to begin: at the stored checkpoint, else at the configured start. Asks until it is
    /// answered. Pulling does this by itself; call it to know the position beforehand.
    ///
    /// # Errors
    ///
    /// The lease ends, or the shard does not exist.
    pub async fn start(&mut self) -> Result<Cursor, PullError> {
        let mut state = self.context.state.clone();
        tokio::select! {
            biased;
            ended = ended(&mut state) => Err(PullError::Ended(ended)),
            position = self.locate() => position,
        }
    }

    /// The block at the position where this begins came to more than a block may, `times` times in a row. Less is
    /// asked for, the third time a single log group.
    pub fn ask_for_less(&mut self, times: u32) {
        self.count.after_oversized(times);
    }

    /// Where the next pull reads, once known.
    pub fn position(&self) -> Option<&Cursor> {
        self.position.as_ref()
    }

    pub(super) async fn step(&mut self) -> Result<Step, PullError> {
        loop {
            let position = self.locate().await?;
            if std::mem::take(&mut self.replaced) {
                // Progress like any other, to be saved once all before it is settled: so it means the same
                // after a restart.
                return Ok(Step::Empty(position));
            }
            self.give_up_damaged(&position)?;
            self.wait_for_turn().await;
            if let Err(error) = self.settle_end().await {
                self.trouble(error)?;
                continue;
            }
            match &self.end {
                End::At(end) if position.reaches(end) && self.is_untried => {
                    // Read from a checkpoint, and from nothing else: were it damaged, logs would be left unread.
                    match self.end_behind(&position).await {
                        Ok(_) => self.is_untried = false,
                        Err(error) if error.is_damaged() => {
                            self.position_refused(&position, error).await?;
                        }
                        Err(error) => self.trouble(error)?,
                    }
                    continue;
                }
                End::At(end) if position.reaches(end) => {
                    self.end = End::Reported;
                    return Ok(Step::ReachedEnd(position));
                }
                End::Reported => std::future::pending().await,
                _ => {}
            }
            let answer = match self.request(&position).await {
                Ok(response) => self.judge(response).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(step) => return Ok(step),
                Err(error) if error.invalid_cursor() => {
                    self.position_refused(&position, error).await?;
                }
                Err(error) => self.trouble(error)?,
            }
        }
    }

    async fn locate(&mut self) -> Result<Cursor, PullError> {
        loop {
            if let Some(position) = &self.position {
                return Ok(position.clone());
            }
            self.wait_for_turn().await;
            match self.checkpoint_or_start().await {
                Ok(position) => {
                    self.position = Some(position);
                    self.is_untried = true;
                    self.damage.backoff.succeeded();
                }
                Err(error) => self.trouble(error)?,
            }
        }
    }

    /// The stored checkpoint. Where there is none, the configured start is stored as one: so it means
    /// the same after a restart and for the consumer that gets the shard next, however long nothing is read.
    async fn checkpoint_or_start(&self) -> Result<Cursor, Error> {
        let membership = &self.context.membership;
        // Held for the calls only, not while this waits to ask again.
        let _turn = membership.starts.acquire().await;
        if let Some(position) = self.stored_checkpoint().await? {
            membership.log_shard(format_args!("reading from the checkpoint {position}"));
            *self.context.saved.lock().await = Some(position.clone());
            return Ok(position);
        }
        let Beginning { from, why } = membership.start;
        let start = self.cursor(from).await?;
        self.end_behind(&start).await?;
        membership.log_shard(format_args!(
            "no checkpoint yet; reading from {start} (`{from}`), because {why}"
        ));
        match Checkpoints::new(Arc::clone(&self.context)).save(&start).await {
            Ok(()) => Ok(start),
            Err(SaveError::Failed { source, .. }) => Err(source),
            // The state of the lease says so too, and ends the waits for us.
            Err(SaveError::LeaseLost { .. }) => std::future::pending().await,
        }
    }

    async fn stored_checkpoint(&self) -> Result<Option<Cursor>, Error> {
        let ShardContext { membership, shard, .. } = &*self.context;
        let (client, config) = (&membership.single, &membership.config);
        let stored = client.get_checkpoints(&config.logstore, &config.group, Some(*shard)).await?;
        Ok(stored.into_iter().find(|it| it.shard == *shard).and_then(|it| it.cursor))
    }

    async fn cursor(&self, from: CursorFrom) -> Result<Cursor, Error> {
        let ShardContext { membership, shard, .. } = &*self.context;
        membership.single.get_cursor(&membership.config.logstore, *shard, from).await
    }

    /// Turns the configured end into a position, once that time has passed by our clock and by the service's. Before
    /// that, GetCursor would answer with the end of today's data.
    async fn settle_end(&mut self) -> Result<(), Error> {
        let End::Time(unix) = self.end else { return Ok(()) };
        if self.context.membership.single.earliest_time() > unix {
            self.end = End::At(self.position_of(unix).await?);
        }
        Ok(())
    }

    /// Waits until pulling is allowed: by the wait after the last answer, and by the state of the lease.
    async fn wait_for_turn(&mut self) {
        sleep_until(self.not_before).await;
        let mut state = self.context.state.clone();
        // An ended lease is the caller's branch to take; the sender lives as long as the membership.
        let _ = state.wait_for(|state| *state == LeaseState::Held).await;
        self.asked = Instant::now();
    }

    async fn request(&mut self, position: &Cursor) -> Result<PullResponse, Error> {
        let end = match &self.end {
            End::At(end) => Some(end),
            _ => None,
        };
        let response = self.ask(position, end).await?;
        self.lag.note(&self.context, response.head());
        Ok(response)
    }

    async fn ask(&self, from: &Cursor, end: Option<&Cursor>) -> Result<PullResponse, Error> {
        let ShardContext { membership, shard, .. } = &*self.context;
        let config = &membership.config;
        let request = PullRequest {
            logstore: &config.logstore,
            shard: *shard,
            cursor: from,
            count: self.count.get(),
            end_cursor: end,
            filter: config.filter.as_ref(),
        };
        membership.single.pull_logs(&request).await
    }

    /// What an answer means.
    async fn judge(&mut self, mut response: PullResponse) -> Result<Step, Error> {
        if !response.head().skips() {
            self.check_move(&mut response).await?;
        }
        let (head, call) = (response.head().clone(), response.call().clone());
        self.context.metrics.filter_failed(head.failed_lines());
        let (raw_size, limit) = (head.raw_size(), self.block_limit());
        if raw_size > limit {
            return Err(Error::Block { call, source: BlockError::TooLarge { raw_size, limit } });
        }
        if head.has_data() {
            return Ok(Step::Data(Box::new(response)));
        }
        response.confirm_empty().await?;
        if head.skips() {
            self.confirm_expired(&head, call).await?;
        }
        self.context.metrics.pulled_nothing();
        self.move_on(&head);
        Ok(Step::Empty(head.next_cursor().clone()))
    }

    /// Takes over the position of an answer that is dealt with, and decides when to ask again.
    fn move_on(&mut self, head: &PullHead) {
        let failures = self.backoff.succeeded() + self.damage.backoff.succeeded();
        if failures > 1 {
            tracing::info!(failures, "reading works again");
        }
        let wait = if !head.at_end() {
            Duration::ZERO
        } else if head.is_unmoved() {
            self.idle.after_nothing()
        } else {
            self.idle.after_data()
        };
        self.not_before = self.asked + wait;
        self.position = Some(head.next_cursor().clone());
    }

    /// The largest block that is received, in unpacked bytes.
    pub(super) fn block_limit(&self) -> u64 {
        self.context.membership.config.block_limit
    }

    /// A block is here.
    pub(super) fn received(&mut self, head: &PullHead, packed: u64) {
        self.context.metrics.pulled(packed, head.count());
        self.count.learn(head.scanned_groups(), head.raw_size());
        self.move_on(head);
    }

    fn trouble(&mut self, error: Error) -> Result<(), PullError> {
        if error.shard_missing() {
            // The lease stands until a heartbeat ends it: what was pulled is still delivered under it.
            return Err(PullError::ShardMissing(error));
        }
        if let Error::Block { source: BlockError::TooLarge { raw_size, limit }, .. } = &error {
            let (raw_size, limit) = (*raw_size, *limit);
            if self.count.shrink(raw_size, limit) {
                return Ok(());
            }
            self.defer(&error);
            return Err(PullError::TooLarge { raw_size, limit });
        }
        self.defer(&error);
        Ok(())
    }

    /// Waits longer after each failure; says so less often each time.
    pub(super) fn defer(&mut self, error: &Error) {
        self.context.metrics.pull_failed(error.kind());
        let damaged = error.is_damaged();
        let backoff = if damaged { &mut self.damage.backoff } else { &mut self.backoff };
        let wait = backoff.after_failure(error.retry_class());
        let failures = backoff.failures();
        self.not_before = Instant::now() + wait;
        if damaged {
            self.damage.cause = Chain(error).to_string();
            self.count.halve();
        }
        if !failures.is_power_of_two() {
            return;
        }
        let (cause, position) = (Chain(error), self.position.as_ref().map(tracing::field::display));
        if error.retry_class() == RetryClass::NeedsOperator {
            tracing::error!(failures, ?wait, position, error = %cause, "cannot read, nothing is lost, asking again");
        } else {
            tracing::warn!(failures, ?wait, position, error = %cause, "cannot read, asking again");
        }
    }

    /// Ends the quick questions about a position whose answers stay damaged.
    fn give_up_damaged(&mut self, position: &Cursor) -> Result<(), PullError> {
        let times = self.damage.backoff.failures();
        if times < DAMAGED_AT_MOST {
            return Ok(());
        }
        let cause = std::mem::take(&mut self.damage.cause);
        self.damage.backoff.succeeded();
        Err(PullError::Damaged { cursor: position.clone(), times, cause })
    }
}

/// Waits until the lease has ended.
pub(super) async fn ended(state: &mut watch::Receiver<LeaseState>) -> LeaseState {
    match state.wait_for(|state| state.has_ended()).await {
        Ok(state) => *state,
        Err(_) => LeaseState::Lost,
    }
}
