//! The service's error codes, read in every spelling that occurs.

use std::fmt;

use serde::de::IntoDeserializer as _;
use serde::de::value::Error as Unknown;
use serde::{Deserialize, Serialize};

/// Most characters of an unknown code that are kept.
const MAX_CODE: usize = 128;

/// The `errorCode` of a refusal, as far as it makes a difference here. Two spellings of some codes occur in the wild;
/// both are the same code here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The project does not exist in this region.
    #[serde(alias = "ProjectNotExists")]
    ProjectNotExist,
    /// The logstore does not exist in the project.
    #[serde(alias = "LogstoreNotExist")]
    LogStoreNotExist,
    /// The logstore has no shard yet.
    LogStoreWithoutShard,
    /// The shard is gone.
    #[serde(alias = "ShardNotExsit")]
    ShardNotExist,
    /// The cursor lies outside of what is stored; also the code of an expired one.
    InvalidCursor,
    /// The group exists already.
    ConsumerGroupAlreadyExist,
    /// The group was never made, or was deleted.
    ConsumerGroupNotExist,
    /// A heartbeat that reports shards came from a consumer that has expired.
    NotExistConsumerWithBody,
    /// The consumer has expired.
    #[serde(alias = "ConsumerNotExsit")]
    ConsumerNotExist,
    /// The shard belongs to another consumer by now.
    ConsumerNotMatch,
    /// A parameter the service does not take.
    #[serde(alias = "InvalidParameter")]
    ParameterInvalid,
    /// Our clock and the service's differ by more than 15 minutes.
    #[serde(alias = "RequestTimeExpired", alias = "InvalidRequestTime")]
    RequestTimeTooSkewed,
    /// The signature is not what the service computes.
    SignatureNotMatch,
    /// The key is known but may not do this, or is not valid here.
    Unauthorized,
    /// The key is unknown or disabled.
    #[serde(alias = "InvalidAccessKeyId.NotFound")]
    InvalidAccessKeyId,
    /// The temporary key has expired.
    #[serde(alias = "SecurityToken.Expired")]
    SecurityTokenExpired,
    /// The account may not use the project.
    ProjectForbidden,
    /// The method or path means nothing; usually a bad name.
    InvalidMethod,
    /// The service failed.
    InternalServerError,
    /// The service is overloaded.
    ServerBusy,
    /// The service gave up waiting.
    RequestTimeout,
    /// Any other code, or none at all (an HTML page from a proxy).
    #[serde(untagged)]
    Other(Box<str>),
}

impl ErrorCode {
    /// Reads a code; never fails, since the list of the service grows.
    pub(crate) fn parse(text: &str) -> Self {
        if contains_ignoring_case(text, "invalidcursor") {
            return Self::InvalidCursor;
        }
        let text: Box<str> = text.chars().take(MAX_CODE).collect();
        let read: Result<Self, Unknown> = Self::deserialize((&*text).into_deserializer());
        read.unwrap_or(Self::Other(text))
    }

    /// Whether the code speaks of a limit of reading, writing or counting.
    pub(crate) fn is_quota(&self) -> bool {
        matches!(self, Self::Other(text) if contains_ignoring_case(text, "quota"))
    }
}

/// Writes the usual spelling.
impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

pub(super) fn contains_ignoring_case(text: &str, lower: &str) -> bool {
    text.to_ascii_lowercase().contains(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_one_code() {
        for (one, other) in [
            ("ConsumerNotExist", "ConsumerNotExsit"),
            ("ShardNotExist", "ShardNotExsit"),
            ("ProjectNotExist", "ProjectNotExists"),
            ("SecurityTokenExpired", "SecurityToken.Expired"),
        ] {
            assert_eq!(ErrorCode::parse(one), ErrorCode::parse(other));
            assert_eq!(ErrorCode::parse(other).to_string(), one);
        }
    }

    #[test]
    fn an_invalid_cursor_is_known_by_containment() {
        for text in ["InvalidCursor", "SLSInvalidCursor", "logs_INVALIDCURSOR_x"] {
            assert_eq!(ErrorCode::parse(text), ErrorCode::InvalidCursor);
        }
    }

    #[test]
    fn an_unknown_quota_is_still_a_quota() {
        for text in ["ExceedConsumerGroupQuota", "ShardReadQuotaExceed"] {
            assert!(ErrorCode::parse(text).is_quota());
            assert_eq!(ErrorCode::parse(text).to_string(), text);
        }
        assert!(!ErrorCode::parse("SomethingNew").is_quota());
    }
}
