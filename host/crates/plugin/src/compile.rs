//! From the bytes of a component to native code, by a compiler that is not trusted with the process.
//!
//! Compiling is the most work that a plugin causes before its first log, and a hostile component is written to
//! make it endless: 1.9 KB took 24 s and 4.5 GB. So a process of its own does it ([`CompilerProcess`]), with
//! limits of memory and CPU that the kernel enforces and a limit of time that we do; [`serve`] is what runs
//! there. Without such a process (tests, benches) the same work is done in place, without those limits.

use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rustix::process::{
    Resource, Rlimit, Signal, getrlimit, nice, set_parent_process_death_signal, setrlimit,
};

use crate::fault::shortened;
use crate::features;
use crate::package::MAX_COMPONENT_BYTES;
use crate::settings;

const MIB: u64 = 1 << 20;

/// CPU seconds for every component, and for every MiB of it. Python's 18 MB take 9 s on a core of today.
const BASE_CPU: Duration = Duration::from_secs(4);
const CPU_PER_MIB: Duration = Duration::from_secs(1);
/// Memory for every component, and for every byte of it.
const BASE_MEMORY: u64 = 256 * MIB;
const MEMORY_PER_BYTE: u64 = 64;
const MAX_MEMORY: u64 = 4 << 30;
/// Time on the clock, for a compiler that waits or is kept waiting: as a multiple of its CPU limit, at least this.
const WALL_FACTOR: u32 = 4;
const MIN_WALL: Duration = Duration::from_secs(30);
/// Largest native code, as a multiple of the component (toolchains' come to 2 to 5 times), and what is added.
const CODE_FACTOR: u64 = 4;
const BASE_CODE: u64 = 4 * MIB;
/// Bytes of the compiler's own words about a component that we read and repeat.
pub(crate) const MAX_REASON: usize = 500;
/// Files that the compiler process may have open; it needs its three streams.
const MAX_FILES: u64 = 16;
/// How much less important than delivery it is.
const NICENESS: i32 = 5;

/// The first byte of an answer: native code follows.
const CODE: u8 = 0;
/// The first byte of an answer: the reason follows why there is none.
const REFUSED: u8 = 1;

/// What compiling one component may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// CPU time of all threads together. The kernel counts whole seconds.
    pub cpu: Duration,
    /// Time on the clock.
    pub wall: Duration,
    /// Memory, in bytes.
    pub memory: u64,
    /// Bytes of native code.
    pub code: u64,
}

impl CompileLimits {
    /// The limits for a component of `bytes`; `cpu` and `memory` replace those that follow from its size.
    pub fn of(bytes: usize, cpu: Option<Duration>, memory: Option<u64>) -> Self {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let mib = u32::try_from(bytes.div_ceil(MIB)).unwrap_or(u32::MAX);
        let cpu = cpu.unwrap_or(BASE_CPU + CPU_PER_MIB.saturating_mul(mib));
        let by_size = BASE_MEMORY.saturating_add(bytes.saturating_mul(MEMORY_PER_BYTE));
        Self {
            cpu,
            wall: cpu.saturating_mul(WALL_FACTOR).max(MIN_WALL),
            memory: memory.unwrap_or(by_size.min(MAX_MEMORY)),
            code: BASE_CODE.saturating_add(bytes.saturating_mul(CODE_FACTOR)),
        }
    }
}

/// A component was not compiled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// It is not valid, or uses what plugins may not use.
    #[error("{0}")]
    Refused(String),
    /// It took too much CPU.
    #[error(
        "compiling it took more than {} s of CPU; a plugin of this size should need far less, raise `limits.compile_cpu` if this one is known and the machine is slow",
        .0.as_secs()
    )]
    OutOfCpu(Duration),
    /// It took too long.
    #[error(
        "compiling it did not end within {} s, although it used less CPU than it may; this machine is overloaded, or raise `limits.compile_cpu`, from which this limit follows",
        .0.as_secs()
    )]
    OutOfTime(Duration),
    /// It took too much memory.
    #[error(
        "compiling it took more than {} MiB of memory; a plugin of this size should need far less, raise `limits.compile_memory` if this one is known",
        .0 / MIB
    )]
    OutOfMemory(u64),
    /// The code is too large.
    #[error(
        "its compiled code is larger than {0} bytes, far more than a plugin of this size should have"
    )]
    TooLarge(u64),
    /// The compiler process ended in a way that none of the above explains.
    #[error("the compiler crashed on it ({0})")]
    Crashed(String),
    /// The compiler process cannot be used; nothing that the plugin did.
    #[error("the compiler process cannot be used: {0}")]
    Unavailable(#[source] io::Error),
    /// The forwarder is stopping.
    #[error("compiling it was cut short because the forwarder is stopping")]
    Stopped,
}

/// Turns components into native code, as wasmtime serialises it. Blocks until it is done.
pub trait Compiler: Debug + Send + Sync {
    /// The native code of `component`.
    ///
    /// # Errors
    /// The component is refused, or compiling it would take more than `limits`.
    fn compile(&self, component: &[u8], limits: &CompileLimits) -> Result<Vec<u8>, CompileError>;
}

/// Compiles in this process and without limits: for tests and benches.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct InPlace;

impl Compiler for InPlace {
    fn compile(&self, component: &[u8], limits: &CompileLimits) -> Result<Vec<u8>, CompileError> {
        let code = compile(component).map_err(CompileError::Refused)?;
        if code.len() as u64 > limits.code {
            Err(CompileError::TooLarge(limits.code))
        } else {
            Ok(code)
        }
    }
}

/// What the compiler process does: limits itself to `cpu` and `memory`, reads a component from `input` and
/// writes the code, or the reason why there is none, to `output`. The parent takes it for done when this
/// returns and the process exits with success.
///
/// # Errors
/// The process cannot be limited, or the parent is gone.
pub fn serve(
    cpu: Duration,
    memory: u64,
    input: &mut impl Read,
    output: &mut impl Write,
) -> io::Result<()> {
    confine(cpu, memory)?;
    let mut component = Vec::new();
    input.take(MAX_COMPONENT_BYTES + 1).read_to_end(&mut component)?;
    let (tag, answer) = match compile(&component) {
        Ok(code) => (CODE, code),
        Err(reason) => (REFUSED, reason.into_bytes()),
    };
    output.write_all(&[tag])?;
    output.write_all(&answer)?;
    output.flush()
}

/// What an answer of [`serve`] says.
pub(crate) fn understood(mut answer: Vec<u8>) -> Result<Vec<u8>, CompileError> {
    match answer.first() {
        Some(&CODE) => {
            answer.remove(0);
            Ok(answer)
        }
        Some(&REFUSED) => {
            let reason = String::from_utf8_lossy(answer.get(1..).unwrap_or_default());
            Err(CompileError::Refused(shortened(&reason, MAX_REASON)))
        }
        _ => Err(CompileError::Crashed("it gave no answer".to_owned())),
    }
}

/// Gives up what compiling does not need, before the first byte of a component is read.
fn confine(cpu: Duration, memory: u64) -> io::Result<()> {
    // A parent that was killed must not leave a compiler behind.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let seconds = cpu.as_secs().max(1);
    limit(Resource::Cpu, seconds, seconds.saturating_add(1))?;
    // Writable memory. Address space would be the wrong measure: each thread of the allocator reserves some.
    limit(Resource::Data, memory, memory)?;
    limit(Resource::Core, 0, 0)?;
    limit(Resource::Fsize, 0, 0)?;
    limit(Resource::Nofile, MAX_FILES, MAX_FILES)?;
    // Refused in some containers; it is a courtesy to the rest of the machine, not a bound.
    let _ = nice(NICENESS);
    Ok(())
}

/// Sets a limit, or leaves it where it is already tighter.
fn limit(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let allowed = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let new = Rlimit { current: Some(soft.min(allowed)), maximum: Some(hard.min(allowed)) };
    Ok(setrlimit(resource, new)?)
}

/// Validates and compiles.
fn compile(component: &[u8]) -> Result<Vec<u8>, String> {
    guarded(|| {
        features::validate(component).map_err(wasmtime::Error::msg)?;
        wasmtime::Engine::new(&settings::config())?.precompile_component(component)
    })
}

/// Runs wasmtime on an untrusted component. There are components on which its compiler has
/// panicked; this process must survive that.
pub(crate) fn guarded<T>(work: impl FnOnce() -> wasmtime::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(shortened(&format!("{error:#}"), MAX_REASON)),
        Err(_) => Err("the compiler panicked on it".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_follow_from_the_size_unless_they_are_chosen() {
        let small = CompileLimits::of(2_000, None, None);
        assert_eq!((small.cpu.as_secs(), small.wall.as_secs()), (5, 30));
        assert_eq!(small.memory / MIB, 256);
        let python = CompileLimits::of(18 << 20, None, None);
        assert_eq!((python.cpu.as_secs(), python.wall.as_secs()), (22, 88));
        assert_eq!((python.memory / MIB, python.code / MIB), (1_408, 76));
        let chosen = CompileLimits::of(2_000, Some(Duration::from_secs(60)), Some(MIB));
        assert_eq!((chosen.cpu.as_secs(), chosen.wall.as_secs(), chosen.memory), (60, 240, MIB));
    }

    #[test]
    fn an_answer_is_code_or_a_reason() {
        assert_eq!(understood(vec![CODE, 7]).unwrap(), [7]);
        let refused = understood(b"\x01it is\nno good".to_vec()).unwrap_err();
        assert_eq!(refused.to_string(), "it is\\nno good");
        for nonsense in [vec![], vec![7, 7]] {
            assert!(matches!(understood(nonsense), Err(CompileError::Crashed(_))));
        }
    }
}
