//! What the demo needs: an SLS full of logs, a HEC and a syslog server, a folder with a config.

use std::path::{Path, PathBuf};

use forwarder_emulator::sign_check::SignatureCheck;
use forwarder_emulator::{Emulator, GroupSize, Options};
use forwarder_receivers::hec::{self, HecReceiver};
use forwarder_receivers::syslog::{self, SyslogReceiver};
use forwarder_sls::{AccessKey, Chain};
use tempfile::TempDir;

use super::sample_logs::SampleLogs;
use crate::exit::Failure;

/// What the samples follow from: the same logs in every run.
pub(super) const SEED: u64 = 1;

const PROJECT: &str = "demo";
const LOGSTORE: &str = "audit";
const GROUP: &str = "siem";
const SHARDS: u32 = 4;
const KEY_ID: &str = "demo-key-id";
const KEY_SECRET: &str = "demo-key-secret";

/// The servers that the forwarder of the demo talks to, and its folder.
pub(super) struct DemoServers {
    pub(super) sls: Emulator,
    pub(super) splunk: HecReceiver,
    pub(super) siem: SyslogReceiver,
    folder: TempDir,
    /// Logs in the logstore.
    pub(super) logs: u64,
}

impl DemoServers {
    /// Fills an SLS with `logs` logs and starts the receivers.
    pub(super) async fn build(logs: u64, sample_logs: &SampleLogs) -> Result<Self, Failure> {
        let failed = |what: &'static str| {
            move |cause: &(dyn std::error::Error + 'static)| Failure::internal(what, Chain(cause))
        };
        let options = Options {
            project: PROJECT.to_owned(),
            logstore: LOGSTORE.to_owned(),
            shards: SHARDS,
            samples: logs,
            seed: SEED,
            group_size: GroupSize::default(),
            signatures: SignatureCheck::Strict(AccessKey::new(KEY_ID, KEY_SECRET)),
            ..Options::default()
        };
        let sls = options.start().await.map_err(|cause| failed("no emulator")(&cause))?;
        let hec_ids = hec::Mode::Ids(hec::IdFrom::With(sample_logs.hec_extract()));
        let splunk = HecReceiver::builder().mode(hec_ids).start().await;
        let syslog_ids = syslog::Mode::Ids(syslog::IdFrom::With(sample_logs.syslog_extract()));
        let siem = SyslogReceiver::builder().mode(syslog_ids).start().await;
        Ok(Self {
            sls,
            splunk: splunk.map_err(|cause| failed("no HEC receiver")(&cause))?,
            siem: siem.map_err(|cause| failed("no syslog receiver")(&cause))?,
            folder: tempfile::tempdir().map_err(|cause| failed("no folder")(&cause))?,
            logs,
        })
    }

    /// The folder with config, state and log.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the config refers to by name.
    pub(super) fn secrets(&self) -> [(&'static str, String); 3] {
        [
            ("SLS_AK_ID", KEY_ID.to_owned()),
            ("SLS_AK_KEY", KEY_SECRET.to_owned()),
            ("SPLUNK_HEC_TOKEN", self.splunk.token()),
        ]
    }

    /// Writes the config; it is what a person would write, but for the ports and short times.
    pub(super) fn write_config(&self) -> std::io::Result<PathBuf> {
        let path = self.folder().join("forwarder.toml");
        let text = format!(
            r#"state_dir = "{state}"

[[source]]
name              = "audit"
endpoint          = "{endpoint}"
project           = "{PROJECT}"
logstore          = "{LOGSTORE}"
consumer_group    = "{GROUP}"
start             = "begin"
commit_interval   = "500ms"
[source.credentials]
access_key_id     = "${{SLS_AK_ID}}"
access_key_secret = "${{SLS_AK_KEY}}"

[[sink]]
name  = "splunk"
type  = "hec"
url   = "{hec}"
token = "${{SPLUNK_HEC_TOKEN}}"
index = "cloud_audit"

[[sink]]
name    = "siem"
type    = "syslog"
address = "{syslog}"
# Confirmed soon, so that the demo ends soon.
resend_age = "1s"

[admin]
listen = "127.0.0.1:0"
"#,
            state = self.folder().join("state").display(),
            endpoint = self.sls.endpoint(),
            hec = self.splunk.url(),
            syslog = self.siem.url(),
        );
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// Log groups that are not behind a checkpoint yet; `None` before the forwarder has joined.
    pub(super) fn backlog(&self) -> Option<u64> {
        self.sls.backlog(PROJECT, LOGSTORE, GROUP).ok()
    }

    /// Shards with a checkpoint.
    pub(super) fn checkpoints(&self) -> usize {
        self.sls.checkpoints(PROJECT, LOGSTORE, GROUP).map_or(0, |checkpoints| checkpoints.len())
    }
}

/// Shards of the logstore.
pub(super) const fn shards() -> u32 {
    SHARDS
}
