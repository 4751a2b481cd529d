//! How a connection is finished, and what the receiver's end of it proves.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{FIRST_LOOK, KeptOpen, Link, SHORTEST_LIFE, ended};
use crate::syslog::connection::{Connection, End};
use crate::syslog::habit::Habit;
use crate::syslog::request::{Closed, not_confirming};

/// A receiver that gives no proof has had a body for at least this long before it is cleared.
const UNPROVEN_QUIET: Duration = Duration::from_millis(500);

impl Link {
    /// Whether the connection is to be finished, so that the receiver confirms what it has read.
    pub(super) fn is_confirmation_due(&self) -> bool {
        let is_old = || self.window.expires_at().is_some_and(|at| at <= Instant::now());
        let is_all = || {
            let is_more_to_come = !self.window.has_unwritten()
                && !self.allowance.is_searching()
                && !self.window.is_written_alone();
            !is_more_to_come && !self.next_fits()
        };
        self.connection.is_some()
            && self.finished_at.is_none()
            && self.window.is_wanted()
            && !self.habit.gives_no_proof()
            && !self.is_learning()
            && self.window.written().bodies > 0
            && (self.is_asked || self.window.is_full() || is_old() || is_all())
    }

    /// Whether the receiver may still be about to break the connection because of what is on it. Were our side finished
    /// before that, its end would look like one that answers ours.
    fn may_break_yet(&self) -> bool {
        let is_searching = self.allowance.is_searching() || self.window.is_written_alone();
        is_searching && self.last_progress.elapsed() < self.quiet()
    }

    pub(super) async fn finish_if_due(&mut self) {
        if self.connected_at.elapsed() < SHORTEST_LIFE
            || self.may_break_yet()
            || self.next_fits()
            || self.window.in_flight() > 0
            || !self.is_confirmation_due()
        {
            return;
        }
        self.window.drop_unwanted();
        self.finish().await;
    }

    /// Finishes our side, unless something is still unacknowledged or the receiver has ended its own: only then does
    /// the receiver's end prove that it has read everything.
    pub(super) async fn finish(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        match connection.finish().await {
            Ok(true) => self.finished_at = Some(Instant::now()),
            Ok(false) => {}
            Err(failure) => self.lost(failure),
        }
    }

    /// Of a receiver that confirms nothing, its kernel's acknowledgement and the age have to do.
    pub(super) fn age(&mut self, now: Instant) {
        self.window.confirm_by_age(now);
    }

    /// Such a receiver has probably not broken the connection at what it has had for a while.
    pub(super) fn clear(&mut self, now: Instant) {
        let before = self.window.suspects();
        self.window.clear(now, self.quiet().max(UNPROVEN_QUIET));
        if before.bodies > 0 && self.window.suspects().bodies == 0 {
            self.allowance.survived();
            if !self.window.has_unwritten() {
                self.allowance.found();
            }
        }
    }

    pub(super) fn age_or_renew(&mut self, now: Instant) {
        match self.connection.as_ref().map(Connection::is_acknowledged) {
            Some(Ok(true)) => self.age(now),
            // Its age counts only while the receiver's kernel takes what it is sent.
            Some(Ok(false)) => self.window.renew(now),
            Some(Err(failure)) => self.lost(failure),
            None => {}
        }
    }

    /// The connection has ended.
    pub(super) fn ended(&mut self, end: End) {
        let was_finished = self.finished_at.is_some();
        let (failure, is_habit, counted, does): (_, _, fn(&mut Habit) -> bool, _) = match end {
            End::Orderly => return self.confirmed(),
            End::Early { took_all, failure } => {
                (failure, took_all, Habit::ended_early, "ends its own side before that")
            }
            End::Broken(failure) => (failure, was_finished, Habit::broke_off, "breaks it off"),
        };
        // One that is known to close in order does this because of what was on the connection.
        let is_habit = is_habit && self.habit.is_unknown();
        self.ended_with(failure, !is_habit);
        if is_habit {
            self.gives_no_proof(counted, does);
        }
    }

    /// The receiver has closed its side after we finished ours: it has read everything.
    fn confirmed(&mut self) {
        tracing::debug!(sink = self.sink, rows = self.window.rows(), "the receiver has confirmed");
        self.closes();
        let bytes = self.window.confirm_read();
        if bytes > 0 {
            self.allowance.read(bytes);
            self.breaks = 0;
        }
        if self.window.is_empty() {
            // All that was on the lost connection has gone through, or was given back.
            self.allowance.found();
        }
        self.is_asked &= !self.window.is_empty();
        self.reconnect.succeeded();
        self.disconnect();
    }

    fn closes(&mut self) {
        if self.habit.closed() {
            let sink = self.sink.as_str();
            tracing::info!(
                sink,
                "the receiver closes finished connections again: that shows again what it has read"
            );
        }
    }

    /// The connection is kept open by the receiver and of no more use. Should it be closed later, that is evidence.
    pub(super) fn leave_open(&mut self) {
        let since = self.finished_at.unwrap_or_else(Instant::now);
        self.kept_open = self.connection.take().map(|connection| KeptOpen { connection, since });
        self.disconnect();
    }

    /// A connection that the receiver had kept open has ended. What was sent on it was sent again since.
    pub(super) fn kept_open_ended(&mut self, end: End) {
        self.kept_open = None;
        match end {
            End::Orderly => self.closes(),
            End::Early { .. } => {}
            End::Broken(_) => {
                self.habit.lost();
            }
        }
    }

    /// Counts an ending without a proof. If that makes the receiver one that gives none, says so.
    pub(super) fn gives_no_proof(&mut self, counted: fn(&mut Habit) -> bool, does: &str) {
        if counted(&mut self.habit) && !std::mem::replace(&mut self.is_warned, true) {
            tracing::warn!(
                sink = self.sink,
                address = %self.dialer.target(),
                "the receiver does not close connections that the forwarder has finished ({does}), so nothing shows what \
                 it has read: from now on logs count as delivered when its kernel has acknowledged them and `resend_age` \
                 has passed; what it has not read by then is lost if it dies; counted in \
                 forwarder_unproven_records_total; see `resend_window` in docs/configuration.md"
            );
        }
    }

    pub(super) async fn close(&mut self, limit: Duration) -> Closed {
        // One attempt at once for what may have been lost with the last connection.
        self.reconnect.succeeded();
        let farewell = async { while self.say_farewell().await {} };
        let _ = timeout(limit, farewell).await;
        let is_owed = self.window.is_wanted() && !self.habit.gives_no_proof();
        if is_owed && (self.connection.is_some() || !self.window.is_empty()) {
            Closed::Unconfirmed
        } else {
            Closed::Cleanly
        }
    }

    /// The next step towards a confirmation of everything. False when nothing is left to be done, or can be.
    async fn say_farewell(&mut self) -> bool {
        self.window.drop_unwanted();
        if self.connection.is_none() {
            if self.window.is_empty() {
                return false;
            }
            sleep(self.reconnect.left(Instant::now()).unwrap_or_default()).await;
            return self.connect().await.is_ok();
        }
        if self.finished_at.is_some() {
            // Of a receiver that gives no proof there is nothing to wait for.
            if self.habit.gives_no_proof() {
                return false;
            }
            let end = ended(self.connection.as_mut()).await;
            self.ended(end);
        } else if self.next_fits() {
            self.write().await;
        } else {
            self.look();
            if !self.may_break_yet() {
                self.finish().await;
            }
            tokio::select! {
                end = ended(self.connection.as_mut()), if self.connection.is_some() => self.ended(end),
                () = sleep(FIRST_LOOK), if self.finished_at.is_none() => {}
                () = std::future::ready(()), if self.finished_at.is_some() => {}
            }
        }
        true
    }

    pub(super) fn warn_of_silence(&self, waited: Duration) {
        let cause = not_confirming(self.dialer.target());
        tracing::warn!(sink = self.sink, rows = self.window.rows(), ?waited, %cause, "the receiver does not confirm");
    }
}
