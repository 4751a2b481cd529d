//! Seen from outside: health, metrics and log lines, as monitoring systems and people read them.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use forwarder_emulator::faults::Fault;
use forwarder_emulator::{Api, Limits};
use forwarder_receivers::hec::BadEvent;
use forwarder_receivers::syslog::SyslogReceiver;
use forwarder_tests::{
    Forwarder, GROUP, LOGSTORE, Logs, PATIENCE, PROJECT, World, receivers, until,
};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_without_shards_is_ready_and_nothing_can_be_changed_from_outside() {
    let world = World::new(1).await;
    let config = world.config("forwarder.toml", "");
    let mut first = world.start(&config, &[]);
    first.until_metric("forwarder_shards_held", &[], |shards| shards == 1.0).await;
    let mut standby = world.start(&config, &[]);
    standby.says("at work").await;
    standby.until_metric("forwarder_heartbeats_total", &[], |beats| beats >= 2.0).await;
    assert_eq!(standby.metrics().await.sum("forwarder_shards_held", &[]), 0.0);
    for path in ["/readyz", "/healthz", "/metrics"] {
        assert_eq!(standby.ask("GET", path).await.status, 200, "{path}");
        for method in ["POST", "PUT", "DELETE"] {
            assert_eq!(standby.ask(method, path).await.status, 405, "{method} {path}");
        }
    }
    assert_eq!(standby.ask("GET", "/config").await.status, 404);
    let head = standby.ask("GET", "/metrics").await.head;
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");

    // And it takes over what the first one leaves.
    world.put(&Logs(0..100), 10);
    world.received(100, &first).await;
    first.kill().await;
    world.put(&Logs(100..200), 10);
    world.received(200, &standby).await;
    world.settled().await;
    assert_eq!(standby.terminate().await, Some(0));
}

/// The first of two free ports in a row, below those that the system gives to those who ask for any.
fn two_free_ports() -> u16 {
    let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut ports = (20_000..30_000).cycle().skip(std::process::id() as usize % 10_000).step_by(2);
    ports.find(|port| is_free(*port) && is_free(port + 1)).expect("some ports are free")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_instance_on_a_host_has_a_name_a_port_and_files_of_its_own() {
    let world = World::new(2).await;
    let port = two_free_ports();
    let text = world.settings().hec("splunk", &world.hec.url(), "").text();
    let text = text.replace("127.0.0.1:0", &format!("127.0.0.1:{port}"));
    let config = world.folder().join("forwarder.toml");
    std::fs::write(&config, text).unwrap();
    let mut first = world.start(&config, &[]);
    assert_eq!(first.admin().await.port(), port);
    first.says("at work").await;
    let mut second = world.start(&config, &[]);
    assert_eq!(second.admin().await.port(), port + 1);
    until("both are members under names of their own", async || {
        let members = world.sls.assignment(PROJECT, LOGSTORE, GROUP).unwrap_or_default();
        let names: Vec<&str> = members.keys().map(String::as_str).collect();
        names.len() == 2 && names[0].ends_with("-1") && names[1].ends_with("-2")
    })
    .await;
    let state = world.folder().join("state");
    assert!(state.join("dead-letters.jsonl").exists());
    assert!(state.join("dead-letters-2.jsonl").exists());
    assert_eq!(first.terminate().await, Some(0));
    assert_eq!(second.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_read_keep_no_other_from_metrics_and_health() {
    let world = World::new(1).await;
    let config = world.config("forwarder.toml", "");
    let mut forwarder = world.start(&config, &[]);
    forwarder.says("at work").await;
    let address = forwarder.admin().await;
    let requests = "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n".repeat(2_000);
    let mut held = Vec::new();
    for _client in 0..100 {
        let mut client = TcpStream::connect(address).await.unwrap();
        // It may be cut at any time.
        let _ = timeout(Duration::from_millis(20), client.write_all(requests.as_bytes())).await;
        held.push(client);
    }
    let began = Instant::now();
    for path in ["/metrics", "/readyz", "/healthz"] {
        assert_eq!(forwarder.ask("GET", path).await.status, 200, "{path}");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(forwarder.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_kept_small_where_they_are_not_served() {
    let world = World::new(1).await;
    // Whether this test holds the usual port or another program does is the same.
    let _port = TcpListener::bind("127.0.0.1:9464");
    let settings = world.settings().default_admin().log("level", "info,forwarder=trace");
    let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
    let mut forwarder = world.start(&config, &[]);
    forwarder.says("no /metrics: the usual port is taken").await;
    forwarder.says("folded the histograms of the metrics").await;
    assert_eq!(forwarder.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_line_says_how_much_flows_and_what_is_paused() {
    let world = World::new(2).await;
    world.put(&Logs(0..1_000), 10);
    let settings = world.settings().log("status_interval", "1s");
    let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
    let mut forwarder = world.start(&config, &[]);
    world.received(1_000, &forwarder).await;
    forwarder.says("status pulled_per_second=").await;
    forwarder.says("dead_letters=0 paused=0").await;
    world.hec.faults().disable_token();
    world.put(&Logs(1_000..1_010), 10);
    forwarder.says("paused=1 paused_names=\"sink splunk\"").await;
    world.hec.faults().enable_token();
    assert_eq!(forwarder.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_are_objects_for_machines_if_asked() {
    let world = World::new(1).await;
    world.put(&Logs(0..100), 10);
    let settings = world.settings().hec("splunk", &world.hec.url(), "");
    let by_file = settings.clone().log("format", "json").write("json.toml");
    let by_option = settings.write("text.toml");
    for (config, arguments) in [(by_file, &[][..]), (by_option, &["--log-format", "json"])] {
        let mut forwarder = world.start(&config, arguments);
        forwarder.says("at work").await;
        world.received(100, &forwarder).await;
        world.settled().await;
        let ended = forwarder.stop().await;
        assert_eq!(ended.code, Some(0));
        for line in ended.log.lines() {
            let line: Value = serde_json::from_str(line).expect("one object a line");
            for key in ["timestamp", "level", "target", "message"] {
                assert!(line[key].is_string(), "{key} is missing: {line}");
            }
        }
        let joined = ended.log.lines().find(|line| line.contains("\"joined\"")).unwrap();
        let joined: Value = serde_json::from_str(joined).unwrap();
        assert_eq!(
            (&joined["span"]["source"], &joined["level"]),
            (&"audit".into(), &"INFO".into())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_file_has_the_process_in_its_name_and_a_bounded_number_of_elders() {
    let world = World::new(2).await;
    world.put(&Logs(0..20_000), 10);
    let config = world
        .settings()
        .log("level", "debug")
        .log("file", "logs/forwarder.log")
        .log("max_size", "4KiB")
        .log("max_files", "3")
        .hec("splunk", &world.hec.url(), "")
        .write("forwarder.toml");
    let forwarder = world.start(&config, &[]);
    let file = format!("forwarder.{}.log", forwarder.id());
    world.received(20_000, &forwarder).await;
    world.settled().await;
    let ended = forwarder.stop().await;
    assert_eq!(ended.code, Some(0));
    let mut names: Vec<String> = std::fs::read_dir(world.folder().join("logs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [file.clone(), format!("{file}.1"), format!("{file}.2")]);
    for name in &names {
        let path = world.folder().join("logs").join(name);
        assert!(std::fs::metadata(&path).unwrap().len() <= 4_096, "{name} is too large");
    }
    // The newest lines are the same on the console.
    let newest = std::fs::read_to_string(world.folder().join("logs").join(file)).unwrap();
    let last = newest.lines().last().unwrap();
    assert!(ended.log.lines().last().unwrap().ends_with(&last[30..]), "{last}");
}

/// Everything that is counted happens once, and then the names and labels of `/metrics` are compared: they
/// are what dashboards and alerts are built on.
#[tokio::test(flavor = "multi_thread")]
async fn names_and_labels_of_metrics_are_an_interface() {
    // Small blocks and a small budget, so that pulling has to wait when a sink is down.
    let limits = Limits { max_pull_bytes: 100_000, ..Limits::default() };
    let world = World::of(World::sls(2).limits(limits), receivers::hec()).await;
    let siem = SyslogReceiver::builder().start().await.unwrap();
    let misbehave = Forwarder::plugin("misbehave");
    let poison = |poison: &str, number: &str, policy: &str| {
        format!(
            "name = \"{poison}\"\non_error = \"{policy}\"\n[transform.config]\n\
             poison = \"{poison}\"\nfield = \"number\"\nvalue = \"{number}\""
        )
    };
    let config = world
        .settings()
        .process("memory_budget", "1MiB")
        .plugin(&misbehave, &poison("trap", "13", "drop"))
        .plugin(&misbehave, &poison("bad_json", "14", "dead_letter"))
        .plugin(&misbehave, &poison("chatter", "15", "dead_letter"))
        .plugin(
            &Forwarder::plugin("powers"),
            "grants = [\"labels\", \"emit\"]\n\
             config = { field = \"status\", labels = { 404 = \"unheard-of\" }, copies = 1 }",
        )
        .plugin(
            &Forwarder::plugin("prune"),
            "config = { drop_if = [{ field = \"number\", equals = \"16\" }] }",
        )
        .plugin(
            &Forwarder::plugin("audit"),
            "config = { topics = [\"access\"], fields = [\"user\"] }",
        )
        .hec("splunk", &world.hec.url(), "")
        .syslog("siem", &siem.url(), "oversize = \"truncate\"\npayload = \"kv_seed\"")
        .write("forwarder.toml");
    world.put(&Logs(0..100), 10);
    let mut forwarder = world.start(&config, &[]);
    world.settled().await;
    let mut shapes = forwarder.metrics().await.shapes();
    assert_eq!(forwarder.terminate().await, Some(0));

    // Again, on a worse day.
    world.hec.faults().refuse_events(BadEvent::Named, |event| event.json.contains("\"117\""));
    world.hec.faults().busy_for(1);
    world.sls.faults().inject(Api::PullLogs, Fault::refuse(503, "ServerBusy"), 1);
    world.put(&Logs(100..200), 10);
    world.sls.trim(PROJECT, LOGSTORE, 0, 6).unwrap();
    let mut forwarder = world.start(&config, &[]);
    world.settled().await;
    world.hec.down().await;
    world.put(&Logs(200..10_200), 100);
    let waits = [("stage", "pull")];
    let retried = [("sink", "splunk"), ("reason", "retry")];
    let before = forwarder.metrics().await.sum("forwarder_delivery_retries_total", &retried);
    forwarder
        .until_metric("forwarder_delivery_retries_total", &retried, |now| now >= before + 3.0)
        .await;
    world.hec.up().await.unwrap();
    world.settled().await;
    let waited = "forwarder_backpressure_seconds_total";
    forwarder.until_metric(waited, &waits, |seconds| seconds > 0.0).await;
    let member = world.sls.assignment(PROJECT, LOGSTORE, GROUP).unwrap();
    let member = member.keys().next().unwrap().clone();
    world.sls.expire_consumer(PROJECT, LOGSTORE, GROUP, &member).unwrap();
    forwarder.until_metric("forwarder_membership_lost_total", &[], |lost| lost >= 1.0).await;
    siem.wait_for(1, PATIENCE).await.unwrap();

    let metrics = forwarder.metrics().await;
    assert_eq!(metrics.unexplained(), Vec::<&str>::new(), "every metric is described");
    shapes.extend(metrics.shapes());
    assert_eq!(forwarder.terminate().await, Some(0));
    let shapes: Vec<String> = shapes.into_iter().collect();
    insta::assert_snapshot!("metrics", shapes.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_happened_no_more_and_no_less() {
    let world = World::new(2).await;
    world.put(&Logs(0..3_000), 100);
    let config = world.config("forwarder.toml", "");
    let mut forwarder = world.start(&config, &[]);
    world.received(3_000, &forwarder).await;
    world.settled().await;
    let metrics = forwarder.metrics().await;
    let sum = |name: &str, labels: &[(&str, &str)]| metrics.sum(name, labels);
    assert_eq!(sum("forwarder_pulled_records_total", &[("source", "audit")]), 3_000.0);
    assert_eq!(sum("forwarder_pulled_records_total", &[("shard", "1")]), 1_500.0);
    assert_eq!(sum("forwarder_delivered_records_total", &[("sink", "splunk")]), 3_000.0);
    let settled = [("outcome", "delivered")];
    assert_eq!(sum("forwarder_settled_records_total", &settled), 3_000.0);
    assert_eq!(sum("forwarder_in_flight_bytes", &[]), 0.0);
    assert_eq!(sum("forwarder_open_batches", &[]), 0.0);
    assert_eq!(sum("forwarder_pulled_groups_total", &[]), 30.0);
    let pulled = sum("forwarder_pulled_bytes_total", &[]);
    assert_eq!(pulled, world.sls.traffic().pulled_bytes as f64, "counted once");
    assert_eq!(forwarder.terminate().await, Some(0));
}
