//! A Simple Log Service for development, demos and tests.
//!
//! It speaks the service's real protocol over real sockets, well enough that the official Python
//! consumer works with it unmodified: projects and logstores, shards that split and merge, cursors,
//! pulls, consumer groups with heartbeats and checkpoints, signatures. A plugin author needs no cloud
//! account with it.
//!
//! * [`state`] is the service as plain data; [`state::assignment`] decides who may hold which shard.
//! * `server` and `api` put HTTP in front of it; [`sign_check`] verifies what clients sign.
//! * [`load`] and [`samples`] fill it; [`Options`] is all of that for a command line.
//! * [`faults`] and the methods of [`Emulator`] let things go wrong on purpose.
//!
//! What it is not: durable, bounded in memory, or fit to face a network that is not trusted.
#![forbid(unsafe_code)]

mod api;
mod api_name;
mod blocks;
pub mod clock;
mod emulator;
pub mod faults;
mod grouping;
mod limits;
pub mod load;
pub mod log_group;
mod options;
mod refusal;
pub mod samples;
mod server;
pub mod sign_check;
pub mod spl;
pub mod state;

pub use api_name::{Api, UnknownApi};
pub use emulator::{Builder, Emulator, StartError};
pub use grouping::GroupSize;
pub use limits::Limits;
pub use options::Options;
pub use refusal::Refusal;
pub use server::server_state::{RecordedRequest, Traffic};
