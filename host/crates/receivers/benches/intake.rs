//! How fast the receivers take events in: they must not be what limits a benchmark of the forwarder.
//!
//! `cargo bench -p forwarder-receivers` sends prepared bodies over loopback from one thread to a
//! receiver on another, and prints megabytes per second of wall time for each mode, beside the same
//! bytes parsed into `serde_json::Value`s on one thread without a socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use forwarder_receivers::hec::{HecReceiver, IdFrom, Mode};
use serde_json::{Value, json};

/// Events per body; with events of 0.9 KB, a body is about 1 MB.
const PER_BODY: usize = 1_100;
const BODIES: usize = 400;
const PATIENCE: Duration = Duration::from_secs(120);

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let bodies = hec_bodies();
    let bytes: usize = bodies.iter().map(Vec::len).sum();
    let started = Instant::now();
    for body in bodies.iter().take(BODIES / 10) {
        for envelope in serde_json::Deserializer::from_slice(body).into_iter::<Value>() {
            std::hint::black_box(envelope?);
        }
    }
    report("serde_json::Value, no socket", bytes / 10, started.elapsed());

    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    for (name, mode) in [
        ("HEC, counts", Mode::Counts),
        ("HEC, ids from fields", Mode::Ids(IdFrom::Field("event_id".into()))),
        ("HEC, ids from the event", Mode::Ids(IdFrom::Member("requestId".into()))),
    ] {
        let counts = matches!(mode, Mode::Counts);
        let receiver = runtime.block_on(HecReceiver::builder().mode(mode).start())?;
        let started = Instant::now();
        post_all(receiver.addr(), &receiver.token(), &bodies)?;
        report(name, bytes, started.elapsed());
        let expected = if counts { 0 } else { (BODIES * PER_BODY) as u64 };
        let tally = runtime.block_on(receiver.wait_for(expected, PATIENCE))?;
        assert_eq!((tally.received, tally.distinct_ids), (expected, expected));
        assert_eq!(tally.bytes, bytes as u64);
    }
    Ok(())
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
    let mut event = json!({
        "requestId": format!("5F9C1A2B-{number:012X}"),
        "request_uri": "/api/v1/orders/8127361?expand=items&locale=zh-CN",
        "http_user_agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) \"quoted\" AppleWebKit/537.36",
    });
    if let Some(fields) = event.as_object_mut() {
        for column in 0..20 {
            fields
                .insert(format!("column_{column:02}"), format!("value-{}", number + column).into());
        }
    }
    json!({
        "time": 1_700_000_000 + number,
        "sourcetype": "access",
        "event": event,
        "fields": {"event_id": format!("project/logstore/3/1700000000{number:010}/{}", number % 97)},
    })
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
