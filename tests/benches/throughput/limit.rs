//! The limit: what one thread does with the same bytes when nothing stands in its way.

use std::time::Duration;

use bytes::Bytes;
use forwarder_record::{Batch, Edits, Encoded, Limits, Origin, RowIx, Slice, SliceLimits, json};
use forwarder_sinks::{hec, syslog};
use rustix::time::{ClockId, clock_gettime};

use crate::corpus::Corpus;
use crate::jobs::{Job, To, Work};

/// Raw MB per CPU-second, the best of several passes: noise only ever slows down.
pub(crate) fn measure(job: &Job, corpus: &Corpus) -> f64 {
    let sink = Sink::new(job.to);
    let pass = |_| {
        let start = cpu();
        for _ in 0..20 {
            once(job.work, corpus, &sink);
        }
        (cpu() - start) / 20
    };
    let best = (0..10).map(pass).min().unwrap_or_default();
    corpus.block.len() as f64 / 1e6 / best.as_secs_f64()
}

/// One pull's worth: decompress, decode, edit, encode, compress.
fn once(work: Work, corpus: &Corpus, sink: &Sink) {
    let block = lz4_flex::block::decompress(&corpus.packed, corpus.block.len());
    let block = Bytes::from(block.expect("it was compressed here"));
    let origin = Origin { first_cursor: Some(1), ..Origin::default() };
    let mut batch = Batch::decode(block, origin, &Limits::default()).expect("it is well formed");
    for slice in batch.slices(SliceLimits::default(), |_| true) {
        let edits = edits(work, &batch, &slice);
        batch.apply(&slice, &edits).expect("there is room");
    }
    let rows: Vec<RowIx> = batch.rows().map(|row| row.ix()).collect();
    let mut out = Encoded::default();
    sink.encode(&batch, &rows, &mut out);
    let (bytes, _, _) = out.into_parts();
    std::hint::black_box(sink.pack(bytes.into(), rows.len()));
}

/// The plugin's work without a sandbox.
fn edits(work: Work, batch: &Batch, slice: &Slice) -> Edits {
    let mut edits = Edits::new(slice.len());
    let rows = |column: &mut dyn Iterator<Item = bool>| -> Vec<u32> {
        (0..).zip(column).filter(|(_, selected)| *selected).map(|(row, _)| row).collect()
    };
    match work {
        Work::Pass => {}
        Work::Prune => {
            let status = batch.column(slice, "status");
            let fine = |value: Option<&str>| value.is_none_or(|value| value < "400");
            edits.drop_rows(rows(&mut status.map(fine))).expect("rows of the slice");
            edits.remove(
                ["http_user_agent", "http_referer", "ssl_cipher"].map(str::to_owned).into(),
            );
        }
        Work::Audit => {
            let names =
                batch.column(slice, "event").map(|event| json::find(event?, &["eventName"]));
            let reads = |name: Option<&str>| {
                name.is_some_and(|name| {
                    ["\"Describe", "\"List", "\"Get"].iter().any(|read| name.starts_with(read))
                })
            };
            edits.drop_rows(rows(&mut names.map(reads))).expect("rows of the slice");
            edits.nest("event".into());
        }
    }
    edits
}

enum Sink {
    Hec(hec::Encoder),
    Syslog(syslog::Encoder),
}

impl Sink {
    fn new(to: To) -> Self {
        match to {
            To::Hec { gzip } => {
                Self::Hec(hec::Encoder::new(&hec::EncoderSettings { gzip, ..Default::default() }))
            }
            To::Syslog => Self::Syslog(
                syslog::Encoder::new(&syslog::EncoderSettings::default())
                    .expect("the defaults fit"),
            ),
        }
    }

    fn encode(&self, batch: &Batch, rows: &[RowIx], out: &mut Encoded) {
        match self {
            Self::Hec(encoder) => drop(encoder.encode(batch, rows, out)),
            Self::Syslog(encoder) => drop(encoder.encode(batch, rows, out)),
        }
    }

    fn pack(&self, bytes: Bytes, rows: usize) -> usize {
        match self {
            Self::Hec(encoder) => encoder.pack(vec![bytes], rows).wire_bytes(),
            Self::Syslog(_) => bytes.len(),
        }
    }
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
