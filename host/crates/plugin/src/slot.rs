//! The place of one instance: made when it is first needed, replaced after a fault or when it holds too much memory.

use std::sync::Arc;
use std::time::Duration;

use forwarder_record::{Batch, Edits, Slice};

use crate::fault::Fault;
use crate::halt::HaltCause;
use crate::instance::Instance;
use crate::metrics;
use crate::plugin::Shared;

/// An instance of a plugin, if there is one at the moment.
pub(crate) struct InstanceSlot {
    plugin: Arc<Shared>,
    instance: Option<Instance>,
}

impl InstanceSlot {
    pub(crate) const fn new(plugin: Arc<Shared>) -> Self {
        Self { plugin, instance: None }
    }

    /// Runs `process` on a slice, in the instance there is or a new one.
    ///
    /// # Errors
    ///
    /// The outer one: there is no instance, and none can be made. The inner one: the guest is at fault.
    pub(crate) fn process(
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

    pub(crate) const fn plugin(&self) -> &Arc<Shared> {
        &self.plugin
    }
}
