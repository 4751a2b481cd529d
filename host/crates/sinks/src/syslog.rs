//! Syslog over TCP and TLS: RFC 5424 and RFC 3164 messages, octet counting or line feeds.
//!
//! Syslog has no acknowledgement of its own. What [`Client`] knows of a body comes in two steps:
//!
//! * *Accepted*: the receiver's kernel has acknowledged the last byte (on Linux; elsewhere our own kernel has taken
//!   it). What the receiver has not read yet is lost if it dies now, so the client keeps the body and sends it
//!   again on the next connection.
//! * *Confirmed*: after every few megabytes or seconds the client finishes its side of the connection. A receiver
//!   that has read to the end closes its own, and that is the proof. What it then holds in its own memory is in
//!   its hands. Of a receiver that does not close, the acknowledgement and an age have to do.
//!
//! The way of a row: [`Encoder::encode`] writes header, payload and frame; [`Client::send`] writes a body of such
//! frames to the receiver.

mod acked;
mod allowance;
mod client;
mod connection;
mod encoder;
mod escape;
mod framing;
mod habit;
mod link;
mod payload;
mod priority;
mod proof;
mod reconnect;
mod request;
pub mod rfc3164;
pub mod rfc5424;
mod sink;
mod target;
mod window;

pub use client::{Client, ClientSettings};
pub use encoder::{BadSettings, Encoder, EncoderSettings, HeaderFormat, OversizePolicy};
pub use framing::Framing;
pub use payload::{BadSeparator, Payload, Separator};
pub use priority::{Facility, Priority, Severity, UnknownName};
pub use proof::{PendingProof, Proof, Sent};
pub use request::Closed;
pub use sink::{BadSink, SyslogSettings, SyslogSink};
pub use target::{Security, Target};
pub use window::WindowLimits;
