//! The real program, as a child process: the same binary, a config file, the environment of a service.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long the forwarder may take to drain and leave.
const FAREWELL: Duration = Duration::from_secs(45);

/// A running forwarder. It is killed if the demo forgets it.
pub(super) struct Forwarder {
    child: Child,
    log: PathBuf,
}

impl Forwarder {
    /// Starts this very binary with a config file and a plugin; its log goes to a file.
    pub(super) fn start(
        config: &Path,
        plugin: &str,
        secrets: &[(&str, &str)],
        log: &Path,
    ) -> io::Result<Self> {
        let log_file = File::create(log)?;
        let child = Command::new(std::env::current_exe()?)
            .arg("--config")
            .arg(config)
            .args(["--plugin", plugin])
            .envs(secrets.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log_file)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Whether it has ended without being asked to.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// The last lines of its log.
    pub(super) fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }

    /// User and system time so far, where the system reports it.
    pub(super) fn cpu_time(&self) -> Option<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()?)).ok()?;
        // The name in parentheses may hold anything; utime and stime are fields 14 and 15 (proc(5)).
        let (_, after_name) = stat.rsplit_once(')')?;
        let mut fields = after_name.split_whitespace().skip(11);
        let ticks: u64 =
            fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        Some(Duration::from_millis(ticks * 1000 / per_second))
    }

    /// Largest resident memory so far in bytes, where the system reports it.
    pub(super) fn peak_memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
    }

    /// SIGTERM, and the exit code once it has drained.
    pub(super) async fn terminate(mut self) -> io::Result<Option<i32>> {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id {
            kill_process(id, Signal::TERM)?;
        }
        match timeout(FAREWELL, self.child.wait()).await {
            Ok(status) => Ok(status?.code()),
            Err(_) => Err(io::Error::other("it does not stop")),
        }
    }
}
