//! Proxies named by the environment: never for this machine, in plain text only on purpose.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use forwarder_tests::{Forwarder, Logs, TOKEN, World, until};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinSet;

/// A proxy that keeps what it is sent and answers nothing.
struct RecordingProxy {
    address: SocketAddr,
    seen: Arc<Mutex<String>>,
    _task: JoinSet<()>,
}

impl RecordingProxy {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(String::new()));
        let mut task = JoinSet::new();
        let record = Arc::clone(&seen);
        task.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut first = vec![0; 4_096];
                let read = stream.read(&mut first).await.unwrap_or(0);
                let mut seen = record.lock().unwrap_or_else(PoisonError::into_inner);
                seen.push_str("connection\n");
                seen.push_str(&String::from_utf8_lossy(&first[..read]));
            }
        });
        Self { address, seen, _task: task }
    }

    fn seen(&self) -> String {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The program with this proxy for everything.
    fn command(&self, world: &World, arguments: &[&str]) -> Command {
        let mut command = Forwarder::command(world.folder());
        for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy"] {
            command.env(name, format!("http://{}", self.address));
        }
        command.args(arguments);
        command
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_this_machine_is_reached_without_a_proxy() {
    let world = World::new(1).await;
    let proxy = RecordingProxy::start().await;
    let port = world.hec.addr().port();
    let logs = Logs(0..300);
    world.put(&logs, 10);
    let mut settings = world.settings();
    for (name, host) in [("plain", "127.0.0.1"), ("name", "localhost"), ("short", "127.1")] {
        let url = format!("http://{host}:{port}");
        // The config does not read `127.1` as an address, and so asks for consent.
        settings = settings.hec(name, &url, "event_id = false\nallow_plaintext = true");
    }
    let mapped = format!("http://[::ffff:127.0.0.1]:{port}");
    let config = settings.hec("mapped", &mapped, "").write("forwarder.toml");
    let config = config.to_str().unwrap();

    let forwarder =
        Forwarder::spawn(proxy.command(&world, &["--config", config]), &world.new_log());
    until("every sink has delivered", async || world.hec.tally().received >= 4 * 300).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    for arguments in [&["check", "--config", config][..], &["group", "status", "--config", config]]
    {
        let output = proxy.command(&world, arguments).output().await.unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
    assert_eq!(proxy.seen(), "", "the proxy was sent nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_carries_plain_text_only_where_the_config_allows_it() {
    let world = World::new(1).await;
    let proxy = RecordingProxy::start().await;
    world.put(&Logs(0..10), 10);
    let config = |name: &str, url: &str, more: &str| {
        let settings = world.settings().process("shutdown_grace", "0s");
        let path = settings.hec("splunk", url, more).write(name);
        path.to_str().unwrap().to_owned()
    };

    let silent = config("silent.toml", "http://collector.test:8088", "");
    let refused = proxy.command(&world, &["--config", &silent]).output().await.unwrap();
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert_eq!(proxy.seen(), "");

    let tls = config("tls.toml", "https://collector.test:8088", "");
    let forwarder = Forwarder::spawn(proxy.command(&world, &["--config", &tls]), &world.new_log());
    until("the proxy is asked for a tunnel", async || proxy.seen().contains("CONNECT ")).await;
    forwarder.kill().await;
    assert!(!proxy.seen().contains(TOKEN), "a tunnel is asked for without the token");

    let plain = config("plain.toml", "http://collector.test:8088", "allow_plaintext = true");
    let command = proxy.command(&world, &["--config", &plain]);
    let forwarder = Forwarder::spawn(command, &world.new_log());
    let asked = "http://collector.test:8088/services/collector";
    until("the proxy is asked to pass it on", async || proxy.seen().contains(asked)).await;
    forwarder.kill().await;
}
