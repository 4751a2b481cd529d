//! Delivery protocols: Splunk HEC, syslog, files.
//!
//! Every sink implements [`Sink`](forwarder_connector::Sink): it **encodes** rows of a batch into bytes and accounts
//! for each row ([`Notes`]), **packs** bytes of several batches into a body, and **delivers** the body: it says what
//! became of it. What "delivered" means differs, and each module says so first: [`hec`], [`syslog`], [`file`]. Nothing
//! here retries, queues or counts attempts; that is the pipeline's, which this crate does not know.
//!
//! A new sink is a module here, its section of the configuration, and one line where the program makes sinks.

pub mod file;
pub mod hec;
mod limit;
mod message;
pub mod metrics;
mod notes;
mod object;
mod reload;
mod stamp;
pub mod syslog;
mod template;
mod tls;

pub use notes::{Notes, Oversize};
pub use rustls_pki_types::ServerName;
pub use template::{BadTemplate, FieldPath, Template};
pub use tls::{BadFingerprint, Fingerprint, Identity, MinVersion, TlsError, TlsSettings, Verify};

/// Rows of one body. A small site's collector holds thousands of them in memory; more per body gains nothing.
const MAX_ROWS: usize = 16_384;
