//! Runs a plugin natively against logs, for its unit tests: no runtime, no wasm, plain `cargo test`.
//!
//! The stand-in for the forwarder answers reads and applies edits by the rules of the contract
//! (`wit/plugin.wit`). Where the forwarder would see a fault, such as a row that does not exist, the
//! test panics in the call that broke the rule. Limits of time, memory and output are not imitated.
//!
//! ```
//! use forwarder_guest::{Row, testing::{self, Log}};
//!
//! fn errors_only(row: &mut Row) {
//!     if row.get("level") != Some("ERROR") {
//!         row.drop();
//!     }
//! }
//!
//! let outcome = testing::run(errors_only, "", [
//!     Log::new([("level", "INFO")]),
//!     Log::new([("level", "ERROR"), ("message", "disk full")]),
//! ]);
//! assert_eq!(outcome.dropped, [0]);
//! assert_eq!(outcome.sent[0].get("message"), Some("disk full"));
//! ```

mod apply;
mod json;
mod log;
pub(crate) mod stub;
mod time;

use crate::transform::Transform;

pub use log::{Field, Log};

/// Severity of a line that a plugin logged.
pub use stub::Severity as Level;

/// What became of the logs.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What would be sent, in order: surviving logs, each followed by what was emitted like it.
    pub sent: Vec<Sent>,
    /// The rows dropped on purpose, ascending.
    pub dropped: Vec<u32>,
    /// The rows that became dead letters, ascending.
    pub rejected: Vec<Rejected>,
    /// The lines logged, while configuring and while processing.
    pub messages: Vec<(Level, String)>,
    /// How many values were left as they were because they were not JSON, or because a path led nowhere.
    pub not_json: usize,
    /// The calls out of the sandbox while processing, by name and in order. What they cost decides how
    /// fast a plugin is.
    pub calls: Vec<&'static str>,
}

/// A log that would be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The row it came from, or is like.
    pub row: u32,
    /// 0 for the log itself; n for the n-th log emitted like it.
    pub ordinal: u32,
    /// Its route label.
    pub label: Option<String>,
    /// Its content and metadata.
    pub log: Log,
}

impl Sent {
    /// The value of a field.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.log.get(key)
    }

    /// The event as a destination would index it: one member per field, JSON where a field is JSON,
    /// without `__time__` and `__time_ns_part__`, which are sent next to the event.
    #[must_use]
    pub fn event(&self) -> serde_json::Value {
        self.log.event()
    }
}

/// A row that became a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The row.
    pub row: u32,
    /// Why.
    pub reason: String,
}

/// An error that the plugin returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The config was refused.
    Configure(String),
    /// The slice could not be processed.
    Process(String),
}

/// Runs a plugin on one slice. `config` is JSON text, or empty.
///
/// # Panics
///
/// If the plugin returns an error or breaks a rule of the contract.
#[expect(clippy::panic, reason = "for tests, where the panic is the report")]
#[track_caller]
pub fn run<S>(
    transform: impl Transform<S>,
    config: &str,
    logs: impl IntoIterator<Item = Log>,
) -> Outcome {
    match try_run(transform, config, logs) {
        Ok(outcome) => outcome,
        Err(failure) => panic!("the plugin returned an error: {failure:?}"),
    }
}

/// The same for a plugin that is expected to return an error.
///
/// # Errors
///
/// The plugin's.
///
/// # Panics
///
/// If the plugin breaks a rule of the contract.
pub fn try_run<S>(
    transform: impl Transform<S>,
    config: &str,
    logs: impl IntoIterator<Item = Log>,
) -> Result<Outcome, Failure> {
    let session = stub::Session::start();
    let bound = transform.bind(config).map_err(Failure::Configure)?;
    session.load(logs.into_iter().collect());
    bound.process(session.rows()).map_err(Failure::Process)?;
    Ok(session.finish())
}
