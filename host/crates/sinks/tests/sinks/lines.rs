//! JSON lines.

use std::path::Path;

use forwarder_connector::{Answer, Body, Sink as _, Verdict};
use forwarder_record::Encoded;
use forwarder_sinks::file::{self, FileSink};
use serde_json::{Value, json};

use crate::batches::{batch, edit, rows, texts};

async fn append(path: &Path, body: &Body) {
    let answer = FileSink::new("archive", 1_000_000, path).deliver(body).await;
    assert!(matches!(answer, Answer::Decided(Verdict::Delivered)), "{answer:?}");
}

#[tokio::test]
async fn a_row_is_one_line_with_its_time_whatever_it_holds() {
    let mut batch = batch(&[(7, 0, &[("event", "{\r\n\"a\": \"\\n\"\n}"), ("k", "l1\nl2")])]);
    edit(&mut batch, |edits| edits.nest("event".into()));
    let mut out = Encoded::default();
    let notes = file::encode(&batch, &rows(&batch), &mut out);
    assert_eq!(notes, forwarder_sinks::Notes::default());
    let line = texts(&out).remove(0);
    assert_eq!(line.find(['\n', '\r']), Some(line.len() - 1));
    let expected = json!({
        "__time__": "7", "__topic__": "t", "__source__": "10.0.0.1",
        "event": {"a": "\n"}, "k": "l1\nl2",
    });
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), expected);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive.jsonl");
    let (bytes, ..) = out.into_parts();
    let body = Body::plain(vec![bytes.into()], 1);
    append(&path, &body).await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), line);
}

#[tokio::test]
async fn after_a_crash_the_torn_line_stays_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive.jsonl");
    std::fs::write(&path, "{\"a\":1}\n{\"a\":").unwrap();
    let body = Body::plain(vec!["{\"a\":2}\n".into()], 1);
    for _body in 0..2 {
        append(&path, &body).await;
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, "{\"a\":1}\n{\"a\":\n{\"a\":2}\n{\"a\":2}\n");
}
