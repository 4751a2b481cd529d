//! The running service, seen from the other end of the wire.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test should stop where it fails"
)]

mod faults;
mod options;
mod protocol;
mod put_logs;
mod sign_check;
mod wire;
