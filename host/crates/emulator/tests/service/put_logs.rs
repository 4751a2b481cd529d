//! PutLogs: three paths, two packings, and the limits of the service.

use crate::wire::{Answer, Connection, group};
use forwarder_emulator::state::ShardId;
use forwarder_emulator::{Emulator, Limits};
use forwarder_record::encode::{Log, LogGroup};

const TYPE: &str = "Content-Type: application/x-protobuf\r\n";

async fn emulator(limits: Limits) -> (Emulator, Connection) {
    let builder = Emulator::builder().logstore("p", "store", 2).limits(limits);
    let emulator = builder.start().await.unwrap();
    let connection = Connection::open(emulator.address()).await;
    (emulator, connection)
}

fn any_age() -> Limits {
    Limits { max_log_age: None, ..Limits::default() }
}

async fn put(connection: &mut Connection, path: &str, headers: &str, body: &[u8]) -> Answer {
    let head = format!("POST /logstores/store{path} HTTP/1.1\r\nHost: p.sls.test\r\n{headers}");
    connection.send(&head, body).await.unwrap()
}

async fn put_plain(connection: &mut Connection, path: &str, body: &[u8]) -> Answer {
    put(connection, path, &format!("{TYPE}x-log-bodyrawsize: {}\r\n", body.len()), body).await
}

fn stored(emulator: &Emulator, shard: ShardId) -> Vec<String> {
    emulator.inspect(|service| {
        let shard = service.logstore("p", "store").unwrap().shard(shard).unwrap();
        shard.groups().flat_map(|group| group.values_of("text").collect::<Vec<_>>()).collect()
    })
}

#[tokio::test]
async fn writes_are_balanced_or_routed_by_key() {
    let (emulator, mut connection) = emulator(any_age()).await;
    let high = format!("/shards/route?key={}", "f".repeat(32));
    for (path, text) in [("/shards/lb", "a"), ("", "b"), (high.as_str(), "c"), ("/shards/lb", "d")]
    {
        let answer = put_plain(&mut connection, path, group(&[text]).encoded()).await;
        assert_eq!((answer.status, answer.number("content-length")), (200, 0), "{path}");
    }
    assert_eq!(stored(&emulator, 0), ["a", "d"]);
    assert_eq!(stored(&emulator, 1), ["b", "c"]);
}

#[tokio::test]
async fn a_packed_body_is_unpacked_and_stored_as_given() {
    let (emulator, mut connection) = emulator(any_age()).await;
    let raw = b"\x0a\x0a\x08\x07\x12\x06\x0a\x01k\x12\x01\xff\x7a\x01?";
    let packed = forwarder_sls::wire::compress_lz4(raw);
    let headers = format!("{TYPE}x-log-bodyrawsize: {}\r\nx-log-compresstype: lz4\r\n", raw.len());
    assert_eq!(put(&mut connection, "/shards/lb", &headers, &packed).await.status, 200);
    let kept = emulator.inspect(|service| {
        let shard = service.logstore("p", "store").unwrap().shard(0).unwrap();
        shard.groups().next().unwrap().encoded().to_vec()
    });
    assert_eq!(kept, raw);
}

#[tokio::test]
async fn what_is_malformed_or_too_large_is_refused_with_the_services_codes() {
    let limits = Limits {
        max_put_bytes: 1000,
        max_put_logs: 2,
        max_log_bytes: 100,
        max_key_bytes: 8,
        ..any_age()
    };
    let (_emulator, mut connection) = emulator(limits).await;
    let small = group(&["x"]).encoded().to_vec();
    let size = format!("x-log-bodyrawsize: {}\r\n", small.len());
    let packed = format!("{TYPE}{size}x-log-compresstype: ");
    for (headers, status, code) in [
        (size.clone(), 415, "InvalidContentType"),
        (TYPE.to_owned(), 400, "MissingBodyRawSize"),
        (format!("{TYPE}x-log-bodyrawsize: many\r\n"), 400, "InvalidBodyRawSize"),
        (format!("{TYPE}x-log-bodyrawsize: 1001\r\n"), 400, "PostBodyTooLarge"),
        (format!("{packed}snappy\r\n"), 400, "InvalidCompressType"),
        (format!("{packed}lz4\r\n"), 400, "PostBodyUncompressError"),
    ] {
        let answer = put(&mut connection, "/shards/lb", &headers, &small).await;
        assert_eq!(answer.error(), (status, code.to_owned()), "{headers}");
    }
    let long_key = LogGroup {
        logs: vec![Log {
            contents: vec![("too-long-a-key".into(), String::new())],
            ..Log::default()
        }],
        ..LogGroup::default()
    };
    for (body, code) in [
        (b"\x0a\x7f".to_vec(), "PostBodyInvalid"),
        (group(&["1", "2", "3"]).encoded().to_vec(), "PostBodyTooLarge"),
        (group(&[&"x".repeat(200)]).encoded().to_vec(), "PostBodyTooLarge"),
        (long_key.encode(), "InvalidKey"),
    ] {
        let answer = put_plain(&mut connection, "/shards/lb", &body).await;
        assert_eq!(answer.error(), (400, code.to_owned()));
    }
    let answer = put_plain(&mut connection, "/shards/route?key=12", &small).await;
    assert_eq!(answer.error(), (400, "ParameterInvalid".into()));
}

#[tokio::test]
async fn a_log_must_be_neither_a_week_old_nor_from_the_future() {
    let (emulator, mut connection) = emulator(Limits::default()).await;
    let now = u32::try_from(emulator.clock().now().seconds()).unwrap();
    for (time, accepted) in [(now, true), (now - 8 * 86_400, false), (now + 3_600, false)] {
        let logs = vec![Log { time, ..Log::default() }];
        let body = LogGroup { logs, ..LogGroup::default() }.encode();
        let answer = put_plain(&mut connection, "/shards/lb", &body).await;
        assert_eq!(answer.status == 200, accepted, "{time}");
        assert!(accepted || answer.error().1 == "PostBodyInvalid");
    }
}
