//! Whether a run with an end is done: asked of the service, so that no one has to wait and see whether another
//! shard is granted.

use super::Membership;
use crate::api::{Checkpoint, CursorFrom, Shard};
use crate::error::{Chain, Error};

/// What the service says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Consumed {
    /// Every shard is consumed up to the configured end, by us or by other members of the group.
    All,
    /// These are not. None is named before the time of the end, and where the service does not answer.
    NotYet(Vec<u32>),
    /// We may not ask.
    Unknown,
}

pub(super) async fn ask_service(membership: &Membership) -> Consumed {
    let Some(end) = membership.config.end else { return Consumed::Unknown };
    // Before that time there is no end that could be reached.
    if membership.single.earliest_time() <= end {
        return Consumed::NotYet(Vec::new());
    }
    match ask_twice(membership, end).await {
        Ok(open) if open.is_empty() => Consumed::All,
        Ok(open) => Consumed::NotYet(open),
        Err(error) => {
            tracing::info!(error = %Chain(&error), "cannot ask whether every shard is consumed");
            let is_passing = error.is_retryable() || error.is_damaged();
            if is_passing { Consumed::NotYet(Vec::new()) } else { Consumed::Unknown }
        }
    }
}

/// A list of shards that leaves one out, once, must not end the run: two must agree.
async fn ask_twice(membership: &Membership, end: i64) -> Result<Vec<u32>, Error> {
    let open = ask(membership, end).await?;
    if open.is_empty() { ask(membership, end).await } else { Ok(open) }
}

/// The shards that are not consumed.
async fn ask(membership: &Membership, end: i64) -> Result<Vec<u32>, Error> {
    let mut open = Vec::new();
    let Membership { client, config, lease_table, .. } = membership;
    let shards = client.list_shards(&config.logstore).await?;
    let stored = client.get_checkpoints(&config.logstore, &config.group, None).await?;
    let ours = lease_table.finished();
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
            open.push(*id);
        }
    }
    Ok(open)
}
