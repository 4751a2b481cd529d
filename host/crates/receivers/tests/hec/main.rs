//! The collector as a client sees it: every behaviour is driven through a socket.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod acks;
mod client;
mod faults;
mod protocol;
mod recording;
