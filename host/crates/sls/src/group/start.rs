//! Where to begin in a shard that has no checkpoint.
//!
//! Official clients apply the configured position to every such shard, also to one born later by a split.
//! With "end" that loses whatever was written between the split and the first look, and whatever was written
//! while a first look failed. So "end" is turned into a *time*: one at which the group was known to have no
//! checkpoint at all, so that nobody can have used it before. Whoever runs this library keeps that time across
//! restarts ([`ConsumerGroup::unused_at`](super::ConsumerGroup::unused_at)).
//!
//! Where no such time is known and the group has been used, nothing says since when: not the times of its
//! checkpoints, which are those of the last save, and not the ranges of shards, since a shard's first consumer
//! may have stopped before it saved anything. Then a shard without checkpoint begins with its oldest logs.
//! Repeating is the safe mistake.

use crate::api::CursorFrom;
use crate::client::Client;
use crate::error::Error;
use crate::group::GroupConfig;

/// The configured start. Times are those at which the service received the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the oldest logs stored.
    Begin,
    /// With logs that arrive after the group's first use. Where nobody knows when that was, with the oldest.
    End,
    /// With the first logs received at or after this many seconds since the epoch.
    Time(i64),
}

/// Where shards without checkpoint begin, and why.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beginning {
    pub(super) from: CursorFrom,
    pub(super) why: &'static str,
    /// A time at which the group was known to be unused.
    pub(super) unused_at: Option<i64>,
}

impl Start {
    /// What it means for a group, found out once.
    pub(super) async fn resolve(
        self,
        client: &Client,
        config: &GroupConfig,
    ) -> Result<Beginning, Error> {
        let begin = |from, why| Beginning { from, why, unused_at: config.unused_at };
        match self {
            Self::Begin => return Ok(begin(CursorFrom::Begin, "configured")),
            Self::Time(unix) => return Ok(begin(CursorFrom::Time(unix), "configured")),
            Self::End => {}
        }
        if let Some(time) = config.unused_at {
            return Ok(begin(
                CursorFrom::Time(time),
                "`start` is the end, as of the group's first use",
            ));
        }
        // Asked for first: the later clock would leave out what arrives during the call.
        let now = client.server_time();
        let stored = client.get_checkpoints(&config.logstore, &config.group, None).await?;
        if stored.iter().all(|checkpoint| checkpoint.cursor.is_none()) {
            let why = "`start` is the end, and the group is used for the first time";
            return Ok(Beginning { unused_at: Some(now), ..begin(CursorFrom::Time(now), why) });
        }
        let why = "`start` is the end, but the group was used before, and since when is not known";
        Ok(begin(CursorFrom::Begin, why))
    }
}
