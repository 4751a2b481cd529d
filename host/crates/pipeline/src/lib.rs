//! The heart: ledger, routing, delivery, settlement, checkpoint.

#![forbid(unsafe_code)]

pub mod budget;
pub mod ledger;
mod metrics;
mod position;
mod retry;

pub use crate::metrics::describe as describe_metrics;
pub use crate::position::{Position, ShardId};
pub use crate::retry::RetryPolicy;
