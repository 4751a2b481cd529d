//! Components that are small to write and dear to instantiate: refused before they are compiled, or charged to
//! the memory that the plugin may have.

use std::sync::Arc;
use std::time::Duration;

use forwarder_plugin::{
    CompileError, CompileLimits, Compiler, Engine, EngineOptions, Limits, LoadError, Package,
    Plugin, PluginOptions,
};

use crate::support::{guest, harmless_with, load, numbered};

/// A compiler that must not be asked.
#[derive(Debug)]
struct Forbidden;

impl Compiler for Forbidden {
    fn compile(&self, _: &[u8], _: &CompileLimits) -> Result<Vec<u8>, CompileError> {
        Err(CompileError::Stopped)
    }
}

fn with_compiler(wat: &str, compiler: impl Compiler + 'static) -> LoadError {
    let compiler = Some(Arc::new(compiler) as Arc<dyn Compiler>);
    let engine = Engine::new(&EngineOptions { compiler, ..EngineOptions::default() }).unwrap();
    let package = Package::new(wat::parse_str(wat).unwrap());
    Plugin::load(&engine, "guest", &package, PluginOptions::default()).unwrap_err()
}

/// Loads a harmless plugin that contains `more`, which must be refused without a compiler and in these words.
fn refused(more: &str, words: &str) {
    let error = with_compiler(&harmless_with(more), Forbidden);
    assert!(matches!(error, LoadError::TooCostly { .. }), "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

/// `count` instances of a core module.
fn instances(module: &str, count: usize) -> String {
    format!("(core module $more {module}){}", "(core instance (instantiate $more))".repeat(count))
}

/// Components that each instantiate the one before twice, so that the last makes 2^depth of the first.
fn doubling(first: &str, depth: usize) -> String {
    let next = |n: usize| {
        format!(
            "(component $c{n} (alias outer 1 $c{} (component $p)) (instance (instantiate $p)) (instance (instantiate $p)))",
            n - 1
        )
    };
    let chain: String = (1..=depth).map(next).collect();
    format!("(component $c0 {first}) {chain} (instance (instantiate $c{depth}))")
}

#[test]
fn doubling_is_counted_and_not_followed() {
    let module = "(core module $m) (core instance (instantiate $m))";
    refused(&doubling(module, 24), "instances of core modules; at most 256");
    refused(&doubling("", 24), "instances of components; at most 256");
    refused(&doubling("", 64), "instances of components; at most 256");
}

#[test]
fn memories_are_capped_for_the_address_space_that_they_reserve() {
    refused(&instances("(memory 0)", 16), "17 linear memories; at most 16");
}

#[test]
fn what_instances_hold_is_charged_to_the_plugins_memory() {
    let globals = "(global (mut i32) (i32.const 1))".repeat(20_000);
    let functions = "(func)".repeat(10_000);
    let items = "(ref.null func)".repeat(20_000);
    for (module, count) in [
        ("(memory 2000)", 1),
        ("(table 10000000 funcref)", 1),
        (&globals, 250),
        (&functions, 250),
        (&format!("(elem funcref {items})"), 250),
    ] {
        refused(&instances(module, count), "`limits.memory` is 67108864");
    }
}

#[test]
fn modules_that_are_never_instantiated_are_charged_too() {
    let module = format!("(core module {})", "(func)".repeat(10_000));
    refused(&module.repeat(60), "`limits.memory` is 67108864");
    // Also where they are declared in a component that is not instantiated either.
    refused(&format!("(component {})", module.repeat(60)), "`limits.memory` is 67108864");
}

#[test]
fn data_that_is_copied_again_and_again_is_refused() {
    let text = "x".repeat(1 << 20);
    let copies = "(core instance (instantiate $copy (with \"e\" (instance $memory))))".repeat(100);
    let again = format!(
        r#"(core module $m (memory (export "m") 16)) (core instance $memory (instantiate $m))
        (core module $copy (import "e" "m" (memory 16)) (data (i32.const 0) "{text}")) {copies}"#
    );
    refused(&again, "would copy");
}

#[test]
fn components_are_nested_only_so_deep() {
    refused(&format!("{}{}", "(component ".repeat(40), ")".repeat(40)), "at most 32");
}

#[test]
fn modules_that_are_passed_around_are_refused() {
    let passed = r#"(component $c (import "m" (core module $m)) (core instance (instantiate $m)))
        (core module $m) (instance (instantiate $c (with "m" (core module $m))))"#;
    let error = load(&harmless_with(passed), PluginOptions::default()).unwrap_err();
    assert!(error.to_string().contains("passes core modules or components"), "{error}");
}

#[test]
fn what_toolchains_make_is_within_the_caps() {
    // componentize-py: 17 instances and more, one table and thousands of globals in each.
    let module = format!(
        "(table 1000 funcref) {} {}",
        "(global (mut i32) (i32.const 1))".repeat(2_000),
        "(func)".repeat(2_000)
    );
    load(&harmless_with(&instances(&module, 60)), PluginOptions::default()).unwrap();
}

#[test]
fn a_larger_limit_admits_a_larger_plugin() {
    let wat = harmless_with(&instances("(memory 2000)", 1));
    let limits = Limits { memory: 256 << 20, ..Limits::default() };
    load(&wat, PluginOptions { limits, ..PluginOptions::default() }).unwrap();
}

#[test]
fn a_table_that_grows_without_end_costs_one_row() {
    let wat = guest(
        "(loop $l (br_if $l (i32.ne (table.grow (ref.null func) (i32.const 10000))
        (i32.const -1)))) unreachable",
    );
    let wat = wat.replace(
        "(global $calls (mut i32) (i32.const 0))",
        "(global $calls (mut i32) (i32.const 0)) (table 0 funcref)",
    );
    let plugin = load(&wat, PluginOptions::default()).unwrap();
    let outcome = plugin.worker().apply(&mut numbered(10, &[3]), None, &mut |_| true).unwrap();
    let [(row, reason)] = outcome.rejected.as_slice() else { panic!("{outcome:?}") };
    assert_eq!(row.index(), 3);
    assert!(reason.contains("ran out of memory at 67108864"), "{reason}");
}

#[test]
fn handles_of_a_guests_own_are_bounded() {
    let hoard = r#"(type $r (resource (rep i32))) (core func $new (canon resource.new $r))
        (core module $more (import "" "new" (func $new (param i32) (result i32)))
            (func $start (loop $l (drop (call $new (i32.const 0))) (br $l))) (start $start))
        (core instance (instantiate $more (with "" (instance (export "new" (func $new))))))"#;
    let error = load(&harmless_with(hoard), PluginOptions::default()).unwrap_err();
    assert!(error.to_string().contains("handle limit"), "{error}");
}

#[test]
fn a_start_function_that_does_not_end_is_ended() {
    let spin = instances("(func $s (loop $l (br $l))) (start $s)", 1);
    let limits = Limits { cpu: Duration::from_millis(30), ..Limits::default() };
    let options = PluginOptions { limits, ..PluginOptions::default() };
    let error = load(&harmless_with(&spin), options).unwrap_err();
    assert!(error.to_string().contains("ran out of time"), "{error}");
}

#[test]
fn a_compiler_that_writes_nonsense_is_no_danger() {
    #[derive(Debug)]
    struct Nonsense;
    impl Compiler for Nonsense {
        fn compile(&self, _: &[u8], _: &CompileLimits) -> Result<Vec<u8>, CompileError> {
            Ok(b"\x7fELF, but no more".to_vec())
        }
    }
    let error = with_compiler(&harmless_with(""), Nonsense);
    assert!(matches!(error, LoadError::Malformed { .. }), "{error}");
}
