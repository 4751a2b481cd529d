//! The emulator as these tests use it: project `proj`, logstore `store`, consumer group `grp`, strict signatures, a
//! record of every request, and logs of one text each.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::allow_attributes,
    clippy::indexing_slicing,
    reason = "each test file uses a part"
)]

pub mod counters;
pub mod reading;

use std::sync::Once;
use std::time::Duration;

use forwarder_emulator::Emulator;
use forwarder_emulator::clock::Timestamp;
use forwarder_emulator::log_group::EncodedGroup;
use forwarder_emulator::sign_check::SignatureCheck;
use forwarder_emulator::state::consumer_group::{ConsumerGroup, GroupOptions, SaveCheckpoint};
use forwarder_emulator::state::logstore::{Logstore, Placement};
use forwarder_record::encode::{Log, LogGroup};
use forwarder_sls::sign::Signature;
use forwarder_sls::{AccessKey, Client, ClientConfig, Credentials, Cursor, Endpoint, Scheme};

pub use counters::Counters;
pub use forwarder_emulator::faults::Fault;
pub use forwarder_emulator::{Api, RecordedRequest};

pub const KEY_ID: &str = "LTAI-test";
pub const SECRET: &str = "test-secret";
pub const REGION: &str = "cn-test";

/// A running emulator; stops when dropped.
pub struct Sls {
    pub emulator: Emulator,
    /// The number in the first cursor of each shard.
    begins: Vec<u64>,
}

impl Sls {
    /// Starts with so many shards, all empty.
    pub async fn start(shards: u32) -> Self {
        install_tls();
        let builder = Emulator::builder().logstore("proj", "store", shards);
        let emulator = builder.record_requests(100_000).start().await.unwrap();
        let begins = emulator.inspect(|service| {
            let shards = service.logstore("proj", "store").unwrap().shards();
            shards.map(|shard| shard.begin().number()).collect()
        });
        let sls = Self { emulator, begins };
        sls.accept(SECRET);
        sls
    }

    /// Accepts only what is signed with this secret.
    pub fn accept(&self, secret: &str) {
        self.emulator.accept(SignatureCheck::Strict(AccessKey::new(KEY_ID, secret)));
    }

    /// The cursor behind the first `groups` log groups that a shard ever held.
    pub fn cursor(&self, shard: usize, groups: u64) -> Cursor {
        Cursor::at(self.begins[shard] + groups)
    }

    pub fn now(&self) -> i64 {
        self.emulator.clock().now().seconds().try_into().unwrap()
    }

    /// Looks at or changes the logstore.
    pub fn with<T>(&self, change: impl FnOnce(&mut Logstore) -> T) -> T {
        self.emulator.change("proj", "store", |logstore| Ok(change(logstore))).unwrap()
    }

    /// Appends log groups of one text each, received now.
    pub fn write(&self, shard: u32, texts: &[&str]) {
        self.write_at(shard, texts, self.now());
    }

    pub fn write_at(&self, shard: u32, texts: &[&str], received: i64) {
        self.store(shard, texts.iter().map(|text| group(text)), received);
    }

    pub fn store(&self, shard: u32, groups: impl IntoIterator<Item = EncodedGroup>, received: i64) {
        let received = Timestamp::from_seconds(received.try_into().unwrap());
        self.with(|logstore| {
            for group in groups {
                logstore.put(Placement::Shard(shard), group, received).unwrap();
            }
        });
    }

    /// Lets the oldest log groups of a shard expire.
    pub fn trim(&self, shard: u32, groups: usize) {
        self.emulator.trim("proj", "store", shard, groups).unwrap();
    }

    pub fn create_group(&self, seconds: u64, order: bool) {
        let options = GroupOptions { timeout: Duration::from_secs(seconds), order };
        self.with(|logstore| logstore.create_group("grp", options)).unwrap();
    }

    /// Forgets the group with its members and checkpoints.
    pub fn delete_group(&self) {
        self.with(|logstore| logstore.delete_group("grp")).unwrap();
    }

    /// Looks at or changes the group; `None` if there is none.
    pub fn group<T>(&self, look: impl FnOnce(&mut ConsumerGroup) -> T) -> Option<T> {
        self.with(|logstore| logstore.group_mut("grp").ok().map(look))
    }

    /// Timeout and order of the group.
    pub fn options(&self) -> Option<(u64, bool)> {
        self.group(|group| (group.options().timeout.as_secs(), group.options().order))
    }

    /// Another consumer joins.
    pub fn join(&self, consumer: &str) {
        let now = self.emulator.clock().now();
        self.group(|group| group.heartbeat(consumer, &[].into(), now).unwrap()).unwrap();
    }

    /// Whether the consumer under test is a member.
    pub fn is_member(&self) -> bool {
        self.group(|group| group.assignment().is_member("c1")) == Some(true)
    }

    /// Forces a checkpoint, in the first minute of the epoch.
    pub fn save(&self, shard: u32, cursor: &Cursor) {
        let (cursor, now) = (cursor.as_str(), Timestamp::from_seconds(60));
        let save = SaveCheckpoint { consumer: None, shard, cursor, force: true };
        self.with(|logstore| logstore.save_checkpoint("grp", save, now)).unwrap();
    }

    /// The stored checkpoint of a shard.
    pub fn saved(&self, shard: u32) -> String {
        self.group(|group| group.checkpoints()[&shard].cursor.clone()).unwrap()
    }

    /// Adds a fault for the next call of this name.
    pub fn fault(&self, api: Api, fault: Fault) {
        self.faults(api, 1, fault);
    }

    /// Adds a fault for the next few calls of this name.
    pub fn faults(&self, api: Api, times: u32, fault: Fault) {
        self.emulator.faults().inject(api, fault, times);
    }

    pub fn clear_faults(&self) {
        self.emulator.faults().clear();
    }

    /// The requests of one call so far.
    pub fn seen(&self, api: Api) -> Vec<RecordedRequest> {
        self.emulator.recorded(api)
    }

    /// The shards in the last heartbeat.
    pub fn report(&self) -> String {
        let last = self.seen(Api::HeartBeat).pop().map(|seen| seen.body.to_vec());
        String::from_utf8(last.unwrap_or_default()).unwrap()
    }

    /// Waits until the state is as wanted.
    pub async fn until(&self, what: &str, wanted: impl Fn() -> bool) {
        let poll = async {
            while !wanted() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), poll).await.is_err() {
            panic!("waited in vain until {what}");
        }
    }

    pub fn config(&self) -> ClientConfig {
        let address = self.emulator.address();
        let endpoint = Endpoint::new(Scheme::Http, &address.ip().to_string(), Some(address.port()));
        let key = Credentials::fixed(AccessKey::new(KEY_ID, SECRET));
        let mut config = ClientConfig::new(endpoint, "proj".parse().unwrap(), key);
        config.signature = Signature::V4 { region: REGION.into() };
        config.backoff_factor = 0.01;
        config.timeout = Duration::from_secs(10);
        config
    }

    pub fn client(&self) -> Client {
        Client::new(self.config()).unwrap()
    }
}

/// A log group of one log, which holds this text.
pub fn group(text: &str) -> EncodedGroup {
    let log = Log { contents: vec![("text".into(), text.into())], ..Log::default() };
    EncodedGroup::from(&LogGroup { logs: vec![log], ..LogGroup::default() })
}

/// A log group of so many bytes in an unpacked block.
pub fn group_of(bytes: usize) -> EncodedGroup {
    let shorter = (0..bytes).rev().map(|length| group(&"x".repeat(length)));
    shorter.into_iter().find(|group| group.entry().len() == bytes).unwrap()
}

pub fn refuse(status: u16, code: &str) -> Fault {
    Fault::refuse(status, code)
}

/// A refusal with an explanation.
pub fn refuse_with(status: u16, code: &str, message: &str) -> Fault {
    let body = serde_json::json!({"errorCode": code, "errorMessage": message});
    Fault::Together(vec![Fault::refuse(status, code), Fault::SetBody(body.to_string())])
}

/// No answer ever.
pub fn hang() -> Fault {
    Fault::Delay(Duration::from_secs(3600))
}

/// Status 200, but HTML.
pub fn nonsense() -> Fault {
    Fault::SetBody("<html></html>".into())
}

/// The right answer with a header changed.
pub fn header(name: &str, value: impl ToString) -> Fault {
    Fault::SetHeader(name.into(), value.to_string())
}

/// The right answer without a header.
pub fn without(name: &str) -> Fault {
    Fault::OmitHeader(name.into())
}

/// Without the headers that not every deployment of the service sends.
pub fn unhelpful() -> Fault {
    let optional = ["x-log-end-of-cursor", "x-log-cursor-time", "x-log-read-last-cursor"];
    Fault::Together(optional.map(without).into())
}

/// TLS needs a provider even where no test speaks it.
pub fn install_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| rustls::crypto::ring::default_provider().install_default().unwrap());
}
