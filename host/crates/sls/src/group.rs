//! Membership in a consumer group: the public face.
//!
//! [`ConsumerGroup::join`] sees to it that the group exists and keeps sending heartbeats over a connection of
//! their own. [`ConsumerGroup::next_lease`] yields a [`Lease`] for every shard the service grants. Under a
//! lease, a [`Puller`] reads and [`Checkpoints`] saves. Losing the lease ends both; releasing it, and only
//! that, lets the service hand the shard on. [`ConsumerGroup::leave`] keeps the heartbeats going until the
//! last lease is released, so that no other consumer starts on a shard that is still being finished here.
//!
//! ```no_run
//! # async fn run(client: forwarder_sls::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use forwarder_sls::group::{ConsumerGroup, GroupConfig, Pull};
//!
//! let config = GroupConfig::new("actiontrail".parse()?, "siem".parse()?, "host-1".parse()?);
//! let mut group = ConsumerGroup::join(client, config).await?;
//! while let Some(lease) = group.next_lease().await? {
//!     let (mut puller, checkpoints) = (lease.puller(), lease.checkpoints());
//!     // One task per shard in real life; this one works until the lease ends.
//!     while let Ok(pull) = puller.pull().await {
//!         let cursor = match pull {
//!             Pull::Data(pulled) => {
//!                 let next = pulled.next_cursor().clone();
//!                 let Ok(log_groups) = pulled.body().await else { continue };
//!                 println!("{} bytes", log_groups.len());
//!                 next
//!             }
//!             Pull::Empty { next_cursor } => next_cursor,
//!             Pull::ReachedEnd { cursor } => {
//!                 checkpoints.save(&cursor).await?;
//!                 lease.finish();
//!                 continue;
//!             }
//!         };
//!         checkpoints.save(&cursor).await?;
//!     }
//! }
//! group.leave().await;
//! # Ok(())
//! # }
//! ```
//!
//! There is no call to leave a group. A consumer that stops keeps its shards for the group's timeout, and
//! gets them back at once if it returns under the same name within that time.

mod checkpoint;
mod consumed;
mod heartbeat;
mod idle_wait;
mod join;
mod lag;
mod lease;
mod lease_table;
mod pull;
mod pull_count;
mod pull_error;
mod shard;
mod shard_context;
mod start;
mod timing;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::api::Filter;
use crate::client::Client;
use crate::metrics::GroupMetrics;
use crate::names::{ConsumerName, GroupName, LogstoreName};
pub use checkpoint::{Checkpoints, SaveError};
use consumed::Consumed;
pub use forwarder_connector::LeaseState;
use heartbeat::{Heartbeat, MembershipState};
pub use join::JoinError;
pub use lease::Lease;
use lease_table::LeaseTable;
pub use pull::{Pull, Pulled};
pub use pull_error::PullError;
pub use shard::Puller;
use start::Beginning;
pub use start::{FirstUse, InMemory, Start};
use timing::Timing;

/// Shards of one source that ask for their checkpoint and start at the same time, at most. A heartbeat may grant
/// thousands at once.
const MAX_STARTING: usize = 16;

/// Shards of one source up to which each has lines of its own in the log about its start and its end. Beyond it, these
/// are at level debug.
const MAX_SHARDS_LOGGED: usize = 64;

/// The task that sends the heartbeats has ended, which nothing but a bug makes it do. All shards are given
/// up; nothing is lost, because others take them over.
#[derive(Debug, thiserror::Error)]
#[error("the heartbeats of consumer group `{0}` have stopped")]
pub struct HeartbeatsStopped(GroupName);

/// What to do when the position is no longer valid, which usually means that logs expired unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnInvalidCursor {
    /// Continue with the oldest logs that are left.
    Begin,
    /// Continue with what comes next; skips everything stored.
    End,
    /// Report it; a person decides.
    Fail,
}

/// How to take part in a group. Start from [`GroupConfig::new`].
#[derive(Debug, Clone)]
pub struct GroupConfig {
    /// Label of all metrics.
    pub source: String,
    /// Where the logs are.
    pub logstore: LogstoreName,
    /// Which group.
    pub group: GroupName,
    /// Who we are in it. Must differ between live processes and should survive a restart.
    pub consumer: ConsumerName,
    /// Whether the group may be created, and changed where `timeout` or `in_order` say so.
    pub manage_group: bool,
    /// Silence after which the service removes a consumer, in whole seconds. `None`: whatever the group
    /// has, 60 s when it is created.
    pub timeout: Option<Duration>,
    /// Whether shards wait until those they came from are consumed. `None`: whatever the group has, no
    /// when it is created.
    pub in_order: Option<bool>,
    /// Longest time between heartbeats; a quarter of the group's timeout if that is shorter.
    pub heartbeat_interval: Duration,
    /// Where to begin in a shard without checkpoint.
    pub start: Start,
    /// The record of the group's first use; asked and written with [`Start::End`] only.
    pub first_use: Arc<dyn FirstUse>,
    /// Stop at logs received at or after this time (seconds since the epoch).
    pub end: Option<i64>,
    /// Filtering by the service.
    pub filter: Option<Filter>,
    /// What to do when the position is no longer valid.
    pub on_invalid_cursor: OnInvalidCursor,
    /// Wait before asking again at the end of a shard: at first, and at most.
    pub idle: (Duration, Duration),
    /// Size of the blocks to aim for, in unpacked bytes.
    pub block_target: u64,
    /// Size of a block that is never exceeded, in unpacked bytes.
    pub block_limit: u64,
}

impl GroupConfig {
    /// The defaults: manage the group, beat every 10 s, begin at the oldest logs, poll an idle shard
    /// every 0.5 to 2 s, blocks of 1 MiB and never more than 64 MiB.
    pub fn new(logstore: LogstoreName, group: GroupName, consumer: ConsumerName) -> Self {
        Self {
            source: logstore.to_string(),
            logstore,
            group,
            consumer,
            manage_group: true,
            timeout: None,
            in_order: None,
            heartbeat_interval: Duration::from_secs(10),
            start: Start::Begin,
            first_use: Arc::new(InMemory::default()),
            end: None,
            filter: None,
            on_invalid_cursor: OnInvalidCursor::Begin,
            idle: (Duration::from_millis(500), Duration::from_secs(2)),
            block_target: 1 << 20,
            block_limit: 64 << 20,
        }
    }
}

/// What all parts of one membership share.
struct Membership {
    config: GroupConfig,
    /// Tries safe calls several times.
    client: Client,
    /// Tries once; for callers with a loop of their own.
    single: Client,
    lease_table: LeaseTable,
    /// Where shards without checkpoint begin; resolved once.
    start: Beginning,
    /// A permit per shard that asks where to begin.
    starts: Semaphore,
    timing: Mutex<Timing>,
    membership_state: watch::Sender<MembershipState>,
    metrics: GroupMetrics,
}

impl Membership {
    fn timing(&self) -> Timing {
        *self.timing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says something about the start or the end of one shard.
    fn log_shard(&self, event: fmt::Arguments<'_>) {
        let group = &self.config.group;
        if self.lease_table.held() > MAX_SHARDS_LOGGED {
            tracing::debug!(%group, "{event}");
        } else {
            tracing::info!(%group, "{event}");
        }
    }

    fn set_timing(&self, timing: Timing) {
        *self.timing.lock().unwrap_or_else(PoisonError::into_inner) = timing;
    }
}

/// A membership. Dropping it stops the heartbeats at once and ends every lease; see
/// [`leave`](Self::leave) for the orderly way.
pub struct ConsumerGroup {
    membership: Arc<Membership>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
    /// For a run with an end: the lease_table's count of changes when we last looked, and since when nothing
    /// has happened that speaks against being done.
    quiet: (u64, Instant),
    /// For a run with an end: when to ask the service whether every shard is consumed, and what it said.
    ask_at: Instant,
    consumed: Consumed,
    /// How often it named shards that are not.
    waits: u32,
}

impl ConsumerGroup {
    /// Joins: makes sure that the group exists, compares its options, resolves the start position and
    /// sends the first heartbeat.
    ///
    /// # Errors
    ///
    /// The service refuses or cannot be reached (tried several times); the group does not exist and may
    /// not be created. [`JoinError::is_retryable`] says whether trying later makes sense.
    pub async fn join(client: Client, config: GroupConfig) -> Result<Self, JoinError> {
        let timeout = join::ensure_group(&client, &config).await?;
        let start = config.start.resolve(&client, &config).await;
        let start = start.map_err(JoinError::service(&config))?;
        let own = client.with_own_connections()?.trying_once();
        let membership = Arc::new(Membership {
            timing: Mutex::new(Timing::new(timeout, config.heartbeat_interval)),
            // Until the first heartbeat has succeeded, which `first` does not insist on.
            membership_state: watch::Sender::new(MembershipState::Out),
            metrics: GroupMetrics::new(&config.source),
            single: client.trying_once(),
            lease_table: LeaseTable::default(),
            client,
            start,
            starts: Semaphore::new(MAX_STARTING),
            config,
        });
        let mut heartbeat = Heartbeat::new(own, Arc::clone(&membership));
        heartbeat.first().await?;
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        tasks.spawn(heartbeat.run(stop.clone()).in_current_span());
        let quiet = (membership.lease_table.changes(), Instant::now());
        let (ask_at, consumed) = (quiet.1, Consumed::Unknown);
        Ok(Self { membership, tasks, stop, quiet, ask_at, consumed, waits: 0 })
    }

    /// Waits for the next shard that is granted to us. `None` when a run with an end is done: every shard
    /// that we hold is [finished](Lease::finish), and the service says that the others are consumed as well. Where
    /// other consumers have not consumed theirs, that is waited for, since they may leave them to us; where the service
    /// does not say, as when we may not ask, it is done as soon as we were granted no other for one timeout. Without
    /// membership there is no end: a consumer that holds nothing then has finished
    /// nothing.
    ///
    /// Abandoning the wait loses nothing.
    ///
    /// # Errors
    ///
    /// The heartbeats have stopped; every shard is given up, and there will be no more.
    pub async fn next_lease(&mut self) -> Result<Option<Lease>, HeartbeatsStopped> {
        let Membership { lease_table, config, .. } = &*self.membership;
        let mut membership_state = self.membership.membership_state.subscribe();
        loop {
            if let Some(grant) = lease_table.take() {
                return Ok(Some(Lease::new(Arc::clone(&self.membership), grant)));
            }
            // In this order. A consumer that loses all shards says `Out` before, and one that rejoins counts a
            // change before saying `Member`, so that an empty lease_table is never taken for a finished one.
            let finished = lease_table.all_finished();
            let member = *membership_state.borrow_and_update() == MembershipState::Member;
            let changes = lease_table.changes();
            if !finished || !member || changes != self.quiet.0 {
                self.quiet = (changes, Instant::now());
            }
            let may_end = config.end.is_some() && finished && member;
            let over = self.quiet.1 + self.membership.timing().timeout;
            let is_unknown = self.consumed == Consumed::Unknown;
            if may_end && is_unknown && over <= Instant::now() {
                tracing::warn!(
                    "no other shard was granted for the group's timeout, and SLS does not say whether other consumers \
                     have consumed theirs up to `end`: the run is taken to be over; no data lost, what they have not \
                     consumed is read by the next run"
                );
                return Ok(None);
            }
            let ask_at = self.ask_at;
            tokio::select! {
                () = lease_table.granted.notified() => {}
                _ = membership_state.changed() => {}
                () = sleep_until(over), if may_end && is_unknown => {}
                consumed = async {
                    sleep_until(ask_at).await;
                    consumed::ask_service(&self.membership).await
                }, if may_end => {
                    self.ask_at = Instant::now() + self.membership.timing().interval;
                    match &consumed {
                        Consumed::All => return Ok(None),
                        Consumed::NotYet(shards) if !shards.is_empty() => {
                            self.waits = self.waits.saturating_add(1);
                            if self.waits.is_power_of_two() {
                                tracing::info!(
                                    ?shards,
                                    "these shards are not consumed up to `end`: other consumers of the group hold them, \
                                     or held them until now; waiting for them"
                                );
                            }
                        }
                        Consumed::NotYet(_) | Consumed::Unknown => {}
                    }
                    self.consumed = consumed;
                }
                ended = self.tasks.join_next() => {
                    let cause = ended.and_then(Result::err).map(|cause| cause.to_string());
                    tracing::error!(cause, "the heartbeats have stopped; all shards are given up");
                    lease_table.lose_all();
                    return Err(HeartbeatsStopped(config.group.clone()));
                }
            }
        }
    }

    /// Leaves: grants are ignored from now on, and heartbeats continue until every lease is released. Put a
    /// deadline around it; abandoning it stops the heartbeats at once.
    pub async fn leave(mut self) {
        let lease_table = &self.membership.lease_table;
        lease_table.leave();
        while !lease_table.is_drained() {
            tokio::select! {
                () = lease_table.released.notified() => {}
                // Lost leases need no heartbeat, and they may never be released.
                () = tokio::time::sleep(self.membership.timing().interval) => {}
                _ = self.tasks.join_next() => break,
            }
        }
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        tracing::info!(group = %self.membership.config.group, "left the consumer group");
    }

    /// Our name in the group.
    pub fn consumer(&self) -> &ConsumerName {
        &self.membership.config.consumer
    }
}

impl Drop for ConsumerGroup {
    fn drop(&mut self) {
        self.stop.cancel();
        self.membership.membership_state.send_replace(MembershipState::Out);
        self.membership.lease_table.lose_all();
    }
}
