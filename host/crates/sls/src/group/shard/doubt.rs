//! Positions in doubt: answers whose cursor does not move by the log groups that were read, and positions that are
//! refused.
//!
//! Neither is believed by itself, since a damaged answer would skip logs that are still stored. The service is
//! asked what else it says: the same logs again, where the oldest log is, where the end is, what the checkpoint is.

use tokio::time::Instant;

use super::{DAMAGED_AT_MOST, End, Puller};
use crate::api::{CursorFrom, Movement, PullHead, PullResponse};
use crate::cursor::Cursor;
use crate::error::{CallTo, Error, RetryClass};
use crate::group::OnInvalidCursor;
use crate::group::pull_error::PullError;

/// What a refused position turned out to be.
enum Refused {
    /// One that is stored, so that the refusal is the damaged answer.
    Stored { oldest: Cursor, end: Cursor },
    /// Not the checkpoint that the service has now, and that one is stored.
    Misread { checkpoint: Cursor },
    /// Before the oldest log: what lay there has expired.
    Gone { oldest: Cursor, end: Cursor },
    /// Beyond the end, where no position can be: an answer was damaged, or the logstore was made again. `saved` if it is
    /// the checkpoint all the same.
    Beyond { oldest: Cursor, end: Cursor, saved: bool },
}

impl Puller {
    /// An answer moved on without data and without a filter. That is sound if what lay between has expired;
    /// otherwise the answer hides logs.
    pub(super) async fn confirm_expired(&self, head: &PullHead, call: CallTo) -> Result<(), Error> {
        let (position, next) = (head.request_cursor(), head.next_cursor());
        let (oldest, _) = self.stored_range().await?;
        if self.may_skip() && oldest.reaches(next) {
            self.say_expired(position, next, &oldest);
            return Ok(());
        }
        let fault = format!("no log groups, but the cursor moves from {position} to {next}");
        Err(Error::Malformed { call, fault })
    }

    /// The cursor of an answer does not move by the log groups that the answer accounts for. What lies before them
    /// may have expired. Otherwise the answer is damaged; and if all answers are, reading continues at the lower of
    /// the two positions, where the service has the next word: nothing is skipped, and an order of cursors that the
    /// documentation does not promise stops no shard.
    async fn examine_move(
        &self,
        response: &mut PullResponse,
        behind: u64,
        read: u64,
    ) -> Result<(), Error> {
        let (head, call) = (response.head().clone(), response.call().clone());
        let (position, next) = (head.request_cursor(), head.next_cursor());
        let (oldest, _) = self.stored_range().await?;
        let expired = oldest.position() > position.position()
            && head.first_of(read).is_some_and(|first| oldest.position() >= Some(first));
        if self.may_skip() && expired {
            self.say_expired(position, next, &oldest);
            return Ok(());
        }
        let resume_at = Cursor::at(behind);
        let last_time = self.damage.backoff.failures().saturating_add(1) >= DAMAGED_AT_MOST;
        if !last_time || !position.lies_before(&resume_at) {
            let fault = format!(
                "`x-log-cursor` moves from {position} to {next}, but the log groups that were read end at {resume_at}"
            );
            return Err(Error::Malformed { call, fault });
        }
        response.continue_at(behind);
        tracing::warn!(
            %position, %next, %resume_at,
            "the next cursors of answers keep contradicting the log groups that were read; reading continues right \
             behind these; no data lost"
        );
        Ok(())
    }

    /// Only another answer can confirm where the cursor of this one moves to: the same logs are asked for again, up
    /// to there.
    async fn confirm_move(&self, head: &PullHead, call: CallTo) -> Result<(), Error> {
        let (position, next) = (head.request_cursor(), head.next_cursor());
        let end = match &self.end {
            End::At(end) if end.lies_before(next) => end,
            _ => next,
        };
        let second = self.ask(position, Some(end)).await?;
        let other = second.head().next_cursor();
        if other == next {
            return Ok(());
        }
        let fault = format!(
            "`x-log-cursor` moves from {position} to {next}, but only to {other} in a second answer"
        );
        Err(Error::Malformed { call, fault })
    }

    /// The cursor of an answer must move by the log groups that were read.
    pub(super) async fn check_move(&self, response: &mut PullResponse) -> Result<(), Error> {
        match response.head().movement(self.count.get()) {
            Movement::Sound => Ok(()),
            Movement::Unconfirmed => {
                let (head, call) = (response.head().clone(), response.call().clone());
                self.confirm_move(&head, call).await
            }
            Movement::Differing { behind, read } => self.examine_move(response, behind, read).await,
        }
    }

    /// The service refuses a position: `on_invalid_cursor` decides what happens, once it is certain that the
    /// position is gone.
    pub(super) async fn position_refused(
        &mut self,
        position: &Cursor,
        refusal: Error,
    ) -> Result<(), PullError> {
        let (oldest, end) = match self.examine_refusal(position).await {
            Ok(Refused::Gone { oldest, end }) => (oldest, end),
            Ok(Refused::Misread { checkpoint }) => {
                tracing::warn!(
                    %position, %checkpoint,
                    "the checkpoint was read as a position that is not stored; reading from the checkpoint as it \
                     is now; no data lost"
                );
                *self.context.saved.lock().await = Some(checkpoint.clone());
                self.position = Some(checkpoint);
                self.pause_after(&refusal, RetryClass::Damaged);
                return Ok(());
            }
            Ok(Refused::Beyond { oldest, end, saved }) if self.may_skip() => {
                // Nothing can have been read up to there, so nothing is skipped, whatever `on_invalid_cursor` says.
                tracing::warn!(
                    %position, %oldest, %end,
                    "the position lies beyond the end of the shard: an answer was damaged, or the logstore was \
                     deleted and made again; reading starts over; no data lost"
                );
                self.position = saved.then_some(oldest);
                self.replaced = saved;
                self.pause_after(&refusal, RetryClass::Damaged);
                return Ok(());
            }
            Ok(Refused::Beyond { oldest, end, .. }) => (oldest, end),
            Ok(Refused::Stored { oldest, end }) => {
                let fault = format!(
                    "cursor {position} is refused as invalid, but it lies between the oldest log at {oldest} and \
                     the end at {end}"
                );
                let call = self.context.membership.single.call_to("PullLogs");
                self.defer(&Error::Malformed { call, fault });
                return Ok(());
            }
            Err(error) => {
                self.defer(&error);
                return Ok(());
            }
        };
        let expired = between(position, &oldest);
        let (target, skipped) = match self.context.membership.config.on_invalid_cursor {
            OnInvalidCursor::Begin => (&oldest, 0),
            OnInvalidCursor::End => (&end, between(&oldest, &end)),
            OnInvalidCursor::Fail => {
                self.defer(&refusal);
                return Err(PullError::InvalidCursor(refusal));
            }
        };
        self.context.metrics.cursor_reset();
        tracing::warn!(
            %position, %oldest, %end, resume_at = %target, expired_groups = expired, skipped_groups = skipped,
            "the position is no longer valid, reading resumes elsewhere; data may have been lost"
        );
        self.position = Some(target.clone());
        self.replaced = true;
        self.pause_after(&refusal, RetryClass::Unavailable);
        Ok(())
    }

    async fn examine_refusal(&self, position: &Cursor) -> Result<Refused, Error> {
        let (oldest, end) = self.stored_range().await?;
        let is_stored = |cursor: &Cursor| cursor.reaches(&oldest) && end.reaches(cursor);
        if is_stored(position) {
            return Ok(Refused::Stored { oldest, end });
        }
        let checkpoint = self.stored_checkpoint().await?;
        let saved = checkpoint.as_ref() == Some(position);
        Ok(match checkpoint.filter(is_stored) {
            Some(checkpoint) => Refused::Misread { checkpoint },
            None if end.lies_before(position) => Refused::Beyond { oldest, end, saved },
            None => Refused::Gone { oldest, end },
        })
    }

    /// Where the oldest log is, and the end.
    ///
    /// # Errors
    ///
    /// SLS cannot be asked, or one of the two is damaged.
    pub(super) async fn stored_range(&self) -> Result<(Cursor, Cursor), Error> {
        let oldest = self.cursor(CursorFrom::Begin).await?;
        let end = self.end_behind(&oldest).await?;
        Ok((oldest, end))
    }

    /// The end of the shard, which no position lies beyond.
    pub(super) async fn end_behind(&self, position: &Cursor) -> Result<Cursor, Error> {
        let end = self.cursor(CursorFrom::End).await?;
        if end.lies_before(position) {
            return Err(self.misplaced(position, "lies beyond the end of the shard", &end));
        }
        if end.position().is_some() && position.position().is_none() {
            return Err(self.misplaced(
                position,
                "cannot be compared with the end of the shard",
                &end,
            ));
        }
        Ok(end)
    }

    fn misplaced(&self, position: &Cursor, how: &str, other: &Cursor) -> Error {
        let call = self.context.membership.single.call_to("GetCursor");
        Error::Malformed { call, fault: format!("position {position} {how}, {other}") }
    }

    /// The position of a time: at or behind the oldest log, and not beyond the end.
    pub(super) async fn position_of(&self, unix: i64) -> Result<Cursor, Error> {
        let position = self.cursor(CursorFrom::Time(unix)).await?;
        let oldest = self.cursor(CursorFrom::Begin).await?;
        if position.lies_before(&oldest) {
            return Err(self.misplaced(&position, "lies before the oldest log", &oldest));
        }
        // Asked last, since new logs arrive.
        self.end_behind(&position).await?;
        Ok(position)
    }

    /// Counts a refusal that has a line of its own in the log, and waits.
    fn pause_after(&mut self, refusal: &Error, class: RetryClass) {
        self.context.metrics.pull_failed(refusal.kind());
        self.not_before = Instant::now() + self.backoff.after_failure(class);
    }

    fn may_skip(&self) -> bool {
        self.context.membership.config.on_invalid_cursor != OnInvalidCursor::Fail
    }

    fn say_expired(&self, position: &Cursor, next: &Cursor, oldest: &Cursor) {
        self.context.metrics.cursor_reset();
        tracing::warn!(
            %position, %next, %oldest,
            "logs at this position have expired unread, reading resumes behind them; data may have been lost"
        );
    }
}

/// Log groups from one position to a later one; 0 where that is not known.
fn between(from: &Cursor, to: &Cursor) -> u64 {
    match (from.position(), to.position()) {
        (Some(from), Some(to)) => to.saturating_sub(from),
        _ => 0,
    }
}
