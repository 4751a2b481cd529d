//! What edits mean: every sentence of the contract about them, one test each.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use forwarder_record::encode::{Log, LogGroup, log_group_list};
use forwarder_record::{
    Applied, Batch, Condition, Edits, Format, Limits, Origin, Pattern, RowIx, RowState, Slice,
    SliceLimits, Values,
};

/// One group with topic `t`, one log per element, each with the given fields.
fn batch(logs: &[&[(&str, &str)]]) -> Batch {
    let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let log = |fields: &&[(&str, &str)]| Log {
        time: 1_767_323_045,
        nanos: Some(7),
        contents: fields.iter().map(pair).collect(),
    };
    let group = LogGroup {
        topic: "t".into(),
        source: "s".into(),
        tags: vec![("host".into(), "h".into())],
        logs: logs.iter().map(log).collect(),
    };
    let block = log_group_list([group.encode().as_slice()]);
    let origin = Origin {
        project: "p".into(),
        logstore: "l".into(),
        shard: 2,
        first_cursor: Some(100),
        ..Origin::default()
    };
    Batch::decode(Bytes::from(block), origin, &Limits::default()).unwrap()
}

fn slice(batch: &Batch) -> Slice {
    let slices = batch.slices(SliceLimits::default(), |_| true);
    slices.into_iter().next().unwrap_or_default()
}

/// Applies the edits that `ask` asks for to all live rows, as one plugin would.
fn edit(batch: &mut Batch, ask: impl FnOnce(&mut Edits)) -> Applied {
    let slice = slice(batch);
    let mut edits = Edits::new(slice.len());
    ask(&mut edits);
    let applied = batch.apply(&slice, &edits).unwrap();
    batch.end_pass();
    applied
}

/// The contents of the live rows: everything but what flattening added.
fn contents(batch: &Batch) -> Vec<Vec<(&str, &str)>> {
    let own = |key: &str| !key.starts_with("__");
    let rows = batch.rows();
    rows.map(|row| row.cells().map(|c| (c.key, c.value)).filter(|(key, _)| own(key)).collect())
        .collect()
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

#[test]
fn nothing_mentioned_stays_as_it_was() {
    let mut batch = batch(&[&[("a", "1"), ("b", "2")], &[("a", "3")]]);
    edit(&mut batch, |edits| edits.drop_rows(vec![1]).unwrap());
    assert_eq!(contents(&batch), [[("a", "1"), ("b", "2")]]);
}

#[test]
fn reads_see_the_slice_as_it_was_until_the_edits_are_applied() {
    let mut batch = batch(&[&[("a", "1")]]);
    let slice = slice(&batch);
    let mut edits = Edits::new(slice.len());
    edits.set_all("a".into(), Format::Text, "2".into());
    assert_eq!(batch.cell(&slice, 0, "a"), Some("1"));
    batch.apply(&slice, &edits).unwrap();
    assert_eq!(batch.cell(&slice, 0, "a"), Some("2"));
}

#[test]
fn edits_take_effect_in_call_order() {
    let mut batch = batch(&[&[("a", "1"), ("b", "2")]]);
    edit(&mut batch, |edits| {
        edits.set_all("a".into(), Format::Text, "first".into());
        edits.rename("a".into(), "c".into());
        edits.set_all("a".into(), Format::Text, "again".into());
        edits.remove(strings(&["b"]));
    });
    assert_eq!(contents(&batch), [[("c", "first"), ("a", "again")]]);
}

#[test]
fn discarded_edits_change_nothing() {
    let batch = batch(&[&[("a", "1")]]);
    let mut edits = Edits::new(1);
    edits.set_all("a".into(), Format::Text, "2".into());
    drop(edits);
    assert_eq!(contents(&batch), [[("a", "1")]]);
}

#[test]
fn set_on_a_missing_field_appends_it_last() {
    let mut batch = batch(&[&[("a", "1"), ("b", "2")], &[("b", "3")]]);
    edit(&mut batch, |edits| {
        let values = Values::from_iter(["x", "y"]);
        edits.set("a".into(), Format::Text, vec![0, 1], values).unwrap();
    });
    assert_eq!(contents(&batch), [[("a", "x"), ("b", "2")], [("b", "3"), ("a", "y")]]);
}

#[test]
fn many_fields_can_be_added_to_many_rows() {
    let fields: &[(&str, &str)] = &[("a", "1"), ("b", "2")];
    let mut batch = batch(&[fields; 50]);
    edit(&mut batch, |edits| {
        for n in 0..20 {
            edits.set_all(format!("n{n}"), Format::Text, n.to_string());
        }
    });
    for row in contents(&batch) {
        assert_eq!(row.len(), 22);
        assert_eq!((row[0], row[21]), (("a", "1"), ("n19", "19")));
    }
}

#[test]
fn rename_onto_an_existing_key_replaces_it_where_the_source_exists() {
    let mut batch = batch(&[&[("a", "1"), ("b", "2")], &[("b", "3")]]);
    edit(&mut batch, |edits| edits.rename("a".into(), "b".into()));
    assert_eq!(contents(&batch), [[("b", "1")], [("b", "3")]]);
}

#[test]
fn set_on_a_dropped_row_is_ignored() {
    let mut batch = batch(&[&[("a", "1")]]);
    let applied = edit(&mut batch, |edits| {
        edits.drop_rows(vec![0]).unwrap();
        let bad = Values::from_iter(["not json"]);
        edits.set("a".into(), Format::Json, vec![0], bad).unwrap();
    });
    assert_eq!((applied.dropped, applied.rejected.len()), (1, 0));
}

#[test]
fn reject_beats_drop_beats_everything_else() {
    let mut batch = batch(&[&[("a", "1")], &[("a", "2")]]);
    let applied = edit(&mut batch, |edits| {
        edits.reject(vec![0], "why".into()).unwrap();
        edits.drop_rows(vec![0, 1]).unwrap();
        edits.set_all("a".into(), Format::Text, "x".into());
    });
    let rejected: Vec<_> = applied.rejected.iter().map(|(_, reason)| reason.as_str()).collect();
    assert_eq!((rejected, applied.dropped), (vec!["why"], 1));
    assert_eq!(batch.live_rows(), 0);
    assert_eq!(batch.row(applied.rejected[0].0).state(), RowState::Rejected);
    assert_eq!(batch.row(applied.rejected[0].0).get("a").unwrap().value, "1");
}

#[test]
fn nest_ships_json_and_counts_what_is_not() {
    let mut batch = batch(&[&[("a", r#"{"x":1}"#)], &[("a", "plain")], &[("b", "")]]);
    let applied = edit(&mut batch, |edits| edits.nest("a".into()));
    assert_eq!(applied.not_json, 1);
    let formats: Vec<_> = batch.rows().map(|row| row.get("a").map(|cell| cell.format)).collect();
    assert_eq!(formats, [Some(Format::Json), Some(Format::Text), None]);
}

#[test]
fn setting_invalid_json_rejects_the_row() {
    let mut batch = batch(&[&[("a", "1")], &[("a", "2")]]);
    let applied = edit(&mut batch, |edits| {
        let values = Values::from_iter(["[1]", "{"]);
        edits.set("a".into(), Format::Json, vec![0, 1], values).unwrap();
    });
    assert_eq!(applied.rejected.len(), 1);
    assert_eq!(contents(&batch), [[("a", "[1]")]]);
}

#[test]
fn keep_and_remove_never_touch_the_metadata() {
    let mut batch = batch(&[&[("a", "1"), ("b", "2")]]);
    edit(&mut batch, |edits| edits.keep(strings(&["a"])));
    let row = batch.rows().next().unwrap();
    assert_eq!(row.cells().count(), 1);
    assert_eq!((row.topic(), row.source(), row.time().nanos), ("t", "s", 7));
    assert_eq!(row.id().unwrap().as_str(), "p/l/2/100/0");
}

#[test]
fn metadata_cannot_be_forged_by_a_field() {
    let batch = batch(&[&[("__topic__", "evil"), ("__time__", "1")]]);
    let row = batch.rows().next().unwrap();
    assert_eq!((row.topic(), row.time().seconds), ("t", 1_767_323_045));
    assert_eq!(row.get("__topic__").unwrap().value, "evil", "the content reads as it is");
}

#[test]
fn a_plugin_that_sets_time_sets_the_events_time() {
    let mut batch = batch(&[&[("a", "1")], &[("when", "9")]]);
    let applied = edit(&mut batch, |edits| {
        let values = Values::from_iter(["12.5"]);
        edits.set("__time__".into(), Format::Text, vec![0], values).unwrap();
        edits.rename("when".into(), "__time__".into());
    });
    assert!(applied.rejected.is_empty());
    let times: Vec<_> = batch.rows().map(|row| (row.time().seconds, row.time().nanos)).collect();
    assert_eq!(times, [(12, 500_000_000), (9, 0)]);
}

#[test]
fn an_unreadable_time_rejects_the_row() {
    let mut batch = batch(&[&[("a", "1")]]);
    let applied = edit(&mut batch, |edits| {
        edits.set_all("__time__".into(), Format::Text, "yesterday".into());
    });
    assert_eq!(applied.rejected.len(), 1);
}

#[test]
fn of_several_times_of_an_emitted_log_the_last_one_counts() {
    let mut batch = batch(&[&[("a", "1")]]);
    let emit = |edits: &mut Edits, times: [&str; 2]| {
        let fields = times.map(|time| ("__time__".to_owned(), time.to_owned())).to_vec();
        edits.emit(0, None, fields).unwrap();
    };
    let applied = edit(&mut batch, |edits| {
        emit(edits, ["yesterday", "12"]);
        emit(edits, ["yesterday", "tomorrow"]);
        emit(edits, ["12", "tomorrow"]);
    });
    let rejected: Vec<usize> = applied.rejected.iter().map(|(ix, _)| ix.index()).collect();
    assert_eq!(rejected, [2, 3], "each once");
    let times: Vec<_> = batch.rows().skip(1).map(|row| row.time().seconds).collect();
    assert_eq!(times, [12]);
}

#[test]
fn an_emitted_row_inherits_and_follows_and_survives_its_model() {
    let mut batch = batch(&[&[("a", "1")], &[("a", "2")]]);
    edit(&mut batch, |edits| {
        edits.route("high".into(), vec![0]).unwrap();
        edits.emit(0, None, vec![("n".into(), "x".into())]).unwrap();
        edits.emit(0, Some("low".into()), vec![("n".into(), "y".into())]).unwrap();
    });
    assert_eq!(contents(&batch), [[("a", "1")], [("n", "x")], [("n", "y")], [("a", "2")]]);
    let facts: Vec<_> =
        batch.rows().map(|row| (row.id().unwrap().to_string(), row.label())).collect();
    assert_eq!(facts[1], ("p/l/2/100/0.0".to_owned(), Some("high")));
    assert_eq!(facts[2], ("p/l/2/100/0.1".to_owned(), Some("low")));
    assert!(batch.rows().all(|row| row.topic() == "t" && row.time().nanos == 7));

    // The next plugin gets the emitted rows; dropping the model leaves them.
    edit(&mut batch, |edits| edits.drop_rows(vec![0]).unwrap());
    assert_eq!(contents(&batch), [[("n", "x")], [("n", "y")], [("a", "2")]]);

    // A row emitted like an emitted one counts below it.
    edit(&mut batch, |edits| edits.emit(1, None, vec![("n".into(), "z".into())]).unwrap());
    let ids: Vec<_> = batch.rows().map(|row| row.id().unwrap().to_string()).collect();
    assert_eq!(ids, ["p/l/2/100/0.0", "p/l/2/100/0.1", "p/l/2/100/0.1.0", "p/l/2/100/1"]);
}

#[test]
fn a_plugin_does_not_get_its_own_emissions() {
    let mut batch = batch(&[&[("a", "1")]]);
    let first = slice(&batch);
    let mut edits = Edits::new(1);
    edits.emit(0, None, vec![("n".into(), "x".into())]).unwrap();
    batch.apply(&first, &edits).unwrap();
    assert_eq!(slice(&batch).len(), 1, "not before the pass ends");
    batch.end_pass();
    assert_eq!(slice(&batch).len(), 2);
}

#[test]
fn a_rejected_row_emits_nothing_since_its_replay_will() {
    let mut batch = batch(&[&[("a", "1")]]);
    let applied = edit(&mut batch, |edits| {
        edits.emit(0, None, vec![("n".into(), "x".into())]).unwrap();
        edits.reject(vec![0], "bad".into()).unwrap();
    });
    assert_eq!((applied.emitted, batch.live_rows()), (0, 0));
}

#[test]
fn the_original_of_an_edited_or_emitted_row_can_still_be_read() {
    let mut batch = batch(&[&[("a", "1"), ("b", "2")]]);
    let before = batch.row(slice(&batch).rows()[0]).original();
    edit(&mut batch, |edits| {
        edits.keep(strings(&["b"]));
        edits.set_all("b".into(), Format::Text, "x".into());
        edits.emit(0, None, vec![("n".into(), "x".into())]).unwrap();
    });
    let originals: Vec<_> = batch.rows().map(|row| row.original()).collect();
    assert_eq!(originals, [before.clone(), before]);
}

#[test]
fn the_last_route_call_wins() {
    let mut batch = batch(&[&[("a", "1")], &[("a", "2")]]);
    edit(&mut batch, |edits| {
        edits.route("one".into(), vec![0, 1]).unwrap();
        edits.route("two".into(), vec![1]).unwrap();
    });
    let labels: Vec<_> = batch.rows().map(|row| row.label()).collect();
    assert_eq!(labels, [Some("one"), Some("two")]);
}

#[test]
fn members_of_json_are_set_and_removed_in_place() {
    let event = r#"{"user":"alice", "n":1}"#;
    let mut batch = batch(&[&[("e", event)], &[("e", "plain")], &[("x", "")]]);
    let applied = edit(&mut batch, |edits| {
        edits.nest("e".into());
        let values = Values::from_iter(["***", "***", "***"]);
        let rows = vec![0, 1, 2];
        edits.json_set("e".into(), strings(&["user"]), Format::Text, rows, values).unwrap();
        edits.json_remove("e".into(), strings(&["n"]), vec![0]).unwrap();
    });
    assert_eq!(applied.not_json, 2, "once for nest, once for json-set");
    let row = batch.rows().next().unwrap();
    assert_eq!(row.get("e").unwrap().value, r#"{"user":"***"}"#);
    assert_eq!(row.get("e").unwrap().format, Format::Json, "the result is shipped as before");
    let values: Vec<_> = batch.rows().map(|row| row.get("e").map(|cell| cell.value)).collect();
    assert_eq!(values[1..], [Some("plain"), None]);
}

#[test]
fn a_member_that_would_be_nested_too_deep_is_not_set() {
    let mut batch = batch(&[&[("e", "{}")]]);
    let path = |depth| vec!["a".to_owned(); depth];
    let applied = edit(&mut batch, |edits| {
        for depth in [128, 127] {
            let value = Values::from_iter(["x"]);
            edits.json_set("e".into(), path(depth), Format::Text, vec![0], value).unwrap();
        }
        edits.nest("e".into());
    });
    assert_eq!(applied.not_json, 1);
    let e = batch.rows().next().unwrap().get("e").unwrap();
    assert_eq!((e.value.matches('{').count(), e.format), (127, Format::Json));
}

#[test]
fn what_edits_do_to_json_that_an_edit_has_set_is_bounded() {
    let mut batch = batch(&[&[("e", "{}")], &[("e", "{}")]]);
    let held = batch.held_bytes();
    let large = format!(r#"{{"a":0,"b":"{}"}}"#, "x".repeat(300_000));
    let applied = edit(&mut batch, |edits| {
        edits.set("e".into(), Format::Text, vec![0], Values::from_iter([large.as_str()])).unwrap();
        for _ in 0..1000 {
            let value = Values::from_iter(["1"]);
            edits.json_set("e".into(), strings(&["a"]), Format::Json, vec![0], value).unwrap();
            edits.json_remove("e".into(), strings(&["b"]), vec![1]).unwrap();
            edits.nest_at("e".into(), vec![1]).unwrap();
        }
        edits.nest("e".into());
    });
    let [(row, reason)] = applied.rejected.as_slice() else { unreachable!("{applied:?}") };
    assert_eq!((row.index(), reason.contains("too much JSON")), (0, true), "{reason}");
    assert!(batch.held_bytes() - held < 3 << 20);
    assert_eq!(contents(&batch), [[("e", "{}")]], "small ones next to it are not affected");
}

#[test]
fn nesting_every_row_and_a_few_members_of_each_is_far_below_the_bound() {
    let event = format!(r#"{{"a":0,"b":"{}"}}"#, "x".repeat(2000));
    let fields: &[(&str, &str)] = &[("e", &event)];
    let mut batch = batch(&[fields; 1000]);
    let applied = edit(&mut batch, |edits| {
        edits.nest("e".into());
        for n in 0..10 {
            let (path, value) = (strings(&[&format!("n{n}")]), Values::from_iter(["1"; 1000]));
            let rows = (0..1000).collect();
            edits.json_set("e".into(), path, Format::Json, rows, value).unwrap();
        }
    });
    assert_eq!(applied, Applied { changed: true, ..Applied::default() });
}

#[test]
fn remove_at_and_nest_at_touch_the_named_rows_only() {
    let mut batch = batch(&[&[("a", "1")], &[("a", "2")]]);
    edit(&mut batch, |edits| {
        edits.remove_at("a".into(), vec![0]).unwrap();
        edits.nest_at("a".into(), vec![1]).unwrap();
    });
    assert_eq!(contents(&batch), [vec![], vec![("a", "2")]]);
    let last = batch.rows().last().unwrap();
    assert_eq!(last.get("a").unwrap().format, Format::Json);
}

#[test]
fn slices_respect_rows_and_bytes_but_hold_at_least_one_row() {
    let big = "x".repeat(1000);
    let fields: &[(&str, &str)] = &[("a", &big)];
    let batch = batch(&[fields; 5]);
    let lengths = |max_rows, max_bytes| -> Vec<usize> {
        let slices = batch.slices(SliceLimits { max_rows, max_bytes }, |_| true);
        slices.iter().map(Slice::len).collect()
    };
    assert_eq!(lengths(2, 1 << 20), [2, 2, 1]);
    assert_eq!(lengths(100, 2500), [2, 2, 1]);
    assert_eq!(lengths(100, 10), [1, 1, 1, 1, 1]);
}

#[test]
fn rows_that_a_condition_keeps_out_are_in_no_slice() {
    let batch = batch(&[&[("a", "1")], &[("a", "2")]]);
    let slices = batch.slices(SliceLimits::default(), |row| row.get("a").unwrap().value == "2");
    let rows: Vec<RowIx> = slices.iter().flat_map(Slice::rows).copied().collect();
    assert_eq!(rows.iter().map(|ix| ix.index()).collect::<Vec<_>>(), [1]);
}

#[test]
fn columns_read_row_by_row_whatever_the_shape() {
    let batch = batch(&[&[("a", "1"), ("b", "2")], &[("b", "3"), ("a", "4")], &[("c", "5")]]);
    let slice = slice(&batch);
    let column = |key| batch.column(&slice, key).collect::<Vec<_>>();
    assert_eq!(column("a"), [Some("1"), Some("4"), None]);
    assert_eq!(column("b"), [Some("2"), Some("3"), None]);
    assert_eq!(column("__tag__:host"), [Some("h"); 3]);
    assert_eq!(column("nowhere"), [None; 3]);
    assert_eq!(batch.slice_keys(&slice)[0], "__source__");
}

#[test]
fn a_rule_on_the_topic_reads_the_metadata_and_one_on_the_field_reads_the_contents() {
    let batch = batch(&[&[("__topic__", "evil")], &[("a", "1")]]);
    let matching = |condition: &Condition| -> Vec<usize> {
        batch.rows().filter(|row| condition.matches(row)).map(|row| row.ix().index()).collect()
    };
    let typed = |topic| Condition { topic: vec![Pattern::new(topic)], ..Condition::default() };
    assert_eq!(matching(&typed("t")), [0, 1]);
    assert_eq!(matching(&typed("evil")), [] as [usize; 0]);
    let fields = vec![("__topic__".to_owned(), vec![Pattern::new("evil")])];
    assert_eq!(matching(&Condition { fields, ..Condition::default() }), [0]);
    let nowhere = Condition { project: vec![Pattern::new("other")], ..Condition::default() };
    assert_eq!(matching(&nowhere), [] as [usize; 0]);
    assert_eq!(matching(&Condition::default()), [0, 1], "an empty condition is true");
}
