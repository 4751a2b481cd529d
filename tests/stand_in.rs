//! The stand-in of the Rust SDK, against which authors test their plugins, applies edits as the forwarder does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use forwarder_guest::testing::{self, Log};
use forwarder_guest::{Batch as GuestBatch, Format as GuestFormat};
use forwarder_record::encode::{self, LogGroup, log_group_list};
use forwarder_record::{Batch, Edits, Format, Origin, SliceLimits, Values};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

const ROWS: u32 = 3;
const TIME: u64 = 1_767_323_045;

/// An edit, before either side has seen it.
#[derive(Debug, Clone)]
enum Step {
    Drop(Vec<u32>),
    Keep(Vec<&'static str>),
    Remove(Vec<&'static str>),
    RemoveAt(&'static str, Vec<u32>),
    Rename(&'static str, &'static str),
    Nest(&'static str),
    NestAt(&'static str, Vec<u32>),
    Set(&'static str, bool, Vec<u32>, &'static str),
    SetAll(&'static str, bool, &'static str),
    JsonSet(&'static str, Vec<&'static str>, bool, Vec<u32>, &'static str),
    JsonRemove(&'static str, Vec<&'static str>, Vec<u32>),
    Route(&'static str, Vec<u32>),
    Emit(u32, Option<&'static str>, Vec<(&'static str, &'static str)>),
    Reject(Vec<u32>, &'static str),
}

impl Step {
    fn in_guest(&self, batch: &mut GuestBatch<'_>) {
        let format = |json| if json { GuestFormat::Json } else { GuestFormat::Text };
        match self {
            Self::Drop(rows) => batch.drop(rows),
            Self::Keep(keys) => batch.keep(keys),
            Self::Remove(keys) => batch.remove(keys),
            Self::RemoveAt(key, rows) => batch.remove_at(key, rows),
            Self::Rename(key, to) => batch.rename(key, to),
            Self::Nest(key) => batch.nest(key),
            Self::NestAt(key, rows) => batch.nest_at(key, rows),
            Self::Set(key, json, rows, value) => {
                batch.set(key, format(*json), rows, &vec![*value; rows.len()]);
            }
            Self::SetAll(key, json, value) => batch.set_all(key, format(*json), value),
            Self::JsonSet(key, path, json, rows, value) => {
                batch.json_set(key, path, format(*json), rows, &vec![*value; rows.len()]);
            }
            Self::JsonRemove(key, path, rows) => batch.json_remove(key, path, rows),
            Self::Route(label, rows) => batch.route(label, rows),
            Self::Emit(like, label, fields) => batch.emit(*like, *label, fields),
            Self::Reject(rows, reason) => batch.reject(rows, reason),
        }
    }

    fn in_host(&self, edits: &mut Edits) {
        let format = |json| if json { Format::Json } else { Format::Text };
        let own = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let same = |value: &'static str, rows: &[u32]| Values::from_iter(vec![value; rows.len()]);
        match self.clone() {
            Self::Drop(rows) => edits.drop_rows(rows).unwrap(),
            Self::Keep(keys) => edits.keep(own(&keys)),
            Self::Remove(keys) => edits.remove(own(&keys)),
            Self::RemoveAt(key, rows) => edits.remove_at(key.into(), rows).unwrap(),
            Self::Rename(key, to) => edits.rename(key.into(), to.into()),
            Self::Nest(key) => edits.nest(key.into()),
            Self::NestAt(key, rows) => edits.nest_at(key.into(), rows).unwrap(),
            Self::Set(key, json, rows, value) => {
                let values = same(value, &rows);
                edits.set(key.into(), format(json), rows, values).unwrap();
            }
            Self::SetAll(key, json, value) => edits.set_all(key.into(), format(json), value.into()),
            Self::JsonSet(key, path, json, rows, value) => {
                let values = same(value, &rows);
                edits.json_set(key.into(), own(&path), format(json), rows, values).unwrap();
            }
            Self::JsonRemove(key, path, rows) => {
                edits.json_remove(key.into(), own(&path), rows).unwrap();
            }
            Self::Route(label, rows) => edits.route(label.into(), rows).unwrap(),
            Self::Emit(like, label, fields) => {
                let fields = fields.iter().map(|&(key, value)| (key.to_owned(), value.to_owned()));
                edits.emit(like, label.map(str::to_owned), fields.collect()).unwrap();
            }
            Self::Reject(rows, reason) => edits.reject(rows, reason.into()).unwrap(),
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let key = || select(vec!["a", "b", "j", "new", "__time__"]);
    let keys = || subsequence(vec!["a", "b", "j", "new", "__time__"], 0..5);
    let rows = || subsequence((0..ROWS).collect::<Vec<_>>(), 0..=ROWS as usize);
    let label = || select(vec!["high", "low"]);
    let value = || {
        select(vec![
            "",
            "x",
            "7",
            "7.25",
            "{}",
            "[1, 2]",
            "{\"m\":1}",
            "\"q\"",
            "{\"m\"",
            " 1 ",
            "1767323045678",
            "2026-01-02T11:04:05.25+08:00",
            "2026-01-02 03:04:05,1234567891",
            "2026-02-30T00:00:00Z",
            "2024-02-29T23:59:60Z",
            "é\"\\\n",
        ])
    };
    let path = || prop::collection::vec(select(vec!["m", "n", "0", "1", "01", "é"]), 0..3);
    prop_oneof![
        1 => rows().prop_map(Step::Drop),
        2 => keys().prop_map(Step::Keep),
        2 => keys().prop_map(Step::Remove),
        2 => (key(), rows()).prop_map(|(key, rows)| Step::RemoveAt(key, rows)),
        3 => (key(), key()).prop_map(|(key, to)| Step::Rename(key, to)),
        2 => key().prop_map(Step::Nest),
        2 => (key(), rows()).prop_map(|(key, rows)| Step::NestAt(key, rows)),
        4 => (key(), any::<bool>(), rows(), value())
            .prop_map(|(key, json, rows, value)| Step::Set(key, json, rows, value)),
        3 => (key(), any::<bool>(), value())
            .prop_map(|(key, json, value)| Step::SetAll(key, json, value)),
        6 => (key(), path(), any::<bool>(), rows(), value())
            .prop_map(|(key, path, json, rows, value)| Step::JsonSet(key, path, json, rows, value)),
        4 => (key(), path(), rows()).prop_map(|(key, path, rows)| Step::JsonRemove(key, path, rows)),
        2 => (label(), rows()).prop_map(|(label, rows)| Step::Route(label, rows)),
        2 => (0..ROWS, prop::option::of(label()), prop::collection::vec((select(vec!["a", "k"]), value()), 0..3))
            .prop_map(|(like, label, fields)| Step::Emit(like, label, fields)),
        1 => (rows(), select(vec!["no", "never"])).prop_map(|(rows, reason)| Step::Reject(rows, reason)),
    ]
}

/// Contents of the rows: all share a topic and a time.
fn contents() -> [Vec<(&'static str, &'static str)>; ROWS as usize] {
    [
        vec![("a", "1"), ("b", "2"), ("j", r#"{"m":{"n":[1, 2]} , "é":null}"#)],
        vec![("j", "plain"), ("b", "[0,{\"m\" : \"x\"} ]")],
        vec![],
    ]
}

/// What is comparable: (label, time, fields with whether they are JSON) of each row that is sent.
type Sent = Vec<(Option<String>, u64, Vec<(String, String, bool)>)>;

fn by_stand_in(steps: &[Step]) -> (Sent, usize, usize, usize) {
    let logs = contents().map(|fields| {
        let time = TIME.to_string();
        let metadata = [("__time__", time.as_str()), ("__topic__", "t"), ("__source__", "s")];
        Log::flattened(metadata.into_iter().chain(fields))
    });
    let steps = steps.to_vec();
    let plugin = move |batch: &mut GuestBatch<'_>| {
        steps.iter().for_each(|step| step.in_guest(batch));
    };
    let outcome = testing::run(plugin, "", logs);
    let sent = outcome.sent.iter().map(|sent| {
        let fields = sent.log.fields().iter();
        let fields =
            fields.map(|f| (f.name.clone(), f.value.clone(), f.format == GuestFormat::Json));
        (sent.label.clone(), sent.log.time(), fields.collect())
    });
    (sent.collect(), outcome.dropped.len(), outcome.rejected.len(), outcome.not_json)
}

fn by_forwarder(steps: &[Step]) -> (Sent, usize, usize, usize) {
    let logs = contents().map(|fields| encode::Log {
        time: TIME as u32,
        nanos: None,
        contents: fields.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect(),
    });
    let group = LogGroup { topic: "t".into(), source: "s".into(), tags: vec![], logs: logs.into() };
    let block = Bytes::from(log_group_list([group.encode().as_slice()]));
    let mut batch = Batch::decode(block, Origin::default(), &Default::default()).unwrap();
    let slice = batch.slices(SliceLimits::default(), |_| true).remove(0);
    let mut edits = Edits::new(slice.len());
    steps.iter().for_each(|step| step.in_host(&mut edits));
    let applied = batch.apply(&slice, &edits).unwrap();
    batch.end_pass();
    let sent = batch.rows().map(|row| {
        let fields = row.cells();
        let fields =
            fields.map(|c| (c.key.to_owned(), c.value.to_owned(), c.format == Format::Json));
        (row.label().map(str::to_owned), row.time().as_nanos(), fields.collect())
    });
    (sent.collect(), applied.dropped, applied.rejected.len(), applied.not_json)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn the_stand_in_edits_as_the_forwarder_does(steps in prop::collection::vec(step(), 0..10)) {
        prop_assert_eq!(by_stand_in(&steps), by_forwarder(&steps));
    }
}
