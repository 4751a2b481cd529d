//! Why a batch is held.

use std::time::Duration;

use forwarder_record::TextFull;

use crate::fault::Fault;

/// The plugin cannot continue, and the batch must not continue without it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("plugin `{plugin}` {cause}")]
pub struct Halt {
    /// Name of the plugin.
    pub plugin: String,
    /// Why.
    pub cause: HaltCause,
    /// When to try again, if the plugin is suspended, which the log says once for all shards. `None` if something about
    /// this batch needs an operator.
    pub retry_in: Option<Duration>,
}

/// Why a plugin cannot continue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HaltCause {
    /// One slice caused so many faults, or cost so much time, that looking for the rows to blame was given up.
    #[error(
        "failed {faults} times on one slice, last: {last}; fix the plugin or take it out, nothing was lost"
    )]
    TooManyFaults {
        /// How often.
        faults: u32,
        /// The last one.
        last: Fault,
    },
    /// It failed on everything lately, and is tried again later.
    #[error("is suspended after repeated faults, and tried again in {retry_in:.1?}")]
    Suspended {
        /// When.
        retry_in: Duration,
    },
    /// A row is at fault and `on_error` is `halt`.
    #[error("failed on one row and on_error is \"halt\": {0}")]
    Policy(Fault),
    /// A new instance could not be made, although one could at the start.
    #[error("could not be started again: {0}")]
    NotRestarted(Fault),
    /// What the plugin adds to the batch takes more memory than there is for it. To be tried with fewer rows.
    #[error("adds more than there is memory for")]
    TooLarge,
    /// The batch cannot hold what plugins added to it.
    #[error("added too much: {0}")]
    BatchFull(#[source] TextFull),
}
