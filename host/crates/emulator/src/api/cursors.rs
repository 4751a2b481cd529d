//! GetCursor and GetCursorTime.

use serde_json::json;

use super::Call;
use crate::refusal::Refusal;
use crate::server::reply::Reply;
use crate::state::cursor::Cursor;
use crate::state::shard::StartAt;

pub(super) fn get_cursor(Call { target, request, shared }: Call<'_>) -> Result<Reply, Refusal> {
    let start = match request.params.require("from")? {
        "begin" => StartAt::Begin,
        "end" => StartAt::End,
        seconds => StartAt::Received(seconds.parse().map_err(|_| {
            Refusal::parameter(format!("`from` is begin, end or Unix seconds, not {seconds:?}"))
        })?),
    };
    let service = shared.service();
    let shard = service.logstore(&request.project, target.logstore)?.shard(target.shard()?)?;
    Ok(Reply::json(&json!({ "cursor": shard.cursor_for(start).to_string() })))
}

pub(super) fn get_cursor_time(
    Call { target, request, shared }: Call<'_>,
) -> Result<Reply, Refusal> {
    let cursor = parse(request.params.require("cursor")?)?;
    let service = shared.service();
    let shard = service.logstore(&request.project, target.logstore)?.shard(target.shard()?)?;
    Ok(Reply::json(&json!({ "cursor_time": shard.received_at(cursor)? })))
}

/// Reads a cursor a client sent.
pub(super) fn parse(text: &str) -> Result<Cursor, Refusal> {
    Cursor::parse(text).ok_or_else(|| Refusal::cursor(format!("{text:?} is not a cursor")))
}
