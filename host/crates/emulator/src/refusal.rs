//! What the service answers when it does not do as asked.
//!
//! One type for every API: an HTTP status, one of the service's error codes, and a sentence for the
//! person at the other end. Codes and statuses follow the service's published tables; where no
//! source names one, the constructor says that the choice is ours.

/// A refused request, as it appears on the wire: `{"errorCode": …, "errorMessage": …}` and a status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code} (HTTP {status}): {message}")]
pub struct Refusal {
    /// The HTTP status; never 200.
    pub status: u16,
    /// The `errorCode`.
    pub code: &'static str,
    /// The `errorMessage`.
    pub message: String,
}

impl Refusal {
    /// A refusal with a status, a code and an explanation.
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// A parameter is missing or outside its range.
    pub(crate) fn parameter(message: impl Into<String>) -> Self {
        Self::new(400, "ParameterInvalid", message)
    }

    /// A JSON body lacks a key or holds the wrong type.
    pub(crate) fn json(message: impl Into<String>) -> Self {
        Self::new(400, "JsonInfoInvalid", message)
    }

    /// The text is not a cursor, has been trimmed, or lies beyond the end.
    pub(crate) fn cursor(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidCursor", message)
    }

    /// No such project.
    pub(crate) fn no_project(name: &str) -> Self {
        Self::new(404, "ProjectNotExist", format!("project {name} does not exist"))
    }

    /// No such logstore.
    pub(crate) fn no_logstore(name: &str) -> Self {
        Self::new(404, "LogStoreNotExist", format!("logstore {name} does not exist"))
    }

    /// No such shard. Published tables say 400 here and 404 there; we answer 404.
    pub(crate) fn no_shard(shard: u32) -> Self {
        Self::new(404, "ShardNotExist", format!("shard {shard} does not exist"))
    }

    /// No such consumer group.
    pub(crate) fn no_group(name: &str) -> Self {
        Self::new(404, "ConsumerGroupNotExist", format!("consumer group {name} does not exist"))
    }

    /// The path and method name no API we serve.
    pub(crate) fn method(message: impl Into<String>) -> Self {
        Self::new(405, "InvalidMethod", message)
    }
}
