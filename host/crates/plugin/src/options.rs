//! How a plugin is run: what the configuration of a transform says about it.

use crate::fault::Fault;
use crate::limits::Limits;

/// Powers that the configuration gives a plugin beyond editing the rows it sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Grants {
    /// May give rows a route label.
    pub labels: bool,
    /// May add rows.
    pub emit: bool,
}

impl Grants {
    pub(crate) const fn check(
        self,
        granted: bool,
        power: &'static str,
        grant: &'static str,
    ) -> Result<(), Fault> {
        if granted { Ok(()) } else { Err(Fault::NotGranted { power, grant }) }
    }
}

/// What becomes of exactly the row that a plugin cannot cope with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// It goes to the dead letters, to be replayed.
    #[default]
    DeadLetter,
    /// It continues as it was before this plugin.
    Pass,
    /// It is discarded.
    Drop,
    /// Its shard pauses until an operator acts.
    Halt,
}

/// How to run a plugin.
#[derive(Debug, Clone, Default)]
pub struct PluginOptions {
    /// The plugin's own configuration: JSON text. Empty is the same as `{}`.
    pub config: String,
    /// What it may use up.
    pub limits: Limits,
    /// What it may do beyond editing.
    pub grants: Grants,
    /// What a row at fault costs.
    pub on_error: OnError,
}
