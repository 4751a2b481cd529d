//! The sandbox from outside, with guests small enough to be written in the text format.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod containment;
mod counted;
mod guests;
mod loading;
mod stubs;
mod support;
