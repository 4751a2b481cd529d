//! What the official clients rely on, point by point, read off the wire.

use crate::wire::{Answer, Connection, group};
use forwarder_emulator::state::consumer_group::GroupOptions;
use forwarder_emulator::state::logstore::Placement;
use forwarder_emulator::{Emulator, Limits};
use serde_json::json;

const PULL: &str = "/logstores/store/shards/0?type=log&count=1000&cursor=";
const GROUP: &str = "/logstores/store/consumergroups/grp";

/// One shard with three groups of one log each, one consumer group, one connection.
async fn emulator() -> (Emulator, Connection) {
    let limits = Limits { max_log_age: None, ..Limits::default() };
    let builder = Emulator::builder().logstore("p", "store", 1).limits(limits);
    let emulator = builder.start().await.unwrap();
    let groups = ["a", "b", "c"].map(|text| group(&[text]));
    emulator.put("p", "store", Placement::Shard(0), groups).unwrap();
    let options = GroupOptions { timeout: std::time::Duration::from_secs(60), order: false };
    emulator.change("p", "store", |logstore| logstore.create_group("grp", options)).unwrap();
    let connection = Connection::open(emulator.address()).await;
    (emulator, connection)
}

async fn cursor(connection: &mut Connection, from: &str) -> String {
    let target = format!("/logstores/store/shards/0?type=cursor&from={from}");
    connection.get(&target).await.json()["cursor"].as_str().unwrap().to_owned()
}

async fn pull(connection: &mut Connection, cursor: &str, encoding: &str) -> Answer {
    let head = format!(
        "GET {PULL}{cursor} HTTP/1.1\r\nHost: p.sls.test\r\nAccept-Encoding: {encoding}\r\n"
    );
    connection.send(&head, b"").await.unwrap()
}

#[tokio::test]
async fn connections_are_kept_alive_and_several_are_served_at_once() {
    let (emulator, mut first) = emulator().await;
    let mut second = Connection::open(emulator.address()).await;
    for _ in 0..3 {
        let (one, two) = tokio::join!(
            first.get("/logstores/store/shards"),
            second.get("/logstores/store/shards")
        );
        assert_eq!((one.status, two.status), (200, 200));
    }
}

#[tokio::test]
async fn targets_may_be_in_absolute_form() {
    let (_emulator, mut connection) = emulator().await;
    let head = "GET http://p.sls.test:80/logstores/store/shards HTTP/1.1\r\nHost: p.sls.test\r\n";
    assert_eq!(connection.send(head, b"").await.unwrap().json()[0]["shardID"], 0);
}

#[tokio::test]
async fn the_project_is_the_first_label_of_the_host_and_the_rest_does_not_matter() {
    let (_emulator, mut connection) = emulator().await;
    for host in ["p", "p.127.0.0.1", "p.sls.test", "p.cn-hangzhou.log.aliyuncs.com:8080"] {
        let head = format!("GET /logstores/store/shards HTTP/1.1\r\nHost: {host}\r\n");
        assert_eq!(connection.send(&head, b"").await.unwrap().status, 200, "{host}");
    }
    let head = "GET /logstores/store/shards HTTP/1.1\r\nHost: q.sls.test\r\n";
    let answer = connection.send(head, b"").await.unwrap();
    assert_eq!(answer.error(), (404, "ProjectNotExist".into()));
}

#[tokio::test]
async fn a_pull_carries_its_headers_in_lower_case_and_says_how_it_is_packed() {
    let (_emulator, mut connection) = emulator().await;
    let begin = cursor(&mut connection, "begin").await;
    let plain = pull(&mut connection, &begin, "").await;
    let packed = pull(&mut connection, &begin, "lz4").await;

    assert_eq!(plain.header("x-log-compresstype"), None);
    assert_eq!(packed.header("x-log-compresstype"), Some("lz4"));
    for answer in [&plain, &packed] {
        assert_eq!(answer.number("x-log-count"), 3);
        assert_eq!(answer.number("x-log-bodyrawsize"), plain.body.len() as u64);
        assert_eq!(answer.header("x-log-cursor"), Some(&*cursor(&mut connection, "end").await));
        assert_eq!(answer.header("x-log-end-of-cursor"), Some("1"));
        assert!(answer.number("x-log-cursor-time") > 1_700_000_000);
        assert_eq!(answer.header("content-type"), Some("application/x-protobuf"));
        assert_eq!(answer.header("x-log-requestid").map(str::len), Some(24));
    }
    let expected = ["a", "b", "c"].map(|text| group(&[text]).entry().to_vec()).concat();
    assert_eq!(plain.body, expected);
    let unpacked = forwarder_sls::wire::Block::new(
        packed.body.clone().into(),
        forwarder_sls::wire::Compression::Lz4,
        packed.number("x-log-bodyrawsize"),
        1 << 20,
    );
    assert_eq!(unpacked.unwrap().unpack().unwrap(), expected);
}

#[tokio::test]
async fn an_empty_pull_carries_its_headers_too_and_the_cursor_it_was_asked_for() {
    let (_emulator, mut connection) = emulator().await;
    let end = cursor(&mut connection, "end").await;
    let answer = pull(&mut connection, &end, "lz4").await;
    assert_eq!(answer.status, 200);
    assert_eq!((answer.number("x-log-count"), answer.number("x-log-bodyrawsize")), (0, 0));
    assert_eq!(answer.header("x-log-cursor"), Some(&*end));
    assert_eq!(answer.header("x-log-compresstype"), None);
    assert!(answer.body.is_empty());
}

#[tokio::test]
async fn the_last_cursor_read_is_a_plain_number_one_below_the_next() {
    let (_emulator, mut connection) = emulator().await;
    let begin = cursor(&mut connection, "begin").await;
    let target = format!("{PULL}{begin}").replace("count=1000", "count=2").replace("log&", "logs&");
    let answer = connection.get(&target).await;
    let next =
        forwarder_emulator::state::cursor::Cursor::parse(answer.header("x-log-cursor").unwrap());
    assert_eq!(answer.number("x-log-read-last-cursor") + 1, next.unwrap().number());
    assert_eq!(answer.header("x-log-end-of-cursor"), None);
    assert_eq!(answer.number("x-log-count"), 2);
}

#[tokio::test]
async fn a_pull_is_bounded_by_count_end_cursor_and_bytes() {
    let limits = Limits { max_pull_bytes: 60, ..Limits::default() };
    let emulator =
        Emulator::builder().logstore("p", "store", 1).limits(limits).start().await.unwrap();
    let long = "x".repeat(100);
    let groups = [group(&["a"]), group(&["b"]), group(&[&long]), group(&["d"])];
    emulator.put("p", "store", Placement::Shard(0), groups).unwrap();
    let mut connection = Connection::open(emulator.address()).await;
    let begin = cursor(&mut connection, "begin").await;

    let two = connection.get(&format!("{PULL}{begin}")).await;
    assert_eq!(two.number("x-log-count"), 2);
    let next = two.header("x-log-cursor").unwrap().to_owned();
    let one = connection.get(&format!("{PULL}{next}")).await;
    assert_eq!(one.number("x-log-count"), 1, "a group larger than the limit comes alone");
    let none = connection.get(&format!("{PULL}{begin}&end_cursor={begin}")).await;
    assert_eq!(none.number("x-log-count"), 0);
    for count in ["0", "1001", "x"] {
        let target = format!("{PULL}{begin}").replace("count=1000", &format!("count={count}"));
        assert_eq!(connection.get(&target).await.error(), (400, "ParameterInvalid".into()));
    }
}

#[tokio::test]
async fn heartbeats_and_lists_are_bare_arrays_of_integers_and_objects() {
    let (_emulator, mut connection) = emulator().await;
    let beat = format!("{GROUP}?type=heartbeat&consumer=c");
    assert_eq!(connection.call("POST", &beat, "[]").await.json(), json!([0]));
    let groups = connection.get("/logstores/store/consumergroups").await.json();
    assert_eq!(groups, json!([{ "name": "grp", "timeout": 60, "order": false }]));
    let shards = connection.get("/logstores/store/shards").await.json();
    assert!(shards[0]["createTime"].is_u64());
    assert_eq!(shards[0]["status"], "readwrite");
    assert_eq!(shards[0]["inclusiveBeginKey"], "0".repeat(32));
    assert_eq!(shards[0]["exclusiveEndKey"], "f".repeat(32));
}

#[tokio::test]
async fn a_shard_without_checkpoint_has_an_empty_one_and_an_unknown_shard_has_none() {
    let (_emulator, mut connection) = emulator().await;
    let answer = connection.get(&format!("{GROUP}?shard=0")).await.json();
    let empty = json!([{ "shard": 0, "checkpoint": "", "updateTime": 0, "consumer": "" }]);
    assert_eq!(answer, empty);
    assert_eq!(connection.get(GROUP).await.json(), empty);
    assert_eq!(connection.get(&format!("{GROUP}?shard=7")).await.json(), json!([]));
}

#[tokio::test]
async fn force_success_is_read_in_any_case() {
    let (emulator, mut connection) = emulator().await;
    let end = cursor(&mut connection, "end").await;
    let body = json!({ "shard": 0, "checkpoint": end }).to_string();
    let target = |force: &str| format!("{GROUP}?type=checkpoint&consumer=c&forceSuccess={force}");
    for force in ["True", "true"] {
        assert_eq!(connection.call("POST", &target(force), &body).await.status, 200, "{force}");
    }
    let refused = connection.call("POST", &target("False"), &body).await;
    assert_eq!(refused.error(), (404, "ConsumerNotExist".into()));

    let saved = connection.get(&format!("{GROUP}?shard=0")).await.json();
    assert_eq!((&saved[0]["checkpoint"], &saved[0]["consumer"]), (&json!(end), &json!("c")));
    assert!(saved[0]["updateTime"].as_u64().unwrap() > 1_700_000_000_000_000, "microseconds");
    assert_eq!(emulator.backlog("p", "store", "grp").unwrap(), 0);
}

#[tokio::test]
async fn the_raw_size_of_a_json_body_is_not_looked_at() {
    let (_emulator, mut connection) = emulator().await;
    for size in ["x-log-bodyrawsize: 0\r\n", "x-log-bodyrawsize: 2\r\n", ""] {
        let head = format!(
            "POST {GROUP}?type=heartbeat&consumer=c HTTP/1.1\r\nHost: p.sls.test\r\n{size}"
        );
        assert_eq!(connection.send(&head, b"[]").await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn errors_are_json_with_code_and_message_and_a_request_id() {
    let (_emulator, mut connection) = emulator().await;
    for (method, target, body, status, code) in [
        ("GET", "/logstores/nope/shards", "", 404, "LogStoreNotExist"),
        ("GET", "/logstores/store/shards/9?type=cursor&from=begin", "", 404, "ShardNotExist"),
        ("GET", "/logstores/store/shards/0?type=cursor&from=noon", "", 400, "ParameterInvalid"),
        ("GET", "/logstores/store/shards/0?type=log&cursor=MQ==", "", 400, "InvalidCursor"),
        ("GET", "/logstores/store/shards/0?type=log&cursor=!", "", 400, "InvalidCursor"),
        ("POST", "/logstores/store/consumergroups", "{}", 400, "JsonInfoInvalid"),
        (
            "POST",
            &format!("{GROUP}?type=heartbeat&consumer=c"),
            "[0]",
            400,
            "NotExistConsumerWithBody",
        ),
        ("POST", &format!("{GROUP}?type=heartbeat&consumer=c"), "{}", 400, "JsonInfoInvalid"),
        (
            "POST",
            "/logstores/store/consumergroups/x?type=heartbeat&consumer=c",
            "[]",
            404,
            "ConsumerGroupNotExist",
        ),
        (
            "POST",
            "/logstores/store/consumergroups/?type=heartbeat&consumer=c",
            "[]",
            405,
            "InvalidMethod",
        ),
        ("PATCH", "/anything", "", 405, "InvalidMethod"),
    ] {
        let answer = connection.call(method, target, body).await;
        assert_eq!(answer.error(), (status, code.to_owned()), "{method} {target}");
        assert!(answer.json()["errorMessage"].is_string());
        assert_eq!(answer.header("x-log-requestid").map(str::len), Some(24));
    }
}

#[tokio::test]
async fn a_consumer_group_is_created_changed_and_deleted() {
    let (emulator, mut connection) = emulator().await;
    let create = r#"{"consumerGroup": "two", "timeout": 4, "order": false}"#;
    let groups = "/logstores/store/consumergroups";
    assert_eq!(connection.call("POST", groups, create).await.status, 200);
    let again = connection.call("POST", groups, create).await;
    assert_eq!(again.error(), (400, "ConsumerGroupAlreadyExist".into()));
    let change = r#"{"order": true}"#;
    assert_eq!(connection.call("PUT", &format!("{groups}/two"), change).await.status, 200);
    let options = emulator
        .inspect(|service| service.logstore("p", "store").unwrap().group("two").unwrap().options());
    assert_eq!((options.timeout.as_secs(), options.order), (4, true));
    assert_eq!(connection.call("DELETE", &format!("{groups}/two"), "").await.status, 200);
    let gone = connection.call("DELETE", &format!("{groups}/two"), "").await;
    assert_eq!(gone.error(), (404, "ConsumerGroupNotExist".into()));
}

#[tokio::test]
async fn a_cursor_has_a_time_and_the_end_has_none() {
    let (_emulator, mut connection) = emulator().await;
    let (begin, end) =
        (cursor(&mut connection, "begin").await, cursor(&mut connection, "end").await);
    let target = |cursor| format!("/logstores/store/shards/0?type=cursor_time&cursor={cursor}");
    let time = connection.get(&target(begin)).await.json()["cursor_time"].as_u64().unwrap();
    assert!(time > 1_700_000_000);
    assert_eq!(connection.get(&target(end)).await.error(), (400, "InvalidCursor".into()));
}

#[tokio::test]
async fn a_shard_splits_and_merges() {
    let (_emulator, mut connection) = emulator().await;
    let middle = format!("8{}", "0".repeat(31));
    let split = format!("/logstores/store/shards/0?action=split&key={middle}");
    let answer = connection.call("POST", &split, "").await.json();
    let ids: Vec<_> = answer.as_array().unwrap().iter().map(|shard| &shard["shardID"]).collect();
    assert_eq!(ids, [0, 1, 2]);
    assert_eq!(answer[0]["status"], "readonly");
    assert_eq!(answer[1]["exclusiveEndKey"], middle);
    let merge = connection.call("POST", "/logstores/store/shards/1?action=merge", "").await.json();
    let ids: Vec<_> = merge.as_array().unwrap().iter().map(|shard| &shard["shardID"]).collect();
    assert_eq!(ids, [3, 1, 2]);
}

#[tokio::test]
async fn a_query_filters_and_reports_what_it_saw() {
    let (_emulator, mut connection) = emulator().await;
    let begin = cursor(&mut connection, "begin").await;
    let end = cursor(&mut connection, "end").await;
    let query = |text: &str| format!("{PULL}{begin}&pullMode=scan_on_stream&query={text}");

    let some = connection.get(&query("*|where+text='b'")).await;
    assert_eq!((some.number("x-log-count"), some.number("x-log-rawdatacount")), (1, 3));
    assert_eq!((some.number("x-log-rawdatalines"), some.number("x-log-resultlines")), (3, 1));
    assert_eq!(some.body, group(&["b"]).entry().as_ref());

    let none = connection.get(&query("*+|+where+text+%3D+'z'")).await;
    assert_eq!((none.number("x-log-count"), none.number("x-log-bodyrawsize")), (0, 0));
    assert_eq!(none.header("x-log-cursor"), Some(&*end), "the cursor moves on all the same");
    let refused = connection.get(&query("*|project+text")).await;
    assert_eq!(refused.error(), (400, "ParameterInvalid".into()));

    let spl = r#"{"displayName":"d","configuration":{"spl":"* | where text = 'c'"}}"#;
    assert_eq!(connection.call("PUT", "/consumeprocessors/only-c", spl).await.status, 200);
    let processed = connection.get(&format!("{PULL}{begin}&processor=only-c")).await;
    assert_eq!(processed.body, group(&["c"]).entry().as_ref());
}

#[tokio::test]
async fn projects_and_logstores_are_made_and_removed() {
    let (_emulator, mut connection) = emulator().await;
    async fn call(connection: &mut Connection, line: &str, body: &str) -> Answer {
        let head = format!("{line} HTTP/1.1\r\nHost: fresh.sls.test\r\n");
        connection.send(&head, body.as_bytes()).await.unwrap()
    }
    let project = r#"{"projectName":"fresh","description":"d"}"#;
    assert_eq!(call(&mut connection, "POST /", project).await.status, 200);
    let logstore = r#"{"logstoreName":"logs","ttl":30,"shardCount":3}"#;
    assert_eq!(call(&mut connection, "POST /logstores", logstore).await.status, 200);
    let shards = call(&mut connection, "GET /logstores/logs/shards", "").await.json();
    assert_eq!(shards.as_array().unwrap().len(), 3);
    assert_eq!(call(&mut connection, "DELETE /logstores/logs", "").await.status, 200);
    assert_eq!(call(&mut connection, "DELETE /", "").await.status, 200);
    let gone = call(&mut connection, "GET /logstores/logs/shards", "").await;
    assert_eq!(gone.error(), (404, "ProjectNotExist".into()));
}
