//! How fast the receivers take events in: they must not be what limits a benchmark of the forwarder.
//!
//! `cargo bench -p forwarder-receivers` sends prepared bodies over loopback from one thread to a
//! receiver on another, and prints megabytes per second of wall time for each mode, next to the same
//! bytes parsed into `serde_json::Value`s on one thread without a socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use forwarder_receivers::hec::{self, HecReceiver};
use forwarder_receivers::syslog::{self, SyslogReceiver};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// Events per body; with events of 0.9 KB, a body is about 1 MB.
const PER_BODY: usize = 1_100;
const BODIES: usize = 400;
const EVENTS: u64 = (BODIES * PER_BODY) as u64;
const PATIENCE: Duration = Duration::from_secs(120);

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build()?;
    hec(&runtime)?;
    syslog(&runtime)
}

fn hec(runtime: &Runtime) -> Outcome {
    let bodies = hec_bodies();
    let bytes: usize = bodies.iter().map(Vec::len).sum();
    let started = Instant::now();
    for body in bodies.iter().take(BODIES / 10) {
        for envelope in serde_json::Deserializer::from_slice(body).into_iter::<Value>() {
            std::hint::black_box(envelope?);
        }
    }
    report("serde_json::Value, no socket", bytes / 10, started.elapsed());

    for (name, mode) in [
        ("HEC, counts", hec::Mode::Counts),
        ("HEC, ids from fields", hec::Mode::Ids(hec::IdFrom::Field("event_id".into()))),
        ("HEC, ids from the event", hec::Mode::Ids(hec::IdFrom::Member("requestId".into()))),
    ] {
        let expected = if matches!(mode, hec::Mode::Counts) { 0 } else { EVENTS };
        let receiver = runtime.block_on(HecReceiver::builder().mode(mode).start())?;
        let started = Instant::now();
        post_all(receiver.addr(), &receiver.token(), &bodies)?;
        let tally = runtime.block_on(receiver.wait_for(expected, PATIENCE))?;
        report(name, bytes, started.elapsed());
        assert_eq!((tally.received, tally.distinct_ids), (expected, expected));
        assert_eq!(tally.bytes, bytes as u64);
    }
    Ok(())
}

fn syslog(runtime: &Runtime) -> Outcome {
    let stream = syslog_stream();
    let from = syslog::IdFrom::Param { sd_id: "sls@32473".into(), name: "id".into() };
    for (name, mode) in [
        ("syslog over TCP, counts", syslog::Mode::Counts),
        ("syslog over TCP, ids", syslog::Mode::Ids(from)),
    ] {
        let receiver = runtime.block_on(SyslogReceiver::builder().mode(mode).start())?;
        let started = Instant::now();
        TcpStream::connect(receiver.addr())?.write_all(&stream)?;
        let tally = runtime.block_on(receiver.wait_for(EVENTS, PATIENCE))?;
        report(name, stream.len(), started.elapsed());
        assert_eq!((tally.received, tally.malformed), (EVENTS, 0));
    }
    Ok(())
}

/// Octet-counted RFC 5424 messages with the same events as payload.
fn syslog_stream() -> Vec<u8> {
    let mut stream = Vec::new();
    for number in 0..BODIES * PER_BODY {
        let (id, log) = (event_id(number), access_log(number));
        let head = "<14>1 2023-11-14T22:13:20.123456Z host.example.com sls 42 access";
        let message = format!("{head} [sls@32473 id=\"{id}\" project=\"audit\"] {log}");
        stream.extend_from_slice(format!("{} {message}", message.len()).as_bytes());
    }
    stream
}

/// Bodies of access logs as the forwarder sends them, every event with an id of its own.
fn hec_bodies() -> Vec<Vec<u8>> {
    let body = |number: usize| {
        let mut body = Vec::new();
        for event in 0..PER_BODY {
            body.extend_from_slice(hec_event(number * PER_BODY + event).to_string().as_bytes());
        }
        body
    };
    (0..BODIES).map(body).collect()
}

fn hec_event(number: usize) -> Value {
    json!({
        "time": 1_700_000_000 + number,
        "sourcetype": "access",
        "event": access_log(number),
        "fields": {"event_id": event_id(number)},
    })
}

fn event_id(number: usize) -> String {
    format!("project/logstore/3/1700000000{number:010}/{}", number % 97)
}

fn access_log(number: usize) -> Value {
    let mut log = json!({
        "requestId": format!("5F9C1A2B-{number:012X}"),
        "request_uri": "/api/v1/orders/8127361?expand=items&locale=zh-CN",
        "http_user_agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) \"quoted\" AppleWebKit/537.36",
    });
    if let Some(columns) = log.as_object_mut() {
        for column in 0..20 {
            let value = format!("value-{}", number + column);
            columns.insert(format!("column_{column:02}"), value.into());
        }
    }
    log
}

/// Posts the bodies one after another on one connection.
fn post_all(addr: SocketAddr, token: &str, bodies: &[Vec<u8>]) -> Outcome {
    let mut stream = TcpStream::connect(addr)?;
    let mut reply = [0; 1024];
    for body in bodies {
        let head = format!(
            "POST /services/collector HTTP/1.1\r\nhost: bench\r\nauthorization: Splunk {token}\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let length = stream.read(&mut reply)?;
        let reply = String::from_utf8_lossy(reply.get(..length).unwrap_or_default()).into_owned();
        if !reply.starts_with("HTTP/1.1 200") {
            return Err(reply.into());
        }
    }
    Ok(())
}

fn report(name: &str, bytes: usize, took: Duration) {
    let rate = bytes as f64 / 1e6 / took.as_secs_f64();
    eprintln!("{name:32} {rate:7.0} MB/s  ({:.0} MB in {took:.2?})", bytes as f64 / 1e6);
}
