//! The promises of the README, kept by the real binary over real sockets. One module per theme.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod crash;
mod delivery;
mod faulty_plugins;
mod scale;
mod sharing;
