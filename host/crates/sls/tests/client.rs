//! The client against a real server: addressing, limits, errors, retries.

#![expect(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

mod support;

use std::time::{Duration, SystemTime};

use forwarder_sls::api::{CursorFrom, Filter, PullRequest, ShardStatus};
use forwarder_sls::sign::Signature;
use forwarder_sls::wire::{BlockError, Compression};
use forwarder_sls::{
    AccessKey, Chain, Client, ConfigError, Credentials, Cursor, Endpoint, Error, ErrorCode,
    LogstoreName, Scheme,
};
use support::reading::texts;
use support::{
    Api, Fault, SECRET, Sls, group, group_of, hang, header, nonsense, refuse, refuse_with,
    unhelpful, without,
};

fn logstore() -> LogstoreName {
    "store".parse().unwrap()
}

fn from<'a>(logstore: &'a LogstoreName, cursor: &'a Cursor) -> PullRequest<'a> {
    PullRequest { logstore, shard: 0, cursor, count: 1000, end_cursor: None, filter: None }
}

#[tokio::test]
async fn an_address_without_names_gets_the_project_in_the_host_header_without_port() {
    let sls = Sls::start(1).await;
    for signature in [Signature::V1, Signature::V4 { region: support::REGION.into() }] {
        let mut config = sls.config();
        config.signature = signature;
        let shards = Client::new(config).unwrap().list_shards(&logstore()).await.unwrap();
        assert_eq!(shards[0].status, ShardStatus::ReadWrite);
    }
    for seen in sls.seen(Api::ListShards) {
        assert_eq!(seen.headers["host"], "proj.127.0.0.1");
    }
}

#[tokio::test]
async fn signatures_cover_parameters_that_need_encoding() {
    let sls = Sls::start(1).await;
    let filter = Filter::Query("* | where a = '日志 b' and path = '/x~y%z+w'".into());
    for signature in [Signature::V1, Signature::V4 { region: support::REGION.into() }] {
        let mut config = sls.config();
        config.signature = signature;
        let client = Client::new(config).unwrap();
        let (store, cursor) = (logstore(), sls.cursor(0, 0));
        let request = PullRequest { filter: Some(&filter), ..from(&store, &cursor) };
        let answer = client.pull_logs(&request).await.unwrap();
        assert_eq!(answer.head().next_cursor(), &cursor);
    }
    let seen = sls.seen(Api::PullLogs).pop().unwrap();
    assert_eq!(seen.params["pullMode"], "scan_on_stream");
    assert_eq!(seen.headers["accept-encoding"], "lz4");
    assert!(!seen.headers["user-agent"].is_empty());
}

#[tokio::test]
async fn a_pull_shows_its_size_before_its_body() {
    let sls = Sls::start(1).await;
    sls.write(0, &["one", "two"]);
    let (client, store, cursor) = (sls.client(), logstore(), sls.cursor(0, 0));
    let answer = client.pull_logs(&from(&store, &cursor)).await.unwrap();
    let head = answer.head().clone();
    let raw_size = (group("one").entry().len() + group("two").entry().len()) as u64;
    assert_eq!(
        (head.count(), head.raw_size(), head.compression()),
        (2, raw_size, Compression::Lz4)
    );
    let (first, last) = (sls.cursor(0, 0).position(), sls.cursor(0, 1).position());
    assert_eq!((head.first_cursor(), head.read_last_cursor()), (first, last));
    assert_eq!(head.next_cursor(), &sls.cursor(0, 2));
    assert!(head.at_end() && head.cursor_time().is_some());
    assert_eq!(texts(answer.body(1 << 20).await.unwrap()), "onetwo");

    let answer = client.pull_logs(&from(&store, &sls.cursor(0, 2))).await.unwrap();
    assert!(answer.head().is_unmoved() && !answer.head().has_data());
    assert_eq!(answer.body(1 << 20).await.unwrap(), "");
}

#[tokio::test]
async fn the_first_cursor_is_the_request_where_the_service_does_not_say_and_nothing_with_a_filter()
{
    let sls = Sls::start(1).await;
    sls.write(0, &["one", "two"]);
    sls.faults(Api::PullLogs, 2, unhelpful());
    let (client, store, cursor) = (sls.client(), logstore(), sls.cursor(0, 1));
    let answer = client.pull_logs(&from(&store, &cursor)).await.unwrap();
    assert_eq!(answer.head().first_cursor(), cursor.position());
    assert!(!answer.head().at_end(), "only an unmoved cursor or the header says so");
    let filter = Filter::Query("*".into());
    let request = PullRequest { filter: Some(&filter), ..from(&store, &cursor) };
    let answer = client.pull_logs(&request).await.unwrap();
    assert_eq!(answer.head().first_cursor(), None);
}

#[tokio::test]
async fn a_garbled_answer_is_an_error_and_never_no_data() {
    let sls = Sls::start(1).await;
    sls.write(0, &["one"]);
    let (client, store, cursor) = (sls.client(), logstore(), sls.cursor(0, 0));
    for (name, value) in [
        ("x-log-bodyrawsize", None),
        ("x-log-bodyrawsize", Some("many")),
        ("x-log-bodyrawsize", Some("-1")),
        ("x-log-count", None),
        ("x-log-cursor", None),
        ("x-log-cursor", Some("")),
    ] {
        sls.fault(Api::PullLogs, value.map_or_else(|| without(name), |value| header(name, value)));
        let error = client.pull_logs(&from(&store, &cursor)).await.unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{name} {value:?}: {error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    let before = Cursor::at(cursor.position().unwrap() - 1);
    // Whatever decides whether there is data must not contradict the rest.
    for (name, value) in [
        ("x-log-bodyrawsize", "0"),
        ("x-log-count", "0"),
        ("x-log-cursor", cursor.as_str()),
        ("x-log-cursor", before.as_str()),
        ("x-log-cursor", "aGVsbG8="),
        ("x-log-cursor", "!!!"),
    ] {
        sls.fault(Api::PullLogs, header(name, value));
        let error = client.pull_logs(&from(&store, &cursor)).await.unwrap_err();
        assert!(error.is_damaged() && error.to_string().contains(name), "{name} {value}: {error}");
    }
    let end = sls.cursor(0, 1);
    for (name, value) in [("x-log-count", "1"), ("x-log-bodyrawsize", "3")] {
        sls.fault(Api::PullLogs, header(name, value));
        let error = client.pull_logs(&from(&store, &end)).await.unwrap_err();
        assert!(error.is_damaged(), "{name} {value}: {error}");
    }
    for body in ["surprise", "\0"] {
        sls.fault(Api::PullLogs, Fault::SetBody(body.into()));
        let answer = client.pull_logs(&from(&store, &end)).await;
        let confirmed = match answer {
            Ok(answer) => answer.confirm_empty().await,
            Err(error) => Err(error),
        };
        assert!(confirmed.unwrap_err().is_damaged());
    }
    sls.fault(Api::PullLogs, header("x-log-compresstype", "zstd"));
    let error = client.pull_logs(&from(&store, &cursor)).await.unwrap_err();
    assert!(Chain(&error).to_string().contains("`zstd`"), "{}", Chain(&error));
}

#[tokio::test]
async fn a_body_that_is_not_what_its_headers_claim_is_refused() {
    let sls = Sls::start(1).await;
    sls.store(0, [group_of(1000)], sls.now());
    let (client, store, cursor) = (sls.client(), logstore(), sls.cursor(0, 0));
    let body = async |fault, limit| {
        sls.fault(Api::PullLogs, fault);
        match client.pull_logs(&from(&store, &cursor)).await {
            Ok(answer) => answer.body(limit).await.unwrap_err(),
            Err(error) => error,
        }
    };
    let claim = |size: &str| header("x-log-bodyrawsize", size);
    let block = |error| match error {
        Error::Block { source, .. } => source,
        other => panic!("{other}"),
    };
    assert!(matches!(block(body(claim("999"), 1 << 20).await), BlockError::Damaged(_)));
    assert!(matches!(block(body(claim("1001"), 1 << 20).await), BlockError::WrongSize { .. }));
    let huge = claim("9000000000000000000");
    assert!(matches!(block(body(claim("1000"), 999).await), BlockError::TooLarge { .. }));
    assert!(matches!(block(body(huge, u64::MAX).await), BlockError::ImpossibleSize { .. }));
    let long = Fault::SetBody("\0".repeat(100_000));
    assert!(matches!(block(body(long, 1 << 20).await), BlockError::ImpossibleSize { .. }));
    assert!(body(Fault::CutBody, 1 << 20).await.is_retryable());
}

#[tokio::test]
async fn safe_calls_are_repeated_and_signed_again() {
    let sls = Sls::start(1).await;
    sls.fault(Api::GetCursor, refuse(500, "InternalServerError"));
    sls.fault(Api::GetCursor, Fault::Html(502));
    sls.fault(Api::GetCursor, refuse(403, "ReadQuotaExceed"));
    let cursor = sls.client().get_cursor(&logstore(), 0, CursorFrom::Begin).await.unwrap();
    assert_eq!(cursor, sls.cursor(0, 0));
    assert_eq!(sls.seen(Api::GetCursor).len(), 4);

    sls.faults(Api::GetCursor, 9, Fault::CutBody);
    let error = sls.client().get_cursor(&logstore(), 0, CursorFrom::End).await.unwrap_err();
    assert!(matches!(error, Error::BrokenOff { .. }), "{error:?}");
    let shown = Chain(&error).to_string();
    assert!(shown.contains(&format!("GetCursor at {}", sls.emulator.endpoint())), "{shown}");
    assert!(shown.contains("; if it happens again, check"), "{shown}");
    assert_eq!(sls.seen(Api::GetCursor).len(), 8, "four attempts are enough");
}

#[tokio::test]
async fn what_will_not_change_is_not_repeated() {
    let sls = Sls::start(1).await;
    sls.fault(Api::ListShards, refuse(404, "LogStoreNotExist"));
    let error = sls.client().list_shards(&logstore()).await.unwrap_err();
    assert_eq!(error.code(), Some(&ErrorCode::LogStoreNotExist));
    let refusal = error.refusal().unwrap();
    assert_eq!(refusal.request_id.as_deref().map(str::len), Some(24));
    assert_eq!(sls.seen(Api::ListShards).len(), 1);
}

#[tokio::test]
async fn an_html_page_keeps_its_status_and_is_quoted_briefly() {
    let sls = Sls::start(1).await;
    sls.faults(Api::ListShards, 4, Fault::Html(502));
    let error = sls.client().list_shards(&logstore()).await.unwrap_err();
    let refusal = error.refusal().unwrap();
    assert_eq!(refusal.status, 502);
    assert_eq!(refusal.message, "<html> <body><h1>502</h1> <hr>gateway</body></html>");
    sls.fault(Api::ListShards, nonsense());
    sls.client().list_shards(&logstore()).await.unwrap();
    sls.faults(Api::ListShards, 4, nonsense());
    let error = sls.client().list_shards(&logstore()).await.unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn a_wrong_secret_is_explained_and_never_quoted() {
    let sls = Sls::start(1).await;
    let mut config = sls.config();
    let key = AccessKey::new(support::KEY_ID, "wrong-s3cret").with_token("t0ken");
    config.credentials = Credentials::fixed(key);
    let client = Client::new(config).unwrap();
    // The second quotes the token across the place where long messages are cut.
    for text in ["x-acs-security-token:t0ken", &format!("{}t0ken", "x".repeat(1997))] {
        sls.fault(Api::ListShards, refuse_with(401, "SignatureNotMatch", text));
        let error = client.list_shards(&logstore()).await.unwrap_err();
        assert!(error.auth());
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("belongs to the access key id"), "{shown}");
        assert!(!shown.contains("t0k") && !shown.contains("s3cret"), "{shown}");
    }
    assert_eq!(sls.seen(Api::ListShards).len(), 2);
}

#[tokio::test]
async fn a_renewed_key_is_tried_at_once() {
    let sls = Sls::start(1).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let key = |secret: &str| {
        format!(r#"{{"AccessKeyId":"{}","AccessKeySecret":"{secret}"}}"#, support::KEY_ID)
    };
    std::fs::write(&file, key("expired")).unwrap();
    let mut config = sls.config();
    config.credentials = Credentials::from_file(file.path()).await.unwrap();
    let client = Client::new(config).unwrap();
    assert!(client.list_shards(&logstore()).await.unwrap_err().auth());
    std::fs::write(&file, key(SECRET)).unwrap();
    client.list_shards(&logstore()).await.unwrap();
    assert_eq!(sls.seen(Api::ListShards).len(), 3);
}

#[tokio::test]
async fn clock_skew_is_measured_by_the_answer_and_reported() {
    let sls = Sls::start(1).await;
    sls.emulator.clock().advance(Duration::from_secs(7200));
    let client = sls.client();
    let error = client.list_shards(&logstore()).await.unwrap_err();
    assert!(error.clock_skew());
    let shown = error.to_string();
    assert!(shown.contains("s behind the service's") && shown.contains("NTP"), "{shown}");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert!((client.server_time() - now as i64 - 7200).abs() <= 2);
}

#[tokio::test]
async fn silence_ends_with_the_time_limit() {
    let sls = Sls::start(1).await;
    sls.fault(Api::ListShards, hang());
    let client = sls.client().trying_once().within(Duration::from_millis(50));
    let error = client.list_shards(&logstore()).await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }) && error.is_retryable(), "{error}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let sls = Sls::start(1).await;
    sls.fault(Api::ListShards, Fault::Html(302));
    let error = sls.client().list_shards(&logstore()).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().status, 302);
}

#[tokio::test]
async fn a_client_that_cannot_work_is_refused_before_anything_is_sent() {
    let sls = Sls::start(1).await;
    let mut config = sls.config();
    config.endpoint = Endpoint::new(Scheme::Https, "proj.cn-x.log.aliyuncs.com", None);
    let error = Client::new(config.clone()).unwrap_err();
    assert!(matches!(error, ConfigError::ProjectInEndpoint { .. }));
    assert!(error.to_string().contains("`https://cn-x.log.aliyuncs.com`"), "{error}");

    config.endpoint = Endpoint::new(Scheme::Https, "sls.example.org", None);
    config.ca_file = Some("/nowhere/ca.pem".into());
    assert!(matches!(Client::new(config.clone()), Err(ConfigError::CaFile { .. })));
    let file = tempfile::NamedTempFile::new().unwrap();
    config.ca_file = Some(file.path().into());
    assert!(matches!(Client::new(config), Err(ConfigError::CaContents { .. })));
}

#[tokio::test]
async fn a_refused_code_keeps_its_text() {
    let sls = Sls::start(1).await;
    sls.fault(Api::ListShards, refuse(418, "SomethingNew"));
    let error = sls.client().list_shards(&logstore()).await.unwrap_err();
    assert_eq!(error.code(), Some(&ErrorCode::Other("SomethingNew".into())));
}

#[tokio::test]
async fn a_checkpoint_of_another_shard_is_an_error_and_never_no_checkpoint() {
    let sls = Sls::start(1).await;
    let client = sls.client().trying_once();
    let group = "grp".parse().unwrap();
    sls.create_group(60, false);
    for (answer, fault) in [
        (
            r#"[{"shard":1,"checkpoint":"MTI="}]"#,
            "a checkpoint of shard 1, which was not asked for",
        ),
        (
            r#"[{"shard":0,"checkpoint":"MTI="},{"shard":0,"checkpoint":""}]"#,
            "two checkpoints of shard 0",
        ),
    ] {
        sls.fault(Api::GetCheckPoint, Fault::SetBody(answer.into()));
        let error = client.get_checkpoints(&logstore(), &group, Some(0)).await.unwrap_err();
        assert!(error.is_damaged() && error.to_string().contains(fault), "{error}");
    }
}

#[tokio::test]
async fn absurd_lists_are_refused_with_their_bound() {
    let sls = Sls::start(1).await;
    let client = sls.client().trying_once();
    let (group, consumer) = ("grp".parse().unwrap(), "c".parse().unwrap());
    sls.create_group(60, false);
    let list = |entry: &str| Fault::SetBody(format!("[{}]", vec![entry; 200_000].join(",")));
    sls.fault(Api::HeartBeat, list("7"));
    let beat = client.heartbeat(&logstore(), &group, &consumer, &[]).await.unwrap_err();
    sls.fault(Api::ListShards, list(r#"{"shardID":1,"status":"readwrite"}"#));
    let shards = client.list_shards(&logstore()).await.unwrap_err();
    sls.fault(Api::ListConsumerGroup, list(r#"{"name":"g","timeout":1}"#));
    let groups = client.list_consumer_groups(&logstore()).await.unwrap_err();
    sls.fault(Api::GetCheckPoint, list(r#"{"shard":1,"checkpoint":""}"#));
    let checkpoints = client.get_checkpoints(&logstore(), &group, None).await.unwrap_err();
    for (error, bound) in [(beat, 4096), (shards, 10_000), (groups, 10_000), (checkpoints, 10_000)]
    {
        assert!(error.to_string().contains(&format!("more than {bound} entries")), "{error}");
    }
}
