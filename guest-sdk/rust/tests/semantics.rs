//! The sentences of `wit/plugin.wit` about edits, one test each, seen through the batch view.

use forwarder_guest::testing::{self, Log, Outcome};
use forwarder_guest::{Batch, Format};

/// Two logs, and what a plugin makes of them.
fn edit(plugin: impl Fn(&mut Batch<'_>) + 'static) -> Outcome {
    let logs = [
        Log::new([("a", "1"), ("b", "2"), ("j", r#"{"x":{"y":[1,2]}, "z":"é"}"#)]),
        Log::new([("b", "3"), ("j", "plain")]).with_topic("t").at(5_000_000_000),
    ];
    testing::run(plugin, "", logs)
}

fn fields(outcome: &Outcome, at: usize) -> Vec<(&str, &str)> {
    let fields = outcome.sent.get(at).map_or(&[][..], |sent| sent.log.fields());
    fields.iter().map(|field| (field.name.as_str(), field.value.as_str())).collect()
}

fn rejected(outcome: &Outcome) -> Vec<u32> {
    outcome.rejected.iter().map(|rejected| rejected.row).collect()
}

#[test]
fn reads_see_the_slice_as_it_was() {
    edit(|batch| {
        batch.set_all("a", Format::Text, "new");
        batch.remove(&["b"]);
        batch.drop(&[0]);
        assert_eq!(batch.column("a"), [Some("1".to_owned()), None]);
        assert_eq!(batch.column_at("b", &[1]), [Some("3".to_owned())]);
        assert_eq!(batch.cell(0, "b").as_deref(), Some("2"));
        assert_eq!(batch.fields(1).len(), 2);
        assert_eq!(batch.keys(), ["a", "b", "j"]);
        assert_eq!(batch.topics(), ["", "t"]);
        assert_eq!(batch.times(), [0, 5_000_000_000]);
    });
}

#[test]
fn edits_take_effect_in_the_order_of_the_calls() {
    let outcome = edit(|batch| {
        batch.rename("b", "c");
        batch.set("c", Format::Text, &[0], &["4"]);
        batch.set("b", Format::Text, &[0], &["5"]);
        batch.keep(&["b", "c"]);
        batch.set_all("d", Format::Text, "6");
    });
    assert_eq!(fields(&outcome, 0), [("c", "4"), ("b", "5"), ("d", "6")]);
    assert_eq!(fields(&outcome, 1), [("c", "3"), ("d", "6")]);
}

#[test]
fn rejecting_beats_dropping_beats_the_rest() {
    let outcome = edit(|batch| {
        batch.drop(&[0, 1]);
        batch.reject(&[0], "first");
        batch.drop(&[0]);
        batch.reject(&[0], "second");
        batch.nest("j");
        batch.set_all("a", Format::Json, "not json");
    });
    assert!(outcome.sent.is_empty());
    assert_eq!((outcome.rejected.len(), outcome.rejected[0].reason.as_str()), (1, "first"));
    assert_eq!(outcome.dropped, [1]);
    assert_eq!(outcome.not_json, 0, "edits of rows that leave are ignored");
}

#[test]
fn setting_keeps_the_place_or_appends() {
    let outcome = edit(|batch| batch.set("a", Format::Text, &[0, 1], &["x", "y"]));
    assert_eq!(fields(&outcome, 0)[0], ("a", "x"));
    assert_eq!(fields(&outcome, 1), [("b", "3"), ("j", "plain"), ("a", "y")]);
}

#[test]
fn setting_json_that_is_not_rejects_that_row() {
    let outcome = edit(|batch| batch.set("a", Format::Json, &[0, 1], &["[1]", "[1"]));
    assert_eq!(outcome.sent[0].event()["a"], serde_json::json!([1]));
    assert_eq!(rejected(&outcome), [1]);
}

#[test]
fn renaming_replaces_where_the_source_exists() {
    let outcome = edit(|batch| batch.rename("a", "b"));
    assert_eq!(fields(&outcome, 0)[0], ("b", "1"));
    assert_eq!(fields(&outcome, 0).len(), 2);
    assert_eq!(fields(&outcome, 1)[0], ("b", "3"));
}

#[test]
fn removing_what_a_row_lacks_is_no_error() {
    let outcome = edit(|batch| {
        batch.remove_at("a", &[0, 1]);
        batch.remove(&["nowhere"]);
        batch.rename("nowhere", "b");
    });
    assert_eq!(fields(&outcome, 0)[0], ("b", "2"));
    assert_eq!(fields(&outcome, 1).len(), 2);
}

#[test]
fn nesting_what_is_not_json_leaves_text_and_counts() {
    let outcome = edit(|batch| batch.nest("j"));
    assert_eq!(outcome.sent[0].event()["j"]["x"]["y"], serde_json::json!([1, 2]));
    assert_eq!(outcome.sent[1].event()["j"], "plain");
    assert_eq!(outcome.not_json, 1);

    let outcome = edit(|batch| batch.nest_at("j", &[0]));
    assert_eq!((outcome.sent.len(), outcome.not_json), (2, 0));
}

#[test]
fn json_is_found_by_path() {
    edit(|batch| {
        assert_eq!(batch.json("j", &["z"]), [Some("é".to_owned()), None]);
        assert_eq!(batch.json_at("j", &["x", "y", "1"], &[0]), [Some("2".to_owned())]);
        assert_eq!(batch.json("j", &["x"])[0].as_deref(), Some(r#"{"y":[1,2]}"#));
        assert_eq!(batch.select_json("j", &["z"], |z| z == Some("é")), [0]);
    });
}

#[test]
fn a_member_is_set_and_the_rest_stays_byte_for_byte() {
    let outcome = edit(|batch| {
        batch.json_set("j", &["x", "w"], Format::Text, &[0, 1], &["a\"b", "c"]);
        batch.json_set("j", &["n", "m"], Format::Json, &[0], &["[]"]);
        batch.json_set("j", &["x", "y", "2"], Format::Text, &[0], &["past the end"]);
        batch.json_set("nowhere", &["x"], Format::Json, &[0], &["{"]);
    });
    let changed = r#"{"x":{"y":[1,2],"w":"a\"b"}, "z":"é","n":{"m":[]}}"#;
    assert_eq!(outcome.sent[0].get("j"), Some(changed));
    assert_eq!(outcome.sent[0].log.field("j").unwrap().format, Format::Text);
    assert_eq!(outcome.sent[1].get("j"), Some("plain"));
    assert_eq!(outcome.not_json, 2, "what is not JSON, and the index past the end");
}

#[test]
fn setting_a_member_to_json_that_is_not_rejects_that_row() {
    let outcome = edit(|batch| batch.json_set("j", &["x"], Format::Json, &[0], &["{"]));
    assert_eq!(rejected(&outcome), [0]);
}

#[test]
fn a_member_is_removed_with_its_comma() {
    let outcome = edit(|batch| {
        batch.json_remove("j", &["x"], &[0, 1]);
        batch.json_remove("j", &["nowhere"], &[0]);
    });
    assert_eq!(outcome.sent[0].get("j"), Some(r#"{ "z":"é"}"#));
    assert_eq!(outcome.not_json, 1);
}

#[test]
fn the_last_label_counts() {
    let outcome = edit(|batch| {
        batch.route("low", &[0, 1]);
        batch.route("high", &[1]);
    });
    assert_eq!(outcome.sent[0].label.as_deref(), Some("low"));
    assert_eq!(outcome.sent[1].label.as_deref(), Some("high"));
}

#[test]
fn an_emitted_log_inherits_follows_and_escapes_the_edits_of_the_call() {
    let outcome = edit(|batch| {
        batch.emit(1, None, &[("k", "1"), ("k", "2")]);
        batch.emit(1, Some("own"), &[("__time__", "7.5")]);
        batch.drop(&[1]);
        batch.remove(&["k"]);
        batch.emit(0, None, &[]);
        batch.route("like", &[0]);
    });
    let order: Vec<_> = outcome.sent.iter().map(|sent| (sent.row, sent.ordinal)).collect();
    assert_eq!(order, [(0, 0), (0, 1), (1, 1), (1, 2)]);
    assert_eq!(outcome.sent[1].label.as_deref(), Some("like"));
    assert_eq!(fields(&outcome, 2), [("k", "2")]);
    let inherited = &outcome.sent[2];
    assert_eq!((inherited.log.topic(), inherited.log.time()), ("t", 5_000_000_000));
    let timed = &outcome.sent[3];
    assert_eq!((timed.label.as_deref(), timed.log.time()), (Some("own"), 7_500_000_000));
}

#[test]
fn nothing_is_emitted_like_a_rejected_row_and_nothing_with_an_unreadable_time() {
    let outcome = edit(|batch| {
        batch.emit(0, None, &[("k", "1")]);
        batch.reject(&[0], "no");
        batch.emit(1, None, &[("__time__", "noon")]);
    });
    assert_eq!(outcome.sent.len(), 1);
    assert_eq!(rejected(&outcome), [0, 1]);
}

#[test]
fn a_time_that_a_plugin_sets_is_the_time_of_the_event() {
    let outcome = edit(|batch| {
        batch.set("__time__", Format::Text, &[0, 1], &["1767323045.000000001", "yesterday"]);
    });
    assert_eq!(outcome.sent[0].log.time(), 1_767_323_045_000_000_001);
    assert_eq!(rejected(&outcome), [1]);

    let outcome = edit(|batch| batch.rename("b", "__time__"));
    assert_eq!(outcome.sent[1].log.time(), 3_000_000_000);
    assert!(outcome.sent[1].event().get("__time__").is_none(), "it is sent next to the event");
}

#[test]
fn a_broken_rule_panics_where_it_was_broken() {
    let rules: [fn(&mut Batch<'_>); 4] = [
        |batch| batch.drop(&[2]),
        |batch| batch.drop(&[1, 0]),
        |batch| batch.set("a", Format::Text, &[0, 1], &["x"]),
        |batch| drop(batch.column_at("a", &[1, 1])),
    ];
    for rule in rules {
        let panic = std::panic::catch_unwind(|| edit(rule)).unwrap_err();
        assert!(panic.downcast_ref::<String>().unwrap().starts_with("fault: "));
    }
}
