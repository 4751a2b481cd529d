//! Alibaba Cloud Simple Log Service (SLS): a client, and the worker of a consumer group.
//!
//! The nouns. A *project* lives in a region and is the first label of a host name. It holds *logstores*;
//! a logstore is cut into *shards*, each an ordered list of *log groups*. A *cursor* is a position in a
//! shard. A *consumer group* shares the shards of a logstore among *consumers*: a consumer that sends
//! *heartbeats* is granted shards, and saves a *checkpoint* per shard, the cursor from which the
//! next holder continues.
//!
//! * [`Client`] makes single calls: signed, bounded, classified; see [`api`] for the list.
//! * [`ConsumerGroup`] takes part in a group; see [`group`] for leases, pulling and checkpoints.
//! * [`sign`] holds the canonical forms of both signature versions, for servers that verify as well.
//! * [`wire`] unpacks bodies within limits. What is inside (protobuf) belongs to another crate.
//!
//! This library knows nothing of the program around it: no plugins, no sinks, no configuration file. It
//! reads no environment variable, and it never logs the contents of a log.

#![forbid(unsafe_code)]

mod access_key;
pub mod api;
mod backoff;
mod call;
mod client;
mod credentials;
mod cursor;
mod endpoint;
mod error;
pub mod group;
pub mod metrics;
mod names;
mod ram_role;
pub mod sign;
pub mod wire;

pub use access_key::AccessKey;
pub use client::{Client, ClientConfig, Clock};
pub use credentials::{Credentials, CredentialsError, Part};
pub use cursor::{Cursor, CursorError};
pub use endpoint::{Endpoint, Scheme};
pub use error::{CallTo, Chain, ConfigError, Error, ErrorCode, Refusal};
pub use group::{ConsumerGroup, GroupConfig, JoinError, Lease, LeaseState};
pub use names::{ConsumerName, GroupName, LogstoreName, NameError, ProjectName};
pub use ram_role::{METADATA, RamRole};
