//! Sandboxed WASM components that edit batches.
