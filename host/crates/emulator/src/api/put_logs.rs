//! PutLogs: one log group, checked against the service's limits and stored as given.

use std::time::Duration;

use bytes::Bytes;
use forwarder_sls::wire::{Block, BlockError, Compression};
use hyper::header::CONTENT_TYPE;

use super::Call;
use crate::clock::Timestamp;
use crate::limits::Limits;
use crate::log_group::{EncodedGroup, Log, Malformed};
use crate::refusal::Refusal;
use crate::server::reply::Reply;
use crate::server::request::ApiRequest;
use crate::state::KeyRange;
use crate::state::logstore::Placement;

/// How far ahead of the service's clock a log may be.
const MAX_AHEAD: Duration = Duration::from_secs(15 * 60);

pub(super) fn put(Call { target, request, shared }: Call<'_>) -> Result<Reply, Refusal> {
    let placement = match target.item {
        "route" => {
            let key = request.params.require("key")?;
            let key = KeyRange::parse_key(key);
            Placement::Key(key.ok_or_else(|| Refusal::parameter("`key` is not 32 hex digits"))?)
        }
        _ => Placement::Balanced,
    };
    let now = shared.clock.now();
    let group = EncodedGroup::from_encoded(&unpack(request, &shared.limits)?).map_err(invalid)?;
    check(&group, &shared.limits, now)?;
    let mut service = shared.service();
    service.logstore_mut(&request.project, target.logstore)?.put(placement, group, now)?;
    Ok(Reply::ok())
}

fn unpack(request: &ApiRequest, limits: &Limits) -> Result<Bytes, Refusal> {
    let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
    if header(CONTENT_TYPE.as_str()) != Some("application/x-protobuf") {
        return Err(Refusal::new(415, "InvalidContentType", "send application/x-protobuf"));
    }
    let raw_size = header("x-log-bodyrawsize").ok_or_else(|| {
        Refusal::new(400, "MissingBodyRawSize", "the header x-log-bodyrawsize is missing")
    })?;
    let raw_size = raw_size.parse().map_err(|_| {
        let message = format!("x-log-bodyrawsize is {raw_size:?}, not a number of bytes");
        Refusal::new(400, "InvalidBodyRawSize", message)
    })?;
    let limit = limits.max_put_bytes as u64;
    let unpacked = Compression::from_header(header("x-log-compresstype"))
        .and_then(|compression| Block::new(request.body.clone(), compression, raw_size, limit))
        .and_then(|block| block.unpack());
    unpacked.map_err(|error| {
        let code = match error {
            BlockError::UnknownCompression(_) => "InvalidCompressType",
            BlockError::TooLarge { .. } => "PostBodyTooLarge",
            _ => "PostBodyUncompressError",
        };
        Refusal::new(400, code, error.to_string())
    })
}

fn check(group: &EncodedGroup, limits: &Limits, now: Timestamp) -> Result<(), Refusal> {
    if group.log_count() > limits.max_put_logs {
        let message = format!("{} logs, at most {}", group.log_count(), limits.max_put_logs);
        return Err(Refusal::new(400, "PostBodyTooLarge", message));
    }
    for log in group.logs() {
        check_log(&log, limits)?;
        let time = Timestamp::from_seconds(u64::from(log.time()));
        let too_old = limits.max_log_age.is_some_and(|age| now.since(time) > age);
        if too_old || time.since(now) > MAX_AHEAD {
            let message = format!("the time {} of a log is too far from now", log.time());
            return Err(Refusal::new(400, "PostBodyInvalid", message));
        }
    }
    Ok(())
}

fn check_log(log: &Log<'_>, limits: &Limits) -> Result<(), Refusal> {
    let mut size = 0;
    for content in log.contents() {
        let (key, value) = content.map_err(invalid)?;
        if key.is_empty() || key.len() > limits.max_key_bytes {
            let message = format!("keys have 1 to {} bytes", limits.max_key_bytes);
            return Err(Refusal::new(400, "InvalidKey", message));
        }
        size += key.len() + value.len();
    }
    if size > limits.max_log_bytes {
        let message = format!("a log of {size} bytes, at most {}", limits.max_log_bytes);
        return Err(Refusal::new(400, "PostBodyTooLarge", message));
    }
    Ok(())
}

fn invalid(malformed: Malformed) -> Refusal {
    Refusal::new(400, "PostBodyInvalid", malformed.to_string())
}
