//! The sinks from outside: what a receiver reads, and what becomes of a body when the receiver misbehaves.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics where it fails, helpers included"
)]

mod authority;
mod batches;
mod certificates;
mod collector;
mod hec_client;
mod hec_events;
mod lines;
mod receiver;
mod rotation;
mod syslog_client;
mod syslog_messages;
mod syslog_vectors;
