//! Where to begin in a shard that has no checkpoint.
//!
//! Official clients apply the configured position to every such shard, also to one born later by a split.
//! With "end" that loses whatever was written between the split and the first look. So "end" is turned
//! into a *time* when the group is first used, and the time is used for every shard.
//!
//! Nobody keeps that time across a restart. But every shard stores its start as a checkpoint when it is
//! first leased. So a shard without one whose hash range was that of an older shard with one was split off
//! (or merged) after the group was first used, and begins with its oldest logs.

use std::collections::BTreeSet;

use crate::api::{Checkpoint, CursorFrom, Shard};
use crate::client::Client;
use crate::error::{Chain, Error};
use crate::group::GroupConfig;

/// The configured start. Times are those at which the service received the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the oldest logs stored.
    Begin,
    /// With logs that arrive from now on; in a shard that was split off one that the group has a checkpoint
    /// of, with the oldest, since that was after the group was first used.
    End,
    /// With the first logs received at or after this many seconds since the epoch.
    Time(i64),
}

/// Where shards without checkpoint begin.
#[derive(Debug)]
pub(super) struct Beginning {
    usual: CursorFrom,
    /// Shards that are younger than the group's first use.
    late: BTreeSet<u32>,
}

impl Beginning {
    /// The position for a shard.
    pub(super) fn of(&self, shard: u32) -> CursorFrom {
        if self.late.contains(&shard) { CursorFrom::Begin } else { self.usual }
    }
}

impl Start {
    /// What it means for a group, found out once.
    pub(super) async fn resolve(
        self,
        client: &Client,
        config: &GroupConfig,
    ) -> Result<Beginning, Error> {
        let all = |usual| Beginning { usual, late: BTreeSet::new() };
        match self {
            Self::Begin => Ok(all(CursorFrom::Begin)),
            Self::Time(unix) => Ok(all(CursorFrom::Time(unix))),
            Self::End => {
                // Asked for first: the later clock would leave out what arrives during the calls.
                let now = client.server_time();
                let stored = client.get_checkpoints(&config.logstore, &config.group, None).await?;
                let stored = with_cursor(&stored);
                if stored.is_empty() {
                    return Ok(all(CursorFrom::Time(now)));
                }
                match client.list_shards(&config.logstore).await {
                    Ok(shards) => {
                        let late = late(&shards, &stored);
                        Ok(Beginning { usual: CursorFrom::Time(now), late })
                    }
                    Err(error) if error.is_retryable() => Err(error),
                    Err(error) => {
                        tracing::warn!(
                            error = %Chain(&error),
                            "may not list the shards, so that those that were split off cannot be told; \
                             all without a checkpoint begin with their oldest logs"
                        );
                        Ok(all(CursorFrom::Begin))
                    }
                }
            }
        }
    }
}

fn with_cursor(checkpoints: &[Checkpoint]) -> BTreeSet<u32> {
    checkpoints.iter().filter(|stored| stored.cursor.is_some()).map(|stored| stored.shard).collect()
}

/// Shards without checkpoint that took over hashes of an older one that has one. Numbers of shards only grow.
fn late(shards: &[Shard], stored: &BTreeSet<u32>) -> BTreeSet<u32> {
    let takes_over = |young: &Shard, old: &Shard| {
        old.id < young.id && old.begin_key < young.end_key && young.begin_key < old.end_key
    };
    let is_known = |shard: &&Shard| stored.contains(&shard.id);
    let is_late = |young: &&Shard| shards.iter().filter(is_known).any(|old| takes_over(young, old));
    shards.iter().filter(|shard| !is_known(shard)).filter(is_late).map(|shard| shard.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ShardStatus;

    fn shard(id: u32, begin: &str, end: &str) -> Shard {
        let (begin_key, end_key) = (begin.to_owned(), end.to_owned());
        Shard { id, status: ShardStatus::ReadWrite, begin_key, end_key, created: 0 }
    }

    #[test]
    fn children_of_a_shard_with_a_checkpoint_are_late_and_its_neighbours_are_not() {
        let shards = [
            shard(0, "00", "80"),
            shard(1, "80", "ff"),
            shard(2, "00", "40"),
            shard(3, "40", "80"),
            shard(4, "80", "c0"),
        ];
        assert_eq!(late(&shards, &[0].into()), [2, 3].into());
        assert_eq!(late(&shards, &[0, 2].into()), [3].into());
        assert_eq!(late(&shards, &[1].into()), [4].into());
        assert_eq!(late(&shards, &[2, 3, 4].into()), [].into(), "parents that nobody ever read");
    }
}
