//! ListShards, SplitShard, GetCursor, GetCursorTime.

use std::fmt;

use http::Method;
use serde::Deserialize;

use super::{MAX_LISTED, cursor};
use crate::call::Call;
use crate::client::Client;
use crate::cursor::Cursor;
use crate::error::Error;
use crate::names::LogstoreName;

/// One shard of a logstore.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Shard {
    /// Unique within the logstore; ids only grow.
    #[serde(rename = "shardID")]
    pub id: u32,
    /// Whether it still takes logs.
    pub status: ShardStatus,
    /// First hash of its range, 32 hexadecimal digits.
    #[serde(rename = "inclusiveBeginKey", default)]
    pub begin_key: String,
    /// First hash behind its range, 32 hexadecimal digits.
    #[serde(rename = "exclusiveEndKey", default)]
    pub end_key: String,
    /// Seconds since the epoch.
    #[serde(rename = "createTime", default)]
    pub created: i64,
}

/// Whether a shard takes logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ShardStatus {
    /// It does.
    ReadWrite,
    /// It was split or merged; what it holds can be read until it expires.
    ReadOnly,
    /// A status this library does not know.
    #[serde(other)]
    Unknown,
}

/// Where GetCursor should point to. Times are those at which the service *received* the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CursorFrom {
    /// The oldest logs still stored.
    Begin,
    /// Behind the newest: where the next write will land.
    End,
    /// The first logs received at or after this many seconds since the epoch.
    Time(i64),
}

impl fmt::Display for CursorFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin => f.write_str("begin"),
            Self::End => f.write_str("end"),
            Self::Time(seconds) => write!(f, "{seconds}"),
        }
    }
}

#[derive(Deserialize)]
struct CursorAnswer {
    cursor: String,
}

#[derive(Deserialize)]
struct CursorTimeAnswer {
    cursor_time: i64,
}

impl Client {
    /// The shards of a logstore. Safe to repeat.
    ///
    /// # Errors
    ///
    /// Refused with `LogStoreNotExist`, `LogStoreWithoutShard`, or anything common to all calls.
    pub async fn list_shards(&self, logstore: &LogstoreName) -> Result<Vec<Shard>, Error> {
        let path = format!("/logstores/{logstore}/shards");
        let call = Call::new("ListShards", "log:ListShards", Method::GET, path);
        self.fetch_list::<_, MAX_LISTED>(&call).await
    }

    /// A position in a shard. Safe to repeat.
    ///
    /// # Errors
    ///
    /// Refused with `ShardNotExist` or `LogStoreNotExist`.
    pub async fn get_cursor(
        &self,
        logstore: &LogstoreName,
        shard: u32,
        from: CursorFrom,
    ) -> Result<Cursor, Error> {
        let call = shard_call("GetCursor", logstore, shard)
            .param("type", "cursor")
            .param("from", from.to_string());
        let answer: CursorAnswer = self.fetch_json(&call).await?;
        cursor(self.call_to(call.name), &answer.cursor)
    }

    /// When the service received the logs *at* a cursor, in seconds since the epoch. There is no such
    /// time at the end of a shard. Safe to repeat.
    ///
    /// # Errors
    ///
    /// Refused with `InvalidCursor` where nothing is stored at the cursor.
    pub async fn get_cursor_time(
        &self,
        logstore: &LogstoreName,
        shard: u32,
        cursor: &Cursor,
    ) -> Result<i64, Error> {
        let call = shard_call("GetCursorTime", logstore, shard)
            .param("type", "cursor_time")
            .param("cursor", cursor.as_str());
        let answer: CursorTimeAnswer = self.fetch_json(&call).await?;
        Ok(answer.cursor_time)
    }
}

/// Reading from a shard; one permission covers all of it.
pub(super) fn shard_call(name: &'static str, logstore: &LogstoreName, shard: u32) -> Call {
    let path = format!("/logstores/{logstore}/shards/{shard}");
    Call::new(name, "log:GetCursorOrData", Method::GET, path)
}
