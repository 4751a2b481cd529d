//! A plugin that misbehaves costs the rows it misbehaves on, and nothing else: one test per kind of fault, and
//! what the search for the row at fault may cost.

use std::time::{Duration, Instant};

use forwarder_plugin::{
    Fault, Grants, HaltCause, Limits, LoadError, OnError, Outcome, Plugin, PluginOptions, Worker,
};
use forwarder_record::Batch;

use crate::support::{column, guest, guest_with, load, numbered};

/// Limits that are met quickly.
fn tight() -> Limits {
    Limits { memory: 4 << 20, cpu: Duration::from_millis(30), ..Limits::default() }
}

fn plugin(misbehave: &str) -> Plugin {
    plugin_with(misbehave, PluginOptions { limits: tight(), ..PluginOptions::default() })
}

fn plugin_with(misbehave: &str, options: PluginOptions) -> Plugin {
    load(&guest(misbehave), options).unwrap()
}

fn apply(plugin: &Plugin, batch: &mut Batch) -> Outcome {
    plugin.worker().apply(batch, None, &mut |_| true).unwrap()
}

/// Rows were edited, and nothing else happened.
fn edited() -> Outcome {
    Outcome { changed: true, ..Outcome::default() }
}

/// Runs a guest over 1,000 rows, one of them poisoned: that row is rejected for `reason`, its neighbours are
/// edited as if it had not been there.
fn costs_one_row(plugin: &Plugin, reason: &str) {
    let mut batch = numbered(1000, &[617]);
    let outcome = apply(plugin, &mut batch);

    let [(row, said)] = outcome.rejected.as_slice() else { panic!("{outcome:?}") };
    assert_eq!(row.index(), 617);
    assert!(said.contains(reason), "{said}");
    assert_eq!(outcome.faults, 4, "the slice, the slice again, its part, the row");
    assert_eq!(column(&batch, "seen"), vec!["y"; 999]);
    assert!(!column(&batch, "n").contains(&"617".to_owned()));
}

#[test]
fn a_guest_that_behaves_edits_every_row() {
    let mut batch = numbered(3000, &[]);
    assert_eq!(apply(&plugin("unreachable"), &mut batch), edited());
    assert_eq!(column(&batch, "seen"), vec!["y"; 3000]);
}

#[test]
fn a_trap_costs_one_row() {
    costs_one_row(&plugin("unreachable"), "trapped: wasm trap: wasm `unreachable`");
}

#[test]
fn endless_recursion_costs_one_row() {
    costs_one_row(&plugin("(call $misbehave (local.get $row))"), "trapped: wasm trap: call stack");
}

#[test]
fn an_endless_loop_costs_one_row() {
    costs_one_row(&plugin("(loop $l (br $l)) unreachable"), "ran out of time after");
}

#[test]
fn time_in_host_functions_counts() {
    let reads = "(loop $l (global.set $top (i32.const 65536))
        (call $column (i32.const 16) (i32.const 6) (i32.const 240)) (br $l)) unreachable";
    costs_one_row(&plugin(reads), "ran out of time after");
}

#[test]
fn the_clock_on_the_wall_bounds_what_cpu_does_not() {
    let limits =
        Limits { cpu: Duration::from_secs(1000), wall: Duration::from_millis(30), ..tight() };
    let options = PluginOptions { limits, ..PluginOptions::default() };
    costs_one_row(&plugin_with("(loop $l (br $l)) unreachable", options), "on the clock");
}

#[test]
fn memory_without_end_costs_one_row() {
    let grow =
        "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable";
    costs_one_row(&plugin(grow), "ran out of memory at 4194304 bytes");
}

#[test]
fn a_guest_that_survives_a_refusal_of_memory_is_not_at_fault() {
    let grow = "(drop (memory.grow (i32.const 30000))) (i32.const 0)";
    let mut batch = numbered(10, &[3]);
    assert_eq!(apply(&plugin(grow), &mut batch), edited());
}

#[test]
fn output_without_end_costs_one_row() {
    // 1 MiB of zeros at a time; a slice of 1,000 rows may write 1 MiB and four times itself.
    let sets = "(drop (memory.grow (i32.const 16)))
        (loop $l (call $set-all (i32.const 32) (i32.const 4) (i32.const 0) (i32.const 65536)
            (i32.const 1000)) (br $l)) unreachable";
    costs_one_row(&plugin(sets), "bytes of edits and log lines for one slice");
}

#[test]
fn one_huge_string_costs_one_row() {
    let set = "(drop (memory.grow (i32.const 48)))
        (call $set-all (i32.const 32) (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 3000000))
        (i32.const 0)";
    costs_one_row(&plugin(set), "bytes of data in one call for one slice");
}

#[test]
fn log_lines_without_end_cost_one_row() {
    let log =
        "(loop $l (call $log (i32.const 0) (i32.const 64) (i32.const 10)) (br $l)) unreachable";
    costs_one_row(&plugin(log), "bytes of edits and log lines for one slice");
}

#[test]
fn edits_without_end_cost_one_row() {
    let drops = "(loop $l (call $drop (i32.const 0) (i32.const 0)) (br $l)) unreachable";
    costs_one_row(&plugin(drops), "more than 4096 edits in one call");
}

#[test]
fn a_row_that_does_not_exist_costs_one_row() {
    // Rows 0 and 1 exist in no slice of one row, and the poisoned row ends up in one.
    let drop = "(if (i32.eqz (local.get $row)) (then (call $drop (i32.const 144) (i32.const 1))))
        (i32.const 0)";
    let mut batch = numbered(1, &[0]);
    let outcome = apply(&plugin(drop), &mut batch);
    assert_eq!(outcome.rejected.len(), 1);
    let reason = "made a call that makes no sense: row 1 does not exist, the call has 1 rows";
    assert_eq!(outcome.rejected[0].1, reason);
}

#[test]
fn rows_out_of_order_cost_one_row() {
    let mut batch = numbered(2, &[0]);
    let outcome =
        apply(&plugin("(call $drop (i32.const 144) (i32.const 2)) (i32.const 0)"), &mut batch);
    assert_eq!(outcome.rejected.len(), 1);
    assert_eq!(column(&batch, "n"), ["1"]);
}

#[test]
fn more_rows_than_values_cost_one_row() {
    let set = "(call $set (i32.const 32) (i32.const 4) (i32.const 0) (i32.const 128) (i32.const 1)
        (i32.const 160) (i32.const 0)) (i32.const 0)";
    costs_one_row(&plugin(set), "0 values for 1 rows");
}

#[test]
fn values_that_are_not_utf8_cost_one_row() {
    let set = "(call $set (i32.const 32) (i32.const 4) (i32.const 0) (i32.const 128) (i32.const 1)
        (i32.const 176) (i32.const 1)) (i32.const 0)";
    costs_one_row(&plugin(set), "a value is not valid UTF-8");
}

#[test]
fn a_list_outside_of_memory_costs_one_row() {
    let drop = "(call $drop (i32.const 0x7ffffff0) (i32.const 100)) (i32.const 0)";
    costs_one_row(&plugin(drop), "out of bounds");
}

#[test]
fn an_answer_that_is_no_answer_costs_one_row() {
    costs_one_row(&plugin("(i32.const 17)"), "pointer not aligned");
    costs_one_row(&plugin("(i32.const 0x7ffffff0)"), "out of bounds");
}

#[test]
fn an_allocator_that_lies_costs_one_row() {
    let lie = "(global.set $top (i32.const -1))
        (call $column (i32.const 16) (i32.const 6) (i32.const 240)) (i32.const 0)";
    costs_one_row(&plugin(lie), "realloc return: beyond end of memory");
}

#[test]
fn an_err_from_process_costs_one_row() {
    costs_one_row(&plugin("(call $refuse)"), "refused: no, thanks");
}

#[test]
fn a_power_that_is_not_granted_costs_one_row() {
    let route =
        "(call $route (i32.const 48) (i32.const 1) (i32.const 128) (i32.const 1)) (i32.const 0)";
    costs_one_row(&plugin(route), "used `edits.route`, which the configuration does not grant");
    let emit = "(call $emit (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 0)) (i32.const 0)";
    costs_one_row(&plugin(emit), "used `edits.emit`, which the configuration does not grant");

    let options = || PluginOptions {
        grants: Grants { labels: true, emit: true },
        ..PluginOptions::default()
    };
    let mut batch = numbered(10, &[3]);
    apply(&plugin_with(route, options()), &mut batch);
    assert_eq!(batch.rows().filter(|row| row.label() == Some("y")).count(), 1);
    assert_eq!(apply(&plugin_with(emit, options()), &mut batch).emitted, 1);
    assert_eq!(batch.live_rows(), 11);
}

#[test]
fn the_policy_decides_about_the_row_at_fault_and_no_other() {
    let with = |on_error| {
        let options = PluginOptions { on_error, limits: tight(), ..PluginOptions::default() };
        plugin_with("unreachable", options)
    };
    let mut batch = numbered(100, &[5]);
    let outcome = apply(&with(OnError::Pass), &mut batch);
    assert_eq!((outcome.passed, outcome.rejected.len(), batch.live_rows()), (1, 0, 100));
    assert_eq!(column(&batch, "seen").iter().filter(|seen| *seen == "y").count(), 99);

    let mut batch = numbered(100, &[5]);
    let outcome = apply(&with(OnError::Drop), &mut batch);
    assert_eq!((outcome.dropped, outcome.rejected.len(), batch.live_rows()), (1, 0, 99));

    let mut batch = numbered(100, &[5]);
    let halt = with(OnError::Halt).worker().apply(&mut batch, None, &mut |_| true).unwrap_err();
    assert!(matches!(halt.cause, HaltCause::Policy(Fault::Trapped(_))), "{halt}");
    assert_eq!((batch.live_rows(), column(&batch, "seen")), (100, vec![String::new(); 100]));
}

#[test]
fn three_rows_at_fault_are_found_in_one_slice() {
    let mut batch = numbered(1024, &[0, 500, 1023]);
    let outcome = apply(&plugin("unreachable"), &mut batch);
    let rows: Vec<usize> = outcome.rejected.iter().map(|(row, _)| row.index()).collect();
    assert_eq!((rows, outcome.faults), (vec![0, 500, 1023], 8));
}

#[test]
fn a_plugin_that_fails_everywhere_halts_and_leaves_the_batch_as_it_was() {
    let all: Vec<usize> = (0..2000).collect();
    let mut batch = numbered(2000, &all);
    let mut worker = plugin("unreachable").worker();
    let halt = worker.apply(&mut batch, None, &mut |_| true).unwrap_err();
    let HaltCause::TooManyFaults { faults, .. } = halt.cause else { panic!("{halt}") };
    assert_eq!((faults, batch.live_rows()), (9, 2000));
    assert_eq!(column(&batch, "seen"), vec![""; 2000]);
    assert!(halt.to_string().starts_with("plugin `guest` failed 9 times on one slice"), "{halt}");

    worker.apply(&mut numbered(10, &[]), None, &mut |_| true).unwrap();
}

#[test]
fn what_the_memory_does_not_bear_is_given_up_and_leaves_the_batch_as_it_was() {
    let mut batch = numbered(3_000, &[1]);
    let held = batch.held_bytes();
    let mut worker = plugin("unreachable").worker();
    let mut asked = Vec::new();
    let mut bears = |bytes| {
        asked.push(bytes);
        asked.len() < 20
    };
    let halt = worker.apply(&mut batch, None, &mut bears).unwrap_err();
    assert!(matches!(halt.cause, HaltCause::TooLarge), "{halt}");
    assert_eq!(asked.len(), 20, "asked in the middle of a search, and not once more");
    assert!(asked[0] > held && asked.is_sorted_by(|before, after| before < after), "{asked:?}");
    assert_eq!(column(&batch, "seen"), vec![""; 3_000]);
}

#[test]
fn the_search_stops_when_it_has_cost_enough() {
    let limits = Limits { repair_time: Duration::from_millis(50), ..tight() };
    let options = PluginOptions { limits, ..PluginOptions::default() };
    let plugin = plugin_with("(loop $l (br $l)) unreachable", options);
    let began = Instant::now();
    let halt = plugin.worker().apply(&mut numbered(1000, &[1]), None, &mut |_| true).unwrap_err();
    let HaltCause::TooManyFaults { faults, last } = halt.cause else { panic!("{halt}") };
    assert!(faults <= 4 && matches!(last, Fault::OutOfTime { .. }), "{faults} {last}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn one_plugin_spins_and_another_on_another_thread_continues() {
    let (spinning, working) = (plugin("(loop $l (br $l)) unreachable"), plugin("unreachable"));
    std::thread::scope(|scope| {
        let spin = scope.spawn(|| costs_one_row(&spinning, "ran out of time"));
        let mut worker = working.worker();
        while !spin.is_finished() {
            assert_eq!(
                worker.apply(&mut numbered(100, &[]), None, &mut |_| true).unwrap(),
                edited()
            );
        }
        spin.join().unwrap();
    });
}

/// A guest that ends a call by dropping row 0 if the call was its instance's first.
const DROPS_IN_FIRST_CALL: &str = "(if (i32.eq (global.get $calls) (i32.const 1))
    (then (call $drop (i32.const 128) (i32.const 1)))) (i32.const 0)";

#[test]
fn an_instance_is_kept_between_calls() {
    let mut worker = plugin(DROPS_IN_FIRST_CALL).worker();
    let dropped = |worker: &mut Worker| {
        worker.apply(&mut numbered(2, &[0]), None, &mut |_| true).unwrap().dropped
    };
    assert_eq!((dropped(&mut worker), dropped(&mut worker), dropped(&mut worker)), (1, 0, 0));
}

#[test]
fn an_instance_that_holds_too_much_memory_is_replaced() {
    // 52 of 64 pages, more than three quarters of the limit.
    let grow = format!("(drop (memory.grow (i32.const 50))) {DROPS_IN_FIRST_CALL}");
    let mut worker = plugin(&grow).worker();
    let dropped = |worker: &mut Worker| {
        worker.apply(&mut numbered(2, &[0]), None, &mut |_| true).unwrap().dropped
    };
    assert_eq!((dropped(&mut worker), dropped(&mut worker), dropped(&mut worker)), (1, 1, 1));
}

#[test]
fn a_configuration_is_refused_in_the_words_of_the_plugin() {
    let load = |configure: &str| {
        let options = PluginOptions { limits: tight(), ..PluginOptions::default() };
        load(&guest_with("(i32.const 0)", configure), options).unwrap_err()
    };
    let error = load("(call $refuse)");
    assert_eq!(
        error.to_string(),
        "plugin `guest` did not accept its configuration: refused: no, thanks"
    );
    for (configure, reason) in [
        ("unreachable", "trapped"),
        ("(loop $l (br $l)) unreachable", "ran out of time"),
        ("(call $drop (i32.const 128) (i32.const 1)) (call $ok)", "no slice outside of `process`"),
        ("(call $column (i32.const 16) (i32.const 6) (i32.const 240)) (call $ok)", "no slice"),
    ] {
        let error = load(configure);
        assert!(matches!(error, LoadError::NotConfigured { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn the_configuration_arrives_and_is_an_empty_object_by_default() {
    // Refuses unless the text begins with `{` and is two bytes long.
    let configure = "(if (result i32)
        (i32.and (i32.eq (local.get $length) (i32.const 2))
            (i32.eq (i32.load8_u (local.get $text)) (i32.const 123)))
        (then (call $ok)) (else (call $refuse)))";
    let with = |config: &str| {
        let options = PluginOptions { config: config.to_owned(), ..PluginOptions::default() };
        load(&guest_with("(i32.const 0)", configure), options)
    };
    assert!(with("").is_ok() && with("{}").is_ok() && with("[]").is_err());
}
