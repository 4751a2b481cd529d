//! What the core and its connectors must agree on: types, without I/O, clock or policy.
//!
//! A connector is a library at the edge that the core (`pipeline`) does not know: today the sinks (`sinks`) and the
//! consumer group (`sls`). Here stands only what both sides of that border name: the interface [`Sink`] with the
//! [`Body`] that goes in and the [`Answer`] that comes out, the [`DeadLetter`] of a row that was refused, and
//! the [`LeaseState`] under which a shard is worked on. A type that only one side names belongs to that side.

#![forbid(unsafe_code)]

mod body;
mod dead_letter;
mod lease;
mod sink;
mod verdict;

pub use crate::body::{Body, BodyLimits, Encoding};
pub use crate::dead_letter::{BoxError, DeadLetter, DeadLetters, RefusedBy};
pub use crate::lease::LeaseState;
pub use crate::sink::{EncodeReport, Sink};
pub use crate::verdict::{Answer, Cause, Confirmation, Verdict};
