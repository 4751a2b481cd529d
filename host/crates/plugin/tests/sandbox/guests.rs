//! Real guests, built by real toolchains: the plugins of `plugins/rust/`, and `misbehave`, which breaks the
//! rule that its config names. `cargo xtask plugins` builds them.

use std::path::Path;
use std::time::Duration;

use forwarder_plugin::{Grants, Limits, LoadError, Outcome, Package, Plugin, PluginOptions};
use forwarder_record::{Batch, Condition, Format, Pattern};

use crate::support::{batch_of, column, engine, log, numbered};

fn load(name: &str, options: PluginOptions) -> Result<Plugin, LoadError> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/wasm32-wasip2/plugin");
    let package = Package::read(&built.join(format!("{name}.wasm")))
        .unwrap_or_else(|error| panic!("{error}; build the guests with `cargo xtask plugins`"));
    Plugin::load(engine(), name, &package, options)
}

fn plugin(name: &str, config: &str) -> Plugin {
    load(name, PluginOptions { config: config.to_owned(), ..PluginOptions::default() }).unwrap()
}

fn apply(plugin: &Plugin, batch: &mut Batch) -> Outcome {
    plugin.worker().apply(batch, None, &mut |_| true).unwrap()
}

/// What `misbehave` does to row 617 of 1,000 when its config says so.
fn misbehaving(poison: &str) -> (Outcome, Batch) {
    misbehaving_for(Duration::from_millis(50), poison)
}

/// The same with another CPU limit.
fn misbehaving_for(cpu: Duration, poison: &str) -> (Outcome, Batch) {
    let config = format!(r#"{{"poison":"{poison}","field":"n","value":"617","mark":"seen"}}"#);
    let limits = Limits { cpu, ..Limits::default() };
    let grants = Grants { emit: true, ..Grants::default() };
    let options = PluginOptions { config, limits, grants, ..PluginOptions::default() };
    let mut batch = numbered(1000, &[]);
    let outcome = apply(&load("misbehave", options).unwrap(), &mut batch);
    (outcome, batch)
}

#[test]
fn every_way_to_misbehave_costs_exactly_the_row() {
    for (poison, reason) in [
        ("spin", "ran out of time"),
        ("hog", "ran out of memory at 67108864 bytes"),
        ("trap", "trapped: wasm trap: wasm `unreachable`"),
        ("recurse", "trapped: wasm trap"),
        ("error", "refused: row "),
        ("exit", "trapped: it called `exit`"),
        ("no_such_row", "does not exist"),
        ("read_no_such_row", "does not exist"),
        ("unsorted", "row numbers must ascend"),
        ("wrong_length", "2 values for 1 rows"),
        ("giant", "bytes of data in one call for one slice"),
        ("flood", "more than 4096 edits in one call"),
        ("amplify", "for one slice"),
        ("breed", "bytes of edits and log lines for one slice"),
        ("gaze", "ran out of time"),
        ("chatter", "bytes of edits and log lines for one slice"),
    ] {
        let (outcome, batch) = misbehaving(poison);
        let [(row, said)] = outcome.rejected.as_slice() else { panic!("{poison}: {outcome:?}") };
        assert_eq!(row.index(), 617, "{poison}");
        assert!(said.contains(reason), "{poison}: {said}");
        assert_eq!(column(&batch, "seen"), vec!["seen"; 999], "{poison}");
        assert_eq!(outcome.emitted, 0, "{poison}");
    }
}

#[test]
fn values_that_are_not_json_cost_their_row_without_a_fault() {
    for poison in ["bad_json", "deep_json"] {
        let (outcome, batch) = misbehaving(poison);
        assert_eq!((outcome.rejected.len(), outcome.faults, batch.live_rows()), (1, 0, 999));
    }
}

#[test]
fn a_guest_that_prints_16_mib_continues() {
    let (outcome, batch) = misbehaving_for(Limits::default().cpu, "print");
    let edited = Outcome { changed: true, ..Outcome::default() };
    assert_eq!((outcome, batch.live_rows()), (edited, 1000));
}

#[test]
fn a_guest_that_was_built_with_sockets_does_not_load() {
    let error = load("nosy", PluginOptions::default()).unwrap_err();
    assert!(matches!(error, LoadError::IncompatibleComponent { .. }), "{error}");
    assert!(error.to_string().contains("`wasi:sockets/"), "{error}");
}

#[test]
fn identity_changes_nothing() {
    let mut batch = numbered(3000, &[1, 2, 3]);
    let before = (column(&batch, "n"), column(&batch, "poison"));
    assert_eq!(apply(&plugin("identity", "{}"), &mut batch), Outcome::default());
    assert_eq!((column(&batch, "n"), column(&batch, "poison")), before);
}

#[test]
fn prune_filters_rows_and_discards_fields() {
    let logs =
        (0..2000).map(|n| log(&[("status", if n % 5 == 0 { "500" } else { "200" }), ("a", "b")]));
    let mut batch = batch_of(logs.collect());
    let config = r#"{"keep_if":[{"field":"status","at_least":400}],"remove":["a"]}"#;
    let outcome = apply(&plugin("prune", config), &mut batch);
    assert_eq!((outcome.dropped, batch.live_rows()), (1600, 400));
    assert!(batch.rows().all(|row| row.get("a").is_none() && row.get("status").is_some()));
}

#[test]
fn audit_nests_json_and_counts_what_is_none() {
    let logs = vec![log(&[("event", r#"{"eventName":"Run"}"#)]), log(&[("event", "not JSON")])];
    let mut batch = batch_of(logs);
    let outcome = apply(&plugin("audit", r#"{"topics":["topic"]}"#), &mut batch);
    assert_eq!((outcome.not_json, batch.live_rows()), (1, 2));
    let formats: Vec<_> =
        batch.rows().map(|row| row.get("event").map(|cell| cell.format)).collect();
    assert_eq!(formats, [Some(Format::Json), Some(Format::Text)]);
}

#[test]
fn rows_that_do_not_fulfil_the_condition_never_enter() {
    let when = Condition {
        fields: vec![("n".to_owned(), vec![Pattern::new("1*")])],
        ..Condition::default()
    };
    // Traps on every row it sees, and so on the three that begin with 1.
    let plugin = plugin("misbehave", r#"{"poison":"trap","field":"n"}"#);
    let mut batch = numbered(12, &[]);
    let outcome = plugin.worker().apply(&mut batch, Some(&when), &mut |_| true).unwrap();
    let rows: Vec<usize> = outcome.rejected.iter().map(|(row, _)| row.index()).collect();
    assert_eq!((rows, batch.live_rows()), (vec![1, 10, 11], 9));
}

#[test]
fn an_unknown_key_in_the_configuration_is_reported_in_the_words_of_the_plugin() {
    let options = PluginOptions { config: r#"{"kep":["a"]}"#.to_owned(), ..Default::default() };
    let error = load("prune", options).unwrap_err();
    assert!(error.to_string().contains("unknown field `kep`"), "{error}");
}
