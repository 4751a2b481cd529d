//! The service's error codes, read in every spelling that occurs.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $status:literal $text:literal $(| $other:literal)*;)*) => {
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

            /// The HTTP status the service usually sends with this code. For servers; clients must
            /// judge by the code, because the status is not always documented.
            pub fn usual_status(&self) -> u16 {
                match self {
                    $(Self::$name => $status,)*
                    Self::Other(_) => 500,
                }
            }
        }
    };
}

codes! {
    /// The project does not exist in this region.
    ProjectNotExist = 404 "ProjectNotExist" | "ProjectNotExists";
    /// The project exists already.
    ProjectAlreadyExist = 400 "ProjectAlreadyExist";
    /// The logstore does not exist in the project.
    LogStoreNotExist = 404 "LogStoreNotExist" | "LogstoreNotExist";
    /// The logstore exists already.
    LogStoreAlreadyExist = 400 "LogStoreAlreadyExist" | "LogstoreAlreadyExist";
    /// The logstore has no shard yet.
    LogStoreWithoutShard = 400 "LogStoreWithoutShard";
    /// The shard is gone.
    ShardNotExist = 404 "ShardNotExist" | "ShardNotExsit";
    /// The cursor lies outside of what is stored; also the code of an expired one.
    InvalidCursor = 400 "InvalidCursor" | "SLSInvalidCursor";
    /// A checkpoint that is not base64.
    InvalidShardCheckPoint = 400 "InvalidShardCheckPoint";
    /// The group exists already.
    ConsumerGroupAlreadyExist = 400 "ConsumerGroupAlreadyExist";
    /// The group was never made, or was deleted.
    ConsumerGroupNotExist = 404 "ConsumerGroupNotExist";
    /// A heartbeat that reports shards came from a consumer that has expired.
    NotExistConsumerWithBody = 400 "NotExistConsumerWithBody";
    /// The consumer has expired.
    ConsumerNotExist = 404 "ConsumerNotExist" | "ConsumerNotExsit";
    /// The shard belongs to another consumer by now.
    ConsumerNotMatch = 400 "ConsumerNotMatch";
    /// A parameter the service does not take.
    ParameterInvalid = 400 "ParameterInvalid" | "InvalidParameter";
    /// A JSON body the service does not take.
    JsonInfoInvalid = 400 "JsonInfoInvalid";
    /// Logs the service does not take.
    PostBodyInvalid = 400 "PostBodyInvalid";
    /// More logs than one request may carry.
    PostBodyTooLarge = 400 "PostBodyTooLarge";
    /// A body that does not unpack.
    PostBodyUncompressError = 400 "PostBodyUncompressError";
    /// Text that is not UTF-8.
    InvalidEncoding = 400 "InvalidEncoding";
    /// A log's time is outside of what is accepted.
    InvalidTimestamp = 400 "InvalidTimestamp";
    /// Our clock and the service's differ by more than 15 minutes.
    RequestTimeTooSkewed = 400 "RequestTimeTooSkewed" | "RequestTimeExpired" | "InvalidRequestTime";
    /// The signature is not what the service computes.
    SignatureNotMatch = 401 "SignatureNotMatch";
    /// The key is known but may not do this, or is not valid here.
    Unauthorized = 401 "Unauthorized";
    /// The key is unknown or disabled.
    InvalidAccessKeyId = 401 "InvalidAccessKeyId" | "InvalidAccessKeyId.NotFound";
    /// The temporary key has expired.
    SecurityTokenExpired = 401 "SecurityTokenExpired" | "SecurityToken.Expired";
    /// The account may not use the project.
    ProjectForbidden = 403 "ProjectForbidden";
    /// The project reads too much.
    ReadQuotaExceed = 403 "ReadQuotaExceed";
    /// The shard is read too much.
    ShardReadQuotaExceed = 403 "ShardReadQuotaExceed";
    /// The project writes too much.
    WriteQuotaExceed = 403 "WriteQuotaExceed";
    /// The shard is written too much.
    ShardWriteQuotaExceed = 403 "ShardWriteQuotaExceed";
    /// The logstore has as many consumer groups as it may have. The spelling is not documented.
    ConsumerGroupQuotaExceed = 403 "ConsumerGroupQuotaExceed";
    /// The method or path means nothing; usually a bad name.
    InvalidMethod = 405 "InvalidMethod";
    /// The service failed.
    InternalServerError = 500 "InternalServerError";
    /// The service is overloaded.
    ServerBusy = 503 "ServerBusy";
    /// The service gave up waiting.
    RequestTimeout = 500 "RequestTimeout";
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
