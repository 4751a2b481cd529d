//! An SLS with numbered logs, a HEC receiver, a folder.

use std::path::{Path, PathBuf};

use forwarder_emulator::sign_check::SignatureCheck;
use forwarder_emulator::{Emulator, Options};
use forwarder_receivers::hec::{HecReceiver, IdFrom, Mode};
use forwarder_sls::AccessKey;
use tempfile::TempDir;

use crate::child::{PATIENCE, Running, command};

/// Must be in no output of the program, whatever happens.
pub(crate) const KEY: &str = "s3cret-access-key-4711";
/// The same for the token.
pub(crate) const TOKEN: &str = "s3cret-hec-token-4711";

pub(crate) struct World {
    pub(crate) sls: Emulator,
    pub(crate) hec: HecReceiver,
    folder: TempDir,
}

impl World {
    /// A logstore with `logs` numbered logs in 6 shards.
    pub(crate) async fn with(logs: u64) -> Self {
        let key = AccessKey::new("key-id", KEY);
        let signatures = SignatureCheck::Strict(key);
        let options = Options { shards: 6, samples: logs, signatures, ..Options::default() };
        let mode = Mode::Ids(IdFrom::Member("seq".to_owned()));
        Self {
            sls: options.start().await.unwrap(),
            hec: HecReceiver::builder().token(TOKEN).mode(mode).start().await.unwrap(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A config with short times, written to a file; `more` goes to its top.
    pub(crate) fn config(&self, more: &str) -> PathBuf {
        let text = format!(
            r#"
state_dir = "{state}"
{more}

[[source]]
endpoint = "{endpoint}"
project = "demo"
logstore = "audit"
consumer_group = "siem"
heartbeat_interval = "1s"
group_timeout = "6s"
commit_interval = "100ms"
idle_poll = "100ms"
[source.credentials]
access_key_id = "key-id"
access_key_secret = "${{KEY}}"

[[sink]]
name = "splunk"
type = "hec"
url = "{hec}"
token = "${{TOKEN}}"
retry_min = "20ms"
retry_max = "100ms"

[admin]
listen = "127.0.0.1:0"
"#,
            state = self.folder().join("state").display(),
            endpoint = self.sls.endpoint(),
            hec = self.hec.url(),
        );
        let path = self.folder().join("forwarder.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Starts the program with a config.
    pub(crate) fn start(&self, config: &Path, name: &str, arguments: &[&str]) -> Running {
        let mut command = command();
        command.arg("--config").arg(config).args(arguments).env("KEY", KEY).env("TOKEN", TOKEN);
        Running::start(command, &self.folder().join(format!("{name}.log")))
    }

    /// Waits until the receiver has this many different logs.
    pub(crate) async fn received(&self, logs: u64, running: &Running) {
        let received = self.hec.wait_until(PATIENCE, |tally| tally.distinct_ids >= logs).await;
        assert!(received.is_ok(), "{received:?}\n{}", running.log());
    }

    /// Waits until everything is behind checkpoints.
    pub(crate) async fn settled(&self) {
        let settled = self.sls.until(|service| {
            let logstore = service.logstore("demo", "audit").ok()?;
            (logstore.backlog("siem").ok()? == 0).then_some(())
        });
        tokio::time::timeout(PATIENCE, settled).await.expect("the checkpoints reach the end");
    }
}
