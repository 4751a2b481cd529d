//! What is found out about a plugin before its first slice.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use forwarder_plugin::{
    CompileError, CompileLimits, Compiler, Engine, EngineOptions, IncompatibleComponent, LoadError,
    Package, Plugin, PluginOptions,
};
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve};

use crate::support::{column, engine, guest, guest_with, load, numbered};

fn load_bytes(bytes: &[u8]) -> Result<Plugin, LoadError> {
    Plugin::load(engine(), "guest", &Package::new(bytes.to_vec()), PluginOptions::default())
}

fn wit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../wit")
}

/// A component that imports all of a contract and exports what it wants; every function traps.
fn component_of(contract: &Path) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_file(contract).unwrap();
    let world = resolve.select_world(&[package], Some("plugin")).unwrap();
    let mut module = dummy_module(&resolve, world, ManglingAndAbi::Standard32);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

/// A plugin that calls every function there is would load, and fails only because it traps.
fn assert_served(contract: &Path) {
    match load_bytes(&component_of(contract)).unwrap_err() {
        LoadError::NotConfigured { fault, .. } => assert_eq!(fault.kind(), "trapped"),
        error => panic!("{}: {error}", contract.display()),
    }
}

#[test]
fn every_function_of_the_contract_is_served_with_the_types_it_declares() {
    assert_served(&wit().join("plugin.wit"));
}

#[test]
fn every_released_contract_is_still_served() {
    let released = std::fs::read_dir(wit().join("released")).unwrap();
    let contracts: Vec<_> = released
        .map(|entry| entry.unwrap().path().join("plugin.wit"))
        .filter(|path| path.exists())
        .collect();
    assert!(!contracts.is_empty());
    contracts.iter().for_each(|contract| assert_served(contract));
}

#[test]
fn the_error_about_a_core_module_says_how_to_make_a_component() {
    let error = load_bytes(&wat::parse_str("(module)").unwrap()).unwrap_err();
    assert!(error.to_string().contains("`wasm-tools component new`"), "{error}");
}

#[test]
fn bytes_that_are_no_wasm_are_refused() {
    for bytes in [&b""[..], b"\x7fELF", b"\0asm\x0d\0\x01\0 and then nonsense"] {
        let error = load_bytes(bytes).unwrap_err();
        assert!(matches!(error, LoadError::Malformed { .. }), "{error}");
    }
}

#[test]
fn a_component_cut_short_anywhere_is_refused_and_never_a_crash() {
    let whole = wat::parse_str(guest("unreachable")).unwrap();
    for end in (0..whole.len()).step_by(37) {
        assert!(load_bytes(&whole[..end]).is_err(), "{end}");
    }
}

#[test]
fn a_plugin_that_wants_the_network_does_not_load() {
    let wat = r#"(component (import "wasi:sockets/tcp@0.2.9" (instance))
        (instance $t) (export "forwarder:plugin/transform@0.1.0" (instance $t)))"#;
    let error = load(wat, PluginOptions::default()).unwrap_err();
    assert!(
        matches!(
            error,
            LoadError::IncompatibleComponent { source: IncompatibleComponent::Imports { .. }, .. }
        ),
        "{error}"
    );
}

#[test]
fn a_function_of_a_newer_contract_is_named() {
    let wat = r#"(component
        (import "forwarder:plugin/host@0.1.7" (instance (export "tomorrow" (func))))
        (instance $t) (export "forwarder:plugin/transform@0.1.7" (instance $t)))"#;
    let error = load(wat, PluginOptions::default()).unwrap_err();
    assert!(matches!(error, LoadError::Mismatch { .. }), "{error}");
    assert!(error.to_string().contains("tomorrow"), "{error}");
}

#[test]
fn a_transform_without_its_functions_is_refused() {
    let wat = r#"(component
        (instance $t) (export "forwarder:plugin/transform@0.1.0" (instance $t)))"#;
    let error = load(wat, PluginOptions::default()).unwrap_err();
    assert!(error.to_string().contains("no function `process`"), "{error}");
}

#[test]
fn a_plugin_can_be_looked_into_without_running_it() {
    let package = Package::new(wat::parse_str(guest_with("(i32.const 0)", "unreachable")).unwrap());
    let imports = Plugin::inspect(engine(), "guest", &package).unwrap();
    assert_eq!(imports.contract, "0.1.0");
    assert!(imports.names.contains(&"forwarder:plugin/edits@0.1.0#drop".to_owned()));
}

#[test]
fn plugins_of_one_component_that_load_side_by_side_take_turns_at_the_compiler() {
    let dir = tempfile::tempdir().unwrap();
    let compiler = Arc::new(Counting::default());
    let options = EngineOptions {
        cache_dir: Some(dir.path().join("cache")),
        compiler: Some(compiler.clone()),
    };
    let engine = Engine::new(&options).unwrap();
    let package = Package::new(wat::parse_str(guest("unreachable")).unwrap());
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| Plugin::load(&engine, "guest", &package, PluginOptions::default()));
        }
    });
    // It answers no code, so that each asks: but one at a time, and with code the others would find it cached.
    assert_eq!(compiler.asked.load(Ordering::Relaxed), 4);
    assert_eq!(compiler.most.load(Ordering::Relaxed), 1);
}

/// Counts how often it is asked, and how often at a time.
#[derive(Debug, Default)]
struct Counting {
    asked: AtomicUsize,
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Compiler for Counting {
    fn compile(&self, _: &[u8], _: &CompileLimits) -> Result<Vec<u8>, CompileError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        std::thread::yield_now();
        self.now.fetch_sub(1, Ordering::Relaxed);
        Err(CompileError::Stopped)
    }
}

#[test]
fn a_second_start_finds_the_compiled_code() {
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        let cache_dir = Some(dir.path().join("cache"));
        let engine = Engine::new(&EngineOptions { cache_dir, ..EngineOptions::default() }).unwrap();
        let package = Package::new(wat::parse_str(guest("unreachable")).unwrap());
        Plugin::load(&engine, "guest", &package, PluginOptions::default()).unwrap()
    };
    start();
    let files = || std::fs::read_dir(dir.path().join("cache")).unwrap().count();
    assert_eq!(files(), 2, "the code and the key that vouches for it");
    let mut batch = numbered(10, &[]);
    start().worker().apply(&mut batch, None, &mut |_| true).unwrap();
    assert_eq!((column(&batch, "seen"), files()), (vec!["y".to_owned(); 10], 2));
}
