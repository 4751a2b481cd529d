//! Why there is no access key.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// How long a request waits for a newer key; a network file system may hang.
pub(super) const READ_TIME: Duration = Duration::from_secs(5);

/// Why a key file could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The file cannot be read.
    #[error("cannot read the access key file `{}`", path.display())]
    Unreadable {
        /// Where we looked.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A file that should hold one part of a key is empty or not UTF-8.
    #[error("`{}` holds no part of an access key", path.display())]
    Empty {
        /// Where we looked.
        path: PathBuf,
    },
    /// The file says something else than a key.
    #[error(
        "`{}` holds no access key: expected a JSON object with `AccessKeyId`, `AccessKeySecret` and, \
         for a temporary key, `SecurityToken`", path.display()
    )]
    Malformed {
        /// Where we looked.
        path: PathBuf,
    },
    /// The instance's metadata service gives no key of the role.
    #[error("no access key of the RAM role `{role}`: {why}")]
    NoRole {
        /// Which role.
        role: String,
        /// What the metadata service answered, and what to do.
        why: String,
    },
    /// The instance's metadata service does not answer.
    #[error(
        "no access key of the RAM role `{role}`: {why}; check that this machine is an ECS instance and that its metadata \
         service is on"
    )]
    Unanswered {
        /// Which role.
        role: String,
        /// What went wrong.
        why: String,
    },
    /// The file system, or the metadata service, takes too long.
    #[error("the access key cannot be read within {} s; check the file system that it is on", READ_TIME.as_secs())]
    Late,
}

impl CredentialsError {
    /// Whether the same attempt may succeed later without a change.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Unanswered { .. } | Self::Late)
    }
}
