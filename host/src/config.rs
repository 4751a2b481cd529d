//! What the configuration *means*: checked types that the rest of the program uses.
//!
//! Holding a [`Config`] is proof that it was checked: addresses have ports, plain text was allowed,
//! every name that is mentioned exists. This module is the only reader of the environment.

pub mod address;
mod check;
mod condition;
mod document;
mod environment;
pub mod hec;
pub mod legacy;
pub mod process;
mod raw;
mod route;
pub mod secret;
pub mod sink;
mod sink_url;
pub mod source;
mod spelling;
mod start;
pub mod syslog;
mod template;
mod timeouts;
mod tls;
pub mod transform;
mod units;

pub use check::{Checked, Request, check};
pub use raw::Found;

/// Everything that the program is configured to do.
#[derive(Debug)]
pub struct Config {
    /// Logstores to read, in the order of the file; at least one.
    pub sources: Vec<source::SourceConfig>,
    /// The chain of plugins, in the order of the file, then of the command line.
    pub transforms: Vec<transform::TransformConfig>,
    /// Destinations; at least one.
    pub sinks: Vec<sink::SinkConfig>,
    /// Who gets what.
    pub routes: forwarder_pipeline::RouteTable,
    /// Keys at the top of the file.
    pub process: process::ProcessConfig,
    /// Metrics and health.
    pub admin: process::AdminConfig,
    /// The program's own log.
    pub log: process::LogConfig,
    /// Logs that no sink will take.
    pub dead_letters: process::DeadLetterConfig,
}
