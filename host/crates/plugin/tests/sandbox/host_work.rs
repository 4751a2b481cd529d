//! What a guest makes the host do counts against its CPU limit: inside calls, and when its edits are applied.

use std::time::Duration;

use forwarder_plugin::{Grants, HaltCause, Limits, Plugin, PluginOptions};
use forwarder_record::Batch;
use rustix::time::{ClockId, clock_gettime};

use crate::support::{batch_of, load, log};

/// A guest whose `process` is `body`, with the edits that cost most. Rows 0, 1, … are at 4 MiB, ready for use.
fn guest(body: &str) -> String {
    format!(
        r#"(component
  (import "forwarder:plugin/batch@0.1.0" (instance $batch
    (export "keys" (func (result (list string))))))
  (import "forwarder:plugin/edits@0.1.0" (instance $edits
    (type $f' (enum "text" "json")) (export "format" (type $f (eq $f')))
    (export "rename" (func (param "key" string) (param "to" string)))
    (export "keep" (func (param "keys" (list string))))
    (export "nest" (func (param "key" string)))
    (export "route" (func (param "label" string) (param "rows" (list u32))))
    (export "emit" (func (param "like" u32) (param "label" (option string))
      (param "fields" (list (tuple string string)))))
    (export "set-all" (func (param "key" string) (param "format" $f) (param "value" string)))
    (export "json-remove" (func (param "key" string) (param "path" (list string)) (param "rows" (list u32))))
    (export "json-set" (func (param "key" string) (param "path" (list string)) (param "format" $f)
      (param "rows" (list u32)) (param "values" (list string))))))
  (import "forwarder:plugin/host@0.1.0" (instance $host
    (type $l' (enum "debug" "info" "warn" "error")) (export "level" (type $l (eq $l')))
    (export "log" (func (param "level" $l) (param "message" string)))))
  (core module $memory (memory (export "memory") 512)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8388608)))
  (core instance $mem (instantiate $memory))
  (core func $keys (canon lower (func $batch "keys") (memory $mem "memory")
    (realloc (func $mem "realloc"))))
  (core func $rename (canon lower (func $edits "rename") (memory $mem "memory")))
  (core func $keep (canon lower (func $edits "keep") (memory $mem "memory")))
  (core func $nest (canon lower (func $edits "nest") (memory $mem "memory")))
  (core func $route (canon lower (func $edits "route") (memory $mem "memory")))
  (core func $emit (canon lower (func $edits "emit") (memory $mem "memory")))
  (core func $set-all (canon lower (func $edits "set-all") (memory $mem "memory")))
  (core func $json-remove (canon lower (func $edits "json-remove") (memory $mem "memory")))
  (core func $json-set (canon lower (func $edits "json-set") (memory $mem "memory")))
  (core func $log (canon lower (func $host "log") (memory $mem "memory")))
  (core instance $h (export "keys" (func $keys)) (export "rename" (func $rename))
    (export "keep" (func $keep)) (export "nest" (func $nest)) (export "route" (func $route))
    (export "emit" (func $emit)) (export "set-all" (func $set-all))
    (export "json-remove" (func $json-remove)) (export "json-set" (func $json-set))
    (export "log" (func $log)))
  (core module $code
    (import "mem" "memory" (memory 512))
    (import "h" "keys" (func $keys (param i32)))
    (import "h" "rename" (func $rename (param i32 i32 i32 i32)))
    (import "h" "keep" (func $keep (param i32 i32)))
    (import "h" "nest" (func $nest (param i32 i32)))
    (import "h" "route" (func $route (param i32 i32 i32 i32)))
    (import "h" "emit" (func $emit (param i32 i32 i32 i32 i32 i32)))
    (import "h" "set-all" (func $set-all (param i32 i32 i32 i32 i32)))
    (import "h" "json-remove" (func $json-remove (param i32 i32 i32 i32 i32 i32)))
    (import "h" "json-set" (func $json-set (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "h" "log" (func $log (param i32 i32 i32)))
    (data (i32.const 1000) "event") (data (i32.const 1010) "f0") (data (i32.const 1020) "f1")
    (data (i32.const 1100) "00000000")
    ;; 1200: one text, the eight digits; 1300: a field of that name and value
    (data (i32.const 1200) "\4c\04\00\00\08\00\00\00")
    (func (export "configure") (param i32 i32) (result i32) (i32.const 64))
    (func (export "process") (param $rows i32) (result i32) (local $i i32) (local $j i32)
      (loop $r
        (i32.store (i32.add (i32.const 4194304) (i32.mul (local.get $j) (i32.const 4))) (local.get $j))
        (local.set $j (i32.add (local.get $j) (i32.const 1)))
        (br_if $r (i32.lt_u (local.get $j) (local.get $rows))))
      {body}
      (i32.const 64))
    ;; The eight digits, counted up.
    (func $next (i32.store (i32.const 1100)
      (i32.add (i32.load (i32.const 1100)) (i32.const 1)))
      (if (i32.ge_u (i32.load8_u (i32.const 1100)) (i32.const 122)) (then
        (i32.store8 (i32.const 1100) (i32.const 48))
        (i32.store8 (i32.const 1101) (i32.add (i32.load8_u (i32.const 1101)) (i32.const 1)))))
      (if (i32.ge_u (i32.load8_u (i32.const 1101)) (i32.const 122)) (then
        (i32.store8 (i32.const 1101) (i32.const 48))
        (i32.store8 (i32.const 1102) (i32.add (i32.load8_u (i32.const 1102)) (i32.const 1)))))))
  (core instance $c (instantiate $code (with "mem" (instance $mem)) (with "h" (instance $h))))
  (func $configure (param "config" string) (result (result (error string)))
    (canon lift (core func $c "configure") (memory $mem "memory") (realloc (func $mem "realloc"))))
  (func $process (param "rows" u32) (result (result (error string)))
    (canon lift (core func $c "process") (memory $mem "memory")))
  (instance $transform (export "configure" (func $configure)) (export "process" (func $process)))
  (export "forwarder:plugin/transform@0.1.0" (instance $transform)))"#
    )
}

fn times(count: usize, body: &str) -> String {
    format!(
        "(local.set $i (i32.const 0)) (loop $t {body}
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $t (i32.lt_u (local.get $i) (i32.const {count}))))"
    )
}

/// A full slice of 4 MB: rows with many small fields, or with one JSON text each.
fn wide() -> Batch {
    let names: Vec<String> = (0..350).map(|n| format!("f{n}")).collect();
    let fields: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
    batch_of((0..1024).map(|_| log(&fields)).collect())
}

fn json() -> Batch {
    let members: Vec<String> = (0..120).map(|n| format!(r#""member{n}":"value {n}""#)).collect();
    let event = format!("{{{}}}", members.join(","));
    batch_of((0..1024).map(|_| log(&[("event", &event)])).collect())
}

const LIMIT: Duration = Duration::from_millis(200);

fn plugin(body: &str) -> Plugin {
    let limits = Limits { cpu: LIMIT, faults_per_slice: 0, ..Limits::default() };
    let grants = Grants { labels: true, emit: true };
    load(&guest(body), PluginOptions { limits, grants, ..PluginOptions::default() }).unwrap()
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

/// Runs one call, and applies what it asked for: the CPU time it took, and whether it was applied.
fn spent(body: &str, mut batch: Batch) -> (Duration, bool, String) {
    let mut worker = plugin(body).worker();
    let began = cpu();
    let outcome = worker.apply(&mut batch, None, &mut |_| true);
    let spent = cpu() - began;
    let said = outcome.as_ref().err().map(ToString::to_string).unwrap_or_default();
    (spent, outcome.is_ok(), said)
}

/// Whatever comes of a call, it stays within the limit.
fn stays_within(name: &str, body: &str, batch: Batch) {
    let spent = spent(body, batch);
    assert!(spent.0 < LIMIT * 2, "{name}: {spent:?}");
}

const RENAME: &str = "(call $rename (i32.const 1010) (i32.const 2) (i32.const 1020) (i32.const 2))
    (call $rename (i32.const 1020) (i32.const 2) (i32.const 1010) (i32.const 2))";
const NEW_FIELD: &str = "(call $next)
    (call $set-all (i32.const 1100) (i32.const 8) (i32.const 0) (i32.const 1100) (i32.const 0))";
const JSON_SET: &str =
    "(call $next) (call $json-set (i32.const 1000) (i32.const 5) (i32.const 1200)
    (i32.const 1) (i32.const 0) (i32.const 4194304) (i32.const 1) (i32.const 1200) (i32.const 1))";
const JSON_REMOVE: &str = "(call $json-remove (i32.const 1000) (i32.const 5) (i32.const 1200)
    (i32.const 1) (i32.const 4194304) (local.get $rows))";

/// A list of `count` names at 16 MiB, all of them the eight digits.
fn names(count: usize) -> String {
    times(
        count,
        "(i32.store (i32.add (i32.const 16777216) (i32.mul (local.get $i) (i32.const 8))) (i32.const 1100))
         (i32.store (i32.add (i32.const 16777220) (i32.mul (local.get $i) (i32.const 8))) (i32.const 8))",
    )
}

#[test]
fn edits_that_look_at_every_cell_are_within_the_limit() {
    stays_within("rename", &times(1300, RENAME), wide());
    stays_within("new fields", &times(600, NEW_FIELD), wide());
    let keep = names(1000) + &times(900, "(call $keep (i32.const 16777216) (i32.const 1000))");
    stays_within("keep", &keep, wide());
}

#[test]
fn edits_of_json_are_within_the_limit() {
    stays_within("json-set", &times(3000, JSON_SET), json());
    stays_within("json-remove", &times(30, JSON_REMOVE), json());
    let nest = "(call $nest (i32.const 1000) (i32.const 5))";
    stays_within("nest", &times(4000, nest), json());
    // The text of a field that gets its name from another is not known when it is asked for.
    let rename = "(call $rename (i32.const 1000) (i32.const 5) (i32.const 1010) (i32.const 2))";
    let remove =
        JSON_REMOVE.replace("(i32.const 1000) (i32.const 5)", "(i32.const 1010) (i32.const 2)");
    stays_within("json-remove after rename", &format!("{rename} {}", times(4000, &remove)), json());
}

/// A log of 1,000 fields of different names at 16 MiB. Each is compared with those before it.
fn thousand_fields() -> String {
    times(
        1000,
        "(i32.store (i32.add (i32.const 20971520) (i32.mul (local.get $i) (i32.const 4)))
            (i32.add (i32.const 0x61616161) (i32.add (i32.and (local.get $i) (i32.const 15))
              (i32.add (i32.shl (i32.and (i32.shr_u (local.get $i) (i32.const 4)) (i32.const 15)) (i32.const 8))
                (i32.shl (i32.and (i32.shr_u (local.get $i) (i32.const 8)) (i32.const 15)) (i32.const 16))))))
         (i32.store (i32.add (i32.const 16777216) (i32.mul (local.get $i) (i32.const 16)))
            (i32.add (i32.const 20971520) (i32.mul (local.get $i) (i32.const 4))))
         (i32.store (i32.add (i32.const 16777220) (i32.mul (local.get $i) (i32.const 16))) (i32.const 4))
         (i32.store (i32.add (i32.const 16777224) (i32.mul (local.get $i) (i32.const 16))) (i32.const 0))
         (i32.store (i32.add (i32.const 16777228) (i32.mul (local.get $i) (i32.const 16))) (i32.const 0))",
    )
}

#[test]
fn emitted_rows_and_labels_are_within_the_limit() {
    let emit = "(call $emit (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 16777216) (i32.const 1000))";
    stays_within("emit", &(thousand_fields() + &times(450, emit)), wide());
    let labels = "(call $next) (call $route (i32.const 1100) (i32.const 8) (i32.const 4194304) (local.get $rows))";
    stays_within("labels", &times(256, labels), wide());
}

#[test]
fn host_functions_called_without_a_loop_are_within_the_limit() {
    // Between these there is no place where the engine's clock could stop the guest, but in its allocator.
    stays_within("keys", &"(call $keys (i32.const 16))".repeat(2_000), wide());
    let log = "(call $log (i32.const 0) (i32.const 16777216) (i32.const 8000000))";
    stays_within("log", &log.repeat(2_000), wide());
    let nest = "(call $nest (i32.const 1000) (i32.const 5))";
    stays_within("nest", &nest.repeat(4_000), wide());
}

#[test]
fn prices_are_above_what_the_work_takes() {
    // Nearly as much as the limit lets through.
    let rename = "(call $rename (i32.const 1000) (i32.const 5) (i32.const 1010) (i32.const 2))";
    let emit = "(call $emit (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 16777216) (i32.const 1000))";
    let nest = "(call $nest (i32.const 1000) (i32.const 5))";
    for (name, body, batch) in [
        ("rename", times(40, RENAME), wide()),
        ("new fields", times(80, NEW_FIELD), wide()),
        ("nest, json-remove", nest.to_owned() + &times(10, JSON_REMOVE), json()),
        ("json-remove", times(10, JSON_REMOVE), json()),
        ("json-set", times(900, JSON_SET), json()),
        ("rename, json-set", rename.to_owned() + &times(10, JSON_SET), json()),
        ("emit", thousand_fields() + &times(55, emit), wide()),
    ] {
        let spent = spent(&body, batch);
        assert!(spent.1 && spent.0 < LIMIT, "{name}: {spent:?}");
    }
}

#[test]
fn ordinary_edits_are_far_from_the_limit() {
    let mut worker = plugin(&times(20, NEW_FIELD)).worker();
    worker.apply(&mut wide(), None, &mut |_| true).unwrap();
    let mut worker = plugin(&times(4, JSON_REMOVE)).worker();
    worker.apply(&mut json(), None, &mut |_| true).unwrap();
}

#[test]
fn edits_that_take_too_long_are_the_plugins_fault_and_change_nothing() {
    let mut batch = wide();
    let halt =
        plugin(&times(1300, RENAME)).worker().apply(&mut batch, None, &mut |_| true).unwrap_err();
    let HaltCause::TooManyFaults { last, .. } = halt.cause else { panic!("{halt}") };
    assert_eq!(last.kind(), "out_of_time");
    assert!(last.to_string().contains("limits.cpu"), "{last}");
    assert!(batch.rows().all(|row| row.get("f0").is_some()), "as it was");
}
