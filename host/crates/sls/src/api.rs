//! The service's calls, one file each: request, answer, what may go wrong.
//!
//! Every call is a method of [`Client`]. Bodies and answers are those of the API
//! reference; field names are the service's where they travel and ours where they do not.

mod create;
mod group;
mod list;
mod pull_logs;
mod put_logs;
mod shards;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::client::{Client, common_headers};
use crate::cursor::Cursor;
use crate::error::{CallTo, Error};
use crate::wire::BlockError;

pub use create::NewLogstore;
pub use group::{Checkpoint, Group};
use list::List;
pub use pull_logs::{Filter, MAX_COUNT, PullHead, PullRequest, PullResponse};
pub use put_logs::PutTarget;
pub use shards::{CursorFrom, Shard, ShardStatus};

/// Most bytes of a JSON answer.
const MAX_JSON: usize = 8 << 20;

/// Most shards that one consumer may be granted. Each costs a task, memory and requests; a logstore has some
/// hundreds at most.
const MAX_GRANTED: usize = 4096;

/// Most shards, consumer groups or checkpoints in one answer.
const MAX_LISTED: usize = 10_000;

/// Most bytes that are reserved because an answer announces them.
const MAX_RESERVE: usize = 4 << 20;

/// A request before it is signed.
pub(crate) struct Call {
    /// Name in the API reference.
    pub(crate) name: &'static str,
    /// The RAM permission it needs.
    pub(crate) action: &'static str,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) params: Vec<(&'static str, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Whether doing it twice does no harm.
    pub(crate) repeatable: bool,
}

impl Call {
    fn new(name: &'static str, action: &'static str, method: Method, path: String) -> Self {
        let (params, headers, body) = (Vec::new(), common_headers(0), Bytes::new());
        Self { name, action, method, path, params, headers, body, repeatable: true }
    }

    fn param(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.params.push((key, value.into()));
        self
    }

    fn header(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    fn json(self, body: &serde_json::Value) -> Self {
        let body = body.to_string();
        let size = body.len();
        self.body(body.into(), size, "application/json")
    }

    fn body(mut self, body: Bytes, raw_size: usize, content_type: &'static str) -> Self {
        self.headers.extend(common_headers(raw_size));
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.body = body;
        self
    }

    fn never_twice(self) -> Self {
        Self { repeatable: false, ..self }
    }
}

/// An answer with status 200 whose body has not been read.
pub(crate) struct Reply {
    call: CallTo,
    response: reqwest::Response,
    timeout: Duration,
}

impl Reply {
    pub(crate) fn new(call: CallTo, response: reqwest::Response, timeout: Duration) -> Self {
        Self { call, response, timeout }
    }

    /// A header's text; unreadable counts as garbled, which differs from absent.
    fn header(&self, name: &str) -> Result<Option<&str>, Error> {
        match self.response.headers().get(name).map(HeaderValue::to_str) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text.trim())),
            Some(Err(_)) => Err(self.malformed(format!("header `{name}` is not text"))),
        }
    }

    /// A header's number.
    fn number(&self, name: &str) -> Result<Option<u64>, Error> {
        let Some(text) = self.header(name)? else { return Ok(None) };
        let number = text.parse();
        number.map(Some).map_err(|_| {
            let shown: String = text.chars().take(40).collect();
            self.malformed(format!("header `{name}` is `{shown}`, not a number"))
        })
    }

    /// The call that is answered.
    fn call(&self) -> &CallTo {
        &self.call
    }

    fn unpackable(&self, source: BlockError) -> Error {
        Error::Block { call: self.call.clone(), source }
    }

    fn malformed(&self, fault: String) -> Error {
        Error::Malformed { call: self.call.clone(), fault }
    }

    /// The whole body, refused beyond `limit` bytes. Gives up after the call's time limit, which starts
    /// now: between headers and body the caller may have waited for memory.
    pub(crate) async fn bytes(mut self, limit: usize) -> Result<Bytes, Error> {
        let (call, after) = (self.call.clone(), self.timeout);
        timeout(after, self.collect(limit)).await.unwrap_or(Err(Error::TimedOut { call, after }))
    }

    async fn collect(&mut self, limit: usize) -> Result<Bytes, Error> {
        let announced = self.response.content_length().unwrap_or(0);
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        // Most answers come in one piece and need no copy.
        if first.len() as u64 == announced && first.len() <= limit {
            return Ok(first);
        }
        let room = usize::try_from(announced).unwrap_or(limit).min(limit).min(MAX_RESERVE);
        let mut body = BytesMut::with_capacity(room);
        let mut next = Some(first);
        while let Some(chunk) = next {
            if body.len().saturating_add(chunk.len()) > limit {
                return Err(self.malformed(format!("the body is longer than {limit} bytes")));
            }
            body.extend_from_slice(&chunk);
            next = self.chunk().await?;
        }
        Ok(body.freeze())
    }

    /// The first bytes of the body, as far as it can be read.
    pub(crate) async fn beginning(mut self, limit: usize) -> Bytes {
        let mut body = BytesMut::new();
        while let Ok(Some(chunk)) = self.chunk().await {
            let room = limit - body.len();
            body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
            if body.len() == limit {
                break;
            }
        }
        body.freeze()
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let chunk = self.response.chunk().await;
        let broken_off = |source: reqwest::Error| Error::BrokenOff {
            call: self.call.clone(),
            source: source.without_url(),
        };
        chunk.map_err(broken_off)
    }
}

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
