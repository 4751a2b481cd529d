//! wasmtime's configuration, in one place, each setting with its reason.

use wasmtime::{Config, InstanceAllocationStrategy, OptLevel, WasmFeatures};

use crate::features;

/// Native stack of a guest. The thread that calls it must have several times as much; see
/// [`crate::MIN_THREAD_STACK`].
const MAX_WASM_STACK: usize = 512 << 10;

/// How components are compiled and run; the same in the process that compiles.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config
        // Guests stop at loop heads and function entries once the clock has ticked. Costs some guests a
        // fifth of their compute; fuel, the alternative, up to half.
        .epoch_interruption(true)
        .max_wasm_stack(MAX_WASM_STACK)
        // The contract is synchronous; without this a component could bring tasks of its own.
        .concurrency_support(false)
        // Memories of a few MiB, one instance per compute thread: each gets 4 GiB of address space and a
        // guard behind it, so that compiled code needs no bounds checks. Address space is free.
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        .memory_reservation(4 << 30)
        .memory_guard_size(32 << 20)
        // Snapshots of initialised interpreters (Python: 10 MiB) are mapped, and copied page by page when
        // written to; a fresh instance costs microseconds.
        .memory_init_cow(true)
        .cranelift_opt_level(OptLevel::Speed)
        .parallel_compilation(true)
        // Only backtraces would read it; it is a tenth of the cached file.
        .generate_address_map(false);

    config.wasm_features(WasmFeatures::all().difference(features::ENGINE), false);
    config.wasm_features(features::ENGINE, true);
    config
}
