//! A request before it is signed, and an answer before its body is read.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use tokio::time::timeout;

use crate::error::{CallTo, Error};
use crate::sign;
use crate::wire::BlockError;

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
}

impl Call {
    pub(crate) fn new(
        name: &'static str,
        action: &'static str,
        method: Method,
        path: String,
    ) -> Self {
        let (params, headers, body) = (Vec::new(), common_headers(0), Bytes::new());
        Self { name, action, method, path, params, headers, body }
    }

    pub(crate) fn param(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.params.push((key, value.into()));
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(crate) fn json(mut self, body: &serde_json::Value) -> Self {
        let body = body.to_string();
        self.headers.extend(common_headers(body.len()));
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.body = body.into();
        self
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
    pub(crate) fn header(&self, name: &str) -> Result<Option<&str>, Error> {
        match self.response.headers().get(name).map(HeaderValue::to_str) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text.trim())),
            Some(Err(_)) => Err(self.malformed(format!("header `{name}` is not text"))),
        }
    }

    /// A header's number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Error> {
        let Some(text) = self.header(name)? else { return Ok(None) };
        let number = text.parse();
        number.map(Some).map_err(|_| {
            let shown: String = text.chars().take(40).collect();
            self.malformed(format!("header `{name}` is `{shown}`, not a number"))
        })
    }

    /// The call that is answered.
    pub(crate) fn call(&self) -> &CallTo {
        &self.call
    }

    pub(crate) fn unpackable(&self, source: BlockError) -> Error {
        Error::Block { call: self.call.clone(), source }
    }

    pub(crate) fn malformed(&self, fault: String) -> Error {
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

/// Headers every call carries, whatever it does.
fn common_headers(raw_size: usize) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("x-log-apiversion", HeaderValue::from_static(sign::API_VERSION));
    headers.insert("x-log-bodyrawsize", HeaderValue::from(raw_size));
    headers
}
