//! The APIs: how a request finds its handler, and one file per family.

mod checkpoints;
mod consumer_groups;
mod cursors;
mod projects;
pub(crate) mod pull_logs;
mod put_logs;
mod shards;

use hyper::Method;

use crate::api_name::Api;
use crate::refusal::Refusal;
use crate::server::reply::Reply;
use crate::server::request::ApiRequest;
use crate::server::server_state::ServerState;
use crate::state::ShardId;

/// What a request is about: the parts of its path that are names.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Target<'a> {
    pub(crate) logstore: &'a str,
    /// Shard id, consumer group or processor id.
    pub(crate) item: &'a str,
}

impl Target<'_> {
    /// The shard in the path.
    pub(crate) fn shard(&self) -> Result<ShardId, Refusal> {
        self.item.parse().map_err(|_| Refusal::parameter("invalid shard id"))
    }
}

/// What every handler is given.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) target: Target<'a>,
    pub(crate) request: &'a ApiRequest,
    pub(crate) shared: &'a ServerState,
}

/// Finds the API a request calls.
pub(crate) fn route(request: &ApiRequest) -> Result<(Api, Target<'_>), Refusal> {
    let segments: Vec<&str> = request.segments().collect();
    let (get, post) = (request.method == Method::GET, request.method == Method::POST);
    let (put, delete) = (request.method == Method::PUT, request.method == Method::DELETE);
    let kind = request.params.get("type").or_else(|| request.params.get("action"));
    let (api, logstore, item) = match (segments.as_slice(), kind) {
        ([], _) if post => (Api::CreateProject, "", ""),
        ([], _) if delete => (Api::DeleteProject, "", ""),
        (["consumeprocessors", id], _) if put => (Api::PutConsumeProcessor, "", *id),
        (["consumeprocessors", id], _) if get => (Api::GetConsumeProcessor, "", *id),
        (["logstores"], _) if post => (Api::CreateLogstore, "", ""),
        (["logstores", logstore], _) if delete => (Api::DeleteLogstore, *logstore, ""),
        (["logstores", logstore], _) if post => (Api::PutLogs, *logstore, "lb"),
        (["logstores", logstore, "shards"], _) if get => (Api::ListShards, *logstore, ""),
        (["logstores", logstore, "shards", item], kind) => {
            let api = match kind {
                Some("cursor") if get => Api::GetCursor,
                Some("cursor_time") if get => Api::GetCursorTime,
                Some("log" | "logs") if get => Api::PullLogs,
                Some("split") if post => Api::SplitShard,
                Some("merge") if post => Api::MergeShards,
                _ if post && matches!(*item, "lb" | "route") => Api::PutLogs,
                _ => return Err(unknown(request)),
            };
            (api, *logstore, *item)
        }
        (["logstores", logstore, "consumergroups"], _) if get => {
            (Api::ListConsumerGroup, *logstore, "")
        }
        (["logstores", logstore, "consumergroups"], _) if post => {
            (Api::CreateConsumerGroup, *logstore, "")
        }
        (["logstores", logstore, "consumergroups", group], kind) => {
            let api = match kind {
                Some("heartbeat") if post => Api::HeartBeat,
                Some("checkpoint") if post => Api::UpdateCheckPoint,
                _ if get => Api::GetCheckPoint,
                _ if put => Api::UpdateConsumerGroup,
                _ if delete => Api::DeleteConsumerGroup,
                _ => return Err(unknown(request)),
            };
            (api, *logstore, *group)
        }
        _ => return Err(unknown(request)),
    };
    Ok((api, Target { logstore, item }))
}

/// Runs the handler of `api`.
pub(crate) async fn handle(api: Api, call: Call<'_>) -> Result<Reply, Refusal> {
    let Call { target, request, shared } = call;
    if !target.logstore.is_empty() {
        let now = shared.clock.now();
        shared.service().mention(&request.project, target.logstore, now);
    }
    match api {
        Api::ListShards => shards::list(call),
        Api::SplitShard => shards::split(call),
        Api::MergeShards => shards::merge(call),
        Api::GetCursor => cursors::get_cursor(call),
        Api::GetCursorTime => cursors::get_cursor_time(call),
        Api::PullLogs => pull_logs::pull(call).await,
        Api::PutLogs => put_logs::put(call),
        Api::ListConsumerGroup => consumer_groups::list(call),
        Api::CreateConsumerGroup => consumer_groups::create(call),
        Api::UpdateConsumerGroup => consumer_groups::update(call),
        Api::DeleteConsumerGroup => consumer_groups::delete(call),
        Api::HeartBeat => consumer_groups::heartbeat(call),
        Api::UpdateCheckPoint => checkpoints::update(call),
        Api::GetCheckPoint => checkpoints::get(call),
        Api::CreateProject => projects::create_project(call),
        Api::DeleteProject => projects::delete_project(call),
        Api::CreateLogstore => projects::create_logstore(call),
        Api::DeleteLogstore => projects::delete_logstore(call),
        Api::PutConsumeProcessor => projects::put_processor(call),
        Api::GetConsumeProcessor => projects::get_processor(call),
    }
}

fn unknown(request: &ApiRequest) -> Refusal {
    Refusal::method(format!("{} {} is no API served here", request.method, request.path))
}
