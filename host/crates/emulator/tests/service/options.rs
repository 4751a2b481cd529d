//! What a command line gets: files and samples over several shards.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::Instant;

use forwarder_emulator::samples::Samples;
use forwarder_emulator::{Api, Options, StartError};

use crate::wire::Connection;

#[tokio::test]
async fn files_and_samples_fill_the_shards() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for number in 0..500 {
        writeln!(file, r#"{{"__topic__":"t","line":"{number}"}}"#).unwrap();
    }
    let load = vec![file.path().to_owned()];
    let faults = vec!["list-shards:503".parse().unwrap()];
    let options = Options { load, samples: 20_000, shards: 3, faults, ..Options::default() };
    let emulator = options.start().await.unwrap();

    let lines: BTreeSet<_> =
        emulator.values("demo", "audit", "line").unwrap().into_iter().collect();
    assert_eq!(lines.len(), 500);
    let ids: BTreeSet<_> = emulator.values("demo", "audit", "seq").unwrap().into_iter().collect();
    assert_eq!(ids, (0..20_000).map(Samples::id).collect());
    let filled = emulator.inspect(|service| {
        let shards = service.logstore("demo", "audit").unwrap().shards();
        shards.filter(|shard| shard.groups().count() > 20).count()
    });
    assert_eq!(filled, 3);

    let mut connection = Connection::open(emulator.address()).await;
    let head = "GET /logstores/audit/shards HTTP/1.1\r\nHost: demo.test\r\n";
    assert_eq!(connection.send(head, b"").await.unwrap().status, 503);
    assert_eq!(connection.send(head, b"").await.unwrap().status, 200);
    assert_eq!(emulator.traffic().requests[&Api::ListShards], 2);
}

#[tokio::test]
async fn a_file_that_cannot_be_loaded_is_named() {
    let options = Options { load: vec!["/nonexistent.jsonl".into()], ..Options::default() };
    let error = options.start().await.unwrap_err();
    assert!(matches!(error, StartError::Data(_)));
    assert_eq!(error.to_string(), "cannot open /nonexistent.jsonl");
}

#[tokio::test]
async fn the_demo_has_its_logs_within_seconds_and_a_benchmark_its_blocks() {
    let before = Instant::now();
    let emulator = Options { samples: 200_000, ..Options::default() }.start().await.unwrap();
    emulator.prepack("demo", "audit", 1000).await.unwrap();
    let spent = before.elapsed();
    assert!(spent.as_secs() < 60, "{spent:?} for 200,000 logs");
}
