//! Whether a run with an end is done: asked of the service, so that no one has to wait and see whether another
//! shard is granted.

use super::Membership;
use crate::api::{Checkpoint, CursorFrom, Shard};
use crate::error::{Chain, Error};

/// Whether every shard of the logstore is consumed up to the configured end, by us or by other members of the
/// group. False as well where that cannot be found out.
pub(super) async fn all(membership: &Membership) -> bool {
    let Some(end) = membership.config.end else { return false };
    // Before that time there is no end that could be reached.
    if membership.single.earliest_time() <= end {
        return false;
    }
    match ask_twice(membership, end).await {
        Ok(consumed) => consumed,
        Err(error) => {
            tracing::info!(
                error = %Chain(&error),
                "cannot ask whether every shard is consumed; waiting for the group's timeout instead"
            );
            false
        }
    }
}

/// A list of shards that leaves one out, once, must not end the run: two must agree.
async fn ask_twice(membership: &Membership, end: i64) -> Result<bool, Error> {
    Ok(ask(membership, end).await? && ask(membership, end).await?)
}

async fn ask(membership: &Membership, end: i64) -> Result<bool, Error> {
    let Membership { client, config, board, .. } = membership;
    let shards = client.list_shards(&config.logstore).await?;
    let stored = client.get_checkpoints(&config.logstore, &config.group, None).await?;
    let ours = board.finished();
    for Shard { id, .. } in shards.iter().filter(|shard| !ours.contains(&shard.id)) {
        let end = client.get_cursor(&config.logstore, *id, CursorFrom::Time(end)).await?;
        let checkpoint = |stored: &&Checkpoint| stored.shard == *id;
        let next = match stored.iter().find(checkpoint).and_then(|stored| stored.cursor.clone()) {
            Some(next) => next,
            // No consumer has begun: there is nothing to do if nothing was there before the end, as in a shard
            // that was split off later.
            None => client.get_cursor(&config.logstore, *id, CursorFrom::Begin).await?,
        };
        if !next.reaches(&end) {
            return Ok(false);
        }
    }
    Ok(true)
}
