//! What a component may be made of: the WebAssembly proposals that the contract needs, as a list.
//!
//! Everything else is off, because each proposal is compiler and runtime code that a hostile component can
//! reach. An example is RUSTSEC-2026-0570: wasmtime 47.0.0 to 48.0.8, built without its garbage collector,
//! aborts the process when a function type that can have subtypes is called. Without the GC proposal no
//! component can contain such a type.

use wasmparser::{Validator, WasmFeatures};

/// What a plugin may use. Rust, C, Zig, JavaScript (QuickJS and StarlingMonkey), Python and Go need no more.
pub(crate) const ALLOWED: WasmFeatures = WasmFeatures::COMPONENT_MODEL
    .union(WasmFeatures::MUTABLE_GLOBAL)
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::SIMD)
    // QuickJS and Python are linked as position-independent code, whose addresses are such constants.
    .union(WasmFeatures::EXTENDED_CONST);

/// What the engine must be able to run. wasmtime joins the parts of a component with code of its own that
/// uses two memories, and panics if it may not. A plugin's own modules may not use this.
pub(crate) const ENGINE: WasmFeatures = ALLOWED.union(WasmFeatures::MULTI_MEMORY);

/// Checks that a component is valid and uses nothing that is not [`ALLOWED`].
pub(crate) fn validate(component: &[u8]) -> Result<(), String> {
    match Validator::new_with_features(ALLOWED).validate_all(component) {
        Ok(_types) => Ok(()),
        Err(error) if error.missing_wasm_feature().is_some() => Err(format!(
            "it uses a WebAssembly proposal that plugins may not use: {error}; build it for `wasm32-wasip2` without extra target features"
        )),
        Err(error) => Err(error.to_string()),
    }
}
