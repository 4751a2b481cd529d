//! A daemon as a child process on loopback, which can be killed and started again.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use forwarder_tests::until;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::certificates::Certificates;
use crate::transcript::{Message, Transcript};

/// How often other ports are tried.
const ATTEMPTS: usize = 5;

/// Writes the configuration of one kind of daemon and says how to start it.
pub(crate) type Recipe = fn(&Setup) -> Command;

/// How a daemon is configured.
#[derive(Debug)]
pub(crate) struct Setup {
    /// A folder for its files.
    pub(crate) folder: PathBuf,
    /// Where to listen.
    pub(crate) ports: Ports,
    /// Who it is.
    pub(crate) certificates: Certificates,
    /// Where to write a line of JSON for each message; see [`Message`].
    pub(crate) transcript: PathBuf,
}

/// The ports of 127.0.0.1 that a daemon listens on.
#[derive(Debug)]
pub(crate) struct Ports {
    /// TCP, messages with their length in front.
    pub(crate) counted: u16,
    /// TCP, a message to a line.
    pub(crate) lines: u16,
    /// TLS, messages with their length in front.
    pub(crate) tls: u16,
}

impl Ports {
    /// Ports that were free a moment ago. Between then and the daemon's own call another program may take one;
    /// [`Daemon::start`] notices and asks again.
    fn free() -> Self {
        let listeners = [(); 3].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let [counted, lines, tls] = listeners.map(|held| held.local_addr().unwrap().port());
        Self { counted, lines, tls }
    }

    async fn all_accept(&self) -> bool {
        for port in [self.counted, self.lines, self.tls] {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
                return false;
            }
        }
        true
    }
}

/// A port was taken by another program before the daemon had it.
struct PortTaken;

/// A daemon. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    recipe: Recipe,
    setup: Setup,
    child: Child,
    transcript: Transcript,
    /// Read at a kill, not asked for yet.
    unread: Vec<Message>,
    starts: usize,
}

impl Daemon {
    /// Starts one in a folder below `folder` and waits until it listens.
    pub(crate) async fn start(recipe: Recipe, folder: &Path) -> Self {
        let folder = folder.join("daemon");
        fs::create_dir(&folder).unwrap();
        let mut setup = Setup {
            ports: Ports::free(),
            certificates: Certificates::make(&folder),
            transcript: folder.join("0.jsonl"),
            folder,
        };
        for _ in 0..ATTEMPTS {
            if let Ok(child) = launch(recipe, &setup).await {
                let transcript = Transcript::new(setup.transcript.clone());
                return Self { recipe, setup, child, transcript, unread: Vec::new(), starts: 1 };
            }
            setup.ports = Ports::free();
        }
        panic!("no port stays free; the daemon says:\n{}", setup.log())
    }

    /// SIGKILL: what it has in memory, and what its kernel holds for it, is gone.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
        self.unread.extend(self.transcript.news());
    }

    /// Starts it again after [`Daemon::kill`], on the same ports. It writes to another file: the last line of the
    /// one before may have no end.
    pub(crate) async fn restart(&mut self) {
        self.setup.transcript = self.setup.folder.join(format!("{}.jsonl", self.starts));
        self.starts += 1;
        self.transcript = Transcript::new(self.setup.transcript.clone());
        for _ in 0..ATTEMPTS {
            if let Ok(child) = launch(self.recipe, &self.setup).await {
                self.child = child;
                return;
            }
        }
        panic!("another program has the port; the daemon says:\n{}", self.setup.log())
    }

    /// How it was configured.
    pub(crate) fn setup(&self) -> &Setup {
        &self.setup
    }

    /// What it has complained about since its last start.
    pub(crate) fn log(&self) -> String {
        self.setup.log()
    }

    /// What it has understood since the last call.
    pub(crate) fn news(&mut self) -> Vec<Message> {
        let mut news = std::mem::take(&mut self.unread);
        news.extend(self.transcript.news());
        news
    }
}

impl Setup {
    fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// What the daemon has complained about.
    fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// rsyslog continues without a port that it could not have, syslog-ng ends; both say why.
    fn port_taken(&self) -> bool {
        self.log().contains("Address already in use")
    }
}

async fn launch(recipe: Recipe, setup: &Setup) -> Result<Child, PortTaken> {
    let log = File::create(setup.log_file()).unwrap();
    let mut command = recipe(setup);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    until("the daemon listens", async || {
        let ended = child.try_wait().unwrap();
        let failed = setup.port_taken();
        assert!(ended.is_none() || failed, "it ended at once and said:\n{}", setup.log());
        failed || setup.ports.all_accept().await
    })
    .await;
    if setup.port_taken() {
        // Dropping it kills it; waiting makes sure that it lets go of the ports it did get.
        let _ = child.kill().await;
        return Err(PortTaken);
    }
    Ok(child)
}
