//! How a connection is finished, and what the receiver's end of it proves.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{FIRST_LOOK, Link, SHORTEST_LIFE, ended};
use crate::syslog::connection::{Connection, End};
use crate::syslog::habit::Habit;
use crate::syslog::transport::{Closed, not_reading};

impl Link {
    /// Whether the connection is to be finished, so that the receiver confirms what it has read.
    pub(super) fn is_confirmation_due(&self) -> bool {
        let is_old = || self.window.expires_at().is_some_and(|at| at <= Instant::now());
        self.connection.is_some()
            && self.finished_at.is_none()
            && self.habit != Habit::NeverCloses
            && !self.window.is_empty()
            && (self.is_asked || self.window.is_full() || is_old())
    }

    pub(super) async fn finish_if_due(&mut self) {
        let is_too_young = self.connected_at.elapsed() < SHORTEST_LIFE;
        if is_too_young || !self.is_confirmation_due() || !self.in_flight.is_empty() {
            return;
        }
        self.window.drop_unwanted();
        self.finish().await;
    }

    /// Finishes our side, unless something is still unacknowledged: only then does the receiver's end prove that
    /// it has read everything.
    pub(super) async fn finish(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        let finished = match connection.is_acknowledged() {
            Ok(false) => return,
            Ok(true) => connection.finish().await,
            Err(failure) => Err(failure),
        };
        match finished {
            Ok(()) => self.finished_at = Some(Instant::now()),
            Err(failure) => self.lost(failure),
        }
    }

    /// Of a receiver that confirms nothing, its kernel's acknowledgement and the age have to do.
    pub(super) fn confirm_by_age(&mut self, now: Instant) {
        match self.connection.as_ref().map(Connection::is_acknowledged) {
            Some(Ok(true)) => self.window.confirm_by_age(now),
            // Its age counts only while the receiver's kernel takes what it is sent.
            Some(Ok(false)) => self.window.renew(now),
            Some(Err(failure)) => self.lost(failure),
            None => {}
        }
    }

    /// The connection has ended.
    pub(super) fn ended(&mut self, end: End) {
        match end {
            End::Orderly => self.confirmed(),
            End::Broken(failure) => {
                let was_finished = self.finished_at.is_some();
                self.lost(failure);
                if was_finished && self.habit.broke_off() {
                    self.warn_of_habit("breaks it off");
                }
            }
        }
    }

    /// The receiver has closed its side after we finished ours: it has read everything.
    fn confirmed(&mut self) {
        tracing::debug!(sink = self.sink, rows = self.window.rows(), "the receiver has confirmed");
        self.habit.closed();
        self.window.confirm_all();
        self.is_asked = false;
        self.backoff.succeeded();
        self.disconnect();
    }

    pub(super) async fn close(&mut self, limit: Duration) -> Closed {
        let farewell = async {
            while !self.in_flight.is_empty() && self.connection.is_some() {
                sleep(self.next_look).await;
                self.look();
            }
            self.window.drop_unwanted();
            if self.connection.is_none() && !self.window.is_empty() {
                // One last attempt for what may have been lost with the last connection; no time for a pause.
                self.backoff.succeeded();
                let _ = self.ready().await;
            }
            while self.finished_at.is_none() && self.connection.is_some() {
                self.finish().await;
                sleep(FIRST_LOOK).await;
            }
            if self.connection.is_some() {
                let end = ended(self.connection.as_mut()).await;
                self.ended(end);
            }
        };
        let _ = timeout(limit, farewell).await;
        let is_owed = self.window.is_wanted() && self.habit != Habit::NeverCloses;
        if is_owed && (self.connection.is_some() || !self.window.is_empty()) {
            Closed::Unconfirmed
        } else {
            Closed::Cleanly
        }
    }

    pub(super) fn warn_of_silence(&self, waited: Duration) {
        let cause = not_reading(self.dialer.target());
        tracing::warn!(sink = self.sink, rows = self.window.rows(), ?waited, %cause, "the receiver does not confirm");
    }

    pub(super) fn warn_of_habit(&self, does: &str) {
        tracing::warn!(
            sink = self.sink,
            address = %self.dialer.target(),
            "the receiver does not close a connection that the forwarder has finished ({does}), so nothing proves \
             what it has read; from now on its kernel's acknowledgement counts after `resend_age`, and what it \
             had not read when it dies later than that is lost; see `resend_window` in docs/configuration.md"
        );
    }
}
