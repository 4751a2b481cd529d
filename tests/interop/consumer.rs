//! One process with one official consumer in it, and what it says it has processed.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use forwarder_emulator::Emulator;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinSet;

use crate::sdk;

pub(crate) const KEY: (&str, &str) = ("LTAIinterop", "interop+secret/==");
pub(crate) const PROJECT: &str = "interop";
pub(crate) const LOGSTORE: &str = "audit";
pub(crate) const GROUP: &str = "siem";

/// Seconds. The SDK makes the group's timeout twice as long; much less and a busy machine would
/// expire consumers that are alive.
pub(crate) const HEARTBEAT: u64 = 2;

/// How a consumer is to sign and to consume.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) auth_version: &'static str,
    pub(crate) in_order: bool,
    /// Log groups per pull.
    pub(crate) groups: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { auth_version: "v1", in_order: false, groups: 1000 }
    }
}

impl Settings {
    /// What the scripts read from their standard input, on one line.
    pub(crate) fn line(self, consumer: &str) -> String {
        let settings = json!({
            "endpoint": "http://sls.test",
            "access_key_id": KEY.0,
            "access_key_secret": KEY.1,
            "project": PROJECT,
            "logstore": LOGSTORE,
            "group": GROUP,
            "consumer": consumer,
            "heartbeat_interval": HEARTBEAT,
            "data_fetch_interval": 0.5,
            "in_order": self.in_order,
            "max_fetch_log_group_size": self.groups,
            "auth_version": self.auth_version,
            "region": "cn-hangzhou",
        });
        format!("{settings}\n")
    }
}

/// One processed batch.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Processed {
    pub(crate) shard: u32,
    /// The ids of the logs that have one.
    pub(crate) ids: Vec<String>,
    /// The others, flattened by the SDK.
    pub(crate) others: Vec<Map<String, Value>>,
}

/// A running consumer; killed when dropped.
pub(crate) struct Consumer {
    child: Child,
    processed: Arc<Mutex<Vec<Processed>>>,
    reading: JoinSet<()>,
}

impl Consumer {
    /// Starts a consumer of this name.
    pub(crate) async fn start(emulator: &Emulator, name: &str, settings: Settings) -> Self {
        let mut child = python(emulator, "consume.py").spawn().unwrap();
        let input = child.stdin.as_mut().unwrap();
        input.write_all(settings.line(name).as_bytes()).await.unwrap();
        let processed = Arc::default();
        let output = child.stdout.take().unwrap();
        let mut reading = JoinSet::new();
        reading.spawn(read(output, Arc::clone(&processed)));
        Self { child, processed, reading }
    }

    /// Everything processed so far, in order of processing.
    pub(crate) fn processed(&self) -> Vec<Processed> {
        self.processed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `kill -9`: no checkpoint, no farewell.
    pub(crate) async fn kill(mut self) -> Vec<Processed> {
        self.child.kill().await.unwrap();
        self.reading.join_next().await;
        self.processed()
    }

    /// Stops as the SDK does when it is asked to; the process must end well.
    pub(crate) async fn stop(mut self) -> Vec<Processed> {
        // Waiting closes its standard input, which is what it stops at.
        assert!(self.child.wait().await.unwrap().success());
        self.reading.join_next().await;
        self.processed()
    }
}

/// A script that takes the emulator for its HTTP proxy, so that any host name leads to it.
pub(crate) fn python(emulator: &Emulator, script: &str) -> Command {
    let mut command = Command::new(sdk::python());
    command
        .arg(sdk::script(script))
        .env("http_proxy", emulator.endpoint())
        .env("no_proxy", "")
        .env("NO_PROXY", "")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn read(output: ChildStdout, processed: Arc<Mutex<Vec<Processed>>>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Ok(batch) = serde_json::from_str(&line) {
            processed.lock().unwrap_or_else(PoisonError::into_inner).push(batch);
        }
    }
}
