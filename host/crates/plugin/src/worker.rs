//! What a compute thread holds of a plugin: one instance, made when it is first needed, replaced after a fault
//! or when it holds too much memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forwarder_record::{Batch, Condition, Edits, RowIx, RowState, Slice, TextFull};

use crate::fault::Fault;
use crate::fault_log::Faults;
use crate::instance::Instance;
use crate::metrics;
use crate::plugin::{OnError, Shared};
use crate::repair::{self, Part, Parts};

/// Runs one plugin on one thread. Dropping it drops the instance.
///
/// The thread needs a stack of at least [`crate::MIN_THREAD_STACK`].
pub struct Worker {
    plugin: Arc<Shared>,
    instance: Option<Instance>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("plugin", &self.plugin.name).finish_non_exhaustive()
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
    /// Rows at fault that go on as they were, because `on_error` says so.
    pub passed: usize,
    /// Faults of the plugin while it worked on the batch.
    pub faults: u32,
    /// Rows at fault.
    pub at_fault: usize,
    /// Whether any row was changed, labelled, added or taken out, or was at fault.
    pub changed: bool,
}

/// The plugin cannot go on, and the batch must not go on without it.
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

/// Why a plugin cannot go on.
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

impl Worker {
    pub(crate) const fn new(plugin: Arc<Shared>) -> Self {
        Self { plugin, instance: None }
    }

    /// Runs the plugin over the live rows of a batch that fulfil `when`, slice by slice; the others never
    /// enter the sandbox. Emitted rows are put in order, so that the next plugin sees them.
    ///
    /// `bears` is asked with the bytes of the batch and of the edits so far, each time that there are more: each call
    /// has its own limit, and calls can be many.
    ///
    /// # Errors
    ///
    /// The batch must be held back. It is as it was before the call, unless the cause is
    /// [`HaltCause::BatchFull`]: then it must be decoded anew.
    pub fn apply(
        &mut self,
        batch: &mut Batch,
        when: Option<&Condition>,
        bears: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Outcome, Halt> {
        let limits = &self.plugin.blueprint.limits;
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
        let plugin = Arc::clone(&self.plugin);
        let entered = plugin.breaker.enter(Instant::now());
        let _entry = entered.map_err(|retry_in| HaltCause::Suspended { retry_in })?;
        let mut faults = 0;
        for slice in slices {
            match repair::process(self, batch, slice, parts) {
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

    /// One attempt at a slice, on the instance there is or a new one.
    pub(crate) fn attempt(
        &mut self,
        batch: &mut Batch,
        slice: &mut Slice,
    ) -> Result<Result<(Edits, Duration), Fault>, HaltCause> {
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.plugin.instance().map_err(HaltCause::NotRestarted)?,
        };
        let result = instance.process(batch, slice);
        metrics::call(&self.plugin.name, result.as_ref().map(|_| ()), instance.cpu());
        match &result {
            Err(fault) => {
                tracing::debug!(plugin = self.plugin.name, rows = slice.len(), %fault, "fault");
                metrics::instance_retired(&self.plugin.name, "fault");
            }
            Ok(_) if instance.is_bloated() => {
                metrics::instance_retired(&self.plugin.name, "memory");
            }
            Ok(_) => self.instance = Some(instance),
        }
        if result.is_ok() {
            self.plugin.breaker.succeeded();
        }
        Ok(result)
    }

    pub(crate) fn plugin(&self) -> &Shared {
        &self.plugin
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
        let plugin = self.plugin.name.as_str();
        match self.plugin.on_error {
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
        let plugin = self.plugin.name.as_str();
        metrics::rows(metrics::ROWS_REJECTED, plugin, outcome.rejected.len());
        metrics::rows(metrics::ROWS_DROPPED, plugin, outcome.dropped);
        metrics::rows(metrics::ROWS_EMITTED, plugin, outcome.emitted);
        metrics::rows(metrics::NOT_JSON, plugin, outcome.not_json);
        if outcome.faults == 0 {
            return;
        }
        let faults = Faults { calls: outcome.faults.into(), rows: outcome.at_fault as u64 };
        if let Some(Faults { calls, rows }) = self.plugin.fault_log.add(faults, Instant::now()) {
            tracing::warn!(
                plugin,
                calls,
                rows_at_fault = rows,
                "calls of the plugin failed, and their instances were replaced; rows at fault go where `on_error` says"
            );
        }
    }

    fn halted(&self, cause: HaltCause) -> Halt {
        let retry_in = match cause {
            HaltCause::Suspended { retry_in } => Some(retry_in),
            _ => None,
        };
        Halt { plugin: self.plugin.name.clone(), cause, retry_in }
    }
}
