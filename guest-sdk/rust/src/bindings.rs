//! The contract as Rust, generated from `wit/plugin.wit` in the root of the repository. wasm only.
//!
//! Nothing here is offered to authors: `host` picks what the crate uses, `plugin!` what it exports.
//! Parameters are borrowed, so that a column of edits crosses without a copy of each string.

wit_bindgen::generate!({
    world: "plugin",
    path: "../../wit",
    ownership: Borrowing { duplicate_if_necessary: false },
    pub_export_macro: true,
    export_macro_name: "export",
    default_bindings_module: "::forwarder_guest::bindings",
});
