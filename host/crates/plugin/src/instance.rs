//! One store, one instance of a plugin, one call at a time.
//!
//! An instance lives from its first call until it is at fault, or holds more memory than it should after a
//! call. What a guest keeps in between is its own business and may vanish at any time; nothing of a batch is
//! kept. After a trap the component model forbids entering the instance again, so it is dropped.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use forwarder_record::{Batch, Edits, Slice};
use wasmtime::component::InstancePre;
use wasmtime::{Store, UpdateDeadline};

use crate::abi::Transform;
use crate::call::Call;
use crate::fault::{Fault, shortened};
use crate::guest_log::GuestLog;
use crate::limits::{Deadline, Limits, MemoryGauge};
use crate::options::Grants;
use crate::store_data::StoreData;
use crate::wasi_state::WasiState;

/// Longest text of an `err` in bytes.
const MAX_REFUSAL: usize = 500;

/// Handles of resources, the guest's own included, that an instance may hold: some 30 bytes of the host each.
const MAX_HANDLES: usize = 10_000;

/// What it takes to make instances of a plugin.
pub(crate) struct InstanceTemplate {
    pub(crate) prepared: InstancePre<StoreData>,
    pub(crate) config: String,
    /// Bytes of the host that each instance takes apart from memories and tables.
    pub(crate) fixed_memory: usize,
    pub(crate) limits: Limits,
    pub(crate) grants: Grants,
    pub(crate) log: Arc<GuestLog>,
}

/// A configured instance.
pub(crate) struct Instance {
    store: Store<StoreData>,
    transform: Transform,
    limits: Limits,
}

impl Instance {
    /// Makes an instance and configures it.
    pub(crate) fn new(template: &InstanceTemplate) -> Result<Self, Fault> {
        let limits = template.limits.clone();
        let deadline = Deadline::start(&limits);
        let state = StoreData {
            call: None,
            memory: MemoryGauge::new(limits.memory, template.fixed_memory, Some(deadline.clone())),
            deadline,
            grants: template.grants,
            wasi: WasiState::default(),
            log: template.log.clone(),
        };
        let mut store = Store::new(template.prepared.engine(), state);
        store.limiter(|state| &mut state.memory);
        store.epoch_deadline_callback(|cx| {
            cx.data().check_time()?;
            Ok(UpdateDeadline::Continue(1))
        });
        store.set_epoch_deadline(1);
        store.set_hostcall_fuel(limits.output(0));
        store.set_max_component_handles(MAX_HANDLES);

        let transform = template
            .prepared
            .instantiate(&mut store)
            .and_then(|instance| Transform::find(&mut store, &instance))
            .map_err(|error| fault(&mut store, &error, &limits))?;
        store.data_mut().memory.made();
        store.data().check_time()?;
        let mut this = Self { store, transform, limits };
        this.guarded(0, |transform, store| transform.configure(store, &template.config))?;
        Ok(this)
    }

    /// Runs `process` on a slice. The batch and the slice come back unchanged, whatever happens; with the edits
    /// comes what applying them may take. After a fault the instance is of no further use.
    pub(crate) fn process(
        &mut self,
        batch: &mut Batch,
        slice: &mut Slice,
    ) -> Result<(Edits, Duration), Fault> {
        let rows = u32::try_from(slice.len()).unwrap_or(u32::MAX);
        let bytes = slice.bytes();
        let call = Call::new(std::mem::take(batch), std::mem::take(slice), &self.limits);
        self.store.data_mut().call = Some(call);
        let result = self
            .guarded(bytes, |transform, store| transform.process(store, rows))
            // The guest may have ended between two ticks.
            .and_then(|()| self.store.data().check_time());
        let (mut edits, mut work) = (Edits::default(), Duration::ZERO);
        if let Some(call) = self.store.data_mut().call.take() {
            work = call.work();
            (*batch, *slice, edits) = call.into_parts();
        }
        result.map(|()| (edits, work))
    }

    /// CPU time since the call in progress, or the last one, began.
    pub(crate) fn cpu(&self) -> Duration {
        self.store.data().deadline.cpu()
    }

    /// Whether the guest holds more memory than it should between calls.
    pub(crate) fn is_bloated(&self) -> bool {
        self.store.data().memory.used() > self.limits.high_water()
    }

    /// Calls into the guest with fresh bounds on time and on what one host call may carry.
    fn guarded(
        &mut self,
        slice_bytes: usize,
        call: impl FnOnce(&Transform, &mut Store<StoreData>) -> wasmtime::Result<Result<(), String>>,
    ) -> Result<(), Fault> {
        self.store.data_mut().deadline = Deadline::start(&self.limits);
        self.store.set_epoch_deadline(1);
        self.store.set_hostcall_fuel(self.limits.output(slice_bytes));
        let answer = catch_unwind(AssertUnwindSafe(|| call(&self.transform, &mut self.store)));
        let StoreData { wasi, log, .. } = self.store.data_mut();
        wasi.flush(log);
        match answer {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(text))) => Err(Fault::Refused(shortened(&text, MAX_REFUSAL))),
            Ok(Err(error)) => Err(fault(&mut self.store, &error, &self.limits)),
            // A bug of ours that this guest or this row has found. The batch is intact in the store; the rest
            // of the store is not used again.
            Err(_) => Err(Fault::Trapped("a function of the forwarder panicked".to_owned())),
        }
    }
}

fn fault(store: &mut Store<StoreData>, error: &wasmtime::Error, limits: &Limits) -> Fault {
    let fuel = store.hostcall_fuel();
    Fault::of_call(error, store.data_mut().memory.take_refusal().map(|_| limits.memory), fuel)
}
