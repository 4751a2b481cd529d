//! Splunk's HTTP Event Collector, event endpoint.
//!
//! *Delivered* means that Splunk answered 2xx with a HEC reply of code 0: it has accepted the events and queued
//! them for indexing. Any other 2xx is not a delivery, since proxies, login pages and error objects come with one
//! too; [`SuccessReply`] names the exception. A crash of the indexer after that can still lose them; indexer acknowledgement, which closes that gap,
//! is not spoken here, and a token that demands it is held with a message saying so.
//!
//! A request's body is JSON objects back to back, one per row, no array (Splunk refuses arrays). The way
//! of a row: [`Encoder::encode`] writes it, the caller cuts the encoded bytes into segments, [`Encoder::pack`]
//! makes a body of them, [`Client::send`] posts it and says what became of it.

mod access;
mod body;
mod client;
mod connections;
mod endpoint;
mod event;
mod probe;
mod reason;
mod reply;
mod settings;
mod sink;

pub use client::{Client, Unreachable};
pub use endpoint::{BadEndpoint, BadToken, Endpoint, Token};
pub use event::{Encoder, EncoderSettings, EventFormat};
pub use reply::{Reply, SuccessReply};
pub use settings::{BadClient, ClientSettings, TokenSource};
pub use sink::{HecSettings, HecSink};
