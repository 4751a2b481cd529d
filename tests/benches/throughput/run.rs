//! The real program, measured from outside by what the kernel says of its process.

use std::path::Path;

use forwarder_emulator::Emulator;
use forwarder_emulator::state::logstore::Placement;
use forwarder_receivers::{hec, syslog};
use forwarder_tests::{Forwarder, GROUP, LOGSTORE, PATIENCE, PROJECT};

use crate::corpus::Corpus;
use crate::jobs::{Job, To, Work};

pub(crate) const SHARDS: u32 = 4;

/// What a run came to.
pub(crate) struct Run {
    pub(crate) megabytes_per_cpu_second: f64,
    pub(crate) peak_rss_megabytes: f64,
}

/// Lets the program pull `bytes` raw bytes, and asks the kernel what it took.
pub(crate) async fn measure(job: &Job, corpus: &Corpus, bytes: u64) -> Run {
    let (sls, repeats) = service(corpus, bytes).await;
    let receiver = Receiver::start(job.to).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("forwarder.toml");
    std::fs::write(&config, settings(job, &sls, &receiver, folder.path())).expect("it is writable");

    let arguments = ["--config", config.to_str().expect("a path in UTF-8")];
    // Once in the life of a plugin it is compiled; that is not what is measured here.
    let check = Forwarder::command(folder.path()).arg("check").args(arguments).output().await;
    let check = check.expect("the forwarder starts");
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    let log = folder.path().join("log");
    let forwarder = Forwarder::start(folder.path(), &arguments, &log);
    let committed = tokio::time::timeout(PATIENCE, async {
        while sls.backlog(PROJECT, LOGSTORE, GROUP).map_or(true, |backlog| backlog > 0) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    });
    assert!(committed.await.is_ok(), "it does not finish:\n{}", forwarder.log());
    let process = format!("/proc/{}", forwarder.id());
    let (cpu_seconds, peak_rss_megabytes) = (cpu_seconds(&process), peak_rss(&process));
    assert_eq!(forwarder.terminate().await, Some(0));
    assert!(receiver.wire_bytes() > 0, "nothing arrived");
    drop(receiver);
    sls.stop().await;
    let pulled = (corpus.block.len() as u64 * repeats) as f64 / 1e6;
    Run { megabytes_per_cpu_second: pulled / cpu_seconds, peak_rss_megabytes }
}

/// A service that holds the corpus as often as needed, compressed beforehand.
async fn service(corpus: &Corpus, bytes: u64) -> (Emulator, u64) {
    let sls = Emulator::builder().logstore(PROJECT, LOGSTORE, SHARDS).start().await;
    let sls = sls.expect("the emulator starts");
    let repeats = bytes.div_ceil(corpus.block.len() as u64);
    for nth in 0..repeats {
        let shard = Placement::Shard((nth % u64::from(SHARDS)) as u32);
        sls.put(PROJECT, LOGSTORE, shard, corpus.groups.iter().cloned()).expect("it is stored");
    }
    (sls, repeats)
}

fn settings(job: &Job, sls: &Emulator, receiver: &Receiver, folder: &Path) -> String {
    let plugin = |name: &str, config: &str| {
        let path = Forwarder::plugin(name);
        format!("[[transform]]\nplugin = \"{}\"\n[transform.config]\n{config}\n", path.display())
    };
    let transform = match job.work {
        Work::Pass => String::new(),
        Work::Prune => plugin(
            "prune",
            "keep_if = [{ field = \"status\", at_least = 400 }]\n\
             remove = [\"http_user_agent\", \"http_referer\", \"ssl_cipher\"]",
        ),
        Work::Audit => plugin("audit", "drop_events = [\"Describe*\", \"List*\", \"Get*\"]"),
    };
    format!(
        r#"
state_dir = "{folder}/state"
[[source]]
name = "bench"
type = "sls"
endpoint = "{endpoint}"
project = "{PROJECT}"
logstore = "{LOGSTORE}"
consumer_group = "{GROUP}"
start = "begin"
commit_interval = "100ms"
[source.credentials]
access_key_id = "id"
access_key_secret = "secret"
{transform}
{sink}
"#,
        folder = folder.display(),
        endpoint = sls.endpoint(),
        sink = receiver.sink(job.to),
    )
}

enum Receiver {
    Hec(hec::HecReceiver),
    Syslog(syslog::SyslogReceiver),
}

impl Receiver {
    async fn start(to: To) -> Self {
        match to {
            To::Hec { .. } => {
                let started = hec::HecReceiver::builder().mode(hec::Mode::Counts).start().await;
                Self::Hec(started.expect("the receiver starts"))
            }
            To::Syslog => {
                let counts = syslog::Mode::Counts;
                let started = syslog::SyslogReceiver::builder().mode(counts).start().await;
                Self::Syslog(started.expect("the receiver starts"))
            }
        }
    }

    fn sink(&self, to: To) -> String {
        match (self, to) {
            (Self::Hec(hec), To::Hec { gzip }) => format!(
                "[[sink]]\nname = \"hec\"\ntype = \"hec\"\nurl = \"{}\"\ntoken = \"{}\"\ngzip = {gzip}\n",
                hec.url(),
                hec.token(),
            ),
            (Self::Syslog(syslog), _) => format!(
                "[[sink]]\nname = \"syslog\"\ntype = \"syslog\"\naddress = \"{}\"\n",
                syslog.url(),
            ),
            (Self::Hec(_), To::Syslog) => String::new(),
        }
    }

    fn wire_bytes(&self) -> u64 {
        match self {
            Self::Hec(hec) => hec.tally().wire_bytes,
            Self::Syslog(syslog) => syslog.tally().wire_bytes,
        }
    }
}

/// User and system time of a process: fields 14 and 15 of `/proc/PID/stat` (proc(5)), in clock ticks.
fn cpu_seconds(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("{process}/stat")).expect("the process is running");
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: u64 =
        after_name.split(' ').skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// The most memory the process ever had resident, in megabytes (`VmHWM`, proc(5)).
fn peak_rss(process: &str) -> f64 {
    let status =
        std::fs::read_to_string(format!("{process}/status")).expect("the process is running");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().unwrap_or_default();
    kilobytes * 1024.0 / 1e6
}
