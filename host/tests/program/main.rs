//! The built program from outside: what it prints, what it answers, and that it does what it says
//! against a real SLS emulator and real receivers on this machine.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot continue should stop"
)]

mod admin;
mod child;
mod demo;
mod exits;
mod group;
mod help;
mod instances;
mod secrets;
mod world;
