//! Flattening, compared with what the official SDK's consumers see.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use base64::Engine as _;
use bytes::Bytes;
use forwarder_record::encode::{Log, LogGroup, log_group_list};
use forwarder_record::{Batch, DecodeError, Limits, Origin};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    protobuf_base64: String,
    forwarder_output: Option<Vec<serde_json::Map<String, serde_json::Value>>>,
}

/// A log as ordered pairs.
type Pairs = Vec<(String, String)>;

fn vectors() -> Vec<Case> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/vectors/flatten.json");
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str::<Vectors>(&text).unwrap().cases
}

fn block(case: &Case) -> Bytes {
    base64::engine::general_purpose::STANDARD.decode(&case.protobuf_base64).unwrap().into()
}

fn flatten(block: Bytes) -> Result<(Vec<Pairs>, Vec<Pairs>), DecodeError> {
    let batch = Batch::decode(block, Origin::default(), &Limits::default())?;
    let cells = batch
        .rows()
        .map(|row| row.cells().map(|cell| (cell.key.to_owned(), cell.value.to_owned())).collect());
    let originals = batch.rows().map(|row| row.original());
    Ok((cells.collect(), originals.collect()))
}

#[test]
fn every_case_flattens_as_agreed() {
    let cases = vectors();
    assert_eq!(cases.len(), 33);
    for case in cases {
        let flattened = flatten(block(&case));
        let Some(expected) = &case.forwarder_output else {
            assert_eq!(case.id, "truncated");
            assert!(flattened.is_err(), "a truncated block must not be read");
            continue;
        };
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let expected: Vec<Pairs> = expected
            .iter()
            .map(|log| log.iter().map(|(key, value)| (key.clone(), text(value))).collect())
            .collect();
        let (cells, originals) = flattened.unwrap();
        assert_eq!(cells, expected, "{}", case.id);
        assert_eq!(originals, expected, "{}: read again from the block", case.id);
    }
}

/// A group with so many tags, and so many logs with the given keys.
fn group_of(tags: usize, logs: usize, keys: &[&str]) -> Bytes {
    let pair = |key: &str| (key.to_owned(), "v".to_owned());
    let contents = keys.iter().map(|key| pair(key)).collect();
    let log = Log { time: 1, nanos: Some(7), contents };
    let tags = (0..tags).map(|n| pair(&n.to_string())).collect();
    let group =
        LogGroup { topic: "topic".into(), source: "source".into(), tags, logs: vec![log; logs] };
    log_group_list([group.encode().as_slice()]).into()
}

/// What there was too much of, if it was too much.
fn excess(block: Bytes, limits: &Limits) -> Option<&'static str> {
    match Batch::decode(block, Origin::default(), limits) {
        Ok(_) => None,
        Err(DecodeError::TooLarge { what, .. }) => Some(what),
        Err(error) => unreachable!("{error}"),
    }
}

#[test]
fn of_equal_keys_the_last_value_stays_at_the_first_place() {
    let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let contents =
        [("a", "1"), ("__time_ns_part__", "5"), ("b", "2"), ("a", "3"), ("__time__", "9")];
    let repeated = Log { time: 1, nanos: Some(7), contents: contents.iter().map(pair).collect() };
    let group = LogGroup { logs: vec![repeated; 2], ..LogGroup::default() };
    let (logs, _) = flatten(log_group_list([group.encode().as_slice()]).into()).unwrap();
    let expected = [
        ("__time__", "9"),
        ("__topic__", ""),
        ("__source__", ""),
        ("__time_ns_part__", "5"),
        ("a", "3"),
        ("b", "2"),
    ];
    let expected: Pairs = expected.iter().map(pair).collect();
    assert_eq!(logs, [expected.clone(), expected]);
}

#[test]
fn fields_and_tags_are_limited_repeated_keys_count_once() {
    // Besides tags and contents: time, topic, source, nanoseconds.
    let limits = Limits { max_fields: 8, ..Limits::default() };
    assert_eq!(excess(group_of(2, 2, &["a", "b", "a", "a", "b"]), &limits), None);
    assert_eq!(excess(group_of(2, 2, &["a", "b", "c"]), &limits), Some("fields in one log"));
    assert_eq!(excess(group_of(2, 2, &["a", "b", "c", "d"]), &limits), Some("fields in one log"));
    assert_eq!(excess(group_of(9, 0, &[]), &limits), Some("tags in a log group"));
    assert_eq!(excess(group_of(8, 0, &[]), &limits), None);
}

#[test]
fn what_logs_share_is_limited_as_often_as_it_is_repeated() {
    let per_log = "__topic__topic__source__source__tag__:0v".len();
    let limits = Limits { max_shared_bytes: 3 * per_log, ..Limits::default() };
    assert_eq!(excess(group_of(1, 3, &["a"]), &limits), None);
    let too_much = Some("bytes of topics, sources and tags, repeated in each log");
    assert_eq!(excess(group_of(1, 4, &["a"]), &limits), too_much);
}
