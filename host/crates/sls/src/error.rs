//! What can go wrong, by who is to blame, and what a caller may do about it.

mod code;
mod refusal;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use code::ErrorCode;
use forwarder_backoff::Waits;
pub use refusal::Refusal;

use crate::sign::SignError;
use crate::wire::BlockError;

/// A call, and where it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallTo {
    /// The call, by its documented name.
    pub name: &'static str,
    /// The address of the project, like `https://my-project.cn-hangzhou.log.aliyuncs.com`.
    pub address: Arc<str>,
}

impl fmt::Display for CallTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.address)
    }
}

/// A call that did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The service answered, and the answer was no.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// An answer with status 200 that makes no sense, or contradicts itself. Never taken for "no data".
    #[error("the answer to {call} is malformed: {fault}")]
    Malformed {
        /// Which call.
        call: CallTo,
        /// What is wrong with the answer.
        fault: String,
    },
    /// A body that does not hold what its headers claim.
    #[error("the answer to {call} cannot be unpacked")]
    Block {
        /// Which call.
        call: CallTo,
        /// What is wrong with the body.
        #[source]
        source: BlockError,
    },
    /// The answer began, and its body did not arrive whole.
    #[error("the answer to {call} broke off")]
    BrokenOff {
        /// Which call.
        call: CallTo,
        /// What the HTTP client says.
        #[source]
        source: reqwest::Error,
    },
    /// No answer: the network, a name, a certificate.
    #[error("cannot reach the service for {call}")]
    Unreachable {
        /// Which call.
        call: CallTo,
        /// What the HTTP client says.
        #[source]
        source: reqwest::Error,
    },
    /// No answer in time.
    #[error("{call} was not answered within {after:?}")]
    TimedOut {
        /// Which call.
        call: CallTo,
        /// How long we waited.
        after: Duration,
    },
    /// A request we cannot even form.
    #[error("the request cannot be signed")]
    Unsignable(#[from] SignError),
}

/// A client that cannot be built from what it was given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// rustls needs its cryptography to be set once per process.
    #[error(
        "no TLS provider is installed: call `rustls::crypto::CryptoProvider::install_default` first"
    )]
    NoTlsProvider,
    /// The file with trusted certificates cannot be read.
    #[error("cannot read the CA file `{}`", path.display())]
    CaFile {
        /// Where we looked.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The file holds no certificates.
    #[error("the CA file `{}` holds no PEM certificates", path.display())]
    CaContents {
        /// Where we looked.
        path: PathBuf,
    },
    /// The project's name stands twice: in the endpoint and by itself.
    #[error(
        "the endpoint `{endpoint}` begins with the project's name; write it without: `{without}`"
    )]
    ProjectInEndpoint {
        /// The endpoint as given.
        endpoint: String,
        /// The endpoint as it should be.
        without: String,
    },
    /// The endpoint's host makes no header.
    #[error("`{0}` cannot stand in a `Host` header")]
    Host(String),
    /// The HTTP client cannot be built.
    #[error("cannot set up the HTTP client")]
    Http(#[source] reqwest::Error),
}

/// Why a call failed, as far as it decides how soon it makes sense to ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryClass {
    /// A twentieth of a second, doubling to a minute: an answer was damaged, and the next one is probably not.
    Damaged,
    /// Half a second, doubling to ten: the network, or a server that failed.
    Unavailable,
    /// A second, doubling to thirty: a limit was hit or the server is overloaded.
    Overloaded,
    /// Five seconds, doubling to sixty: nothing changes until an operator acts.
    NeedsOperator,
}

impl RetryClass {
    pub(crate) const fn waits(self) -> Waits {
        let (first, longest) = match self {
            Self::Damaged => (Duration::from_millis(50), Duration::from_secs(60)),
            Self::Unavailable => (Duration::from_millis(500), Duration::from_secs(10)),
            Self::Overloaded => (Duration::from_secs(1), Duration::from_secs(30)),
            Self::NeedsOperator => (Duration::from_secs(5), Duration::from_secs(60)),
        };
        Waits { first, longest }
    }
}

impl Error {
    /// The refusal, if the service answered.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// The error code, if the service answered with one.
    pub fn code(&self) -> Option<&ErrorCode> {
        self.refusal().map(|refusal| &refusal.code)
    }

    /// Whether the same request, signed again, may succeed without a change.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.is_retryable(),
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::BrokenOff { .. } => true,
            Self::Malformed { .. } | Self::Block { .. } | Self::Unsignable(_) => false,
        }
    }

    /// Whether an answer arrived that is not what the service wrote, as far as can be seen: cut off, altered,
    /// or in contradiction with itself. The same request may well be answered soundly; but an address at
    /// which something else answers than the service gives nothing else, so this is apart from
    /// [`is_retryable`](Self::is_retryable).
    pub fn is_damaged(&self) -> bool {
        matches!(self, Self::Malformed { .. } | Self::Block { .. } | Self::BrokenOff { .. })
    }

    /// Whether the request surely had no effect.
    pub(crate) fn had_no_effect(&self) -> bool {
        match self {
            Self::Refused(refusal) => {
                refusal.is_retryable() && (refusal.quota() || refusal.code == ErrorCode::ServerBusy)
            }
            Self::Unreachable { source, .. } => source.is_connect(),
            _ => false,
        }
    }

    /// How soon to ask again, if at all.
    pub(crate) fn retry_class(&self) -> RetryClass {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } => RetryClass::Unavailable,
            Self::Refused(refusal) if !refusal.is_retryable() => RetryClass::NeedsOperator,
            Self::Refused(refusal) if refusal.quota() => RetryClass::Overloaded,
            Self::Refused(refusal) => match refusal.status {
                503 | 429 => RetryClass::Overloaded,
                _ => RetryClass::Unavailable,
            },
            Self::Malformed { .. } | Self::Block { .. } | Self::BrokenOff { .. } => {
                RetryClass::Damaged
            }
            Self::Unsignable(_) => RetryClass::NeedsOperator,
        }
    }

    /// The shard is not ours any more, or the whole membership is gone: stop delivering, write no
    /// checkpoint.
    pub(crate) fn ownership_lost(&self) -> bool {
        self.membership_lost() || self.code() == Some(&ErrorCode::ConsumerNotMatch)
    }

    /// The service does not know this consumer any more.
    pub(crate) fn membership_lost(&self) -> bool {
        matches!(
            self.code(),
            Some(ErrorCode::NotExistConsumerWithBody | ErrorCode::ConsumerNotExist)
        )
    }

    /// The consumer group does not exist.
    pub(crate) fn group_missing(&self) -> bool {
        self.code() == Some(&ErrorCode::ConsumerGroupNotExist)
    }

    /// The shard does not exist.
    pub(crate) fn shard_missing(&self) -> bool {
        self.code() == Some(&ErrorCode::ShardNotExist)
    }

    /// The thing to be created is there already.
    pub(crate) fn already_exists(&self) -> bool {
        self.code() == Some(&ErrorCode::ConsumerGroupAlreadyExist)
    }

    /// The cursor lies outside of what is stored.
    pub(crate) fn invalid_cursor(&self) -> bool {
        self.refusal().is_some_and(Refusal::invalid_cursor)
    }

    /// A limit of the service was reached.
    pub fn quota(&self) -> bool {
        self.refusal().is_some_and(Refusal::quota)
    }

    /// The key is wrong, expired, or not allowed to do this.
    pub fn auth(&self) -> bool {
        self.refusal().is_some_and(Refusal::auth)
    }

    /// The clock here differs too much from the service's.
    pub fn clock_skew(&self) -> bool {
        self.refusal().is_some_and(Refusal::clock_skew)
    }

    /// A short name of the kind, for a metric's label.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::TimedOut { .. } => "timeout",
            Self::Malformed { .. } | Self::Block { .. } | Self::BrokenOff { .. } => "malformed",
            Self::Unsignable(_) => "unsignable",
            Self::Refused(_) if self.ownership_lost() => "ownership_lost",
            Self::Refused(_) if self.invalid_cursor() => "invalid_cursor",
            Self::Refused(_) if self.quota() => "quota",
            Self::Refused(_) if self.clock_skew() => "clock_skew",
            Self::Refused(_) if self.auth() => "auth",
            Self::Refused(refusal) if refusal.status >= 500 => "server",
            Self::Refused(_) => "refused",
        }
    }
}

impl Error {
    /// What to do next, for a person; of a refusal, its own text says so.
    fn next_step(&self) -> Option<&'static str> {
        match self {
            Self::Refused(_) => None,
            Self::Unreachable { .. } => {
                Some("check the endpoint, name resolution, certificates, firewall and proxy")
            }
            Self::TimedOut { .. } => {
                Some("check the network path; a slow one needs a longer `timeout`")
            }
            Self::Malformed { .. } | Self::Block { .. } | Self::BrokenOff { .. } => Some(
                "if it happens again, check that the endpoint is that of SLS and that no proxy on the path \
                 alters or cuts off answers",
            ),
            Self::Unsignable(_) => {
                Some("check the access key for characters that no header carries")
            }
        }
    }
}

/// Shows an error with everything that caused it, and what to do next, on one line.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next_step = self.0.downcast_ref().and_then(Error::next_step);
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            next_step = next_step.or_else(|| error.downcast_ref().and_then(Error::next_step));
            cause = error.source();
        }
        match next_step {
            Some(step) => write!(f, "; {step}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &'static str) -> CallTo {
        CallTo { name, address: "https://p.example.org".into() }
    }

    fn refused(status: u16, code: &str) -> Error {
        Error::Refused(Box::new(Refusal {
            call: call("UpdateCheckPoint"),
            action: "log:ConsumerGroupUpdateCheckPoint",
            status,
            code: ErrorCode::parse(code),
            message: String::new(),
            request_id: None,
            skew: None,
        }))
    }

    #[test]
    fn ownership_is_lost_by_three_codes_in_every_spelling() {
        for code in
            ["NotExistConsumerWithBody", "ConsumerNotExist", "ConsumerNotExsit", "ConsumerNotMatch"]
        {
            assert!(refused(400, code).ownership_lost(), "{code}");
        }
        assert!(!refused(400, "ConsumerNotMatch").membership_lost());
        assert!(!refused(404, "ConsumerGroupNotExist").ownership_lost());
    }

    #[test]
    fn how_soon_to_ask_again_follows_who_must_act() {
        for (status, code, class) in [
            (403, "ReadQuotaExceed", RetryClass::Overloaded),
            (503, "ServerBusy", RetryClass::Overloaded),
            (500, "InternalServerError", RetryClass::Unavailable),
            (502, "", RetryClass::Unavailable),
            (401, "SignatureNotMatch", RetryClass::NeedsOperator),
            (404, "LogStoreNotExist", RetryClass::NeedsOperator),
        ] {
            assert_eq!(refused(status, code).retry_class(), class, "{code}");
        }
    }

    #[test]
    fn a_chain_names_call_address_every_cause_and_the_next_step() {
        let error = Error::Block {
            call: call("PullLogs"),
            source: BlockError::WrongSize { raw_size: 5, actual: 4 },
        };
        assert_eq!(
            Chain(&error).to_string(),
            "the answer to PullLogs at https://p.example.org cannot be unpacked: the block unpacks to 4 bytes \
             where 5 were claimed; if it happens again, check that the endpoint is that of SLS and that no \
             proxy on the path alters or cuts off answers"
        );
    }
}
