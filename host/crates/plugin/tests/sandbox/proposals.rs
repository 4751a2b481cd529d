//! What a component may be made of: one component per proposal, refused or accepted.

use forwarder_plugin::{LoadError, PluginOptions};

use crate::support::{harmless_with, load};

/// Proposals that only a core module can use.
const REFUSED_IN_MODULES: &[(&str, &str)] = &[
    ("garbage collection: structs", "(type (struct))"),
    ("garbage collection: subtypes", "(type (sub (func)))"),
    ("garbage collection: recursive types", "(rec (type (func)) (type (func)))"),
    ("garbage collection: i31", "(func (param i31ref))"),
    ("host references", "(func (param externref))"),
    ("function references: types", "(type $f (func)) (func (param (ref null $f)))"),
    ("function references: calls", "(type $f (func)) (func (call_ref $f (ref.null $f)))"),
    ("exceptions", "(tag)"),
    ("exceptions: catching", "(func (try_table))"),
    ("exceptions, as they once were", "(func try catch_all end)"),
    ("threads: shared memory", "(memory 1 1 shared)"),
    ("threads: atomics", "(memory 1) (func (drop (i32.atomic.load (i32.const 0))))"),
    ("threads: everything shared", "(type (shared (func)))"),
    ("tail calls", "(func $f (return_call $f))"),
    (
        "relaxed SIMD",
        "(func (param v128) (result v128) local.get 0 local.get 0 i8x16.relaxed_swizzle)",
    ),
    ("64-bit memories", "(memory i64 1)"),
    ("64-bit tables", "(table i64 1 funcref)"),
    ("several memories", "(memory 1) (memory 1)"),
    ("pages of another size", "(memory 1 (pagesize 1))"),
    (
        "128-bit arithmetic",
        "(func (param i64) (result i64 i64) local.get 0 local.get 0 local.get 0 local.get 0 i64.add128)",
    ),
    ("stack switching", "(type $f (func)) (type (cont $f))"),
    ("memory control", "(memory 1) (func i32.const 0 i32.const 0 memory.discard)"),
];

/// Proposals of the component model.
const REFUSED_IN_COMPONENTS: &[(&str, &str)] = &[
    ("streams", "(type (stream u8))"),
    ("futures", "(type (future u8))"),
    ("tasks", "(core func (canon task.return))"),
    ("backpressure", "(core func (canon backpressure.inc))"),
    ("error contexts", "(core func (canon error-context.drop))"),
    ("threads", "(core func (canon thread.index))"),
    ("lists of fixed length", "(type (list u8 4))"),
    ("maps", "(type (map string u8))"),
    ("values", "(import \"v\" (value u8))"),
];

/// What toolchains emit today.
const ACCEPTED: &[(&str, &str)] = &[
    ("sign extension", "(func (drop (i32.extend8_s (i32.const 200))))"),
    ("saturating conversion", "(func (drop (i32.trunc_sat_f64_s (f64.const 1e99))))"),
    ("several results", "(func (result i32 i32) (i32.const 1) (i32.const 2))"),
    (
        "bulk memory",
        "(memory 1) (data $d \"x\") (func (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1))
            (memory.copy (i32.const 1) (i32.const 0) (i32.const 1)) (data.drop $d))",
    ),
    (
        "references to functions in tables",
        "(table 1 funcref) (elem declare func $f) (func $f
            (table.set (i32.const 0) (ref.func $f)) (drop (table.grow (ref.null func) (i32.const 1))))",
    ),
    ("SIMD", "(func (drop (i32x4.add (v128.const i32x4 1 2 3 4) (v128.const i32x4 1 2 3 4))))"),
    (
        "extended constants",
        "(global i32 (i32.add (i32.const 8) (i32.mul (i32.const 2) (i32.const 3))))",
    ),
    ("exported mutable globals", "(global (export \"g\") (mut i32) (i32.const 0))"),
];

fn loaded(more: &str) -> Result<(), LoadError> {
    load(&harmless_with(more), PluginOptions::default()).map(drop)
}

fn refused(proposal: &str, more: &str) {
    let Err(error) = loaded(more) else { panic!("{proposal} is accepted") };
    assert!(matches!(error, LoadError::Malformed { .. }), "{proposal}: {error}");
    assert!(error.to_string().contains("not a usable WebAssembly component"), "{error}");
}

#[test]
fn proposals_that_no_toolchain_needs_are_refused() {
    for (proposal, module) in REFUSED_IN_MODULES {
        refused(proposal, &format!("(core module {module})"));
    }
    for (proposal, component) in REFUSED_IN_COMPONENTS {
        refused(proposal, component);
    }
}

#[test]
fn what_toolchains_emit_is_accepted() {
    for (what, module) in ACCEPTED {
        let module = format!("(core module $more {module}) (core instance (instantiate $more))");
        loaded(&module).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
}

/// RUSTSEC-2026-0570: wasmtime up to 48.0.8 without its garbage collector aborts the process when this is called.
#[test]
fn a_function_type_that_may_have_subtypes_is_refused_in_words() {
    let module = r#"(core module
        (type $open (sub (func)))
        (type $other (func (result i32)))
        (table 1 1 funcref)
        (elem (i32.const 0) func $victim)
        (func $victim (type $other) (i32.const 7))
        (func (call_indirect (type $open) (i32.const 0))))"#;
    let error = loaded(module).unwrap_err().to_string();
    assert!(error.contains("uses a WebAssembly proposal that plugins may not use"), "{error}");
    assert!(error.contains("wasm32-wasip2"), "{error}");
}

/// Code that wasmtime makes to join two components uses two memories, which no module of a plugin may.
#[test]
fn components_may_be_composed() {
    let memory = r#"(core module $m (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))
        (func (export "f") (param i32 i32)))"#;
    let composed = format!(
        r#"(component $callee {memory}
            (core instance $i (instantiate $m))
            (func (export "f") (param "x" (list u8))
                (canon lift (core func $i "f") (memory $i "memory") (realloc (func $i "realloc")))))
        (component $caller (import "f" (func $f (param "x" (list u8)))) {memory}
            (core instance $i (instantiate $m))
            (core func $lowered (canon lower (func $f) (memory $i "memory")))
            (core module $user (import "" "f" (func (param i32 i32))))
            (core instance (instantiate $user (with "" (instance (export "f" (func $lowered)))))))
        (instance $a (instantiate $callee))
        (instance (instantiate $caller (with "f" (func $a "f"))))"#
    );
    loaded(&composed).unwrap();
}
