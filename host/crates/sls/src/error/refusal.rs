//! A refusal: what the service said when it said no, and what a person can do about it.

use std::fmt;

use super::CallTo;
use super::code::{ErrorCode, contains_ignoring_case};

/// Beyond this many seconds the service refuses a request's date (documented: 15 minutes).
const MAX_SKEW: i64 = 15 * 60;

/// An answer with another status than 200.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Which call.
    pub call: CallTo,
    /// The permission the call needs, like `log:ConsumerGroupHeartBeat`.
    pub action: &'static str,
    /// HTTP status.
    pub status: u16,
    /// What kind of refusal.
    pub code: ErrorCode,
    /// The service's explanation; of an answer that is not the service's own, the beginning.
    pub message: String,
    /// What the service's support asks for first.
    pub request_id: Option<String>,
    /// Local time minus the time in the answer, in seconds.
    pub skew: Option<i64>,
}

impl Refusal {
    /// The position asked for is outside of what is stored.
    pub(crate) fn invalid_cursor(&self) -> bool {
        self.code == ErrorCode::InvalidCursor
            || (self.code == ErrorCode::ParameterInvalid
                && contains_ignoring_case(&self.message, "invalid cursor"))
    }

    /// A rate or count limit: slow down, or have it raised.
    pub fn quota(&self) -> bool {
        self.code.is_quota()
            || (self.status == 403
                && ["quota exceed", "qps exceed"]
                    .iter()
                    .any(|text| contains_ignoring_case(&self.message, text)))
    }

    /// The key is wrong, expired or not allowed to do this.
    pub fn auth(&self) -> bool {
        let named = matches!(
            self.code,
            ErrorCode::SignatureNotMatch
                | ErrorCode::Unauthorized
                | ErrorCode::InvalidAccessKeyId
                | ErrorCode::SecurityTokenExpired
                | ErrorCode::ProjectForbidden
        );
        named || (matches!(self.status, 401 | 403) && !self.quota())
    }

    /// The clocks differ too much.
    pub(crate) fn clock_skew(&self) -> bool {
        self.code == ErrorCode::RequestTimeTooSkewed
            || (self.status == 401 && self.skew.is_some_and(|skew| skew.abs() > MAX_SKEW))
    }

    /// There are as many things of a kind as there may be; unlike a rate, that does not pass.
    fn is_full(&self) -> bool {
        self.quota() && self.call.name.starts_with("Create")
    }

    /// The far side may take the same request later.
    pub fn is_retryable(&self) -> bool {
        self.status >= 500
            || self.status == 429
            || (self.quota() && !self.is_full())
            || matches!(
                self.code,
                ErrorCode::RequestTimeout
                    | ErrorCode::ServerBusy
                    | ErrorCode::InternalServerError
                    | ErrorCode::LogStoreWithoutShard
            )
    }

    /// What to do next, for a person.
    fn hint(&self) -> String {
        if self.clock_skew() {
            return match self.skew {
                Some(skew) => format!(
                    "the clock here is {} s {} the service's: set it (NTP); 15 minutes are tolerated",
                    skew.abs(),
                    if skew > 0 { "ahead of" } else { "behind" }
                ),
                None => "set the clock here (NTP); 15 minutes of difference are tolerated".into(),
            };
        }
        let hint = match self.code {
            ErrorCode::SignatureNotMatch => {
                "check that the access key secret belongs to the access key id, that the region is the \
                 endpoint's, and that no proxy rewrites the request"
            }
            ErrorCode::InvalidAccessKeyId => {
                "the access key id is unknown or disabled: check it, and that the key is active in RAM"
            }
            ErrorCode::SecurityTokenExpired => {
                "the temporary key has expired: provide a fresh one, or one that renews itself"
            }
            ErrorCode::Unauthorized | ErrorCode::ProjectForbidden => return self.denied(),
            ErrorCode::ProjectNotExist => {
                "check the project's name, and that the endpoint is that of the project's region"
            }
            ErrorCode::LogStoreNotExist => {
                "check the logstore's name, and that it is in this project"
            }
            ErrorCode::InvalidMethod => "usually a name the service does not take: check the names",
            ErrorCode::ConsumerGroupAlreadyExist => {
                "the group exists: its timeout and order are kept unless the configuration sets them"
            }
            ErrorCode::ConsumerGroupNotExist => {
                "create the group, or let the forwarder do it (`manage_group = true`)"
            }
            _ if self.is_full() && self.call.name == "CreateConsumerGroup" => {
                "the logstore has as many consumer groups as it may have: delete an unused one, or ask \
                 for a higher quota"
            }
            _ if self.quota() => {
                "the rate limit is reached: we slow down; more shards or a higher quota help"
            }
            _ if self.auth() => return self.denied(),
            _ if self.is_retryable() => {
                "this should pass; if it does not, ask the service's support about the request"
            }
            ErrorCode::ShardNotExist => {
                "the logstore was probably deleted or made again: check it; what was pulled is delivered"
            }
            ErrorCode::InvalidCursor => {
                "the logs there have probably expired: `on_invalid_cursor` says where reading continues"
            }
            ErrorCode::NotExistConsumerWithBody
            | ErrorCode::ConsumerNotExist
            | ErrorCode::ConsumerNotMatch => {
                "another consumer may have the shard by now; joining again is automatic"
            }
            _ => {
                "look the code up in the documentation of SLS, or ask its support about the request"
            }
        };
        hint.into()
    }

    fn denied(&self) -> String {
        format!(
            "grant the key's RAM user or role the action `{}` on this project and logstore",
            self.action
        )
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the service refused {}: HTTP {}", self.call, self.status)?;
        if !matches!(&self.code, ErrorCode::Other(none) if none.is_empty()) {
            write!(f, " {}", self.code)?;
        }
        if !self.message.is_empty() {
            write!(f, " ({})", self.message)?;
        }
        if let Some(id) = &self.request_id {
            write!(f, ", request {id}")?;
        }
        write!(f, "; {}", self.hint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &'static str) -> CallTo {
        CallTo { name, address: "https://p.example.org".into() }
    }

    fn refusal(status: u16, code: &str, message: &str) -> Refusal {
        Refusal {
            call: call("PullLogs"),
            action: "log:GetCursorOrData",
            status,
            code: ErrorCode::parse(code),
            message: message.into(),
            request_id: Some("5E0B".into()),
            skew: Some(0),
        }
    }

    #[test]
    fn every_documented_refusal_is_of_the_right_kind() {
        #[rustfmt::skip]
        let table = [
            // status, code, message, cursor, quota, auth, skew, retry
            (400, "InvalidCursor", "", true, false, false, false, false),
            (400, "ParameterInvalid", "Invalid cursor", true, false, false, false, false),
            (400, "ParameterInvalid", "Invalid loggroup count", false, false, false, false, false),
            (403, "ReadQuotaExceed", "", false, true, false, false, true),
            (403, "ShardReadQuotaExceed", "", false, true, false, false, true),
            (403, "Whatever", "Read QPS Exceed", false, true, false, false, true),
            (403, "ProjectForbidden", "", false, false, true, false, false),
            (403, "Unauthorized", "", false, false, true, false, false),
            (401, "SignatureNotMatch", "", false, false, true, false, false),
            (401, "InvalidAccessKeyId", "", false, false, true, false, false),
            (400, "RequestTimeExpired", "", false, false, false, true, false),
            (404, "LogStoreNotExist", "", false, false, false, false, false),
            (400, "LogStoreWithoutShard", "", false, false, false, false, true),
            (500, "InternalServerError", "", false, false, false, false, true),
            (502, "", "<html>", false, false, false, false, true),
            (503, "ServerBusy", "", false, false, false, false, true),
            (504, "", "", false, false, false, false, true),
            (400, "RequestTimeout", "", false, false, false, false, true),
        ];
        for (status, code, message, cursor, quota, auth, skew, retry) in table {
            let it = refusal(status, code, message);
            assert_eq!(it.invalid_cursor(), cursor, "{it}");
            assert_eq!(it.quota(), quota, "{it}");
            assert_eq!(it.auth(), auth, "{it}");
            assert_eq!(it.clock_skew(), skew, "{it}");
            assert_eq!(it.is_retryable(), retry, "{it}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let skewed = Refusal { skew: Some(-3600), ..refusal(400, "RequestTimeTooSkewed", "") };
        assert!(skewed.to_string().contains("3600 s behind"), "{skewed}");
        let denied = refusal(401, "Unauthorized", "no right");
        assert!(denied.to_string().contains("`log:GetCursorOrData`"), "{denied}");
        let quota =
            Refusal { call: call("CreateConsumerGroup"), ..refusal(400, "XGroupQuotaY", "") };
        assert!(quota.to_string().contains("delete an unused one"), "{quota}");
        assert!(quota.quota() && !quota.is_retryable(), "a full logstore stays full");
        assert_eq!(
            refusal(404, "ProjectNotExist", "no such project").to_string(),
            "the service refused PullLogs at https://p.example.org: HTTP 404 ProjectNotExist (no such project), request 5E0B; \
             check the project's name, and that the endpoint is that of the project's region"
        );
    }
}
