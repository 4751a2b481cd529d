//! Keeps the membership alive, and says which shards are ours.
//!
//! One task on a connection of its own, measuring with a monotonic clock. Silence is counted from the
//! moment the last successful heartbeat was *sent*, because the service cannot have heard of us later
//! than it did. While an attempt hangs, the deadlines continue: leases are suspended and lost in time
//! whatever the network does.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::join::{self, JoinError};
use super::timing::Timing;
use super::{MAX_SHARDS_LOGGED, Membership};
use crate::client::Client;
use crate::error::{Chain, Error};

/// Where we stand with the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MembershipState {
    /// The last heartbeat succeeded recently.
    Member,
    /// No heartbeat has succeeded for so long that work is paused.
    Suspended,
    /// Not a member yet, or expired by the service's word or by our own clock; joining (again).
    Out,
}

pub(super) struct Heartbeat {
    client: Client,
    membership: Arc<Membership>,
    /// When the last successful heartbeat was sent.
    heard: Instant,
    failures: u32,
    /// Whether any heartbeat has succeeded.
    joined: bool,
    next_review: Instant,
}

impl Heartbeat {
    pub(super) fn new(client: Client, membership: Arc<Membership>) -> Self {
        let now = Instant::now();
        let next_review = now + membership.timing().review_every();
        Self { client, membership, heard: now, failures: 0, joined: false, next_review }
    }

    /// The heartbeat that joins. What a person must change is reported; anything else is left to
    /// [`run`](Self::run).
    pub(super) async fn first(&mut self) -> Result<(), JoinError> {
        match self.attempt().await {
            Err(error) if !error.is_retryable() && !error.is_damaged() => {
                Err(JoinError::service(&self.membership.config)(error))
            }
            outcome => {
                self.judge(outcome).await;
                Ok(())
            }
        }
    }

    /// Beats until asked to stop.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let work = async {
            loop {
                self.wait().await;
                if self.membership.lease_table.was_expelled() {
                    self.fall_out(&"a checkpoint was refused: the consumer is not known any more");
                }
                if self.next_review <= Instant::now() {
                    self.review().await;
                }
                let outcome = self.attempt().await;
                self.judge(outcome).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    }

    /// Waits until the next heartbeat is due: by the clock, after a failure, or because a lease was
    /// released and another consumer may be waiting for the shard.
    async fn wait(&mut self) {
        let timing = self.timing();
        let membership = Arc::clone(&self.membership);
        if self.failures > 0 {
            let until = Instant::now() + timing.retry_pause(self.failures - 1);
            return self.guarded(sleep_until(until)).await;
        }
        let due = self.heard + timing.interval;
        let early = (self.heard + timing.interval / 10).min(due);
        self.guarded(async {
            tokio::select! {
                () = sleep_until(due) => {}
                () = membership.lease_table.hurry.notified() => sleep_until(early).await,
            }
        })
        .await;
    }

    /// One heartbeat with everything we still work on.
    async fn attempt(&mut self) -> Result<(), Error> {
        let membership = Arc::clone(&self.membership);
        let config = &membership.config;
        let client = self.client.within(self.timing().attempt_limit(self.failures));
        let report = membership.lease_table.report();
        let sent = Instant::now();
        let beat = client.heartbeat(&config.logstore, &config.group, &config.consumer, &report);
        let held = self.guarded(beat).await?;
        self.heard = sent;
        tracing::trace!(?report, ?held, "heartbeat");
        if self.membership_state() == MembershipState::Out {
            membership.lease_table.begin_again();
            if self.joined {
                tracing::info!(group = %config.group, consumer = %config.consumer, "rejoined");
            }
        }
        self.joined = true;
        membership.membership_state.send_replace(MembershipState::Member);
        self.failures = 0;
        let new = membership.lease_table.grant(&held);
        if new > MAX_SHARDS_LOGGED {
            tracing::info!(
                new,
                held = held.len(),
                "acquired many shards; the lines about the start and the end of each are at level debug"
            );
        }
        membership.metrics.holds(held.len());
        Ok(())
    }

    async fn judge(&mut self, outcome: Result<(), Error>) {
        let error = match outcome {
            Ok(()) => return self.membership.metrics.beat(),
            Err(error) => error,
        };
        self.membership.metrics.beat_failed(error.kind());
        self.failures = self.failures.saturating_add(1);
        if error.membership_lost() {
            self.fall_out(&Chain(&error));
            // Nothing is wrong with the connection: rejoin after the shortest pause.
            self.failures = 1;
            return;
        }
        if self.failures.is_power_of_two() {
            let failures = self.failures;
            tracing::warn!(failures, error = %Chain(&error), "heartbeat failed, trying again");
        }
        if error.group_missing() {
            self.fall_out(&Chain(&error));
            self.recreate().await;
        }
    }

    fn fall_out(&mut self, cause: &dyn Display) {
        let was = self.membership.membership_state.send_replace(MembershipState::Out);
        self.membership.lease_table.lose_all();
        if was != MembershipState::Out {
            self.membership.metrics.membership_lost();
            tracing::warn!(%cause, "lost membership, rejoining");
        }
    }

    async fn recreate(&mut self) {
        let membership = Arc::clone(&self.membership);
        if !membership.config.manage_group {
            return;
        }
        let client = self.client.within(self.timing().interval);
        match self.guarded(join::ensure_group(&client, &membership.config)).await {
            Ok(timeout) => self.adopt(timeout),
            Err(error) => tracing::error!(error = %Chain(&error), "cannot create the group again"),
        }
    }

    /// Reads the group's timeout again: another consumer may have changed it.
    async fn review(&mut self) {
        let membership = Arc::clone(&self.membership);
        let client = self.client.within(self.timing().attempt_limit(0));
        let found = self.guarded(join::find(&client, &membership.config)).await;
        self.next_review = Instant::now() + self.timing().review_every();
        match found {
            Ok(Some(group)) => self.adopt(Duration::from_secs(group.timeout.into())),
            Ok(None) => {} // The next heartbeat says the same, and acts on it.
            Err(error) => {
                tracing::debug!(error = %Chain(&error), "cannot read the group's options")
            }
        }
    }

    fn adopt(&self, timeout: Duration) {
        let old = self.timing();
        if timeout != old.timeout {
            tracing::warn!(?timeout, old = ?old.timeout, "the group's timeout was changed");
            let longest = self.membership.config.heartbeat_interval;
            self.membership.set_timing(Timing::new(timeout, longest));
        }
    }

    /// Drives `work` while the deadlines of silence keep running.
    async fn guarded<F: Future>(&mut self, work: F) -> F::Output {
        tokio::pin!(work);
        loop {
            let deadline = self.next_deadline();
            tokio::select! {
                biased;
                output = &mut work => return output,
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    self.enforce();
                }
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        match self.membership_state() {
            MembershipState::Member => Some(self.heard + self.timing().suspend_after()),
            MembershipState::Suspended => Some(self.heard + self.timing().lose_after()),
            MembershipState::Out => None,
        }
    }

    fn enforce(&mut self) {
        let silence = self.heard.elapsed();
        if silence >= self.timing().lose_after() {
            self.membership.membership_state.send_replace(MembershipState::Out);
            self.membership.lease_table.lose_all();
            self.membership.metrics.membership_lost();
            tracing::warn!(
                ?silence,
                "no heartbeat for the group's timeout: lost membership, rejoining"
            );
        } else if silence >= self.timing().suspend_after() {
            self.membership.membership_state.send_replace(MembershipState::Suspended);
            self.membership.lease_table.suspend();
            tracing::warn!(?silence, "no heartbeat for long: pausing until one succeeds");
        }
    }

    fn membership_state(&self) -> MembershipState {
        *self.membership.membership_state.borrow()
    }

    fn timing(&self) -> Timing {
        self.membership.timing()
    }
}
