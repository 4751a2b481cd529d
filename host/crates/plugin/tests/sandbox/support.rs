//! Batches to work on, and guests written in the text format: small enough that one can see what they do wrong.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use forwarder_plugin::{Engine, EngineOptions, LoadError, Package, Plugin, PluginOptions};
use forwarder_record::encode::{Log, LogGroup, log_group_list};
use forwarder_record::{Batch, Origin};

/// One engine for all tests, as in the program. Guests are compiled once for all runs.
pub(crate) fn engine() -> &'static Engine {
    static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
        let cache_dir = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled-guests"));
        Engine::new(&EngineOptions { cache_dir, ..EngineOptions::default() }).unwrap()
    });
    &ENGINE
}

pub(crate) fn load(wat: &str, options: PluginOptions) -> Result<Plugin, LoadError> {
    let package = Package::new(wat::parse_str(wat).unwrap());
    Plugin::load(engine(), "guest", &package, options)
}

/// A plugin that accepts any configuration and changes nothing, with `more` in front of its parts.
pub(crate) fn harmless_with(more: &str) -> String {
    format!(
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
    )
}

/// A batch of one log group with the given logs.
pub(crate) fn batch_of(logs: Vec<Log>) -> Batch {
    let group = LogGroup { topic: "topic".into(), source: "host".into(), tags: vec![], logs };
    let block = log_group_list([group.encode().as_slice()]);
    let origin = Origin {
        source: "test".into(),
        project: "project".into(),
        logstore: Arc::from("logstore"),
        shard: 0,
        first_cursor: Some(1),
    };
    Batch::decode(Bytes::from(block), origin, &Default::default()).unwrap()
}

pub(crate) fn log(fields: &[(&str, &str)]) -> Log {
    let contents = fields.iter().map(|&(key, value)| (key.to_owned(), value.to_owned()));
    Log { time: 1_700_000_000, nanos: None, contents: contents.collect() }
}

/// `count` logs with a field `n`; those at `poisoned` have a field `poison` besides.
pub(crate) fn numbered(count: usize, poisoned: &[usize]) -> Batch {
    let make = |n: usize| {
        let number = n.to_string();
        match poisoned.contains(&n) {
            true => log(&[("n", &number), ("poison", "")]),
            false => log(&[("n", &number)]),
        }
    };
    batch_of((0..count).map(make).collect())
}

/// One field of every live row.
pub(crate) fn column(batch: &Batch, key: &str) -> Vec<String> {
    let value = |row: forwarder_record::Row<'_>| row.get(key).map(|cell| cell.value.to_owned());
    batch.rows().map(|row| value(row).unwrap_or_default()).collect()
}

/// A guest with a bump allocator that forgets everything when `process` begins, and lies while `$top` is -1. It counts its calls in
/// `$calls`. For every row with a field `poison` it runs `$misbehave`; if that returns, or there is no such
/// row, it sets the field `seen` to "y" in every row.
///
/// `$misbehave` is given the number of the row, may call what [`IMPORTS`] names, and answers for `process`: 0
/// to continue, or the address of a `result<_, string>`.
pub(crate) fn guest(misbehave: &str) -> String {
    guest_with(misbehave, "(call $ok)")
}

/// The same with a body for `configure`, which is given `$text` and `$length`.
pub(crate) fn guest_with(misbehave: &str, configure: &str) -> String {
    format!(
        r#"(component
  {IMPORTS}
  (core module $allocator
    (memory (export "memory") 2)
    (global $top (export "top") (mut i32) (i32.const 4096))
    (func (export "realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32)
        (result i32) (local $at i32)
      (if (i32.eq (global.get $top) (i32.const -1)) (then (return (i32.const 0x7ffffff0))))
      (local.set $at (i32.and (i32.add (global.get $top) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
      (global.set $top (i32.add (local.get $at) (local.get $new)))
      (block $enough (loop $grow
        (br_if $enough (i32.le_u (global.get $top) (i32.mul (memory.size) (i32.const 65536))))
        (br_if $grow (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))
        unreachable))
      (local.get $at)))
  (core instance $alloc (instantiate $allocator))
  {LOWERED}
  (core module $code
    (import "alloc" "memory" (memory 1))
    (import "alloc" "top" (global $top (mut i32)))
    (import "alloc" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
    (import "host" "column" (func $column (param i32 i32 i32)))
    (import "host" "drop" (func $drop (param i32 i32)))
    (import "host" "remove" (func $remove (param i32 i32)))
    (import "host" "set" (func $set (param i32 i32 i32 i32 i32 i32 i32)))
    (import "host" "set-all" (func $set-all (param i32 i32 i32 i32 i32)))
    (import "host" "route" (func $route (param i32 i32 i32 i32)))
    (import "host" "emit" (func $emit (param i32 i32 i32 i32 i32 i32)))
    (import "host" "log" (func $log (param i32 i32 i32)))
    (global $calls (mut i32) (i32.const 0))
    (data (i32.const 16) "poison") (data (i32.const 32) "seen") (data (i32.const 48) "y")
    (data (i32.const 64) "no, thanks") (data (i32.const 96) "\ff\fe")
    ;; 128: rows 0, 1; 144: rows 1, 0; 160: one string, "y"; 176: a string that is not UTF-8
    (data (i32.const 128) "\00\00\00\00\01\00\00\00") (data (i32.const 144) "\01\00\00\00\00\00\00\00")
    (data (i32.const 160) "\30\00\00\00\01\00\00\00") (data (i32.const 176) "\60\00\00\00\02\00\00\00")
    ;; 192: ok; 208: err("no, thanks")
    (data (i32.const 208) "\01\00\00\00\40\00\00\00\0a\00\00\00")
    (func $ok (result i32) (i32.const 192))
    (func $refuse (result i32) (i32.const 208))
    (func $misbehave (param $row i32) (result i32) (local $n i32) {misbehave})
    (func (export "configure") (param $text i32) (param $length i32) (result i32) {configure})
    (func (export "process") (param $rows i32) (result i32)
        (local $row i32) (local $cell i32) (local $answer i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (global.set $top (i32.const 4096))
      (call $column (i32.const 16) (i32.const 6) (i32.const 240))
      (local.set $cell (i32.load (i32.const 240)))
      (block $done (loop $next
        (br_if $done (i32.ge_u (local.get $row) (local.get $rows)))
        (if (i32.load8_u (local.get $cell)) (then
          (local.set $answer (call $misbehave (local.get $row)))
          (if (local.get $answer) (then (return (local.get $answer))))))
        (local.set $cell (i32.add (local.get $cell) (i32.const 12)))
        (local.set $row (i32.add (local.get $row) (i32.const 1)))
        (br $next)))
      (call $set-all (i32.const 32) (i32.const 4) (i32.const 0) (i32.const 48) (i32.const 1))
      (call $ok)))
  (core instance $c (instantiate $code (with "alloc" (instance $alloc)) (with "host" (instance $host))))
  (func $configure (param "config" string) (result (result (error string)))
    (canon lift (core func $c "configure") (memory $alloc "memory")
      (realloc (func $alloc "realloc"))))
  (func $process (param "rows" u32) (result (result (error string)))
    (canon lift (core func $c "process") (memory $alloc "memory")
      (realloc (func $alloc "realloc"))))
  (instance $transform (export "configure" (func $configure)) (export "process" (func $process)))
  (export "forwarder:plugin/transform@0.1.0" (instance $transform)))"#
    )
}

/// The part of the contract that the guests use.
const IMPORTS: &str = r#"
  (import "forwarder:plugin/batch@0.1.0" (instance $batch
    (export "column" (func (param "key" string) (result (list (option string)))))))
  (import "forwarder:plugin/edits@0.1.0" (instance $edits
    (type $f (enum "text" "json")) (export "format" (type $format (eq $f)))
    (export "drop" (func (param "rows" (list u32))))
    (export "remove" (func (param "keys" (list string))))
    (export "set" (func (param "key" string) (param "format" $format) (param "rows" (list u32))
      (param "values" (list string))))
    (export "set-all" (func (param "key" string) (param "format" $format) (param "value" string)))
    (export "route" (func (param "label" string) (param "rows" (list u32))))
    (export "emit" (func (param "like" u32) (param "label" (option string))
      (param "fields" (list (tuple string string)))))))
  (import "forwarder:plugin/host@0.1.0" (instance $services
    (type $l (enum "debug" "info" "warn" "error")) (export "level" (type $level (eq $l)))
    (export "log" (func (param "level" $level) (param "message" string)))))"#;

/// The imports as core functions.
const LOWERED: &str = r#"
  (core func $column (canon lower (func $batch "column") (memory $alloc "memory")
    (realloc (func $alloc "realloc"))))
  (core func $drop (canon lower (func $edits "drop") (memory $alloc "memory")))
  (core func $remove (canon lower (func $edits "remove") (memory $alloc "memory")))
  (core func $set (canon lower (func $edits "set") (memory $alloc "memory")))
  (core func $set-all (canon lower (func $edits "set-all") (memory $alloc "memory")))
  (core func $route (canon lower (func $edits "route") (memory $alloc "memory")))
  (core func $emit (canon lower (func $edits "emit") (memory $alloc "memory")))
  (core func $log (canon lower (func $services "log") (memory $alloc "memory")))
  (core instance $host
    (export "column" (func $column)) (export "drop" (func $drop)) (export "remove" (func $remove))
    (export "set" (func $set)) (export "set-all" (func $set-all)) (export "route" (func $route))
    (export "emit" (func $emit)) (export "log" (func $log)))"#;
