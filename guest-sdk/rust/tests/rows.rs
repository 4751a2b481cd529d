//! The row view: the same result as edits made one by one, with far fewer calls.

use forwarder_guest::testing::{self, Log};
use forwarder_guest::{Batch, Format, Row};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Set(&'static str, String),
    SetJson(&'static str, &'static str),
    Remove(&'static str),
    Nest(&'static str),
    JsonSet(&'static str, String),
    JsonRemove(&'static str),
    Route(&'static str),
    Drop,
    Reject(&'static str),
    Emit(&'static str),
}

impl Step {
    fn on_row(&self, row: &mut Row<'_>) {
        match self {
            Self::Set(key, value) => row.set(key, value.clone()),
            Self::SetJson(key, value) => row.set_as(key, Format::Json, *value),
            Self::Remove(key) => row.remove(key),
            Self::Nest(key) => row.nest(key),
            Self::JsonSet(key, value) => row.json_set(key, &["m"], Format::Text, value.clone()),
            Self::JsonRemove(key) => row.json_remove(key, &["m"]),
            Self::Route(label) => row.route(label),
            Self::Drop => row.drop(),
            Self::Reject(reason) => row.reject(*reason),
            Self::Emit(label) => row.emit_to(label, &[("e", "1")]),
        }
    }

    /// The same as a call of its own.
    fn on_batch(&self, batch: &mut Batch<'_>, row: u32) {
        let rows = &[row];
        match self {
            Self::Set(key, value) => batch.set(key, Format::Text, rows, &[value]),
            Self::SetJson(key, value) => batch.set(key, Format::Json, rows, &[value]),
            Self::Remove(key) => batch.remove_at(key, rows),
            Self::Nest(key) => batch.nest_at(key, rows),
            Self::JsonSet(key, value) => {
                batch.json_set(key, &["m"], Format::Text, rows, &[value]);
            }
            Self::JsonRemove(key) => batch.json_remove(key, &["m"], rows),
            Self::Route(label) => batch.route(label, rows),
            Self::Drop => batch.drop(rows),
            Self::Reject(reason) => batch.reject(rows, reason),
            Self::Emit(label) => batch.emit(row, Some(label), &[("e", "1")]),
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let key = || prop::sample::select(vec!["a", "b", "j"]);
    prop_oneof![
        4 => (key(), "[a-z]{0,3}").prop_map(|(key, value)| Step::Set(key, value)),
        2 => (key(), prop::sample::select(vec!["{}", "[1]", "{\"m\":1}", "bad"]))
            .prop_map(|(key, value)| Step::SetJson(key, value)),
        3 => key().prop_map(Step::Remove),
        2 => key().prop_map(Step::Nest),
        3 => (key(), "[a-z]{0,3}").prop_map(|(key, value)| Step::JsonSet(key, value)),
        2 => key().prop_map(Step::JsonRemove),
        2 => prop::sample::select(vec!["high", "low"]).prop_map(Step::Route),
        1 => Just(Step::Drop),
        1 => prop::sample::select(vec!["no", "never"]).prop_map(Step::Reject),
        1 => prop::sample::select(vec!["high", "low"]).prop_map(Step::Emit),
    ]
}

fn logs(count: usize) -> impl Iterator<Item = Log> {
    (0..count).map(|n| Log::new([("a", n.to_string()), ("j", r#"{"k":1,"m":2}"#.to_owned())]))
}

proptest! {
    #[test]
    fn edits_by_row_mean_what_they_mean_one_by_one(
        plans in prop::collection::vec(prop::collection::vec(step(), 0..8), 1..6),
    ) {
        let (by_row, one_by_one) = (plans.clone(), plans.clone());
        let gathered = testing::run(
            move |row: &mut Row<'_>| {
                for step in &by_row[row.number() as usize] {
                    step.on_row(row);
                }
            },
            "",
            logs(plans.len()),
        );
        let separate = testing::run(
            move |batch: &mut Batch<'_>| {
                for (row, plan) in (0u32..).zip(&one_by_one) {
                    plan.iter().for_each(|step| step.on_batch(batch, row));
                }
            },
            "",
            logs(plans.len()),
        );
        prop_assert_eq!(&gathered.sent, &separate.sent);
        prop_assert_eq!(&gathered.dropped, &separate.dropped);
        prop_assert_eq!(&gathered.rejected, &separate.rejected);
        prop_assert_eq!(gathered.not_json, separate.not_json);
        prop_assert!(gathered.calls.len() <= separate.calls.len());
    }
}

#[test]
fn rows_that_are_alike_cost_a_call_per_thing_and_not_per_row() {
    fn plugin(row: &mut Row<'_>) {
        if row.get("a").is_some_and(|a| a.ends_with('7')) {
            return row.drop();
        }
        row.set("copy", row.get("a").unwrap_or_default());
        row.nest("j");
        if let Some(k) = row.json("j", &["k"]) {
            row.set("k", k);
        }
    }
    let outcome = testing::run(plugin, "", logs(1000));
    assert_eq!(outcome.sent.len(), 900);
    assert_eq!(outcome.sent[899].get("copy"), Some("999"));
    assert_eq!(outcome.sent[899].get("k"), Some("1"));
    assert_eq!(outcome.calls, ["column", "json", "set", "nest-at", "set", "drop"]);
}

#[test]
fn a_row_does_not_see_its_own_edits() {
    fn plugin(row: &mut Row<'_>) {
        row.set("a", "new");
        assert_ne!(row.get("a"), Some("new"));
        assert_eq!(row.cell("a").as_deref(), row.get("a"));
        assert_eq!(row.fields()[0].1, row.get("a").unwrap());
    }
    let outcome = testing::run(plugin, "", logs(2));
    assert_eq!(outcome.sent[1].get("a"), Some("new"));
}

#[test]
fn metadata_comes_from_the_log_group_and_not_from_fields() {
    fn plugin(row: &mut Row<'_>) {
        row.set("topic", row.topic());
        row.set("time", row.time().to_string());
    }
    let log = Log::new([("__topic__", "forged"), ("__time__", "1")]).with_topic("real").at(9);
    let outcome = testing::run(plugin, "", [log]);
    assert_eq!(outcome.sent[0].get("topic"), Some("real"));
    assert_eq!(outcome.sent[0].get("time"), Some("9"));
}

#[test]
fn what_is_logged_arrives_with_its_level() {
    fn plugin(_: &mut Row<'_>) {
        forwarder_guest::log::debug("a");
        forwarder_guest::log::error(format!("b{}", 1));
    }
    let outcome = testing::run(plugin, "", logs(1));
    let expected =
        [(testing::Level::Debug, "a".to_owned()), (testing::Level::Error, "b1".to_owned())];
    assert_eq!(outcome.messages, expected);
}
