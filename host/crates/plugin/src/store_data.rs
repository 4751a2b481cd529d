//! What the store of an instance holds: the call in progress, and what bounds and records it.

use std::sync::Arc;
use std::time::Duration;

use crate::call::Call;
use crate::fault::Fault;
use crate::guest_log::GuestLog;
use crate::limits::{Deadline, MemoryGauge};
use crate::options::Grants;
use crate::wasi_state::WasiState;

/// What host functions work on.
pub(crate) struct StoreData {
    pub(crate) call: Option<Call>,
    pub(crate) memory: MemoryGauge,
    pub(crate) deadline: Deadline,
    pub(crate) grants: Grants,
    pub(crate) wasi: WasiState,
    pub(crate) log: Arc<GuestLog>,
}

impl StoreData {
    /// The call in progress.
    pub(crate) fn call(&self) -> Result<&Call, Fault> {
        self.look()?;
        self.call.as_ref().ok_or_else(outside_process)
    }

    /// Whether there is one: not while the plugin is configured.
    pub(crate) const fn is_in_call(&self) -> bool {
        self.call.is_some()
    }

    /// The call in progress, to be changed.
    pub(crate) fn call_mut(&mut self) -> Result<&mut Call, Fault> {
        self.look()?;
        self.call.as_mut().ok_or_else(outside_process)
    }

    /// Asked by host functions: whether time is left, if it was not asked a moment ago.
    pub(crate) fn look(&self) -> Result<(), Fault> {
        if self.deadline.is_due() { self.check_time() } else { Ok(()) }
    }

    /// Whether time is left.
    pub(crate) fn check_time(&self) -> Result<(), Fault> {
        self.deadline.check(self.call.as_ref().map_or(Duration::ZERO, Call::work))
    }
}

fn outside_process() -> Fault {
    Fault::BadCall("there is no slice outside of `process`".to_owned())
}
