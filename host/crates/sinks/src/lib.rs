//! Delivery protocols: Splunk HEC, syslog, files.
//!
//! Every sink has the same three steps, and the caller owns the time between them:
//!
//! 1. **encode** rows of a batch into bytes, on a compute thread, and account for each row ([`Notes`]);
//! 2. **pack** bytes of several batches into a [`Body`], on a compute thread;
//! 3. **send** the body, on the network's runtime, and say what became of it ([`Outcome`]).
//!
//! What "delivered" means differs, and each module says so first: [`hec`], [`syslog`], [`file`]. Nothing here
//! retries, queues or counts attempts; that is the pipeline's, which this crate does not know.

mod body;
pub mod file;
pub mod hec;
mod limit;
mod notes;
mod object;
mod outcome;
mod reload;
mod stamp;
pub mod syslog;
mod template;
mod tls;

pub use body::Body;
pub use notes::{Notes, Oversize};
pub use outcome::{Cause, MAX_RETRY_AFTER, Outcome};
pub use rustls_pki_types::ServerName;
pub use template::{BadTemplate, FieldPath, Template};
pub use tls::{BadFingerprint, Fingerprint, Identity, MinVersion, TlsError, TlsSettings, Verify};
