//! The pipeline's dead letters as JSON lines in a file.
//!
//! A line holds what a person needs to understand the refusal and what a replay needs to try again: who
//! refused and why, where the log came from, its typed metadata, and its fields. Fields that a plugin
//! had marked as JSON are listed in `json`, since their text alone does not show it.

use forwarder_connector::{BoxError, DeadLetter, DeadLetters, RefusedBy};
use forwarder_record::Format;
use forwarder_record::json::push_verbatim;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};

use crate::dead_letter::DeadLetterFile;

/// Writes letters to a file.
pub struct FileDeadLetters {
    file: DeadLetterFile,
}

impl FileDeadLetters {
    /// Dead letters in this file.
    pub fn new(file: DeadLetterFile) -> Self {
        Self { file }
    }
}

impl DeadLetters for FileDeadLetters {
    fn write<'a>(&'a self, letters: &'a [DeadLetter]) -> BoxFuture<'a, Result<(), BoxError>> {
        let written = jiff::Timestamp::now();
        let mut lines = Vec::new();
        for letter in letters {
            push_verbatim(&mut lines, &line(letter, written).to_string());
            lines.push(b'\n');
        }
        Box::pin(async move { Ok(self.file.append(lines).await?) })
    }
}

fn line(letter: &DeadLetter, written: jiff::Timestamp) -> Value {
    let (by, name) = match &letter.refused_by {
        RefusedBy::Plugin(name) => ("plugin", name),
        RefusedBy::Sink(name) => ("sink", name),
    };
    let fields: Map<String, Value> = letter
        .fields
        .iter()
        .map(|(key, value, _)| (key.clone(), Value::from(value.as_str())))
        .collect();
    let json: Vec<&str> = letter
        .fields
        .iter()
        .filter(|(.., format)| *format == Format::Json)
        .map(|(key, ..)| key.as_str())
        .collect();
    json!({
        "written": written.to_string(),
        "refused_by": { by: **name },
        "reason": letter.reason,
        "id": letter.id.as_ref().map(|id| id.as_str()),
        "source": *letter.origin.source,
        "project": *letter.origin.project,
        "logstore": *letter.origin.logstore,
        "shard": letter.origin.shard,
        "time": letter.time.seconds,
        "nanos": letter.time.nanos,
        "topic": letter.topic,
        "log_source": letter.source,
        "fields": fields,
        "json": json,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use forwarder_record::{Origin, Time};

    use super::*;

    #[test]
    fn a_letter_is_one_line_with_everything_a_replay_needs() {
        let letter = DeadLetter {
            refused_by: RefusedBy::Sink(Arc::from("splunk")),
            reason: "Event field cannot be blank".to_owned(),
            id: None,
            origin: Origin {
                source: "audit".into(),
                project: "p".into(),
                logstore: "ls".into(),
                shard: 3,
                first_cursor: Some(7),
            },
            time: Time { seconds: 1_767_323_045, nanos: 5 },
            topic: "actiontrail_audit_event".to_owned(),
            source: "actiontrail_internal".to_owned(),
            fields: vec![
                ("event".to_owned(), "{\"a\":\n1}".to_owned(), Format::Json),
                ("text".to_owned(), "x".to_owned(), Format::Text),
            ],
        };
        let text = line(&letter, jiff::Timestamp::UNIX_EPOCH).to_string();
        assert!(!text.contains('\n'));
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["refused_by"]["sink"], "splunk");
        assert_eq!(read["fields"]["event"], "{\"a\":\n1}");
        assert_eq!(read["json"], json!(["event"]));
        assert_eq!((&read["shard"], &read["time"]), (&json!(3), &json!(1_767_323_045)));
    }
}
