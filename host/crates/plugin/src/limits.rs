//! What a plugin may use up, and how each bound is enforced.
//!
//! | bound | enforced by |
//! |---|---|
//! | what an instance is made of | `survey.rs`, before the component is compiled |
//! | memory, tables | [`MemoryGauge`], asked by wasmtime before anything grows |
//! | compiling | `compile.rs`, by limits of the process that compiles |
//! | time | [`Deadline`], asked at every tick of the engine's clock while guest code runs, and by host functions |
//! | time to apply edits | `work.rs`, charged to the same deadline when the edits are recorded |
//! | output | `call.rs`, summed over all edits and log lines of a call; wasmtime's hostcall fuel for a single one |
//! | native stack | `Config::max_wasm_stack`, one value for the engine |
//! | rows and bytes of a slice | [`SliceLimits`], when the batch is cut |

use std::cell::Cell;
use std::time::{Duration, Instant};

use forwarder_record::SliceLimits;
use rustix::time::{ClockId, clock_gettime};
use wasmtime::ResourceLimiter;

use crate::fault::Fault;
use crate::survey;

/// The bounds of one plugin. `Default` gives the documented ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Memory of one instance, in bytes: linear memory, tables, and what the host keeps for it.
    pub memory: usize,
    /// CPU time of one call. Not wall time, so that a busy machine does not convict the innocent.
    pub cpu: Duration,
    /// Time on the clock of one call, for whatever CPU time does not see.
    pub wall: Duration,
    /// Bytes of edits and log lines of one call, as a multiple of the bytes of its slice …
    pub output_factor: usize,
    /// … plus this.
    pub output_floor: usize,
    /// How a batch is cut into calls.
    pub slice: SliceLimits,
    /// Faults that one slice may cause while the rows to blame are looked for.
    pub faults_per_slice: u32,
    /// CPU time that one slice may cost after its first fault.
    pub repair_time: Duration,
    /// CPU time of compiling the component, instead of what its size allows.
    pub compile_cpu: Option<Duration>,
    /// Memory of compiling the component, in bytes, instead of what its size allows.
    pub compile_memory: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            cpu: Duration::from_secs(1),
            wall: Duration::from_secs(10),
            output_factor: 4,
            output_floor: 1 << 20,
            slice: SliceLimits::default(),
            faults_per_slice: 8,
            repair_time: Duration::from_secs(5),
            compile_cpu: None,
            compile_memory: None,
        }
    }
}

impl Limits {
    /// An instance that holds more than this after a call is replaced before the next, in bytes: guests
    /// never give memory back, and what one odd slice needed would be held for good.
    pub(crate) const fn high_water(&self) -> usize {
        self.memory / 4 * 3
    }

    /// Most bytes of edits and log lines for a slice of `bytes`.
    pub(crate) fn output(&self, bytes: usize) -> usize {
        bytes.saturating_mul(self.output_factor).saturating_add(self.output_floor)
    }
}

/// Counts what an instance holds, and says no.
#[derive(Debug)]
pub(crate) struct MemoryGauge {
    limit: usize,
    /// What the host keeps for the instance as long as it lives.
    fixed: usize,
    /// Bytes of linear memory.
    used: usize,
    table_elements: usize,
    refused: bool,
    /// While the instance is being made, when no guest code asks for the time.
    making: Option<Deadline>,
}

impl MemoryGauge {
    pub(crate) const fn new(limit: usize, fixed: usize, making: Option<Deadline>) -> Self {
        Self { limit, fixed, used: 0, table_elements: 0, refused: false, making }
    }

    /// The instance has been made.
    pub(crate) const fn made(&mut self) {
        self.making = None;
    }

    /// Whether an instance with so much memory and so many table elements is within the limit.
    fn allows(&mut self, memory: usize, table_elements: usize) -> Result<bool, Fault> {
        if let Some(deadline) = &self.making {
            deadline.check(Duration::ZERO)?;
        }
        let tables = table_elements.saturating_mul(survey::TABLE_ELEMENT);
        let held = self.fixed.saturating_add(memory).saturating_add(tables);
        let allowed = held <= self.limit;
        self.refused |= !allowed;
        Ok(allowed)
    }

    /// Bytes of linear memory that the instance holds.
    pub(crate) const fn used(&self) -> usize {
        self.used
    }

    /// The limit, if growth was refused since the last call of this function.
    pub(crate) fn take_refusal(&mut self) -> Option<usize> {
        std::mem::take(&mut self.refused).then_some(self.limit)
    }
}

impl ResourceLimiter for MemoryGauge {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // All memories of the component together: a component can bring many.
        let after = self.used.saturating_sub(current).saturating_add(desired);
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false); // its own bound, not ours
        }
        let allowed = self.allows(after, self.table_elements)?;
        if allowed {
            self.used = after;
        }
        Ok(allowed)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let after = self.table_elements.saturating_sub(current).saturating_add(desired);
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false); // its own bound, not ours
        }
        let allowed = self.allows(self.used, after)?;
        if allowed {
            self.table_elements = after;
        }
        Ok(allowed)
    }

    // The component was surveyed before it was compiled, so that these are never met; they are asked anyway.

    fn instances(&self) -> usize {
        survey::MAX_CORE_INSTANCES * 2 // wasmtime adds instances that join the parts of a component
    }

    fn tables(&self) -> usize {
        survey::MAX_TABLES
    }

    fn memories(&self) -> usize {
        survey::MAX_MEMORIES
    }
}

/// How often host functions ask the clocks, which costs more than some of these functions do.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// When a call began, and when it is over.
#[derive(Debug, Clone)]
pub(crate) struct Deadline {
    cpu_start: Duration,
    wall_start: Instant,
    cpu_limit: Duration,
    wall_limit: Duration,
    next_look: Cell<Duration>,
}

impl Deadline {
    /// A call that begins now, on this thread.
    pub(crate) fn start(limits: &Limits) -> Self {
        Self {
            cpu_start: thread_cpu_time(),
            wall_start: Instant::now(),
            cpu_limit: limits.cpu,
            wall_limit: limits.wall,
            next_look: Cell::new(coarse_time() + LOOK_EVERY),
        }
    }

    /// CPU time of this thread since the start.
    pub(crate) fn cpu(&self) -> Duration {
        thread_cpu_time().saturating_sub(self.cpu_start)
    }

    /// Whether a call may continue whose edits will take `work` to apply.
    pub(crate) fn check(&self, work: Duration) -> Result<(), Fault> {
        let (cpu, wall) = (self.cpu().saturating_add(work), self.wall_start.elapsed());
        if cpu > self.cpu_limit || wall > self.wall_limit {
            return Err(Fault::OutOfTime { cpu, wall });
        }
        Ok(())
    }

    /// Whether it is time for a [`check`](Self::check). For host functions: a guest can call them one after
    /// another without a loop, and then the engine's clock never gets to ask.
    pub(crate) fn is_due(&self) -> bool {
        let now = coarse_time();
        let due = now >= self.next_look.get();
        if due {
            self.next_look.set(now + LOOK_EVERY);
        }
        due
    }
}

/// CPU time that this thread has used.
pub(crate) fn thread_cpu_time() -> Duration {
    time_of(ClockId::ThreadCPUTime)
}

/// Time as of the kernel's last tick, some milliseconds ago; costs a few nanoseconds.
fn coarse_time() -> Duration {
    time_of(ClockId::MonotonicCoarse)
}

fn time_of(clock: ClockId) -> Duration {
    let now = clock_gettime(clock);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_are_counted_together() {
        let mut gauge = MemoryGauge::new(100, 0, None);
        assert!(gauge.memory_growing(0, 60, None).unwrap());
        assert!(!gauge.memory_growing(0, 60, None).unwrap());
        assert_eq!((gauge.take_refusal(), gauge.take_refusal()), (Some(100), None));
        assert!(gauge.memory_growing(60, 100, None).unwrap());
        assert_eq!(gauge.used(), 100);
    }

    #[test]
    fn tables_and_what_the_host_keeps_count_as_memory() {
        let mut gauge = MemoryGauge::new(100, 20, None);
        assert!(gauge.table_growing(0, 5, None).unwrap());
        assert!(!gauge.memory_growing(0, 41, None).unwrap());
        assert!(gauge.memory_growing(0, 40, None).unwrap());
        assert!(!gauge.table_growing(5, 6, None).unwrap());
        assert_eq!(gauge.take_refusal(), Some(100));
    }

    #[test]
    fn making_an_instance_is_given_up_when_its_time_is_over() {
        let limits = Limits { wall: Duration::ZERO, ..Limits::default() };
        let mut gauge = MemoryGauge::new(100, 0, Some(Deadline::start(&limits)));
        assert!(gauge.memory_growing(0, 1, None).is_err());
        gauge.made();
        assert!(gauge.memory_growing(0, 1, None).unwrap());
    }

    #[test]
    fn a_memory_that_meets_its_own_maximum_is_not_out_of_memory() {
        let mut gauge = MemoryGauge::new(100, 0, None);
        assert!(!gauge.memory_growing(0, 60, Some(50)).unwrap());
        assert_eq!(gauge.take_refusal(), None);
    }
}
