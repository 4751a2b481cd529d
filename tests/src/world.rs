//! One emulator, one HEC receiver, one folder.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use forwarder_emulator::Emulator;
use forwarder_emulator::state::logstore::Placement;
use forwarder_receivers::hec::{HecReceiver, IdFrom, Mode};
use tempfile::TempDir;

use crate::forwarder::PATIENCE;
use crate::{Fingerprint, Forwarder, Logs};

/// Project, logstore and consumer group of all tests.
pub const PROJECT: &str = "project";
/// See [`PROJECT`].
pub const LOGSTORE: &str = "logstore";
/// See [`PROJECT`].
pub const GROUP: &str = "siem";
const TOKEN: &str = "00000000-0000-0000-0000-00000000cafe";

/// Everything the program talks to.
pub struct World {
    /// The service.
    pub sls: Emulator,
    /// The receiver of the sink `splunk`.
    pub hec: HecReceiver,
    folder: TempDir,
    shards: u32,
}

impl World {
    /// A logstore with `shards` empty shards and a receiver that records a fingerprint of each event.
    pub async fn new(shards: u32) -> Self {
        let extract = Arc::new(|envelope: &str| Fingerprint::of_envelope(envelope));
        Self::with_mode(shards, Mode::Ids(IdFrom::With(extract))).await
    }

    /// The same with a receiver that records what the test wants.
    pub async fn with_mode(shards: u32, mode: Mode) -> Self {
        let sls = Emulator::builder().logstore(PROJECT, LOGSTORE, shards).start().await;
        let hec = HecReceiver::builder().token(TOKEN).mode(mode).start().await;
        Self {
            sls: sls.expect("the emulator starts"),
            hec: hec.expect("the receiver starts"),
            folder: tempfile::tempdir().expect("a temporary folder"),
            shards,
        }
    }

    /// The folder of this test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Puts logs into the shards in turn, `per_group` to a group.
    pub fn put(&self, logs: &Logs, per_group: u64) {
        for (nth, group) in logs.groups(per_group).enumerate() {
            let shard = nth as u32 % self.shards;
            self.sls
                .put(PROJECT, LOGSTORE, Placement::Shard(shard), [group])
                .expect("the shard takes it");
        }
    }

    /// A configuration with this source and the sink `splunk`; `more` is appended.
    ///
    /// Heartbeats and commits are quick, so that a hand-over takes seconds and not a minute.
    pub fn config(&self, name: &str, more: &str) -> PathBuf {
        self.write(name, &format!("{}{}{more}", self.source(), self.hec_sink("")))
    }

    /// Writes a configuration.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder().join(name);
        std::fs::write(&path, text).expect("the test's folder is writable");
        path
    }

    /// The `[[source]]` and the process settings.
    pub fn source(&self) -> String {
        format!(
            r#"
state_dir = "{folder}/state"
shutdown_grace = "20s"

[log]
format = "text"

[admin]
listen = "127.0.0.1:0"

[[source]]
name = "audit"
type = "sls"
endpoint = "{endpoint}"
project = "{PROJECT}"
logstore = "{LOGSTORE}"
consumer_group = "{GROUP}"
start = "begin"
heartbeat_interval = "1s"
group_timeout = "6s"
commit_interval = "200ms"
idle_poll = "200ms"
[source.credentials]
access_key_id = "id"
access_key_secret = "secret"
"#,
            folder = self.folder().display(),
            endpoint = self.sls.endpoint(),
        )
    }

    /// The sink `splunk`, with further settings.
    pub fn hec_sink(&self, settings: &str) -> String {
        format!(
            r#"
[[sink]]
name = "splunk"
type = "hec"
url = "{url}"
token = "{TOKEN}"
retry_min = "20ms"
retry_max = "200ms"
{settings}
"#,
            url = self.hec.url(),
        )
    }

    /// Starts the program with a configuration, and what else is to be on its command line.
    pub fn start(&self, config: &Path, arguments: &[&str]) -> Forwarder {
        let mut all = vec!["--config", config.to_str().expect("a path in UTF-8")];
        all.extend(arguments);
        let nth = std::fs::read_dir(self.folder()).map_or(0, Iterator::count);
        Forwarder::start(self.folder(), &all, &self.folder().join(format!("forwarder-{nth}.log")))
    }

    /// Waits until the receiver has seen this many different events.
    pub async fn received(&self, events: u64, forwarder: &Forwarder) {
        let seen = self.hec.wait_until(PATIENCE, |tally| tally.distinct_ids >= events).await;
        if let Err(error) = seen {
            panic!("{error}; the forwarder's log:\n{}", forwarder.log());
        }
    }

    /// Waits until everything stored is behind the group's checkpoints.
    pub async fn settled(&self) {
        let settled = tokio::time::timeout(PATIENCE, async {
            while self.sls.backlog(PROJECT, LOGSTORE, GROUP).map_or(true, |backlog| backlog > 0) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(settled.await.is_ok(), "the checkpoints do not reach the end of the shards");
    }

    /// Asserts that exactly these logs arrived: none lost, none changed, none that was not sent. Returns how
    /// many arrived more than once.
    pub fn assert_received(&self, logs: &Logs) -> usize {
        let received = self.hec.received();
        let expected: HashSet<String> = logs.fingerprints().collect();
        let missing: Vec<&String> =
            expected.iter().filter(|id| !received.ids.contains(id)).take(5).collect();
        assert!(missing.is_empty(), "lost or changed, for example {missing:?}");
        let strange: Vec<&str> = received
            .ids
            .iter()
            .map(|(id, _)| id)
            .filter(|id| !expected.contains(*id))
            .take(5)
            .collect();
        assert!(strange.is_empty(), "never sent like this: {strange:?}");
        assert_eq!(received.tally.without_id, 0, "events without a number");
        received.ids.repeated().count()
    }
}
