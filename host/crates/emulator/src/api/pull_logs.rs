//! PullLogs: the hot path of the emulator.
//!
//! Stored groups are only joined and compressed, and the result is kept (see [`crate::blocks`]), so
//! that a corpus pulled again costs little compared with the program under test.

use hyper::header::ACCEPT_ENCODING;

use super::Call;
use super::cursors::parse;
use crate::blocks::BlockCompression;
use crate::log_group::EncodedGroup;
use crate::refusal::Refusal;
use crate::server::reply::Reply;
use crate::server::request::ApiRequest;
use crate::server::server_state::ServerState;
use crate::spl::Query;
use crate::state::Service;
use crate::state::shard::{PullBounds, Pulled};

/// The most groups one request may ask for, and what it gets without asking.
pub(crate) const MAX_COUNT: usize = 1000;

pub(super) async fn pull(Call { target, request, shared }: Call<'_>) -> Result<Reply, Refusal> {
    let cursor = parse(request.params.require("cursor")?)?;
    let bounds = PullBounds {
        groups: count(request.params.get("count"))?,
        bytes: shared.limits.max_pull_bytes,
        end: request.params.get("end_cursor").map(parse).transpose()?,
    };
    let (mut pulled, query) = {
        let service = shared.service();
        let shard = service.logstore(&request.project, target.logstore)?.shard(target.shard()?)?;
        (shard.pull(cursor, bounds, shared.clock.now())?, query(request, &service)?)
    };
    shared.count_pull(&pulled);
    let Some(query) = query else {
        let groups = std::mem::take(&mut pulled.groups);
        let reply = block(request, shared, groups).await;
        return Ok(with_cursors(reply, &pulled));
    };
    let kept: Vec<_> = pulled.groups.iter().filter_map(|group| query.filter(group)).collect();
    let lines_kept = lines(&kept);
    let reply = block(request, shared, kept).await;
    Ok(with_cursors(with_scan(reply, &pulled.groups, lines_kept), &pulled))
}

fn count(text: Option<&str>) -> Result<usize, Refusal> {
    match text.map(str::parse) {
        None => Ok(MAX_COUNT),
        Some(Ok(count @ 1..=MAX_COUNT)) => Ok(count),
        Some(_) => Err(Refusal::parameter("Invalid loggroup count, (0,1000]")),
    }
}

/// The query in the request, or the one its consume processor stands for.
fn query(request: &ApiRequest, service: &Service) -> Result<Option<Query>, Refusal> {
    let given = |name| request.params.get(name).filter(|text| !text.is_empty());
    let text = match (given("processor"), given("query")) {
        (None, None) => return Ok(None),
        (None, Some(text)) => text,
        (Some(id), _) => {
            let found = service.project(&request.project)?.processor(id);
            found.ok_or_else(|| Refusal::parameter(format!("no consume processor {id}")))?
        }
    };
    Query::parse(text).map(Some)
}

/// The body and the headers that describe it.
async fn block(request: &ApiRequest, shared: &ServerState, groups: Vec<EncodedGroup>) -> Reply {
    // The service's page names lz4 as the only encoding; a request for another gets plain bytes.
    let accepted = request.headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let lz4 = accepted.is_some_and(|names| names.split(',').any(|name| name.trim() == "lz4"));
    let compression = if lz4 { BlockCompression::Lz4 } else { BlockCompression::Plain };
    let count = groups.len();
    let block = shared.blocks.get(groups, compression).await;
    let mut reply = Reply::protobuf(block.body);
    reply.header("x-log-count", count);
    reply.header("x-log-bodyrawsize", block.raw_size);
    if compression == BlockCompression::Lz4 && block.raw_size > 0 {
        reply.header("x-log-compresstype", "lz4");
    }
    reply
}

fn with_cursors(mut reply: Reply, pulled: &Pulled) -> Reply {
    reply.header("x-log-cursor", pulled.next);
    reply.header("x-log-cursor-time", pulled.received);
    reply.header("x-log-read-last-cursor", pulled.next.number().saturating_sub(1));
    if pulled.at_end {
        reply.header("x-log-end-of-cursor", 1);
    }
    reply
}

/// What a query saw before it filtered, and how many logs it let through.
fn with_scan(mut reply: Reply, scanned: &[EncodedGroup], lines_kept: usize) -> Reply {
    let bytes: usize = scanned.iter().map(|group| group.entry().len()).sum();
    reply.header("x-log-rawdatasize", bytes);
    reply.header("x-log-rawdatacount", scanned.len());
    reply.header("x-log-rawdatalines", lines(scanned));
    reply.header("x-log-resultlines", lines_kept);
    reply.header("x-log-failedlines", 0);
    reply
}

fn lines(groups: &[EncodedGroup]) -> usize {
    groups.iter().map(EncodedGroup::log_count).sum()
}
