//! The sandbox from outside, with guests small enough to be written in the text format.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod containment;
mod cost;
mod counted;
mod guests;
mod host_work;
mod loading;
mod proposals;
mod stubs;
mod support;
