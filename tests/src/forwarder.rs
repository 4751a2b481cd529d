//! The real program as a child process.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::admin::{Answer, Metrics};

/// The longest that anything may take before a test gives up. Generous: these are conditions, not timings.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How often a condition that is not announced is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Waits until something holds, and says what was waited for if it never does.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let seen = tokio::time::timeout(PATIENCE, async {
        while !holds().await {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    });
    assert!(seen.await.is_ok(), "waited in vain until {what}");
}

/// A running `forwarder`. Killed when dropped.
#[derive(Debug)]
pub struct Forwarder {
    child: Child,
    log: PathBuf,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` if a signal killed it.
    pub code: Option<i32>,
    /// Everything it printed to standard error.
    pub log: String,
}

impl Forwarder {
    /// The binary that cargo built with the tests.
    pub fn binary() -> PathBuf {
        let test = std::env::current_exe().expect("a test knows where it is");
        let folder =
            test.parent().and_then(Path::parent).expect("tests are in target/PROFILE/deps");
        let binary = folder.join("forwarder");
        assert!(binary.exists(), "{} is missing; run `cargo xtask test`", binary.display());
        binary
    }

    /// A plugin that `cargo xtask plugins` built.
    pub fn plugin(name: &str) -> PathBuf {
        let binary = Self::binary();
        let target = binary.parent().and_then(Path::parent).expect("target/PROFILE/forwarder");
        let plugin = target.join("wasm32-wasip2/plugin").join(format!("{name}.wasm"));
        assert!(plugin.exists(), "{} is missing; run `cargo xtask plugins`", plugin.display());
        plugin
    }

    /// A command with an empty environment, in `folder`.
    pub fn command(folder: &Path) -> Command {
        let mut command = Command::new(Self::binary());
        command.env_clear().current_dir(folder).kill_on_drop(true);
        command
    }

    /// Starts the program; its log goes to `log`.
    pub fn start(folder: &Path, arguments: &[&str], log: &Path) -> Self {
        let mut command = Self::command(folder);
        command.args(arguments);
        Self::spawn(command, log)
    }

    /// Starts the program with a command of the test's own; what it prints to standard error goes to `log`,
    /// and what it prints to standard output to a file next to it.
    pub fn spawn(mut command: Command, log: &Path) -> Self {
        let file = |path: &Path| File::create(path).expect("the test's folder is writable");
        command.stdin(Stdio::null()).stdout(file(&log.with_extension("out"))).stderr(file(log));
        let child = command.spawn().expect("the forwarder starts");
        Self { child, log: log.to_owned() }
    }

    /// The same with a standard output of the test's own.
    pub fn spawn_with_output(mut command: Command, log: &Path) -> Self {
        command.stderr(File::create(log).expect("the test's folder is writable"));
        Self::spawn_as_it_is(command, |_id| log.to_owned())
    }

    /// Starts the program with outputs of the test's own. `log` says where its log can be read.
    pub fn spawn_as_it_is(mut command: Command, log: impl FnOnce(u32) -> PathBuf) -> Self {
        let child = command.stdin(Stdio::null()).spawn().expect("the forwarder starts");
        let log = log(child.id().expect("the process is running"));
        Self { child, log }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id().expect("the process is running")
    }

    /// Everything it has printed to standard error so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Everything it has printed to standard output so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.log.with_extension("out")).unwrap_or_default()
    }

    /// SIGKILL: no chance to say goodbye.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("the process was running");
    }

    /// SIGTERM, and the exit code once it has drained.
    pub async fn terminate(self) -> Option<i32> {
        self.stop().await.code
    }

    /// SIGTERM, and how it ended once it has drained.
    pub async fn stop(self) -> Ended {
        self.signal("TERM").await;
        self.end().await
    }

    /// Sends a signal by its name, without `SIG`.
    pub async fn signal(&self, name: &str) {
        let id = self.id();
        let kill = Command::new("kill").args([&format!("-{name}"), &id.to_string()]).status().await;
        assert!(kill.is_ok_and(|status| status.success()), "cannot signal process {id}");
    }

    /// Waits until it ends by itself.
    pub async fn end(mut self) -> Ended {
        let code = self.ended().await;
        Ended { code, log: self.log() }
    }

    /// The exit code, once it has ended.
    pub async fn ended(&mut self) -> Option<i32> {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let Ok(status) = ended else { panic!("it does not end; its log:\n{}", self.log()) };
        status.expect("a child can be waited for").code()
    }

    /// Whether it is still running.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Resolves once it has ended, for those who may only look.
    pub async fn gone(&self) {
        while !self.is_zombie() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Whether it has ended, without asking how.
    fn is_zombie(&self) -> bool {
        let Some(id) = self.child.id() else { return true };
        let state = std::fs::read_to_string(format!("/proc/{id}/stat"));
        state.is_ok_and(|state| state.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
    }

    /// Waits until its log contains `text`.
    pub async fn says(&mut self, text: &str) {
        let seen = tokio::time::timeout(PATIENCE, async {
            while !self.log().contains(text) {
                assert!(self.is_running(), "it ended without saying {text:?}:\n{}", self.log());
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        });
        assert!(seen.await.is_ok(), "it does not say {text:?}:\n{}", self.log());
    }

    /// The address of its admin server, from its log.
    pub async fn admin(&mut self) -> SocketAddr {
        const MARK: &str = "serving http://127.0.0.1:";
        self.says(MARK).await;
        let log = self.log();
        let port = log
            .split(MARK)
            .nth(1)
            .map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
        let port = port.and_then(|digits| digits.parse().ok()).expect("a port follows the mark");
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// What its admin server answers.
    pub async fn ask(&mut self, method: &str, path: &str) -> Answer {
        let address = self.admin().await;
        Answer::to(address, method, path).await.expect("the admin server answers")
    }

    /// Its metrics.
    pub async fn metrics(&mut self) -> Metrics {
        let answer = self.ask("GET", "/metrics").await;
        assert_eq!(answer.status, 200, "{}", answer.head);
        Metrics::parse(&answer.body)
    }

    /// Waits until the sum of a metric over these labels is what the test wants.
    pub async fn until_metric(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        wanted: impl Fn(f64) -> bool,
    ) {
        let mut last = f64::NAN;
        let seen = tokio::time::timeout(PATIENCE, async {
            loop {
                last = self.metrics().await.sum(name, labels);
                if wanted(last) {
                    return;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        });
        if seen.await.is_err() {
            panic!("`{name}` {labels:?} stays at {last}; the log:\n{}", self.log());
        }
    }

    /// The most memory it has had resident so far, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()));
        let status = status.expect("the process is running");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|rest| rest.trim().strip_suffix(" kB"));
        kib.and_then(|digits| digits.parse::<u64>().ok()).expect("the kernel reports it") * 1024
    }
}
