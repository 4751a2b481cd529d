//! UpdateCheckPoint and GetCheckPoint.

use serde::{Deserialize, Serialize};

use super::Call;
use super::consumer_groups::group_mut;
use crate::refusal::Refusal;
use crate::server::reply::Reply;
use crate::state::ShardId;
use crate::state::consumer_group::{Checkpoint, SaveCheckpoint};

#[derive(Deserialize)]
struct Update {
    shard: ShardId,
    checkpoint: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CheckpointView<'a> {
    shard: ShardId,
    checkpoint: &'a str,
    /// Microseconds since the Unix epoch.
    update_time: u64,
    consumer: &'a str,
}

pub(super) fn update(Call { target, request, shared }: Call<'_>) -> Result<Reply, Refusal> {
    let Update { shard, checkpoint } = request.json()?;
    // Python writes `True`, everyone else `true`.
    let force = request.params.get("forceSuccess").is_some_and(|v| v.eq_ignore_ascii_case("true"));
    let consumer = request.params.get("consumer").filter(|name| !name.is_empty());
    let save = SaveCheckpoint { consumer, shard, cursor: &checkpoint, force };
    let mut service = shared.service();
    group_mut(&mut service, request, target)?;
    let logstore = service.logstore_mut(&request.project, target.logstore)?;
    logstore.save_checkpoint(target.item, save, shared.clock.now())?;
    Ok(Reply::ok())
}

/// Answers for one shard or for all. A shard without a checkpoint has an empty one; an unknown shard
/// has no entry, and that is not an error.
pub(super) fn get(Call { target, request, shared }: Call<'_>) -> Result<Reply, Refusal> {
    let wanted: Option<ShardId> = match request.params.get("shard") {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| Refusal::parameter("invalid shard id"))?),
    };
    let mut service = shared.service();
    group_mut(&mut service, request, target)?;
    let logstore = service.logstore(&request.project, target.logstore)?;
    let saved = logstore.group(target.item)?.checkpoints();
    let shards = logstore.shards().map(|shard| shard.id());
    let wanted = shards.filter(|id| wanted.is_none_or(|wanted| wanted == *id));
    let views = wanted.map(|id| view(id, saved.get(&id)));
    Ok(Reply::json(&views.collect::<Vec<_>>()))
}

fn view(shard: ShardId, saved: Option<&Checkpoint>) -> CheckpointView<'_> {
    match saved {
        None => CheckpointView { shard, checkpoint: "", update_time: 0, consumer: "" },
        Some(Checkpoint { cursor, updated, consumer }) => {
            CheckpointView { shard, checkpoint: cursor, update_time: updated.micros(), consumer }
        }
    }
}
