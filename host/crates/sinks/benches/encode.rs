//! What encoding costs, in raw megabytes per CPU-second: `cargo bench -p forwarder-sinks --profile release`.
//!
//! Raw bytes are those of the decompressed block, the unit of the project's performance bar. Next to each
//! encoder stands the limit on the same bytes: copying the block. Reports only; asserts nothing about time.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench reports and may panic")]

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use forwarder_record::encode::{Log, LogGroup, log_group_list};
use forwarder_record::{Batch, Edits, Encoded, Limits, Origin, RowIx, SliceLimits};
use forwarder_sinks::{Template, file, hec, syslog};
use rustix::time::{ClockId, clock_gettime};

/// A load balancer's access log: 24 fields, about 750 bytes.
fn access_log(n: u32) -> Vec<(String, String)> {
    let fields = [
        ("body_bytes_sent", format!("{}", n % 100_000)),
        ("client_ip", format!("203.0.113.{}", n % 250)),
        ("client_port", format!("{}", 20_000 + n % 40_000)),
        ("host", "shop.example.com".into()),
        ("http_host", "shop.example.com".into()),
        ("http_referer", "https://shop.example.com/category/shoes?page=2".into()),
        (
            "http_user_agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/126.0".into(),
        ),
        ("http_x_forwarded_for", format!("203.0.113.{}, 198.51.100.7", n % 250)),
        ("read_request_time", "0".into()),
        ("request_length", format!("{}", 400 + n % 1000)),
        ("request_method", if n.is_multiple_of(7) { "POST" } else { "GET" }.into()),
        ("request_time", format!("0.{:03}", n % 1000)),
        ("request_uri", format!("/api/v2/items/{n}?fields=name,price,stock&lang=en")),
        ("scheme", "https".into()),
        ("server_protocol", "HTTP/1.1".into()),
        ("slb_vport", "443".into()),
        ("slbid", "lb-bp1xn7example0000".into()),
        ("ssl_cipher", "ECDHE-RSA-AES128-GCM-SHA256".into()),
        ("ssl_protocol", "TLSv1.2".into()),
        ("status", if n.is_multiple_of(31) { "502" } else { "200" }.into()),
        ("tcpinfo_rtt", format!("{}", 1000 + n % 5000)),
        ("time", "2026-01-02T03:04:05+08:00".into()),
        ("upstream_addr", "10.0.3.17:8080".into()),
        ("upstream_response_time", format!("0.{:03}", n % 900)),
    ];
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// An audit log: one field of about 1 KB of JSON, in which every ninth byte or so is a quote.
fn audit_log(n: u32) -> Vec<(String, String)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/vectors/samples.jsonl");
    let samples = std::fs::read_to_string(path).unwrap();
    let events: Vec<serde_json::Value> = samples
        .lines()
        .filter_map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap().get("event").cloned()
        })
        .collect();
    let event =
        events.iter().cycle().nth(n as usize % events.len()).and_then(|event| event.as_str());
    vec![("event".into(), event.unwrap().to_owned())]
}

fn batch(log: impl Fn(u32) -> Vec<(String, String)>) -> Batch {
    let group = |first: u32| LogGroup {
        topic: "topic".into(),
        source: "192.0.2.1".into(),
        tags: vec![("__receive_time__".into(), "1767323050".into())],
        logs: (first..first + 100)
            .map(|n| Log { time: 1_767_323_045 + n / 50, nanos: None, contents: log(n) })
            .collect(),
    };
    let groups: Vec<Vec<u8>> = (0..10).map(|n| group(n * 100).encode()).collect();
    let block = log_group_list(groups.iter().map(Vec::as_slice)).into();
    let origin = Origin {
        project: "audit-project".into(),
        logstore: "actiontrail".into(),
        first_cursor: Some(1_767_323_045_000),
        ..Origin::default()
    };
    Batch::decode(block, origin, &Limits::default()).unwrap()
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

/// Best of many runs: the machine's noise only ever adds.
fn best(mut run: impl FnMut()) -> Duration {
    let timed = |_| {
        let start = cpu_time();
        run();
        cpu_time().saturating_sub(start)
    };
    (0..200).map(timed).min().unwrap()
}

fn report(corpus: &str, batch: &Batch, name: &str, run: impl FnMut()) {
    let time = best(run);
    let rate = batch.raw_bytes() as f64 / time.as_secs_f64() / 1e6;
    let per_row = time.as_nanos() / batch.live_rows() as u128;
    println!("{corpus:<14} {name:<34} {rate:>8.0} MB/s {per_row:>6} ns/log");
}

fn encoders(corpus: &str, batch: &Batch) {
    let rows: Vec<RowIx> = batch.rows().map(|row| row.ix()).collect();
    println!("{corpus}: {} logs of {} bytes", rows.len(), batch.raw_bytes() / rows.len());
    let block = vec![b'x'; batch.raw_bytes()];
    let mut copy = Vec::new();
    report(corpus, batch, "copy of the block", || {
        copy.clear();
        copy.extend_from_slice(black_box(&block));
    });

    // Into a fresh buffer each time, as in the pipeline.
    let with = |name: &str, encode: &dyn Fn(&mut Encoded)| {
        report(corpus, batch, name, || {
            let mut encoded = Encoded::default();
            encode(&mut encoded);
            black_box(encoded);
        });
    };
    let hec = |event_id, event_format| {
        hec::Encoder::new(&hec::EncoderSettings {
            source: Template::fixed("sls"),
            sourcetype: Template::fixed("aliyun:audit"),
            index: Template::fixed("cloud_audit"),
            event_format,
            event_id,
            ..hec::EncoderSettings::default()
        })
    };
    for (name, encoder) in [
        ("hec object", hec(false, hec::EventFormat::Object)),
        ("hec object, event id", hec(true, hec::EventFormat::Object)),
        ("hec json string", hec(false, hec::EventFormat::JsonString)),
    ] {
        with(name, &|out| drop(encoder.encode(batch, &rows, out)));
    }
    for (name, payload, id) in [
        ("syslog kv", syslog::Payload::default(), false),
        ("syslog kv, event id", syslog::Payload::default(), true),
        ("syslog kv, sample's form", syslog::Payload::KvSeed("||".into()), false),
        ("syslog json", syslog::Payload::Json, false),
    ] {
        let header = syslog::rfc5424::HeaderSettings {
            hostname: Some("fwd-1.example.org".into()),
            app_name: Some("sls".into()),
            id_element: id.then(|| "forwarder@32473".into()),
            ..Default::default()
        };
        let header = syslog::HeaderFormat::Rfc5424(header);
        let settings = syslog::EncoderSettings { header, payload, ..Default::default() };
        let encoder = syslog::Encoder::new(&settings).unwrap();
        with(name, &|out| drop(encoder.encode(batch, &rows, out)));
    }
    with("json lines", &|out| drop(file::encode(batch, &rows, out)));

    let encoder = hec(true, hec::EventFormat::Object);
    let mut out = Encoded::default();
    drop(encoder.encode(batch, &rows, &mut out));
    let segment = Bytes::from(out.into_parts().0);
    report(corpus, batch, "hec gzip 1, after encoding", || {
        black_box(encoder.pack(vec![segment.clone()], rows.len()));
    });
}

fn main() {
    encoders("access logs", &batch(access_log));
    encoders("audit, text", &batch(audit_log));

    let mut nested = batch(audit_log);
    for slice in nested.slices(SliceLimits::default(), |_| true) {
        let mut edits = Edits::new(slice.rows().len());
        edits.nest("event".into());
        nested.apply(&slice, &edits).unwrap();
    }
    encoders("audit, nested", &nested);
}
