//! The syslog server as a sender sees it: every behaviour is driven through a socket.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod faults;
mod protocol;
mod recording;
mod sender;
mod vectors;
