//! One emulator, one HEC receiver, one folder.

use std::path::{Path, PathBuf};

use forwarder_emulator::state::logstore::Placement;
use forwarder_emulator::{Builder, Emulator};
use forwarder_receivers::hec::{self, HecReceiver};
use tempfile::TempDir;

use crate::forwarder::{PATIENCE, until};
use crate::logs::TOPIC;
use crate::receivers::{self, assert_exactly};
use crate::settings::Settings;
use crate::{Forwarder, Logs};

/// Project, logstore and consumer group of all tests.
pub const PROJECT: &str = "project";
/// See [`PROJECT`].
pub const LOGSTORE: &str = "logstore";
/// See [`PROJECT`].
pub const GROUP: &str = "siem";

/// Everything the program talks to.
pub struct World {
    /// The service.
    pub sls: Emulator,
    /// The receiver of the sink `splunk`.
    pub hec: HecReceiver,
    folder: TempDir,
}

impl World {
    /// A logstore with `shards` empty shards and a receiver that records a fingerprint of each event.
    pub async fn new(shards: u32) -> Self {
        Self::of(Self::sls(shards), receivers::hec()).await
    }

    /// The same with a receiver that records what the test wants.
    pub async fn with_mode(shards: u32, mode: hec::Mode) -> Self {
        Self::of(Self::sls(shards), receivers::hec().mode(mode)).await
    }

    /// A service with the logstore of the tests, not started yet.
    pub fn sls(shards: u32) -> Builder {
        Emulator::builder().logstore(PROJECT, LOGSTORE, shards)
    }

    /// A world of a service and a receiver that the test has chosen.
    pub async fn of(sls: Builder, hec: hec::Builder) -> Self {
        Self {
            sls: sls.start().await.expect("the emulator starts"),
            hec: hec.start().await.expect("the receiver starts"),
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    /// The folder of this test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Puts logs into the shards in turn, `per_group` to a group.
    pub fn put(&self, logs: &Logs, per_group: u64) {
        self.put_about(TOPIC, logs, per_group);
    }

    /// The same with another topic.
    pub fn put_about(&self, topic: &str, logs: &Logs, per_group: u64) {
        for group in logs.groups_about(topic, per_group) {
            self.sls
                .put(PROJECT, LOGSTORE, Placement::Balanced, [group])
                .expect("a shard takes it");
        }
    }

    /// Every log that is stored: its event id, as design and documents promise it to receivers, and the
    /// value of its field `number`.
    pub fn event_ids(&self) -> Vec<(String, u64)> {
        self.sls.inspect(|service| {
            let logstore = service.logstore(PROJECT, LOGSTORE).expect("the logstore exists");
            let mut ids = Vec::new();
            for shard in logstore.shards() {
                let id = shard.id();
                for (cursor, group) in (shard.begin().number()..).zip(shard.groups()) {
                    let numbers = group.values_of("number");
                    ids.extend(numbers.enumerate().map(|(row, number)| {
                        let number = number.parse().expect("a number");
                        (format!("{PROJECT}/{LOGSTORE}/{id}/{cursor}/{row}"), number)
                    }));
                }
            }
            ids
        })
    }

    /// A configuration with this source and the sink `splunk`; `more` is appended.
    pub fn config(&self, name: &str, more: &str) -> PathBuf {
        self.settings().hec("splunk", &self.hec.url(), "").more(more).write(name)
    }

    /// A configuration with this source and no sink yet.
    pub fn settings(&self) -> Settings {
        Settings::new(self.folder(), &self.sls.endpoint())
    }

    /// Starts the program with a configuration, and what else is to be on its command line.
    pub fn start(&self, config: &Path, arguments: &[&str]) -> Forwarder {
        let mut all = vec!["--config", config.to_str().expect("a path in UTF-8")];
        all.extend(arguments);
        Forwarder::start(self.folder(), &all, &self.new_log())
    }

    /// A place for the log of one more process.
    pub fn new_log(&self) -> PathBuf {
        let nth = std::fs::read_dir(self.folder()).map_or(0, Iterator::count);
        self.folder().join(format!("forwarder-{nth}.log"))
    }

    /// Waits until the receiver has seen this many different events.
    pub async fn received(&self, events: u64, forwarder: &Forwarder) {
        let seen = self.hec.wait_until(PATIENCE, |tally| tally.distinct_ids >= events);
        let why = tokio::select! {
            seen = seen => match seen {
                Ok(_) => return,
                Err(error) => error.to_string(),
            },
            () = forwarder.gone() => "it ended".to_owned(),
        };
        panic!("{why}; the forwarder's log:\n{}", forwarder.log());
    }

    /// Waits until everything stored is behind the group's checkpoints.
    pub async fn settled(&self) {
        self.settled_for(GROUP).await;
    }

    /// The same for another group.
    pub async fn settled_for(&self, group: &str) {
        until("the checkpoints reach the end of the shards", async || {
            self.sls.backlog(PROJECT, LOGSTORE, group).is_ok_and(|backlog| backlog == 0)
        })
        .await;
    }

    /// Stored log groups that the checkpoints do not cover yet.
    pub fn backlog(&self) -> u64 {
        self.sls.backlog(PROJECT, LOGSTORE, GROUP).expect("the group exists")
    }

    /// Asserts that exactly these logs arrived: none lost, none changed, none that was not sent. Returns how
    /// many arrived more than once.
    pub fn assert_received(&self, logs: &Logs) -> usize {
        let received = self.hec.received();
        assert_eq!(received.tally.without_id, 0, "events without a number");
        assert_exactly(&received.ids, logs.fingerprints())
    }

    /// The dead letters of the first instance, one JSON object a line.
    pub fn dead_letters(&self) -> Vec<serde_json::Value> {
        let path = self.folder().join("state/dead-letters.jsonl");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect()
    }
}
