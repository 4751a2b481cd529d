//! The service's calls, one file each: request, answer, what may go wrong.
//!
//! Every call is a method of [`Client`]. Bodies and answers are those of the API
//! reference; field names are the service's where they travel and ours where they do not.

mod group;
mod list;
mod pull_logs;
mod shards;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::call::Call;
use crate::client::Client;
use crate::cursor::Cursor;
use crate::error::{CallTo, Error};

pub use group::{Checkpoint, Group};
use list::List;
pub(crate) use pull_logs::Movement;
pub use pull_logs::{Filter, MAX_COUNT, PullHead, PullRequest, PullResponse};
pub use shards::{CursorFrom, Shard, ShardStatus};

/// Most bytes of a JSON answer.
const MAX_JSON: usize = 8 << 20;

/// Most shards that one consumer may be granted. Each costs a task, memory and requests; a logstore has some
/// hundreds at most.
const MAX_GRANTED: usize = 4096;

/// Most shards, consumer groups or checkpoints in one answer.
const MAX_LISTED: usize = 10_000;

impl Client {
    /// Sends a call whose answer is JSON.
    async fn fetch_json<T: DeserializeOwned>(&self, call: &Call) -> Result<T, Error> {
        let read = |body: Bytes| {
            serde_json::from_slice(&body).map_err(|error| Error::Malformed {
                call: self.call_to(call.name),
                fault: format!("unexpected JSON: {error}"),
            })
        };
        self.fetch(call, MAX_JSON, read).await
    }

    /// Sends a call whose answer is a JSON list.
    async fn fetch_list<T: DeserializeOwned, const MAX: usize>(
        &self,
        call: &Call,
    ) -> Result<Vec<T>, Error> {
        self.fetch_json::<List<T, MAX>>(call).await.map(|list| list.0)
    }

    /// Sends a call whose answer says nothing but "done".
    async fn fetch_nothing(&self, call: &Call) -> Result<(), Error> {
        self.fetch(call, MAX_JSON, |_| Ok(())).await
    }
}

/// A cursor out of an answer.
fn cursor(call: CallTo, text: &str) -> Result<Cursor, Error> {
    Cursor::new(text)
        .map_err(|error| Error::Malformed { call, fault: format!("not a cursor: {error}") })
}
