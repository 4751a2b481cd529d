//! Log groups from JSON lines: one flattened log per line, as the official Python consumer prints them.
//!
//! `__time__`, `__time_ns_part__`, `__topic__`, `__source__` and `__tag__:…` go back to where they came
//! from, everything else becomes a field, in the order of the line. Consecutive logs with the same
//! topic, source and tags share a group.

use std::io::{self, BufRead};
use std::path::PathBuf;

use forwarder_record::encode::{Log, LogGroup};
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::grouping::{GroupSize, Grouping};
use crate::log_group::EncodedGroup;

/// A line that is not a log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The input ended badly.
    #[error("cannot read line {line}")]
    Read {
        /// Counted from 1.
        line: usize,
        /// What the system said.
        source: io::Error,
    },
    /// Not a JSON object.
    #[error("line {line} is not a JSON object; write one flattened log per line")]
    NotAnObject {
        /// Counted from 1.
        line: usize,
        /// What the parser said.
        source: serde_json::Error,
    },
}

/// Data that cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file cannot be opened.
    #[error("cannot open {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds something else than logs.
    #[error("cannot load {path}")]
    Load {
        /// The file.
        path: PathBuf,
        /// Which line, and why.
        source: LoadError,
    },
}

/// Reads all lines; empty ones are skipped. A log without `__time__` gets `now`.
///
/// # Errors
/// The first line that cannot be read or is not an object.
pub fn json_lines(
    input: impl BufRead,
    size: GroupSize,
    now: Timestamp,
) -> Result<Vec<EncodedGroup>, LoadError> {
    let mut groups = Vec::new();
    let mut grouping = Grouping::new(size);
    for (line, text) in (1..).zip(input.lines()) {
        let text = text.map_err(|source| LoadError::Read { line, source })?;
        if text.trim().is_empty() {
            continue;
        }
        let fields = serde_json::from_str(&text);
        let fields = fields.map_err(|source| LoadError::NotAnObject { line, source })?;
        let (head, log) = unflatten(fields, now);
        groups.extend(grouping.push(&head, log));
    }
    groups.extend(grouping.close());
    Ok(groups)
}

fn unflatten(fields: Map<String, Value>, now: Timestamp) -> (LogGroup, Log) {
    let mut head = LogGroup::default();
    let mut log = Log { time: u32::try_from(now.seconds()).unwrap_or(u32::MAX), ..Log::default() };
    for (key, value) in fields {
        let value = text_of(value);
        match (key.as_str(), key.strip_prefix("__tag__:")) {
            ("__time__", _) => log.time = value.parse().unwrap_or(log.time),
            ("__time_ns_part__", _) => log.nanos = value.parse().ok(),
            ("__topic__", _) => head.topic = value,
            ("__source__", _) => head.source = value,
            (_, Some(tag)) => head.tags.push((tag.to_owned(), value)),
            _ => log.contents.push((key, value)),
        }
    }
    (head, log)
}

/// Values of logs are text. What is not text in the line is taken as it is written, except that newer
/// versions of the official consumer print the nanoseconds as a list of one.
fn text_of(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Array(mut items) if items.len() == 1 => items.pop().map(text_of).unwrap_or_default(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_767_355_200);

    fn load(text: &str) -> Result<Vec<EncodedGroup>, LoadError> {
        json_lines(text.as_bytes(), GroupSize { logs: 2, bytes: 1000 }, NOW)
    }

    #[test]
    fn logs_that_share_their_metadata_share_a_group() {
        let groups = load(
            r#"{"__time__":"7","__topic__":"a","__tag__:host":"h","k":"1"}
               {"__topic__":"a","__tag__:host":"h","k":"2"}
               {"__topic__":"a","__tag__:host":"h","k":"3"}

               {"__topic__":"b","k":"4"}"#,
        );
        let groups = groups.unwrap();
        let values = |group: &EncodedGroup| group.values_of("k").collect::<Vec<_>>();
        assert_eq!(
            groups.iter().map(values).collect::<Vec<_>>(),
            [vec!["1", "2"], vec!["3"], vec!["4"]]
        );
        let times: Vec<_> = groups[0].logs().map(|log| log.time()).collect();
        assert_eq!(times, [7, 1_767_355_200]);
    }

    #[test]
    fn the_shared_samples_come_back_as_they_were_flattened() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/vectors/samples.jsonl");
        let text = std::fs::read_to_string(path).unwrap();
        let groups = load(&text).unwrap();
        let block: Vec<u8> = groups.iter().flat_map(|group| group.entry().to_vec()).collect();
        let limits = forwarder_record::Limits::default();
        let batch =
            forwarder_record::Batch::decode(block.into(), Default::default(), &limits).unwrap();
        let mut lines = text.lines();
        for row in batch.rows() {
            let written: Map<String, Value> = serde_json::from_str(lines.next().unwrap()).unwrap();
            let read = row.cells().map(|cell| (cell.key.to_owned(), Value::from(cell.value)));
            assert_eq!(read.collect::<Map<_, _>>(), written);
        }
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn a_line_that_is_not_an_object_is_named() {
        let error = load("{\"k\":\"1\"}\n[1]").unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 2 is not a JSON object; write one flattened log per line"
        );
    }
}
