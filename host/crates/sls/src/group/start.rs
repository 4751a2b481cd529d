//! Where to begin in a shard that has no checkpoint.
//!
//! Official clients apply the configured position to every such shard, also to one born later by a split.
//! With "end" that loses whatever was written between the split and the first look. So "end" is turned
//! into a *time*, once, and the time is used for every shard.

use crate::api::CursorFrom;
use crate::client::Client;
use crate::error::Chain;
use crate::group::GroupConfig;

/// The configured start. Times are those at which the service received the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the oldest logs stored.
    Begin,
    /// With logs that arrive from now on, where "now" is when the group was first used.
    End,
    /// With the first logs received at or after this many seconds since the epoch.
    Time(i64),
}

impl Start {
    /// The position for shards without checkpoint.
    pub(super) async fn resolve(self, client: &Client, config: &GroupConfig) -> CursorFrom {
        match self {
            Self::Begin => CursorFrom::Begin,
            Self::Time(unix) => CursorFrom::Time(unix),
            Self::End => CursorFrom::Time(first_use(client, config).await),
        }
    }
}

/// When the group was first used, as far as anybody can tell: now, or when the oldest of its checkpoints
/// was saved. A shard that was split off while nobody was looking is younger than the last checkpoint of
/// its parent, so from that time on nothing of it is missed.
async fn first_use(client: &Client, config: &GroupConfig) -> i64 {
    let now = client.server_time();
    match client.get_checkpoints(&config.logstore, &config.group, None).await {
        Ok(checkpoints) => checkpoints
            .iter()
            .filter(|checkpoint| checkpoint.cursor.is_some() && checkpoint.updated > 0)
            .map(|checkpoint| seconds(checkpoint.updated))
            .fold(now, i64::min),
        Err(error) => {
            tracing::warn!(
                error = %Chain(&error),
                "cannot read the group's checkpoints; `end` means now for shards without one"
            );
            now
        }
    }
}

/// The reference says seconds, its samples show microseconds. No second of our era has 12 digits.
fn seconds(updated: i64) -> i64 {
    if updated >= 100_000_000_000 { updated / 1_000_000 } else { updated }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn update_times_are_read_in_both_units() {
        assert_eq!(seconds(1_524_224_984_800_922), 1_524_224_984);
        assert_eq!(seconds(1_524_224_984), 1_524_224_984);
    }
}
