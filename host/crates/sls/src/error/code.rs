//! The service's error codes, read in every spelling that occurs.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal $(| $other:literal)*;)*) => {
        /// The `errorCode` of a refusal. Two spellings of some codes occur in the wild; both are the
        /// same code here.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
            /// A code this list does not have, or none at all (an HTML page from a proxy).
            Other(Box<str>),
        }

        impl ErrorCode {
            /// Reads a code; never fails, since the list of the service grows.
            pub fn parse(text: &str) -> Self {
                match text {
                    $($text $(| $other)* => Self::$name,)*
                    other if contains_ignoring_case(other, "invalidcursor") => Self::InvalidCursor,
                    other => Self::Other(other.chars().take(128).collect()),
                }
            }

            /// The usual spelling.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Other(text) => text,
                }
            }
        }
    };
}

codes! {
    /// The project does not exist in this region.
    ProjectNotExist = "ProjectNotExist" | "ProjectNotExists";
    /// The project exists already.
    ProjectAlreadyExist = "ProjectAlreadyExist";
    /// The logstore does not exist in the project.
    LogStoreNotExist = "LogStoreNotExist" | "LogstoreNotExist";
    /// The logstore exists already.
    LogStoreAlreadyExist = "LogStoreAlreadyExist" | "LogstoreAlreadyExist";
    /// The logstore has no shard yet.
    LogStoreWithoutShard = "LogStoreWithoutShard";
    /// The shard is gone.
    ShardNotExist = "ShardNotExist" | "ShardNotExsit";
    /// The cursor lies outside of what is stored; also the code of an expired one.
    InvalidCursor = "InvalidCursor" | "SLSInvalidCursor";
    /// A checkpoint that is not base64.
    InvalidShardCheckPoint = "InvalidShardCheckPoint";
    /// The group exists already.
    ConsumerGroupAlreadyExist = "ConsumerGroupAlreadyExist";
    /// The group was never made, or was deleted.
    ConsumerGroupNotExist = "ConsumerGroupNotExist";
    /// A heartbeat that reports shards came from a consumer that has expired.
    NotExistConsumerWithBody = "NotExistConsumerWithBody";
    /// The consumer has expired.
    ConsumerNotExist = "ConsumerNotExist" | "ConsumerNotExsit";
    /// The shard belongs to another consumer by now.
    ConsumerNotMatch = "ConsumerNotMatch";
    /// A parameter the service does not take.
    ParameterInvalid = "ParameterInvalid" | "InvalidParameter";
    /// A JSON body the service does not take.
    JsonInfoInvalid = "JsonInfoInvalid";
    /// Logs the service does not take.
    PostBodyInvalid = "PostBodyInvalid";
    /// More logs than one request may carry.
    PostBodyTooLarge = "PostBodyTooLarge";
    /// A body that does not unpack.
    PostBodyUncompressError = "PostBodyUncompressError";
    /// Text that is not UTF-8.
    InvalidEncoding = "InvalidEncoding";
    /// A log's time is outside of what is accepted.
    InvalidTimestamp = "InvalidTimestamp";
    /// Our clock and the service's differ by more than 15 minutes.
    RequestTimeTooSkewed = "RequestTimeTooSkewed" | "RequestTimeExpired" | "InvalidRequestTime";
    /// The signature is not what the service computes.
    SignatureNotMatch = "SignatureNotMatch";
    /// The key is known but may not do this, or is not valid here.
    Unauthorized = "Unauthorized";
    /// The key is unknown or disabled.
    InvalidAccessKeyId = "InvalidAccessKeyId" | "InvalidAccessKeyId.NotFound";
    /// The temporary key has expired.
    SecurityTokenExpired = "SecurityTokenExpired" | "SecurityToken.Expired";
    /// The account may not use the project.
    ProjectForbidden = "ProjectForbidden";
    /// The project reads too much.
    ReadQuotaExceed = "ReadQuotaExceed";
    /// The shard is read too much.
    ShardReadQuotaExceed = "ShardReadQuotaExceed";
    /// The project writes too much.
    WriteQuotaExceed = "WriteQuotaExceed";
    /// The shard is written too much.
    ShardWriteQuotaExceed = "ShardWriteQuotaExceed";
    /// The logstore has as many consumer groups as it may have. The spelling is not documented.
    ConsumerGroupQuotaExceed = "ConsumerGroupQuotaExceed";
    /// The method or path means nothing; usually a bad name.
    InvalidMethod = "InvalidMethod";
    /// The service failed.
    InternalServerError = "InternalServerError";
    /// The service is overloaded.
    ServerBusy = "ServerBusy";
    /// The service gave up waiting.
    RequestTimeout = "RequestTimeout";
}

impl ErrorCode {
    /// Whether the code speaks of a limit of reading, writing or counting.
    pub fn is_quota(&self) -> bool {
        contains_ignoring_case(self.as_str(), "quota")
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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
            assert_eq!(ErrorCode::parse(other).as_str(), one);
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
        assert!(ErrorCode::parse("ExceedConsumerGroupQuota").is_quota());
        assert!(!ErrorCode::parse("SomethingNew").is_quota());
    }
}
