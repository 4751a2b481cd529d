//! Where to begin in a shard that has no checkpoint.
//!
//! Official clients apply the configured position to every such shard, also to one born later by a split.
//! With "end" that loses whatever was written between the split and the first look, and whatever was written
//! while a first look failed. So "end" is turned into a *time*: one at which the group certainly did not exist,
//! so that no consumer can have used it before. That time is put on record ([`FirstUse`]) before the group is
//! created, so that a process that ends between the two leaves either a record or no group.
//!
//! A group that exists without such a record counts as used, also if it has no checkpoint: its first consumer
//! may have stopped before it saved any, and the record may be gone with a disk. Nothing says since when: not
//! the times of checkpoints, which are those of the last save, and not the ranges of shards. Then a shard
//! without checkpoint begins with its oldest logs. Repeating is the safe mistake.

use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::api::{Checkpoint, CursorFrom};
use crate::client::Client;
use crate::error::Error;
use crate::group::GroupConfig;

/// How long a group that exists without a record is watched for the checkpoints of a consumer that is just
/// creating it: several processes are often started at once, and the first one saves a checkpoint for each
/// shard within a second.
const FOUNDING_LIMIT: Duration = Duration::from_secs(3);

/// How often it is looked at meanwhile.
const FOUNDING_LOOK: Duration = Duration::from_millis(250);

/// The configured start. Times are those at which the service received the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the oldest logs stored.
    Begin,
    /// With logs that arrive after the group's first use. Where that time is not known, with the oldest.
    End,
    /// With the first logs received at or after this many seconds since the epoch.
    Time(i64),
}

/// The record of a group's first use; the program that uses this library keeps it across restarts.
pub trait FirstUse: Debug + Send + Sync {
    /// The time on record, in seconds since the epoch.
    fn known(&self) -> Option<i64>;

    /// Puts a time on record, unless there is one; durable on return. A failure is logged by the
    /// implementation and is not fatal: the group then counts as used at the next start, and nothing is skipped.
    fn record(&self, unix: i64);

    /// Removes the time on record, because the group was there before; durable on return. A failure is logged by the
    /// implementation; for this process the group counts as used all the same.
    fn forget(&self);
}

/// A record for one process.
#[derive(Debug, Default)]
pub struct InMemory(Mutex<Option<i64>>);

impl InMemory {
    /// With what is known already.
    pub fn new(known: Option<i64>) -> Self {
        Self(Mutex::new(known))
    }
}

impl FirstUse for InMemory {
    fn known(&self) -> Option<i64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, unix: i64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(unix);
    }

    fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Where shards without checkpoint begin, and why.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beginning {
    pub(super) from: CursorFrom,
    pub(super) why: &'static str,
}

impl Beginning {
    const fn new(from: CursorFrom, why: &'static str) -> Self {
        Self { from, why }
    }
}

impl Start {
    /// What it means for a group that exists by now, found out once.
    pub(super) async fn resolve(
        self,
        client: &Client,
        config: &GroupConfig,
    ) -> Result<Beginning, Error> {
        match self {
            Self::Begin => return Ok(Beginning::new(CursorFrom::Begin, "configured")),
            Self::Time(unix) => return Ok(Beginning::new(CursorFrom::Time(unix), "configured")),
            Self::End => {}
        }
        if let Some(time) = config.first_use.known() {
            let why = "`start` is the end, as of the group's first use";
            return Ok(Beginning::new(CursorFrom::Time(time), why));
        }
        if !every_shard_has_a_checkpoint(client, config).await? {
            tracing::warn!(
                group = %config.group,
                "`start` is the end, but the consumer group existed before, and there is no record of its first \
                 use: shards without a checkpoint begin at their oldest log, so that nothing is skipped; to begin \
                 at the end of a new group instead, stop and run `forwarder group set --to end`"
            );
        }
        let why = "`start` is the end, but the group existed before, and the time of its first use is not known";
        Ok(Beginning::new(CursorFrom::Begin, why))
    }
}

/// Whether every shard has a checkpoint, so that none begins anywhere. Another process may be about to save
/// them, so this waits a little where some are missing.
async fn every_shard_has_a_checkpoint(
    client: &Client,
    config: &GroupConfig,
) -> Result<bool, Error> {
    let until = Instant::now() + FOUNDING_LIMIT;
    loop {
        let stored = client.get_checkpoints(&config.logstore, &config.group, None).await?;
        let has_one = |checkpoint: &Checkpoint| checkpoint.cursor.is_some();
        if !stored.is_empty() && stored.iter().all(has_one) {
            return Ok(true);
        }
        if until <= Instant::now() {
            return Ok(false);
        }
        sleep(FOUNDING_LOOK).await;
    }
}
