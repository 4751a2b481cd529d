//! Keys of the RAM role of an ECS instance, from a metadata service.

use std::sync::{Arc, Mutex};

use forwarder_emulator::sign_check::SignatureCheck;
use forwarder_sls::AccessKey;
use forwarder_tests::{Logs, PATIENCE, World, receivers};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A metadata service in hardened mode: it gives the key of one role to a client that shows the token. It is out of
/// order while the key is empty.
struct Metadata {
    url: String,
    key: Arc<Mutex<&'static str>>,
    _service: JoinSet<()>,
}

const TOKEN: &str = "AXSuxGQZ-one-time-token";

impl Metadata {
    async fn start(key: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let key = Arc::new(Mutex::new(key));
        let given = Arc::clone(&key);
        let mut service = JoinSet::new();
        service.spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                answer(connection, &given).await;
            }
        });
        Self { url, key, _service: service }
    }
}

async fn answer(mut connection: TcpStream, key: &Mutex<&'static str>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match connection.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let token = TOKEN.to_ascii_lowercase();
    let (status, body) = if head.starts_with("put /latest/api/token ") {
        assert!(head.contains("x-aliyun-ecs-metadata-token-ttl-seconds: "), "{head}");
        ("200 OK", TOKEN.to_owned())
    } else if !head.contains(&format!("x-aliyun-ecs-metadata-token: {token}\r\n")) {
        ("403 Forbidden", String::new())
    } else if key.lock().unwrap().is_empty() {
        ("503 Service Unavailable", String::new())
    } else if head.starts_with("get /latest/meta-data/ram/security-credentials/siem-role ") {
        let key = *key.lock().unwrap();
        let document = format!(
            r#"{{"AccessKeyId":"STS.{key}","AccessKeySecret":"secret-{key}","SecurityToken":"token-{key}",
                "Expiration":"2026-11-25T20:00:00Z","LastUpdated":"2026-11-25T14:00:00Z","Code":"Success"}}"#
        );
        ("200 OK", document)
    } else {
        ("404 Not Found", String::new())
    };
    let length = body.len();
    let answer =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    let _ = connection.write_all(answer.as_bytes()).await;
}

fn only(key: &str) -> SignatureCheck {
    let temporary = AccessKey::new(format!("STS.{key}"), format!("secret-{key}"));
    SignatureCheck::Strict(temporary.with_token(format!("token-{key}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_of_the_instance_is_used_and_its_key_renewed_when_it_expires() {
    let metadata = Metadata::start("one").await;
    let world = World::of(World::sls(2).signatures(only("one")), receivers::hec()).await;
    let settings = world.settings().ram_role("siem-role", &metadata.url);
    let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
    let forwarder = world.start(&config, &[]);
    world.put(&Logs(0..1_000), 100);
    world.received(1_000, &forwarder).await;

    *metadata.key.lock().unwrap() = "two";
    world.sls.accept(only("two"));
    world.put(&Logs(1_000..2_000), 100);
    world.received(2_000, &forwarder).await;
    world.settled().await;
    assert_eq!(world.assert_received(&Logs(0..2_000)), 0);
    let ended = forwarder.stop().await;
    assert_eq!(ended.code, Some(0));
    assert!(!ended.log.contains("secret-") && !ended.log.contains("token-"), "{}", ended.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_the_instance_does_not_play_is_named() {
    let metadata = Metadata::start("one").await;
    let world = World::of(World::sls(1), receivers::hec()).await;
    let settings = world.settings().ram_role("another-role", &metadata.url);
    let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
    let ended = world.start(&config, &[]).end().await;
    assert_eq!(ended.code, Some(6), "{}", ended.log);
    assert!(ended.log.contains("no access key of the RAM role `another-role`"), "{}", ended.log);
    assert!(ended.log.contains("attach the role to the instance"), "{}", ended.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metadata_service_that_is_out_of_order_stops_no_other_source_and_is_waited_for() {
    let metadata = Metadata::start("").await;
    let world = World::new(1).await;
    let other = [("name", "second"), ("consumer_group", "other")];
    let settings = world.settings().another_source(&other);
    let settings = settings.ram_role("siem-role", &metadata.url);
    let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
    let mut forwarder = world.start(&config, &[]);
    world.put(&Logs(0..1_000), 100);
    world.received(1_000, &forwarder).await;
    forwarder.says("no access key of the RAM role `siem-role`").await;
    *metadata.key.lock().unwrap() = "one";
    world.hec.wait_for(2_000, PATIENCE).await.unwrap();
    assert_eq!(forwarder.terminate().await, Some(0));
}
