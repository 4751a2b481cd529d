//! What holds for all logs and all bytes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use forwarder_record::encode::{Log, LogGroup, log_group_list};
use forwarder_record::{
    Batch, BlockReader, Edits, Format, Limits, Origin, SliceLimits, Values, json,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-e]", "[a-zA-Z0-9_.-]{0,12}", any::<String>()]
}

fn log() -> impl Strategy<Value = Log> {
    let contents = vec((name(), any::<String>()), 0..8);
    (any::<u32>(), proptest::option::of(0u32..1_000_000_000), contents)
        .prop_map(|(time, nanos, contents)| Log { time, nanos, contents })
}

fn group() -> impl Strategy<Value = LogGroup> {
    let tags = vec((name(), any::<String>()), 0..3);
    (any::<String>(), any::<String>(), tags, vec(log(), 0..6))
        .prop_map(|(topic, source, tags, logs)| LogGroup { topic, source, tags, logs })
}

fn decode(groups: &[LogGroup]) -> Batch {
    let encoded: Vec<Vec<u8>> = groups.iter().map(LogGroup::encode).collect();
    let block = log_group_list(encoded.iter().map(Vec::as_slice));
    Batch::decode(Bytes::from(block), Origin::default(), &Limits::default()).unwrap()
}

/// Flattening once more, the slow and obvious way.
fn flatten(group: &LogGroup, log: &Log) -> Vec<(String, String)> {
    let mut row: Vec<(String, String)> = Vec::new();
    let mut put = |key: String, value: String| match row.iter_mut().find(|cell| cell.0 == key) {
        Some(cell) => cell.1 = value,
        None => row.push((key, value)),
    };
    put("__time__".into(), log.time.to_string());
    put("__topic__".into(), group.topic.clone());
    put("__source__".into(), group.source.clone());
    if let Some(nanos) = log.nanos.filter(|&nanos| nanos != 0) {
        put("__time_ns_part__".into(), nanos.to_string());
    }
    group.tags.iter().for_each(|(key, value)| put(format!("__tag__:{key}"), value.clone()));
    log.contents.iter().for_each(|(key, value)| put(key.clone(), value.clone()));
    row
}

/// The live rows as plain data.
fn rows(batch: &Batch) -> Vec<Vec<(String, String, Format)>> {
    let cells = |row: forwarder_record::Row<'_>| {
        row.cells().map(|c| (c.key.to_owned(), c.value.to_owned(), c.format)).collect()
    };
    batch.rows().map(cells).collect()
}

/// An edit whose effect on a row does not depend on the rows around it.
#[derive(Debug, Clone)]
enum Ask {
    DropWhere(String),
    Keep(Vec<String>),
    Remove(Vec<String>),
    Rename(String, String),
    Nest(String),
    SetAll(String, String),
    SetWhere(String, String),
    Emit(String),
}

fn ask() -> impl Strategy<Value = Ask> {
    let key = || "[a-e]".prop_map(|key: String| key);
    prop_oneof![
        key().prop_map(Ask::DropWhere),
        vec(key(), 1..4).prop_map(Ask::Keep),
        vec(key(), 1..3).prop_map(Ask::Remove),
        (key(), key()).prop_map(|(key, to)| Ask::Rename(key, to)),
        key().prop_map(Ask::Nest),
        (key(), any::<String>()).prop_map(|(key, value)| Ask::SetAll(key, value)),
        (key(), key()).prop_map(|(key, other)| Ask::SetWhere(key, other)),
        key().prop_map(Ask::Emit),
    ]
}

/// Runs the asks over the batch in slices of at most `max_rows`.
fn run(batch: &mut Batch, asks: &[Ask], max_rows: usize) {
    let limits = SliceLimits { max_rows, ..SliceLimits::default() };
    for slice in batch.slices(limits, |_| true) {
        let mut edits = Edits::new(slice.len());
        for ask in asks {
            let having = |key: &str| -> Vec<u32> {
                let column = batch.column(&slice, key).enumerate();
                column.filter(|(_, value)| value.is_some()).map(|(row, _)| row as u32).collect()
            };
            match ask {
                Ask::DropWhere(key) => edits.drop_rows(having(key)).unwrap(),
                Ask::Keep(keys) => edits.keep(keys.clone()),
                Ask::Remove(keys) => edits.remove(keys.clone()),
                Ask::Rename(key, to) => edits.rename(key.clone(), to.clone()),
                Ask::Nest(key) => edits.nest(key.clone()),
                Ask::SetAll(key, value) => {
                    edits.set_all(key.clone(), Format::Text, value.clone());
                }
                Ask::SetWhere(key, other) => {
                    let rows = having(other);
                    let column: Vec<_> = batch.column(&slice, other).flatten().collect();
                    let values = Values::from_iter(column);
                    edits.set(key.clone(), Format::Text, rows, values).unwrap();
                }
                Ask::Emit(key) => having(key).into_iter().for_each(|row| {
                    edits.emit(row, None, vec![(key.clone(), "new".into())]).unwrap();
                }),
            }
        }
        batch.apply(&slice, &edits).unwrap();
    }
    batch.end_pass();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn decoding_never_panics_and_never_claims_too_much(bytes in vec(any::<u8>(), 0..400)) {
        let limits = Limits { max_cells: 1000, ..Limits::default() };
        if let Ok(batch) = Batch::decode(Bytes::from(bytes), Origin::default(), &limits) {
            prop_assert!(batch.held_bytes() < 1 << 20);
            rows(&batch);
        }
    }

    #[test]
    fn a_damaged_block_is_read_or_refused_but_never_panics(
        groups in vec(group(), 1..4), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let encoded: Vec<Vec<u8>> = groups.iter().map(LogGroup::encode).collect();
        let mut block = log_group_list(encoded.iter().map(Vec::as_slice));
        let at = at.index(block.len());
        block[at] = byte;
        if let Ok(batch) = Batch::decode(Bytes::from(block), Origin::default(), &Limits::default()) {
            rows(&batch);
        }
    }

    #[test]
    fn what_is_encoded_decodes_to_its_flattened_form(groups in vec(group(), 0..5)) {
        let batch = decode(&groups);
        let expected: Vec<_> =
            groups.iter().flat_map(|group| group.logs.iter().map(|log| flatten(group, log))).collect();
        let cells: Vec<Vec<_>> = batch.rows()
            .map(|row| row.cells().map(|c| (c.key.to_owned(), c.value.to_owned())).collect())
            .collect();
        let originals: Vec<_> = batch.rows().map(|row| row.original()).collect();
        prop_assert_eq!(&cells, &expected);
        prop_assert_eq!(&originals, &expected);
    }

    #[test]
    fn a_block_in_parts_has_the_same_rows_with_the_same_ids(
        groups in vec(group(), 0..5), room in 0usize..4_000,
    ) {
        let encoded: Vec<Vec<u8>> = groups.iter().map(LogGroup::encode).collect();
        let block = Bytes::from(log_group_list(encoded.iter().map(Vec::as_slice)));
        let origin = Origin { first_cursor: Some(7), ..Origin::default() };
        let whole = Batch::decode(block.clone(), origin.clone(), &Limits::default()).unwrap();
        let ids = |batch: &Batch| batch.rows().map(|row| row.id().unwrap()).collect::<Vec<_>>();

        let mut reader = BlockReader::new(block, origin, Limits::default());
        let (mut found, mut found_ids) = (Vec::new(), Vec::new());
        loop {
            let again = rows(&reader.read(usize::MAX).unwrap()).len();
            let part = reader.read(room).unwrap();
            prop_assert!(part.pulled_rows() <= again, "it reads from the same place");
            found.extend(rows(&part));
            found_ids.extend(ids(&part));
            if !reader.advance() {
                break;
            }
            prop_assert!(part.pulled_rows() > 0);
        }
        prop_assert_eq!(found, rows(&whole));
        prop_assert_eq!(found_ids, ids(&whole));
    }

    #[test]
    fn nothing_is_read_of_a_block_that_cannot_be_read_whole(
        groups in vec(group(), 1..4), room in 0usize..2_000,
    ) {
        let encoded: Vec<Vec<u8>> = groups.iter().map(LogGroup::encode).collect();
        let mut block = log_group_list(encoded.iter().map(Vec::as_slice));
        block.extend_from_slice(b"\x0a\x7f");
        let mut reader = BlockReader::new(Bytes::from(block), Origin::default(), Limits::default());
        prop_assert!(reader.read(room).is_err());
    }

    #[test]
    fn edits_give_the_same_rows_in_any_slicing(
        groups in vec(group(), 0..4), asks in vec(ask(), 1..6), max_rows in 1usize..6,
    ) {
        let (mut whole, mut sliced) = (decode(&groups), decode(&groups));
        run(&mut whole, &asks, usize::MAX);
        run(&mut sliced, &asks, max_rows);
        prop_assert_eq!(rows(&whole), rows(&sliced));
    }

    #[test]
    fn a_member_that_is_set_is_found_and_one_that_is_removed_is_gone(
        members in vec(("[a-d]{1,2}", any::<String>()), 0..5), key in "[a-d]{1,2}", value in any::<String>(),
    ) {
        let mut object = serde_json::Map::new();
        members.into_iter().for_each(|(key, value)| drop(object.insert(key, value.into())));
        let text = serde_json::to_string(&object).unwrap();
        let mut new = String::new();
        json::push_string(&mut new, &value);

        let set = json::set(&text, &[&key], &new).unwrap().unwrap();
        prop_assert_eq!(json::find(&set, &[&key]).map(json::text_of), Some(value.clone().into()));
        object.insert(key.clone(), value.into());
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&set).unwrap(), serde_json::Value::from(object.clone()));

        let removed = json::remove(&set, &[&key]).unwrap().unwrap();
        object.shift_remove(&key);
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&removed).unwrap(), serde_json::Value::from(object));
    }

    #[test]
    fn looking_into_any_text_never_panics(text in any::<String>(), path in vec("[a-c0-2]", 0..4)) {
        let found = json::find(&text, &path);
        if json::is_valid(&text) {
            prop_assert!(found.is_none_or(json::is_valid));
            let _ = (json::set(&text, &path, "1"), json::remove(&text, &path));
        }
    }
}
