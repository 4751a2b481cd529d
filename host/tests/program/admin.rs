//! What can be asked from outside, and what it is called.

use std::collections::BTreeMap;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::World;

async fn get(admin: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    let status = reply.split(' ').nth(1).unwrap().parse().unwrap();
    (status, reply.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// Names of metrics with the names of their labels: what dashboards and alerts are built on.
fn names(exposition: &str) -> String {
    let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    // Only there once something had to wait, which a small run may or may not see.
    names.insert("forwarder_backpressure_seconds_total", vec!["stage"]);
    for line in exposition.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.split(',').filter_map(|label| label.split_once('=')).map(|pair| pair.0);
        let seen = names.entry(name).or_default();
        seen.extend(labels.filter(|label| *label != "le"));
        seen.sort_unstable();
        seen.dedup();
    }
    names.iter().map(|(name, labels)| format!("{name} {{{}}}\n", labels.join(","))).collect()
}

#[tokio::test]
async fn metrics_have_the_names_that_dashboards_know() {
    let world = World::with(1_000).await;
    let plugin = crate::demo::audit().display().to_string();
    let mut running = world.start(&world.config(""), "metrics", &["--plugin", &plugin]);
    let admin = running.admin().await;
    world.received(1_000, &running).await;
    world.settled().await;
    let (status, metrics) = get(&admin, "/metrics").await;
    assert_eq!(status, 200);
    insta::assert_snapshot!("metrics", names(&metrics));
    assert!(
        metrics.contains("forwarder_delivered_records_total{sink=\"splunk\"} 1000"),
        "{metrics}"
    );
    assert_eq!(running.terminate().await, Some(0), "{}", running.log());
}

#[tokio::test]
async fn a_standby_and_a_holding_process_are_ready() {
    let world = World::with(300).await;
    world.hec.faults().disable_token();
    let config = world.config("");
    let mut holding = world.start(&config, "holding", &[]);
    let admin = holding.admin().await;
    holding.says("at work").await;
    holding.says("sink=\"splunk\"").await;
    holding.says("ERROR").await;
    assert_eq!(get(&admin, "/readyz").await, (200, "ready\n".to_owned()), "{}", holding.log());
    assert_eq!(get(&admin, "/healthz").await.0, 200);

    // Seven forwarders for six shards: one of them has none.
    let mut others: Vec<_> =
        (0..6).map(|n| world.start(&config, &format!("standby-{n}"), &[])).collect();
    for other in &mut others {
        let admin = other.admin().await;
        other.says("at work").await;
        assert_eq!(get(&admin, "/readyz").await.0, 200, "{}", other.log());
    }
}

#[tokio::test]
async fn a_receiver_that_is_down_at_the_start_costs_nothing() {
    let world = World::with(300).await;
    world.hec.down().await;
    let mut running = world.start(&world.config(""), "down", &[]);
    running.says("sink does not answer yet").await;
    world.hec.up().await.unwrap();
    world.received(300, &running).await;
    world.settled().await;
    assert_eq!(running.terminate().await, Some(0), "{}", running.log());
}

#[tokio::test]
async fn the_log_is_json_if_asked_and_goes_to_a_file_with_the_process_id() {
    let world = World::with(0).await;
    let file = world.folder().join("logs/forwarder.log");
    let log = format!("log = {{ format = \"json\", file = \"{}\" }}", file.display());
    let mut running = world.start(&world.config(&log), "json", &[]);
    running.says("at work").await;
    assert_eq!(running.terminate().await, Some(0));
    let console = running.log();
    for line in console.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    }
    let files: Vec<_> = std::fs::read_dir(world.folder().join("logs")).unwrap().collect();
    assert_eq!(files.len(), 1);
    let name = files[0].as_ref().unwrap().file_name().into_string().unwrap();
    let process = name.strip_prefix("forwarder.").unwrap().strip_suffix(".log").unwrap();
    assert!(process.parse::<u32>().is_ok(), "{name}");
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let world = World::with(2_000).await;
    world.hec.faults().disable_token();
    let mut running = world.start(&world.config("shutdown_grace = \"60s\""), "twice", &[]);
    running.says("ERROR").await;
    running.signal(rustix::process::Signal::TERM);
    running.says("stopping").await;
    // An echo of the first, as `timeout` sends it, is not a second signal.
    running.signal(rustix::process::Signal::TERM);
    running.signal(rustix::process::Signal::INT);
    assert_eq!(running.ended().await, Some(7), "{}", running.log());
    assert!(running.log().contains("re-read signal=\"SIGINT\""), "{}", running.log());
}
