//! Syslog over TCP and TLS: RFC 5424 and RFC 3164 messages, octet counting or line feeds.
//!
//! *Delivered* means that the receiver's kernel has acknowledged the last byte (on Linux; elsewhere that
//! our own kernel has taken it). Syslog has no acknowledgement of its own, so what a receiver had not read
//! yet when it died is lost to it. Against that, [`Client`] keeps the last few megabytes that it reported as
//! delivered and sends them again on the next connection: duplicates instead of loss, for as much as that
//! window holds. Sites that need more want RELP.
//!
//! The way of a row: [`Encoder::encode`] writes header, payload and frame; [`Encoder::pack`] makes a body;
//! [`Client::send`] writes it to the receiver.

mod acked;
mod backoff;
mod connection;
mod encoder;
mod framing;
mod payload;
mod priority;
pub mod rfc3164;
pub mod rfc5424;
mod target;
mod transport;
mod window;

pub use encoder::{BadSettings, Encoder, EncoderSettings, HeaderFormat, OversizePolicy};
pub use framing::Framing;
pub use payload::{BadSeparator, Payload, Separator};
pub use priority::{Facility, Priority, Severity, UnknownName};
pub use target::{BadAddress, Security, Target};
pub use transport::{Client, ClientSettings, Closed};
pub use window::WindowLimits;
