//! The world that a plugin's runtime finds behind WASI: empty, silent, and always the same.

use std::io;
use std::sync::{Arc, Mutex};

use forwarder_plugin::{LoadError, Plugin, PluginOptions};

use crate::support::{load, numbered};

/// A guest whose `process` is `body`; it may call what is imported here.
fn wasi_guest(body: &str) -> String {
    format!(
        r#"(component
  (import "wasi:io/streams@0.2.6" (instance $streams
    (export "output-stream" (type $output (sub resource)))
    (export "error" (type $error (sub resource)))
    (type $e (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $e)))
    (export "[method]output-stream.blocking-write-and-flush" (func (param "self" (borrow $output))
      (param "contents" (list u8)) (result (result (error $stream-error)))))))
  (alias export $streams "output-stream" (type $output))
  (import "wasi:cli/stdout@0.2.6" (instance $stdout
    (alias outer 1 $output (type $o)) (export "output-stream" (type $output (eq $o)))
    (export "get-stdout" (func (result (own $output))))))
  (import "wasi:cli/exit@0.2.6" (instance $exit
    (export "exit" (func (param "status" (result))))))
  (import "wasi:random/random@0.2.9" (instance $random
    (export "get-random-u64" (func (result u64)))))
  (import "wasi:clocks/wall-clock@0.2.12" (instance $clock
    (type $d (record (field "seconds" u64) (field "nanoseconds" u32)))
    (export "datetime" (type $datetime (eq $d)))
    (export "now" (func (result $datetime)))))
  (import "wasi:filesystem/types@0.2.6" (instance $files
    (export "descriptor" (type $descriptor (sub resource)))
    (export "[method]descriptor.sync-data" (func (param "self" (borrow $descriptor))))
    (export "filesystem-magic" (func))))
  (import "forwarder:plugin/edits@0.1.0" (instance $edits
    (export "drop" (func (param "rows" (list u32))))))
  (core module $memory (memory (export "memory") 2)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8192)))
  (core instance $m (instantiate $memory))
  (core func $write (canon lower
    (func $streams "[method]output-stream.blocking-write-and-flush") (memory $m "memory")))
  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $exit' (canon lower (func $exit "exit")))
  (core func $get-random (canon lower (func $random "get-random-u64")))
  (core func $now (canon lower (func $clock "now") (memory $m "memory")))
  (core func $magic (canon lower (func $files "filesystem-magic")))
  (core func $drop' (canon lower (func $edits "drop") (memory $m "memory")))
  (core instance $host (export "write" (func $write)) (export "get-stdout" (func $get-stdout))
    (export "exit" (func $exit')) (export "get-random" (func $get-random))
    (export "now" (func $now)) (export "magic" (func $magic)) (export "drop" (func $drop')))
  (core module $code
    (import "memory" "memory" (memory 1))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (import "host" "get-stdout" (func $get-stdout (result i32)))
    (import "host" "exit" (func $exit (param i32)))
    (import "host" "get-random" (func $get-random (result i64)))
    (import "host" "now" (func $now (param i32)))
    (import "host" "magic" (func $magic))
    (import "host" "drop" (func $drop (param i32 i32)))
    (data (i32.const 16) "hello\nworld\1b[31m")
    (func (export "configure") (param i32 i32) (result i32) (i32.const 64))
    (func (export "process") (param $rows i32) (result i32) (local $n i32) {body} (i32.const 64)))
  (core instance $c (instantiate $code
    (with "memory" (instance $m)) (with "host" (instance $host))))
  (func $configure (param "config" string) (result (result (error string)))
    (canon lift (core func $c "configure") (memory $m "memory") (realloc (func $m "realloc"))))
  (func $process (param "rows" u32) (result (result (error string)))
    (canon lift (core func $c "process") (memory $m "memory") (realloc (func $m "realloc"))))
  (instance $transform (export "configure" (func $configure)) (export "process" (func $process)))
  (export "forwarder:plugin/transform@0.1.0" (instance $transform)))"#
    )
}

fn plugin(body: &str) -> Result<Plugin, LoadError> {
    load(&wasi_guest(body), PluginOptions::default())
}

/// Runs a guest over two rows and says how many it dropped.
fn dropped(body: &str) -> usize {
    plugin(body)
        .unwrap()
        .worker()
        .apply(&mut numbered(2, &[]), None, &mut |_| true)
        .unwrap()
        .dropped
}

/// Runs a guest and gives the fault of one row.
fn fault(body: &str) -> String {
    let outcome =
        plugin(body).unwrap().worker().apply(&mut numbered(1, &[]), None, &mut |_| true).unwrap();
    outcome.rejected.into_iter().map(|(_, reason)| reason).collect()
}

const DROP_ROW_0: &str = "(call $drop (i32.const 128) (i32.const 1))";

#[test]
fn time_does_not_pass_and_random_numbers_repeat() {
    let at_zero = format!(
        "(call $now (i32.const 256))
        (if (i64.eqz (i64.load (i32.const 256))) (then {DROP_ROW_0}))"
    );
    assert_eq!(dropped(&at_zero), 1);
    // The first number that SplitMix64 makes of our seed, in every instance of every process.
    let same = format!(
        "(if (i64.eq (call $get-random) (i64.const {})) (then {DROP_ROW_0}))",
        first_random()
    );
    assert_eq!((dropped(&same), dropped(&same)), (1, 1));
}

fn first_random() -> i64 {
    let z = 0x666f_7277_6172_6465_u64.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)).cast_signed()
}

#[test]
fn leaving_is_a_fault_and_files_lead_nowhere() {
    assert_eq!(fault("(call $exit (i32.const 0))"), "trapped: it called `exit`");
    assert_eq!(
        fault("(call $magic)"),
        "trapped: it called `wasi:filesystem/types#filesystem-magic`, which leads nowhere in a plugin"
    );
}

#[test]
fn handles_are_not_for_hoarding() {
    let hoard = "(loop $l (drop (call $get-stdout)) (br $l))";
    assert_eq!(fault(hoard), "made a call that makes no sense: more than 1000 handles at once");
}

/// What is logged while a test holds it.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(work: impl FnOnce()) -> String {
    let lines = Lines::default();
    let sink = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || sink.clone())
        .with_ansi(false)
        .without_time()
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

const PRINT: &str = "(local.set $n (call $get-stdout))
    (call $write (local.get $n) (i32.const 16) (i32.const 16) (i32.const 96))";

#[test]
fn what_a_guest_prints_is_logged_line_by_line_under_its_name() {
    let text = logged(|| assert_eq!(dropped(PRINT), 0));
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("INFO plugin: ")).collect();
    assert_eq!(
        lines,
        [
            r#" INFO plugin: hello plugin="guest""#,
            r#" INFO plugin: world\u{1b}[31m plugin="guest""#
        ]
    );
}

#[test]
fn printing_without_end_is_cut_short_and_no_fault() {
    let print = format!(
        "{PRINT} (local.set $n (i32.const 5000)) (loop $l
        (call $write (i32.const 1) (i32.const 16) (i32.const 6) (i32.const 96))
        (local.set $n (i32.sub (local.get $n) (i32.const 1))) (br_if $l (local.get $n)))"
    );
    let text = logged(|| assert_eq!(dropped(&print), 0));
    let lines = text.lines().filter(|line| line.contains("hello")).count();
    assert!((50..200).contains(&lines), "{lines}");
}
