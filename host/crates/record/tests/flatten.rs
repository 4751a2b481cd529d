//! Flattening, compared with what the official SDK's consumers see.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use base64::Engine as _;
use bytes::Bytes;
use forwarder_record::{Batch, Limits, Origin};
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

fn flatten(block: Bytes) -> Result<(Vec<Pairs>, Vec<Pairs>), forwarder_record::DecodeError> {
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
        assert_eq!(originals, expected, "{}: told again from the block", case.id);
    }
}
