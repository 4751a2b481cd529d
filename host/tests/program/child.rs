//! The program as a child process.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// The longest that anything may take. These are conditions, not timings.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The program with an empty environment.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forwarder"));
    command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs the program to its end.
pub(crate) async fn run(command: &mut Command) -> Output {
    timeout(PATIENCE, command.output()).await.expect("the program ends").unwrap()
}

/// Both outputs together.
pub(crate) fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A forwarder at work. Killed when dropped.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts a command; both outputs go to a file.
    pub(crate) fn start(mut command: Command, log: &Path) -> Self {
        let file = File::create(log).unwrap();
        let child = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        Self { child, log: log.to_owned() }
    }

    /// Everything it has printed.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it prints a text.
    pub(crate) async fn says(&mut self, text: &str) {
        let seen = timeout(PATIENCE, async {
            while !self.log().contains(text) {
                let ended = self.child.try_wait().unwrap();
                assert!(ended.is_none(), "ended without saying {text:?}:\n{}", self.log());
                sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(seen.await.is_ok(), "does not say {text:?}:\n{}", self.log());
    }

    /// `host:port` of its admin server.
    pub(crate) async fn admin(&mut self) -> String {
        const BEFORE: &str = "serving http://";
        self.says(BEFORE).await;
        let log = self.log();
        let (_, after) = log.split_once(BEFORE).unwrap();
        after.split('/').next().unwrap().to_owned()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        let id = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Waits for its end; the exit code.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        match timeout(PATIENCE, self.child.wait()).await {
            Ok(status) => status.unwrap().code(),
            Err(_) => panic!("does not end:\n{}", self.log()),
        }
    }

    /// SIGTERM, and the exit code.
    pub(crate) async fn terminate(&mut self) -> Option<i32> {
        self.signal(rustix::process::Signal::TERM);
        self.ended().await
    }
}
