//! One shard's reading: find the position, pull, wait, pull again.
//!
//! Everything the network or the service may do is dealt with here, by waiting and asking again from the
//! same position. A caller hears only of data, of its absence, and of ends. Any wait may be abandoned at
//! any time: the position moves when a block has been received whole, and not before.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::OnInvalidCursor;
use super::board::LeaseState;
use super::checkpoint::{Checkpoints, SaveError};
use super::lease::Desk;
use super::pace::{Count, Idle};
use super::pull::{Pull, PullError, Pulled};
use crate::api::{CursorFrom, PullHead, PullRequest, PullResponse};
use crate::backoff::Backoff;
use crate::cursor::Cursor;
use crate::error::{Chain, Error, Pace};
use crate::wire::BlockError;

/// How often the service is asked for the time of a position when its answers do not tell.
const LAG_EVERY: Duration = Duration::from_secs(30);

/// Reads one shard under a lease.
pub struct Puller {
    desk: Arc<Desk>,
    position: Option<Cursor>,
    /// Where to begin instead of at the checkpoint, after the position turned out to be invalid.
    restart: Option<CursorFrom>,
    end: End,
    count: Count,
    idle: Idle,
    backoff: Backoff,
    /// No request before this.
    not_before: Instant,
    asked: Instant,
    lag_known: Instant,
}

enum End {
    /// Never.
    Open,
    /// At a time that is not resolved yet, or still to come.
    Time(i64),
    /// At a position.
    At(Cursor),
    /// Reached and reported.
    Reported(Cursor),
}

enum Step {
    Data(Box<PullResponse>),
    Empty(Cursor),
    ReachedEnd(Cursor),
}

impl Puller {
    pub(super) fn new(desk: Arc<Desk>) -> Self {
        let membership = &desk.membership;
        let config = &membership.config;
        let now = Instant::now();
        Self {
            position: None,
            restart: None,
            end: config.end.map_or(End::Open, End::Time),
            count: Count::new(config.block_target),
            idle: Idle::new(config.idle.0, config.idle.1),
            backoff: membership.single.backoff(),
            not_before: now,
            asked: now,
            lag_known: now,
            desk,
        }
    }

    /// Finds where to begin: at the stored checkpoint, else at the configured start. Asks until it is
    /// answered. Pulling does this by itself; call it to know the position beforehand.
    ///
    /// # Errors
    ///
    /// The lease ends, or the shard does not exist.
    pub async fn start(&mut self) -> Result<Cursor, PullError> {
        let mut state = self.desk.state.clone();
        tokio::select! {
            biased;
            ended = ended(&mut state) => Err(PullError::Ended(ended)),
            position = self.locate() => position,
        }
    }

    /// Waits for what comes next in the shard. May be abandoned at any time without moving anything.
    ///
    /// # Errors
    ///
    /// Only ends, see [`PullError`]. Failures of network and service are waited out.
    pub async fn pull(&mut self) -> Result<Pull<'_>, PullError> {
        let mut state = self.desk.state.clone();
        let step = tokio::select! {
            biased;
            ended = ended(&mut state) => return Err(PullError::Ended(ended)),
            step = self.step() => step?,
        };
        Ok(match step {
            Step::Data(response) => Pull::Data(Pulled::new(self, response)),
            Step::Empty(next_cursor) => Pull::Empty { next_cursor },
            Step::ReachedEnd(cursor) => Pull::ReachedEnd { cursor },
        })
    }

    /// Goes back to a position that was pulled before, to read from there again after a moment.
    pub fn rewind(&mut self, cursor: Cursor) {
        self.position = Some(cursor);
        self.not_before = Instant::now() + self.backoff.after_failure(Pace::Gentle);
        if let End::Reported(end) = &self.end {
            self.end = End::At(end.clone());
        }
    }

    /// Where the next pull reads, once known.
    pub fn position(&self) -> Option<&Cursor> {
        self.position.as_ref()
    }

    async fn step(&mut self) -> Result<Step, PullError> {
        loop {
            let position = self.locate().await?;
            self.wait_for_turn().await;
            if let Err(error) = self.settle_end().await {
                self.trouble(error)?;
                continue;
            }
            match &self.end {
                End::At(end) if position.reaches(end) => {
                    self.end = End::Reported(end.clone());
                    return Ok(Step::ReachedEnd(position));
                }
                End::Reported(_) => std::future::pending().await,
                _ => {}
            }
            match self.request(&position).await {
                Ok(response) => {
                    if let Some(step) = self.judge(response)? {
                        return Ok(step);
                    }
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
            let found = match self.restart {
                Some(from) => self.cursor(from).await,
                None => self.checkpoint_or_start().await,
            };
            match found {
                Ok(position) => {
                    tracing::info!(shard = self.desk.shard, ?position, "reading from here");
                    self.position = Some(position);
                }
                Err(error) => self.trouble(error)?,
            }
        }
    }

    /// The stored checkpoint. Where there is none, the configured start is stored as one: so it means
    /// the same after a restart and for whoever gets the shard next, however long nothing is read.
    async fn checkpoint_or_start(&self) -> Result<Cursor, Error> {
        let Desk { membership, shard, .. } = &*self.desk;
        let (client, config) = (&membership.single, &membership.config);
        let stored = client.get_checkpoints(&config.logstore, &config.group, Some(*shard)).await?;
        let stored = stored.into_iter().find(|it| it.shard == *shard).and_then(|it| it.cursor);
        if let Some(cursor) = stored {
            *self.desk.saved.lock().await = Some(cursor.clone());
            return Ok(cursor);
        }
        let start = self.cursor(membership.start.of(*shard)).await?;
        match Checkpoints::new(Arc::clone(&self.desk)).save(&start).await {
            Ok(()) => Ok(start),
            Err(SaveError::Failed { source, .. }) => Err(source),
            // The state of the lease says so too, and ends whoever waits for us.
            Err(SaveError::LeaseLost { .. }) => std::future::pending().await,
        }
    }

    async fn cursor(&self, from: CursorFrom) -> Result<Cursor, Error> {
        let Desk { membership, shard, .. } = &*self.desk;
        membership.single.get_cursor(&membership.config.logstore, *shard, from).await
    }

    /// Turns the configured end into a position, once that time has passed on the service's clock. Before
    /// that, GetCursor would answer with the end of today's data.
    async fn settle_end(&mut self) -> Result<(), Error> {
        let End::Time(unix) = self.end else { return Ok(()) };
        if self.desk.membership.single.server_time() > unix {
            self.end = End::At(self.cursor(CursorFrom::Time(unix)).await?);
        }
        Ok(())
    }

    /// Waits until pulling is allowed: by the pace, and by the state of the lease.
    async fn wait_for_turn(&mut self) {
        sleep_until(self.not_before).await;
        let mut state = self.desk.state.clone();
        // An ended lease is the caller's branch to take; the sender lives as long as the membership.
        let _ = state.wait_for(|state| *state == LeaseState::Held).await;
        self.asked = Instant::now();
    }

    async fn request(&mut self, position: &Cursor) -> Result<PullResponse, Error> {
        let Desk { membership, shard, .. } = &*self.desk;
        let config = &membership.config;
        let request = PullRequest {
            logstore: &config.logstore,
            shard: *shard,
            cursor: position,
            count: self.count.get(),
            end_cursor: match &self.end {
                End::At(end) => Some(end),
                _ => None,
            },
            filter: config.filter.as_ref(),
        };
        let response = membership.single.pull_logs(&request).await?;
        self.note_lag(response.head()).await;
        Ok(response)
    }

    /// What an answer means. `None`: ask again.
    fn judge(&mut self, response: PullResponse) -> Result<Option<Step>, PullError> {
        let head = response.head();
        self.desk.metrics.filter_failed(head.failed_lines());
        if !head.has_data() {
            self.desk.metrics.pulled_nothing();
            self.move_on(head);
            return Ok(Some(Step::Empty(head.next_cursor().clone())));
        }
        if head.is_unmoved() {
            let fault = "data, but the position does not move".into();
            self.defer(&Error::Malformed { call: "PullLogs", fault });
            return Ok(None);
        }
        let (raw_size, limit) = (head.raw_size(), self.block_limit());
        if raw_size > limit {
            if self.count.shrink(raw_size, limit) {
                return Ok(None);
            }
            let source = BlockError::TooLarge { raw_size, limit };
            self.defer(&Error::Block { call: "PullLogs", source });
            return Err(PullError::TooLarge { raw_size, limit });
        }
        Ok(Some(Step::Data(Box::new(response))))
    }

    /// Takes over the position of an answer that is dealt with, and decides when to ask again.
    fn move_on(&mut self, head: &PullHead) {
        let failures = self.backoff.succeeded();
        if failures > 1 {
            tracing::info!(shard = self.desk.shard, failures, "reading works again");
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
        self.restart = None;
    }

    /// The largest block that is received, in unpacked bytes.
    pub(super) fn block_limit(&self) -> u64 {
        self.desk.membership.config.block_limit
    }

    /// A block is here.
    pub(super) fn received(&mut self, head: &PullHead, packed: u64) {
        self.desk.metrics.pulled(packed, head.count());
        self.count.learn(head.scanned_groups(), head.raw_size());
        self.move_on(head);
    }

    fn trouble(&mut self, error: Error) -> Result<(), PullError> {
        if error.shard_missing() {
            self.desk.lose();
            return Err(PullError::ShardMissing(error));
        }
        if error.invalid_cursor() && self.position.is_some() {
            let from = match self.desk.membership.config.on_invalid_cursor {
                OnInvalidCursor::Begin => CursorFrom::Begin,
                OnInvalidCursor::End => CursorFrom::End,
                OnInvalidCursor::Fail => {
                    self.defer(&error);
                    return Err(PullError::InvalidCursor(error));
                }
            };
            self.desk.metrics.cursor_reset();
            tracing::warn!(
                shard = self.desk.shard, position = ?self.position, ?from, error = %Chain(&error),
                "the position is no longer valid, going on elsewhere; data may have been lost"
            );
            self.position = None;
            self.restart = Some(from);
        }
        self.defer(&error);
        Ok(())
    }

    /// Waits longer after each failure; says so less often each time.
    pub(super) fn defer(&mut self, error: &Error) {
        self.desk.metrics.pull_failed(error.kind());
        let wait = self.backoff.after_failure(error.pace());
        self.not_before = Instant::now() + wait;
        let (shard, failures) = (self.desk.shard, self.backoff.failures());
        if !failures.is_power_of_two() {
            return;
        }
        let cause = Chain(error);
        if error.pace() == Pace::Patient {
            tracing::error!(shard, failures, ?wait, error = %cause, "cannot read, nothing is lost, asking again");
        } else {
            tracing::warn!(shard, failures, ?wait, error = %cause, "cannot read, asking again");
        }
    }

    /// Measures how far behind we are: from the answer itself, else by asking now and then.
    async fn note_lag(&mut self, head: &PullHead) {
        let Desk { membership, shard, metrics, .. } = &*self.desk;
        let client = &membership.single;
        let received = if head.at_end() {
            Some(client.server_time())
        } else if let Some(time) = head.cursor_time() {
            Some(time)
        } else if self.lag_known.elapsed() >= LAG_EVERY {
            self.lag_known = Instant::now();
            let (logstore, next) = (&membership.config.logstore, head.next_cursor());
            client.get_cursor_time(logstore, *shard, next).await.ok()
        } else {
            None
        };
        if let Some(received) = received {
            metrics.lag(client.server_time().saturating_sub(received));
        }
    }
}

/// Waits until the lease has ended.
async fn ended(state: &mut watch::Receiver<LeaseState>) -> LeaseState {
    match state.wait_for(|state| state.has_ended()).await {
        Ok(state) => *state,
        Err(_) => LeaseState::Lost,
    }
}
