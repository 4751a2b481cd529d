//! The real program as a child process.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

/// The longest that anything may take before a test gives up. Generous: these are conditions, not timings.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A running `forwarder`. Killed when dropped.
#[derive(Debug)]
pub struct Forwarder {
    child: Child,
    log: PathBuf,
}

impl Forwarder {
    /// The binary that cargo built beside the tests.
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

    /// Starts the program; what it prints goes to `log`.
    pub fn start(folder: &Path, arguments: &[&str], log: &Path) -> Self {
        let output = File::create(log).expect("the test's folder is writable");
        let errors = output.try_clone().expect("a file can be shared");
        let child = Self::command(folder)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .expect("the forwarder starts");
        Self { child, log: log.to_owned() }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id().expect("the process is running")
    }

    /// Everything it has printed so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// SIGKILL: no chance to say goodbye.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("the process was running");
    }

    /// SIGTERM, and the exit code once it has drained.
    pub async fn terminate(mut self) -> Option<i32> {
        let id = self.id();
        let kill = Command::new("kill").args(["-TERM", &id.to_string()]).status().await;
        assert!(kill.is_ok_and(|status| status.success()), "cannot signal process {id}");
        self.ended().await
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

    /// Waits until its log contains `text`.
    pub async fn says(&mut self, text: &str) {
        let seen = tokio::time::timeout(PATIENCE, async {
            while !self.log().contains(text) {
                assert!(self.is_running(), "it ended without saying {text:?}:\n{}", self.log());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(seen.await.is_ok(), "it does not say {text:?}:\n{}", self.log());
    }

    /// The address of its admin server, from its log.
    pub async fn admin(&mut self) -> SocketAddr {
        const MARK: &str = "http://127.0.0.1:";
        self.says(MARK).await;
        let log = self.log();
        let port = log
            .split(MARK)
            .nth(1)
            .map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
        let port = port.and_then(|digits| digits.parse().ok()).expect("a port follows the mark");
        SocketAddr::from(([127, 0, 0, 1], port))
    }
}
