//! What is made of a connection that is lost, and of one that cannot be made.

use std::time::Duration;

use tokio::time::Instant;

use super::{LATEST_BREAK, Link};
use crate::syslog::connection::Failure;
use crate::syslog::reconnect::STABLE;
use crate::syslog::window::Lost;

/// After so many connections were lost without a confirmation between, the next ones are finished twice as soon.
const PATIENT_BREAKS: u32 = 4;

/// So many connections must be lost with a body alone on them before it is given back to be divided.
const FAILURES_ALONE: u32 = 3;

impl Link {
    /// The connection is no more: what was on it may be why.
    pub(super) fn lost(&mut self, failure: Failure) {
        self.ended_with(failure, true);
    }

    /// The connection is no more. One that has lived for long and ends is no failure of the receiver's: it may be
    /// taken up again at once. `is_suspicious` if its end may be due to what was on it.
    pub(super) fn ended_with(&mut self, failure: Failure, is_suspicious: bool) {
        let (unconfirmed, suspects) = (self.window.rows(), self.window.suspects());
        let only_suspect = self.window.only_suspect();
        if is_suspicious && suspects.bodies > 0 {
            let delay = self.last_progress.elapsed().min(LATEST_BREAK);
            self.break_delay = delay.max(self.break_delay / 2);
            self.breaks = self.breaks.saturating_add(1);
        }
        tracing::warn!(sink = self.sink, unconfirmed, cause = %failure.cause, "lost the connection to the receiver");
        let is_stable = self.connected_at.elapsed() >= STABLE;
        self.disconnect();
        self.maybe_another_receiver();
        if failure.is_permanent() {
            self.window.give_back(&failure.verdict(None));
        }
        let is_reduced = match only_suspect {
            _ if !is_suspicious || failure.is_permanent() || suspects.bodies == 0 => false,
            Some(at) => self.lost_alone(at, &failure),
            None => {
                self.sends_less(suspects.bytes);
                true
            }
        };
        if is_stable {
            self.reconnect.succeeded();
        } else if is_reduced {
            self.reconnect.soon(Instant::now());
            self.last_failure = None;
        } else {
            self.pause(failure);
        }
    }

    /// Whether what is sent next differs.
    fn lost_alone(&mut self, at: usize, failure: &Failure) -> bool {
        let Some(Lost { rows, bytes, is_alone, failures }) = self.window.lost_at(at) else {
            return false;
        };
        let is_too_large = rows > 1 && self.allowance.has_learned_less(bytes);
        if failures < FAILURES_ALONE && !is_alone && !is_too_large {
            return false;
        }
        if rows > 1 {
            self.sends_less(bytes);
        }
        self.window.divide(at, failure.suspecting(rows));
        true
    }

    /// So long after the last byte a receiver that breaks connections has probably done it. Shorter where none lives for
    /// so long: nothing would ever be confirmed.
    pub(super) fn quiet(&self) -> Duration {
        (3 * self.break_delay).min(LATEST_BREAK)
            / 2_u32.saturating_pow(self.breaks / PATIENT_BREAKS)
    }

    fn sends_less(&mut self, bytes: usize) {
        if let Some(limit) = self.allowance.lost(bytes) {
            tracing::info!(sink = self.sink, limit, "sending less on each connection");
        }
    }

    /// No connection could be made: senders hear of it.
    pub(super) fn not_connected(&mut self, failure: &Failure) {
        self.maybe_another_receiver();
        self.pause(failure.clone());
        let after = self.reconnect.left(Instant::now());
        self.window.give_back(&failure.verdict(after));
    }

    /// Says now and then that what is unconfirmed cannot be sent again; of new bodies their senders hear.
    pub(super) fn report_waiting(&self, failure: &Failure) {
        let (unconfirmed, attempt) = (self.window.rows(), self.reconnect.failures());
        if unconfirmed > 0 && attempt.is_power_of_two() {
            tracing::warn!(
                sink = self.sink, unconfirmed, attempt, cause = %failure.cause,
                "cannot send the unconfirmed logs again yet"
            );
        }
    }

    fn pause(&mut self, failure: Failure) {
        self.reconnect.failed(Instant::now());
        self.last_failure = Some(failure);
    }

    fn maybe_another_receiver(&mut self) {
        if self.habit.lost() {
            self.kept_open = None;
        }
    }
}
