//! Plugins that are hard to compile, or refused: the sources that do not need them, a stop, and the state
//! directory are not affected.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use forwarder_emulator::state::logstore::Placement;
use forwarder_tests::{Forwarder, Logs, PROJECT, World, receivers, until};

/// A plugin that accepts any configuration and changes nothing, with `more` in front of its parts.
fn harmless_with(folder: &Path, more: &str) -> PathBuf {
    let text = format!(
        r#"(component {more}
  (core module $plugin
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "configure") (param i32 i32) (result i32) (i32.const 0))
    (func (export "process") (param i32) (result i32) (i32.const 0)))
  (core instance $i (instantiate $plugin))
  (func $configure (param "config" string) (result (result (error string)))
    (canon lift (core func $i "configure") (memory $i "memory") (realloc (func $i "realloc"))))
  (func $process (param "rows" u32) (result (result (error string)))
    (canon lift (core func $i "process") (memory $i "memory")))
  (instance $transform (export "configure" (func $configure)) (export "process" (func $process)))
  (export "forwarder:plugin/transform@0.1.0" (instance $transform)))"#
    );
    let path = folder.join("hostile.wasm");
    std::fs::write(&path, wat::parse_str(text).unwrap()).unwrap();
    path
}

/// A plugin whose functions are made of branches that all change the same sixty variables: a few hundred
/// kilobytes that keep a compiler busy for the better part of a minute.
fn slow_to_compile(folder: &Path) -> PathBuf {
    let mut numbers = 1_u32;
    let mut local = || {
        numbers = numbers.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (numbers >> 16) % 60
    };
    let mut branches = String::new();
    for _ in 0..60_000 {
        let (a, b) = (local(), local());
        branches.push_str(&format!(
            "loop local.get {a} local.get {b} i32.add local.set {b} local.get {a} br_if 0 end\n"
        ));
    }
    let function = format!("(func (local {}) {branches})", "i32 ".repeat(60));
    harmless_with(folder, &format!("(core module {function})"))
}

/// Settings of two sources, `audit` with the plugin and `other` without.
fn two_sources(world: &World, plugin: &Path, more: &str) -> PathBuf {
    world
        .settings()
        .another_source(&[("name", "other"), ("logstore", "other")])
        .hec("splunk", &world.hec.url(), "")
        .plugin(plugin, &format!("sources = [\"audit\"]\n{more}"))
        .write("forwarder.toml")
}

async fn world_with_logs() -> World {
    let world = World::of(World::sls(1).logstore(PROJECT, "other", 1), receivers::hec()).await;
    world.put(&Logs(0..1_000), 100);
    for group in Logs(1_000..3_000).groups(100) {
        world.sls.put(PROJECT, "other", Placement::Shard(0), [group]).unwrap();
    }
    world
}

/// Ids of the processes that a process has started and that have not ended.
fn children(of: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{of}/task")).unwrap();
    let of_thread = |thread: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(thread.ok()?.path().join("children")).ok()
    };
    let ids = threads.filter_map(of_thread).collect::<String>();
    ids.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

fn exists(process: u32) -> bool {
    Path::new(&format!("/proc/{process}")).exists()
}

/// Names in the folder of compiled plugins, but for the key.
fn cached(world: &World) -> Vec<String> {
    let folder = world.folder().join("state/compiled-plugins");
    let names = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| name != "key");
    names
}

async fn check(world: &World, config: &Path) -> Output {
    let mut command = Forwarder::command(world.folder());
    command.args(["check", "--config", config.to_str().unwrap()]).output().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_plugin_compiles_other_sources_work_and_a_stop_is_obeyed() {
    let world = world_with_logs().await;
    let plugin = slow_to_compile(world.folder());
    let patient = "limits = { compile_cpu = \"600s\", compile_memory = \"8GiB\" }";
    let config = two_sources(&world, &plugin, patient);
    let mut forwarder = world.start(&config, &[]);
    world.received(2_000, &forwarder).await;
    forwarder.says("waiting until the plugin is compiled").await;
    let compilers = children(forwarder.id());
    assert_eq!(compilers.len(), 1, "it is still being compiled, by a process of its own");
    assert_eq!(forwarder.ask("GET", "/readyz").await.status, 503, "one source is not at work");

    let began = Instant::now();
    let ended = forwarder.stop().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert!(!exists(compilers[0]), "the compiler has ended with it");
    assert_eq!(cached(&world), [""; 0]);
    assert_eq!(world.hec.received().tally.distinct_ids, 2_000, "nothing passed by the plugin");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compiler_ends_with_a_forwarder_that_was_killed() {
    let world = world_with_logs().await;
    let plugin = slow_to_compile(world.folder());
    let config = two_sources(&world, &plugin, "limits = { compile_cpu = \"600s\" }");
    let forwarder = world.start(&config, &[]);
    let mut compilers = Vec::new();
    until("a compiler runs", async || {
        compilers = children(forwarder.id());
        !compilers.is_empty()
    })
    .await;
    // By then it has long asked the kernel to end it with its parent, which it does first of all.
    world.received(2_000, &forwarder).await;
    forwarder.kill().await;
    until("the compiler is gone", async || !exists(compilers[0])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_plugin_stops_its_source_and_no_other() {
    let world = world_with_logs().await;
    let plugin = slow_to_compile(world.folder());
    let config = two_sources(&world, &plugin, "limits = { compile_cpu = \"1s\" }");
    let mut forwarder = world.start(&config, &[]);
    forwarder.says("source does not start").await;
    let log = forwarder.log();
    assert!(log.contains("more than 1 s of CPU"), "{log}");
    assert!(log.contains("no data is lost") && log.contains("source=\"audit\""), "{log}");
    world.received(2_000, &forwarder).await;
    assert_eq!(children(forwarder.id()), [0; 0]);
    assert_eq!(cached(&world), [""; 0]);
    assert_eq!(forwarder.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_another_source_a_refused_plugin_ends_the_process() {
    let world = World::new(1).await;
    let plugin = harmless_with(world.folder(), "(core module (type (sub (func))))");
    let config = world.config("forwarder.toml", &format!("[[transform]]\nplugin = {plugin:?}"));
    let ended = world.start(&config, &[]).end().await;
    assert_eq!(ended.code, Some(4), "{}", ended.log);
    assert!(ended.log.contains("a WebAssembly proposal that plugins may not use"), "{}", ended.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_ends_within_seconds_whatever_the_plugin_is() {
    let world = World::new(1).await;
    let doubling: String = (1..=24)
        .map(|n| {
            format!(
                "(component $c{n} (alias outer 1 $c{} (component $p))
                    (instance (instantiate $p)) (instance (instantiate $p)))",
                n - 1
            )
        })
        .collect();
    let doubling = format!(
        "(component $c0 (core module $m) (core instance (instantiate $m))) {doubling}
         (instance (instantiate $c24))"
    );
    let (folder, memory) =
        (world.folder(), "(core module $m (memory 2000)) (core instance (instantiate $m))");
    let tight = "limits = { compile_memory = \"64MiB\" }";
    type Make<'a> = Box<dyn Fn() -> PathBuf + 'a>;
    let plugins: [(Make<'_>, &str, &str); 3] = [
        (
            Box::new(|| harmless_with(folder, &doubling)),
            "",
            "instances of core modules; at most 256",
        ),
        (Box::new(|| harmless_with(folder, memory)), "", "`limits.memory` is 67108864"),
        (Box::new(|| slow_to_compile(folder)), tight, "more than 64 MiB of memory"),
    ];
    for (make, limits, said) in plugins {
        let transform = format!("[[transform]]\nplugin = {:?}\n{limits}", make());
        let config = world.config("forwarder.toml", &transform);
        let output = check(&world, &config).await;
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{words}");
        assert!(words.contains(said), "{words}");
        assert_eq!(cached(&world), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_code_is_compiled_again() {
    let world = World::new(1).await;
    let plugin = Forwarder::plugin("identity");
    let config = world.config("forwarder.toml", &format!("[[transform]]\nplugin = {plugin:?}"));
    assert_eq!(check(&world, &config).await.status.code(), Some(0));
    let [name] = <[String; 1]>::try_from(cached(&world)).unwrap();
    let file = world.folder().join("state/compiled-plugins").join(name);
    let whole = std::fs::read(&file).unwrap();
    let mut turned = whole.clone();
    turned[whole.len() / 2] ^= 1;
    for damaged in [&turned, &whole[..whole.len() / 2], b""] {
        std::fs::write(&file, damaged).unwrap();
        let mut forwarder = world.start(&config, &[]);
        forwarder.says("compiling again").await;
        forwarder.says("at work").await;
        assert_eq!(forwarder.terminate().await, Some(0));
        assert_eq!(std::fs::read(&file).unwrap(), whole, "and stored again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_that_others_can_write_to_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new(1).await;
    let config = world.config("forwarder.toml", "");
    let state = world.folder().join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o777)).unwrap();
    let said = |ended: &str| {
        assert!(ended.contains("other users can write to the state directory"), "{ended}");
        assert!(ended.contains("chmod go-w"), "{ended}");
    };
    let ended = world.start(&config, &[]).end().await;
    assert_eq!(ended.code, Some(3), "{}", ended.log);
    said(&ended.log);
    let checked = check(&world, &config).await;
    assert_eq!(checked.status.code(), Some(3));
    said(&String::from_utf8_lossy(&checked.stderr));
    assert_eq!(std::fs::read_dir(&state).unwrap().count(), 0, "nothing was left there");
}
