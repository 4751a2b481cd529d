//! The far side of the forwarder, small enough to start inside a test: a Splunk HTTP Event Collector
//! and a syslog server. Both are real servers on real sockets, strict where the products they stand
//! for are strict, and both can be made to misbehave in a named way.
//!
//! This crate imports nothing of ours that knows a protocol. A sink and the receiver it is tested against must not share
//! code, or a misunderstanding of the protocol would pass every test.
//!
//! * [`hec`]: `/services/collector`, with tokens, reply codes, gzip, limits, indexer acknowledgement.
//! * [`syslog`]: RFC 5424 and RFC 3164 over TCP, TLS and UDP, in both stream framings.
//!
//! A receiver can keep all it accepts, only an id of each item, or only totals; the last two let one
//! take millions of events. Waiting is for a condition, never for a duration:
//!
//! ```
//! # use std::time::Duration;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use forwarder_receivers::hec::{HecReceiver, IdFrom, Mode};
//!
//! let splunk = HecReceiver::builder()
//!     .token("a-token")
//!     .mode(Mode::Ids(IdFrom::Field("event_id".into())))
//!     .start()
//!     .await?;
//! splunk.faults().busy_for(2);
//! // ... send events to splunk.url() ...
//! # let sent = 0;
//! splunk.wait_for(sent, Duration::from_secs(10)).await?;
//! assert_eq!(splunk.received().ids.distinct(), sent);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

pub mod hec;
mod ids;
mod register;
mod server;
pub mod syslog;
mod wire;

pub use ids::Ids;
pub use register::{Tally, TimedOut};
pub use server::StartError;
