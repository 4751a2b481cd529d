//! Stories about what happens to rows, with in-memory sources, sinks, stores and dead letters that
//! implement the real traits, on a paused clock.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the world around the tests is test code too, which clippy cannot see"
)]

mod confirmation;
mod dead_letters;
mod delivery;
mod lease;
mod metrics;
mod refusals;
mod settlement;
mod simulation;
mod world;
