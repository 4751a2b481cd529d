//! Projects, logstores and consume processors: create, delete, read.

use serde::Deserialize;
use serde_json::json;

use super::Call;
use crate::refusal::Refusal;
use crate::server::reply::Reply;
use crate::spl::Query;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateProject {
    project_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateLogstore {
    logstore_name: String,
    #[serde(default = "two_shards")]
    shard_count: u32,
}

#[derive(Deserialize)]
struct PutProcessor {
    configuration: ProcessorConfiguration,
}

#[derive(Deserialize)]
struct ProcessorConfiguration {
    spl: String,
}

/// What the official clients send when nothing is said.
const fn two_shards() -> u32 {
    2
}

pub(super) fn create_project(Call { request, shared, .. }: Call<'_>) -> Result<Reply, Refusal> {
    let CreateProject { project_name } = request.json()?;
    if project_name != request.project {
        return Err(Refusal::parameter("the host names another project than the body"));
    }
    shared.service().create_project(&project_name)?;
    Ok(Reply::ok())
}

pub(super) fn delete_project(Call { request, shared, .. }: Call<'_>) -> Result<Reply, Refusal> {
    shared.service().delete_project(&request.project)?;
    Ok(Reply::ok())
}

pub(super) fn create_logstore(Call { request, shared, .. }: Call<'_>) -> Result<Reply, Refusal> {
    let CreateLogstore { logstore_name, shard_count } = request.json()?;
    if !(1..=256).contains(&shard_count) {
        return Err(Refusal::parameter("`shardCount` lies between 1 and 256"));
    }
    let now = shared.clock.now();
    shared.service().create_logstore(&request.project, &logstore_name, shard_count, now)?;
    Ok(Reply::ok())
}

pub(super) fn delete_logstore(
    Call { target, request, shared }: Call<'_>,
) -> Result<Reply, Refusal> {
    shared.service().delete_logstore(&request.project, target.logstore)?;
    Ok(Reply::ok())
}

pub(super) fn put_processor(Call { target, request, shared }: Call<'_>) -> Result<Reply, Refusal> {
    let PutProcessor { configuration } = request.json()?;
    Query::parse(&configuration.spl)?;
    shared.service().set_processor(&request.project, target.item, &configuration.spl)?;
    Ok(Reply::ok())
}

pub(super) fn get_processor(Call { target, request, shared }: Call<'_>) -> Result<Reply, Refusal> {
    let service = shared.service();
    let spl = service.project(&request.project)?.processor(target.item).ok_or_else(|| {
        let message = format!("consume processor {} does not exist", target.item);
        Refusal::new(404, "ConsumeProcessorNotExist", message)
    })?;
    let view = json!({ "processorName": target.item, "configuration": { "spl": spl } });
    Ok(Reply::json(&view))
}
