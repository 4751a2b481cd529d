//! What decoding costs, in raw megabytes per second of one core: `cargo bench -p forwarder-record --profile release`.
//!
//! The shapes are those of the project's performance bar: access logs of 24 short fields, audit logs of one
//! large one. Reports only; nothing is asserted about time.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench reports and may panic")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use forwarder_record::encode::{Log, LogGroup, log_group_list};
use forwarder_record::{Batch, Limits, Origin, SliceLimits, json};

fn block(log: impl Fn(u32) -> Vec<(String, String)>) -> Bytes {
    let group = |first: u32| LogGroup {
        topic: "topic".into(),
        source: "192.0.2.1".into(),
        tags: vec![("__receive_time__".into(), "1767323050".into())],
        logs: (first..first + 100)
            .map(|n| Log { time: 1_767_323_045 + n / 50, nanos: None, contents: log(n) })
            .collect(),
    };
    let groups: Vec<Vec<u8>> = (0..10).map(|n| group(n * 100).encode()).collect();
    log_group_list(groups.iter().map(Vec::as_slice)).into()
}

fn access_log(n: u32) -> Vec<(String, String)> {
    let field = |i: u32| {
        (format!("field_name_{i}"), format!("value-{:0width$}", n * i, width = 4 + i as usize % 24))
    };
    (0..24).map(field).collect()
}

fn audit_log(n: u32) -> Vec<(String, String)> {
    let event = format!(
        r#"{{"eventId":"{n}","eventName":"DescribeInstances","detail":"{}","eventRW":"Read"}}"#,
        "0123456789 abcdefghij ".repeat(90)
    );
    vec![("event".into(), event)]
}

/// Best of several runs: the machine's noise only ever adds.
fn best(mut run: impl FnMut()) -> Duration {
    (0..30)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .min()
        .unwrap_or_default()
}

fn report(name: &str, bytes: usize, rows: usize, time: Duration) {
    let rate = bytes as f64 / time.as_secs_f64() / 1e6;
    let per_row = time.as_nanos() / rows as u128;
    println!("{name:<28} {rate:>8.0} MB/s {per_row:>6} ns/log");
}

fn main() {
    for (shape, block) in [("access", block(access_log)), ("audit", block(audit_log))] {
        let decode =
            || Batch::decode(block.clone(), Origin::default(), &Limits::default()).unwrap();
        let batch = decode();
        let (bytes, rows) = (block.len(), batch.live_rows());
        report(&format!("{shape}: decode"), bytes, rows, best(|| drop(decode())));

        let mut out = Vec::with_capacity(2 * bytes);
        report(
            &format!("{shape}: walk and escape"),
            bytes,
            rows,
            best(|| {
                out.clear();
                for cell in batch.rows().flat_map(|row| row.cells()) {
                    json::escape_into(&mut out, cell.value);
                }
            }),
        );
        let slice = batch.slices(SliceLimits::default(), |_| true).remove(0);
        let key = if shape == "audit" { "event" } else { "field_name_7" };
        report(
            &format!("{shape}: one column"),
            bytes,
            rows,
            best(|| {
                std::hint::black_box(
                    batch.column(&slice, key).flatten().map(str::len).sum::<usize>(),
                );
            }),
        );
        report(
            &format!("{shape}: json path"),
            bytes,
            rows,
            best(|| {
                let found = batch.column(&slice, key).flatten();
                std::hint::black_box(
                    found.filter_map(|text| json::find(text, &["eventRW"])).count(),
                );
            }),
        );
        report(
            &format!("{shape}: json validity"),
            bytes,
            rows,
            best(|| {
                let found = batch.column(&slice, key).flatten();
                std::hint::black_box(found.filter(|text| json::is_valid(text)).count());
            }),
        );
    }
}
