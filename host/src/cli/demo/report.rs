//! What the demo says, and whether every log is accounted for.

use std::fmt::Write as _;
use std::time::Duration;

use forwarder_emulator::samples::Samples;
use forwarder_receivers::Ids;

use super::sample_logs::SampleLog;
use super::servers::{DemoServers, shards};
use crate::printable::printable;

/// Longest text of a log that is shown.
const WIDTH: usize = 420;

/// What went in and what came out.
pub(super) struct Report {
    logs: u64,
    splunk: Arrived,
    siem: Arrived,
    checkpoints: usize,
    backlog: Option<u64>,
    raw_bytes: u64,
    took: Duration,
    cpu: Option<Duration>,
    memory: Option<u64>,
}

/// What one receiver has.
struct Arrived {
    distinct: u64,
    repeated: u64,
    missing: Vec<String>,
    strange: u64,
}

impl Arrived {
    fn new(ids: &Ids, without_id: u64, logs: u64) -> Self {
        let missing: Vec<String> =
            (0..logs).map(Samples::id).filter(|id| !ids.contains(id)).collect();
        let known = logs - missing.len() as u64;
        Self {
            distinct: ids.distinct(),
            repeated: ids.total() - ids.distinct(),
            strange: ids.distinct() - known + without_id,
            missing,
        }
    }

    fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.strange == 0
    }
}

impl Report {
    /// Takes stock.
    pub(super) fn new(
        servers: &DemoServers,
        took: Duration,
        cpu: Option<Duration>,
        memory: Option<u64>,
    ) -> Self {
        let (splunk, siem) = (servers.splunk.received(), servers.siem.received());
        Self {
            logs: servers.logs,
            splunk: Arrived::new(&splunk.ids, splunk.tally.without_id, servers.logs),
            siem: Arrived::new(&siem.ids, siem.tally.without_id, servers.logs),
            checkpoints: servers.checkpoints(),
            backlog: servers.backlog(),
            raw_bytes: servers.sls.traffic().pulled_bytes,
            took,
            cpu,
            memory,
        }
    }

    /// Whether every log arrived at every sink and is behind a checkpoint.
    pub(super) fn is_complete(&self) -> bool {
        self.splunk.is_complete() && self.siem.is_complete() && self.backlog == Some(0)
    }

    /// The counts, as a table.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mb = self.raw_bytes as f64 / 1e6;
        let seconds = self.took.as_secs_f64();
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            text,
            "logs in SLS         {:>9}   ({mb:.0} MB on {} shards)",
            self.logs,
            shards()
        );
        for (name, arrived) in
            [("delivered by HEC", &self.splunk), ("delivered by syslog", &self.siem)]
        {
            let _ = writeln!(
                text,
                "{name:<19} {:>9}   (twice: {}, missing: {}, unknown: {})",
                arrived.distinct,
                arrived.repeated,
                arrived.missing.len(),
                arrived.strange
            );
        }
        let behind = self.backlog.map_or("nothing saved".to_owned(), |backlog| match backlog {
            0 => "everything is behind them".to_owned(),
            groups => format!("{groups} log groups are not behind them"),
        });
        let _ = writeln!(text, "checkpoints saved   {:>9}   ({behind})", self.checkpoints);
        let _ = write!(
            text,
            "throughput          {:>9.0}   raw MB/s over {seconds:.1} s",
            mb / seconds.max(0.001)
        );
        if let Some(cpu) = self.cpu.filter(|cpu| !cpu.is_zero()) {
            let _ = write!(text, ", {:.0} raw MB per CPU-second", mb / cpu.as_secs_f64());
        }
        if let Some(memory) = self.memory {
            let _ = write!(text, ", {} MB at most", memory / 1_000_000);
        }
        text
    }

    /// What is missing, if anything.
    pub(super) fn complaint(&self) -> String {
        let mut complaints = Vec::new();
        for (name, arrived) in [("HEC", &self.splunk), ("syslog", &self.siem)] {
            if let Some(first) = arrived.missing.first() {
                let missing = arrived.missing.len();
                complaints
                    .push(format!("{missing} logs did not arrive by {name}, for example {first}"));
            }
            if arrived.strange > 0 {
                complaints.push(format!(
                    "{} logs arrived by {name} that were never sent",
                    arrived.strange
                ));
            }
        }
        if self.backlog != Some(0) {
            complaints.push("the checkpoints do not cover everything".to_owned());
        }
        complaints.join("; ")
    }
}

/// One log before and after.
pub(super) fn sample_log(sample_log: &SampleLog) -> String {
    let nothing = "(nothing arrived)";
    let part = |text: &Option<String>| shortened(text.as_deref().unwrap_or(nothing));
    format!(
        "{}\n  in SLS  {}\n  HEC     {}\n  syslog  {}",
        sample_log.topic,
        shortened(&sample_log.before),
        part(&sample_log.hec),
        part(&sample_log.syslog),
    )
}

fn shortened(text: &str) -> String {
    let text = printable(text);
    match text.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.into_owned(),
    }
}
