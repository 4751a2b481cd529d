//! ListShards, SplitShard, MergeShards.

use serde::Serialize;

use super::Call;
use crate::refusal::Refusal;
use crate::server::reply::Reply;
use crate::state::KeyRange;
use crate::state::logstore::Logstore;
use crate::state::shard::Shard;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShardView {
    #[serde(rename = "shardID")]
    id: u32,
    status: String,
    inclusive_begin_key: String,
    exclusive_end_key: String,
    create_time: u64,
}

impl From<&Shard> for ShardView {
    fn from(shard: &Shard) -> Self {
        Self {
            id: shard.id(),
            status: shard.status().to_string(),
            inclusive_begin_key: shard.keys().begin_key().to_string(),
            exclusive_end_key: shard.keys().end_key().to_string(),
            create_time: shard.created().seconds(),
        }
    }
}

pub(super) fn list(Call { target, request, shared }: Call<'_>) -> Result<Reply, Refusal> {
    let service = shared.service();
    let logstore = service.logstore(&request.project, target.logstore)?;
    let views: Vec<ShardView> = logstore.shards().map(ShardView::from).collect();
    Ok(Reply::json(&views))
}

pub(super) fn split(Call { target, request, shared }: Call<'_>) -> Result<Reply, Refusal> {
    let key = request.params.get("key").and_then(KeyRange::parse_key);
    let key = key.ok_or_else(|| Refusal::parameter("invalid mid hash"))?;
    let mut service = shared.service();
    let logstore = service.logstore_mut(&request.project, target.logstore)?;
    let ids = logstore.split(target.shard()?, key, shared.clock.now())?;
    view_of(logstore, ids)
}

pub(super) fn merge(Call { target, request, shared }: Call<'_>) -> Result<Reply, Refusal> {
    let mut service = shared.service();
    let logstore = service.logstore_mut(&request.project, target.logstore)?;
    let ids = logstore.merge(target.shard()?, shared.clock.now())?;
    view_of(logstore, ids)
}

fn view_of(logstore: &Logstore, ids: [u32; 3]) -> Result<Reply, Refusal> {
    let view = |id| logstore.shard(id).map(ShardView::from);
    let views = ids.into_iter().map(view).collect::<Result<Vec<_>, _>>()?;
    Ok(Reply::json(&views))
}
