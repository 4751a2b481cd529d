//! Consumer groups: create, update, delete, list, heartbeat.
//!
//! Mind the names: a group is `consumerGroup` when written and `name` when listed. Lists and
//! heartbeats are bare JSON arrays.

use std::collections::BTreeSet;
use std::time::Duration;

use forwarder_sls::GroupName;
use serde::{Deserialize, Serialize};

use super::{Call, Target};
use crate::refusal::Refusal;
use crate::server::reply::Reply;
use crate::server::request::ApiRequest;
use crate::state::consumer_group::{ConsumerGroup, GroupOptions};
use crate::state::{Service, ShardId};

#[derive(Serialize)]
struct GroupView<'a> {
    name: &'a str,
    timeout: u64,
    order: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateGroup {
    consumer_group: String,
    timeout: u64,
    #[serde(default)]
    order: bool,
}

#[derive(Deserialize)]
struct UpdateGroup {
    timeout: Option<u64>,
    order: Option<bool>,
}

pub(super) fn list(Call { target, request, shared }: Call<'_>) -> Result<Reply, Refusal> {
    let service = shared.service();
    let logstore = service.logstore(&request.project, target.logstore)?;
    let view = |(name, group): (_, &ConsumerGroup)| {
        let GroupOptions { timeout, order } = group.options();
        GroupView { name, timeout: timeout.as_secs(), order }
    };
    Ok(Reply::json(&logstore.groups().map(view).collect::<Vec<_>>()))
}

pub(super) fn create(Call { target, request, shared }: Call<'_>) -> Result<Reply, Refusal> {
    let CreateGroup { consumer_group, timeout, order } = request.json()?;
    let options = GroupOptions { timeout: checked_timeout(timeout)?, order };
    let mut service = shared.service();
    let logstore = service.logstore_mut(&request.project, target.logstore)?;
    logstore.create_group(&consumer_group, options)?;
    Ok(Reply::ok())
}

pub(super) fn update(Call { target, request, shared }: Call<'_>) -> Result<Reply, Refusal> {
    let change: UpdateGroup = request.json()?;
    let mut service = shared.service();
    let group = group_mut(&mut service, request, target)?;
    let mut options = group.options();
    if let Some(timeout) = change.timeout {
        options.timeout = checked_timeout(timeout)?;
    }
    options.order = change.order.unwrap_or(options.order);
    group.update(options);
    Ok(Reply::ok())
}

pub(super) fn delete(Call { target, request, shared }: Call<'_>) -> Result<Reply, Refusal> {
    let mut service = shared.service();
    service.logstore_mut(&request.project, target.logstore)?.delete_group(target.item)?;
    Ok(Reply::ok())
}

pub(super) fn heartbeat(Call { target, request, shared }: Call<'_>) -> Result<Reply, Refusal> {
    let consumer = request.params.require("consumer")?;
    if consumer.is_empty() {
        return Err(Refusal::parameter("`consumer` is empty"));
    }
    let reported: BTreeSet<ShardId> = request.json()?;
    let mut service = shared.service();
    let group = group_mut(&mut service, request, target)?;
    let held = group.heartbeat(consumer, &reported, shared.clock.now())?;
    Ok(Reply::json(&held))
}

/// The group in the path. A name that no group can have is answered as the service does: with a 405
/// that says little, which is why clients had better check it themselves.
pub(super) fn group_mut<'a>(
    service: &'a mut Service,
    request: &ApiRequest,
    target: Target<'_>,
) -> Result<&'a mut ConsumerGroup, Refusal> {
    if GroupName::try_from(target.item).is_err() {
        return Err(Refusal::method(format!("{:?} names no consumer group", target.item)));
    }
    service.logstore_mut(&request.project, target.logstore)?.group_mut(target.item)
}

fn checked_timeout(seconds: u64) -> Result<Duration, Refusal> {
    if seconds == 0 {
        return Err(Refusal::parameter("`timeout` is a positive number of seconds"));
    }
    Ok(Duration::from_secs(seconds))
}
