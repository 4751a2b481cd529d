//! What a compute thread holds of a plugin, and how it runs it over a batch.

use std::sync::Arc;
use std::time::Instant;

use forwarder_record::{Batch, Condition, RowIx, RowState, Slice};

use crate::fault_log::Faults;
use crate::halt::{Halt, HaltCause};
use crate::metrics;
use crate::options::OnError;
use crate::plugin::{Plugin, Shared};
use crate::repair::{self, Part, Parts};
use crate::slot::InstanceSlot;

/// Runs one plugin on one thread. Dropping it drops the instance.
///
/// The thread needs a stack of at least [`crate::MIN_THREAD_STACK`].
pub struct Worker {
    slot: InstanceSlot,
}

impl Plugin {
    /// A worker for one thread. Its instance is made when it is first needed.
    pub fn worker(&self) -> Worker {
        Worker { slot: InstanceSlot::new(Arc::clone(&self.shared)) }
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("plugin", &self.plugin().name).finish_non_exhaustive()
    }
}

/// What a plugin did to a batch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Rows to be dead-lettered, each with the reason: refused by the plugin, or at fault.
    pub rejected: Vec<(RowIx, String)>,
    /// Rows discarded on purpose, by the plugin or because `on_error` says so for a row at fault.
    pub dropped: usize,
    /// Rows added.
    pub emitted: usize,
    /// Values that were to be treated as JSON and are not; they stayed as they were.
    pub not_json: usize,
    /// Rows at fault that continue as they were, because `on_error` says so.
    pub passed: usize,
    /// Faults of the plugin while it worked on the batch.
    pub faults: u32,
    /// Rows at fault.
    pub at_fault: usize,
    /// Whether any row was changed, labelled, added or taken out, or was at fault.
    pub changed: bool,
}

impl Worker {
    /// Runs the plugin over the live rows of a batch that fulfil `when`, slice by slice; the others never
    /// enter the sandbox. Emitted rows are put in order, so that the next plugin sees them.
    ///
    /// `bears` is asked with the bytes of the batch and of the edits so far, each time that there are more: each call
    /// has its own limit, and calls can be many.
    ///
    /// # Errors
    ///
    /// The batch must be held back. It is as it was before the call, unless the cause is
    /// [`HaltCause::BatchFull`]: then it must be decoded again.
    pub fn apply(
        &mut self,
        batch: &mut Batch,
        when: Option<&Condition>,
        bears: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Outcome, Halt> {
        let limits = &self.plugin().template.limits;
        let slices = batch.slices(limits.slice, |row| when.is_none_or(|when| when.matches(row)));
        // Collected first and applied afterwards: a batch that is held must be processed again as a whole.
        let mut parts = Parts::new(batch, bears);
        let faults = self.process(batch, slices, &mut parts).map_err(|cause| self.halted(cause))?;
        let mut outcome = Outcome { faults, ..Outcome::default() };
        for part in parts.done {
            self.settle(batch, part, &mut outcome).map_err(|cause| self.halted(cause))?;
        }
        batch.end_pass();
        self.count(&outcome);
        Ok(outcome)
    }

    fn process(
        &mut self,
        batch: &mut Batch,
        slices: Vec<Slice>,
        parts: &mut Parts<'_>,
    ) -> Result<u32, HaltCause> {
        if slices.is_empty() {
            return Ok(0);
        }
        let plugin = Arc::clone(self.plugin());
        let entered = plugin.breaker.enter(Instant::now());
        let _entry = entered.map_err(|retry_in| HaltCause::Suspended { retry_in })?;
        let mut faults = 0;
        for slice in slices {
            match repair::process(&mut self.slot, batch, slice, parts) {
                Ok(more) => faults += more,
                Err(cause) => {
                    if matches!(cause, HaltCause::TooManyFaults { .. } | HaltCause::NotRestarted(_))
                    {
                        plugin.breaker.gave_up(&cause, Instant::now());
                    }
                    return Err(cause);
                }
            }
        }
        Ok(faults)
    }

    fn settle(
        &self,
        batch: &mut Batch,
        part: Part,
        outcome: &mut Outcome,
    ) -> Result<(), HaltCause> {
        let (row, fault) = match part {
            Part::Edited(slice, edits) => {
                let applied = batch.apply(&slice, &edits).map_err(HaltCause::BatchFull)?;
                outcome.rejected.extend(applied.rejected);
                outcome.dropped += applied.dropped;
                outcome.emitted += applied.emitted;
                outcome.not_json += applied.not_json;
                outcome.changed |= applied.changed;
                return Ok(());
            }
            Part::AtFault(row, fault) => (row, fault),
        };
        outcome.changed = true;
        outcome.at_fault += 1;
        let plugin = self.plugin().name.as_str();
        match self.plugin().on_error {
            // A halt has been raised when the row was found.
            OnError::DeadLetter | OnError::Halt => {
                batch.set_state(row, RowState::Rejected);
                outcome.rejected.push((row, fault.to_string()));
            }
            OnError::Pass => {
                outcome.passed += 1;
                metrics::rows_at_fault(plugin, "pass");
            }
            OnError::Drop => {
                batch.set_state(row, RowState::Dropped);
                outcome.dropped += 1;
                metrics::rows_at_fault(plugin, "drop");
            }
        }
        Ok(())
    }

    fn count(&self, outcome: &Outcome) {
        let plugin = self.plugin().name.as_str();
        metrics::rows(metrics::ROWS_REJECTED, plugin, outcome.rejected.len());
        metrics::rows(metrics::ROWS_DROPPED, plugin, outcome.dropped);
        metrics::rows(metrics::ROWS_EMITTED, plugin, outcome.emitted);
        metrics::rows(metrics::NOT_JSON, plugin, outcome.not_json);
        if outcome.faults == 0 {
            return;
        }
        let faults = Faults { calls: outcome.faults.into(), rows: outcome.at_fault as u64 };
        if let Some(Faults { calls, rows }) = self.plugin().fault_log.add(faults, Instant::now()) {
            tracing::warn!(
                plugin,
                calls,
                rows_at_fault = rows,
                "calls of the plugin failed, and their instances were replaced; rows at fault go where `on_error` says"
            );
        }
    }

    fn plugin(&self) -> &Arc<Shared> {
        self.slot.plugin()
    }

    fn halted(&self, cause: HaltCause) -> Halt {
        let retry_in = match cause {
            HaltCause::Suspended { retry_in } => Some(retry_in),
            _ => None,
        };
        Halt { plugin: self.plugin().name.clone(), cause, retry_in }
    }
}
