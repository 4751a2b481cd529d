//! The heart: ledger, routing, delivery, settlement, checkpoint.
//!
//! # The flow
//!
//! ```text
//!  Source ──pull──▶ Ledger::open ──▶ Compute: load, Transform, route, encode ──▶ Plan
//!                        │ Ticket                                                  │ in shard order
//!                        ▼                                                         ▼
//!                     Shares ◀── one per sink, one for dead letters, one for drops ┘
//!                        │
//!    Sink queue ──▶ queue per shard ──▶ Request ──▶ Sink::deliver ──▶ Answer
//!                                                                       │ Delivered
//!   CheckpointStore ◀── SafePoint ◀── longest settled prefix ◀── Share::settle
//! ```
//!
//! A [`Pipeline`] is started once, with its sinks. For each lease on a shard the program spawns
//! [`Runner::run_shard`], which pulls, plans, hands out, and saves checkpoints until the lease, the source or
//! the process ends. [`Pipeline::drain`] is the orderly end.
//!
//! # What holds, always
//!
//! * A checkpoint is saved only for a position before which every row was delivered to every sink it was
//!   routed to, or is durable as a dead letter, or was dropped on purpose. Nothing but the [`ledger`] can make
//!   a [`SafePoint`], and a store accepts nothing else.
//! * Rows that are dropped without a verdict are not delivered: the checkpoint stays before them.
//! * Batches settle in any order; checkpoints move only forward.
//! * Bytes are counted from pull to settle ([`Budget`]). When they are used up, pulling stops. Every queue is
//!   bounded.
//! * A retry is never given up, and goes to no sink that has delivered. A refusal is believed only where the
//!   receiver has accepted other rows meanwhile.
//! * When the lease is lost, no new request carries rows of the shard and nothing is saved.
//! * What must not continue pauses with an alarm and loses nothing: a sink that refuses us, dead letters that
//!   cannot be written, a block that cannot be read, a plugin that refuses too much.
//!
//! # Where to read
//!
//! In the order of a batch's life: `supervise` starts it all; `shard` pulls (`source`, `budget`), plans on the threads of
//! `compute` (`transform`, `route`, `plan`), and forwards (`destinations`); `deliver` has a queue per shard, requests,
//! attempts, and the search for rows at fault; `dead_letter` writes what can never be delivered; `ledger` and
//! `checkpoint` are at the bottom. No file imports one above it.
//!
//! # What is not here
//!
//! No sockets, no files, no environment, no protocol, no sandbox. They are on the other side of five traits:
//! [`Source`], [`Transform`] and [`CheckpointStore`] here, [`Sink`](forwarder_connector::Sink) and
//! [`DeadLetters`](forwarder_connector::DeadLetters) in the crate that sinks know too.

#![forbid(unsafe_code)]

mod batch_handle;
mod budget;
mod buffer_pool;
mod checkpoint;
mod compute;
mod dead_letter;
mod deliver;
mod destinations;
pub mod ledger;
mod plan;
mod route;
mod shard;
mod source;
mod supervise;
mod transform;

mod alarm;
mod demand;
#[cfg(test)]
mod fixture;
mod lease_gate;
pub mod metrics;
mod position;
mod refusals;
mod retry;
mod unmatched;

pub use crate::budget::{Budget, Permit};
pub use crate::checkpoint::{CheckpointStore, SaveError};
pub use crate::compute::{COMPUTE_STACK_BYTES, Compute};
pub use crate::dead_letter::DeadLettered;
pub use crate::deliver::{Delivered, DeliverySettings};
pub use crate::demand::Demand;
pub use crate::ledger::SafePoint;
pub use crate::plan::Filtered;
pub use crate::position::{Position, ShardId};
pub use crate::refusals::RejectLimit;
pub use crate::retry::RetryPolicy;
pub use crate::route::{RouteTable, Rule};
pub use crate::shard::{Damage, ShardEnd, ShardRun, ShardSettings};
pub use crate::source::{Block, Load, Pulled, Source, SourceLost, Unreadable};
pub use crate::supervise::{DispatcherDied, Drained, Pipeline, PipelineParts, Runner};
pub use crate::transform::{Halt, Rejected, Transform, TransformFactory, TransformReport};
pub use crate::unmatched::{MatchWatch, Matcher, TRIAL_ROWS};
