//! The world outside in a box: an SLS, receivers and a folder, for tests of the built program.
//!
//! A test puts logs into the emulator, starts the real `forwarder` as a process, waits for a condition, and
//! compares sets. Nothing here sleeps for luck, and nothing leaves loopback.
//!
//! Each log carries its number; what arrives is compared by number and by a fingerprint of all its fields, so
//! that a log that arrives changed is as good as lost.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "this crate is used by tests only, which fail by panicking"
)]

mod admin;
mod authority;
mod forwarder;
mod logs;
pub mod receivers;
mod settings;
mod world;

pub use admin::{Answer, Metrics};
pub use authority::{Authority, own_authority};
pub use forwarder::{Ended, Forwarder, PATIENCE, until};
pub use logs::{Fingerprint, Logs, TOPIC};
pub use receivers::{TOKEN, assert_exactly};
pub use settings::Settings;
pub use world::{GROUP, LOGSTORE, PROJECT, World};
