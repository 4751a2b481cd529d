//! The public face: build an emulator, fill it, watch it, interfere.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use forwarder_listener::Listener;
use tokio::net::TcpListener;

use crate::api::pull_logs::MAX_COUNT;
use crate::api_name::Api;
use crate::blocks::BlockCompression;
use crate::clock::Clock;
use crate::faults::Faults;
use crate::limits::Limits;
use crate::load::DataError;
use crate::log_group::EncodedGroup;
use crate::refusal::Refusal;
use crate::server;
use crate::server::server_state::{RecordedRequest, ServerState, Traffic};
use crate::sign_check::SignatureCheck;
use crate::state::consumer_group::Checkpoint;
use crate::state::cursor::Cursor;
use crate::state::logstore::{Logstore, Placement};
use crate::state::shard::PullBounds;
use crate::state::{Policy, Service, ShardId};

/// How often [`Emulator::until`] looks although no request came: consumers expire by silence.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// An emulator that is not listening yet.
#[derive(Debug)]
pub struct Builder {
    listen: SocketAddr,
    policy: Policy,
    limits: Limits,
    signatures: SignatureCheck,
    clock: Clock,
    record: usize,
    /// Project, logstore, shards.
    logstores: Vec<(String, String, u32)>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            policy: Policy::default(),
            limits: Limits::default(),
            signatures: SignatureCheck::Off,
            clock: Clock::system(),
            record: 0,
            logstores: Vec::new(),
        }
    }
}

impl Builder {
    /// Adds a logstore; its project is created with it.
    #[must_use]
    pub fn logstore(mut self, project: &str, logstore: &str, shards: u32) -> Self {
        self.logstores.push((project.to_owned(), logstore.to_owned(), shards));
        self
    }

    /// Where to listen; loopback and a free port unless said otherwise.
    #[must_use]
    pub fn listen(mut self, listen: SocketAddr) -> Self {
        self.listen = listen;
        self
    }

    /// Which signatures to accept; all, unless said otherwise.
    #[must_use]
    pub fn signatures(mut self, accepted: SignatureCheck) -> Self {
        self.signatures = accepted;
        self
    }

    /// The service's limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Creates unknown projects and logstores on first mention, with this many shards.
    #[must_use]
    pub fn create_missing(mut self, shards: u32) -> Self {
        self.policy.create_missing = Some(shards);
        self
    }

    /// The most consumer groups a logstore takes.
    #[must_use]
    pub fn max_groups(mut self, groups: usize) -> Self {
        self.policy.max_groups = groups;
        self
    }

    /// Records the latest requests, this many at most; none, unless said otherwise.
    #[must_use]
    pub fn record_requests(mut self, most: usize) -> Self {
        self.record = most;
        self
    }

    /// Starts to listen, on the Tokio runtime this is called in.
    ///
    /// # Errors
    /// The address cannot be bound, or a logstore's name is bad or named twice.
    pub async fn start(self) -> Result<Emulator, StartError> {
        let mut service = Service::new(self.policy);
        let now = self.clock.now();
        for (project, logstore, shards) in &self.logstores {
            if service.project(project).is_err() {
                service.create_project(project)?;
            }
            service.create_logstore(project, logstore, *shards, now)?;
        }
        let bind = |source| StartError::Bind { address: self.listen, source };
        let port = TcpListener::bind(self.listen).await.map_err(bind)?;
        let address = port.local_addr().map_err(bind)?;
        let shared =
            ServerState::new(service, self.clock, self.limits, self.signatures, self.record);
        let shared = Arc::new(shared);
        let listener = server::start(port, Arc::clone(&shared));
        Ok(Emulator { address, shared, listener })
    }
}

/// Why an emulator did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address cannot be bound.
    #[error("cannot listen on {address}; choose another address, or port 0 for any free port")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A project or logstore cannot be created.
    #[error("cannot create what was asked for")]
    Refused(#[from] Refusal),
    /// A file of logs cannot be loaded.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The runtime shut down while the logs were loaded.
    #[error("interrupted while loading logs")]
    Interrupted,
}

/// A running service. Dropping it closes its sockets.
#[derive(Debug)]
pub struct Emulator {
    address: SocketAddr,
    shared: Arc<ServerState>,
    listener: Listener,
}

impl Emulator {
    /// An emulator to be configured.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The endpoint for a client that sends the project in `Host` and connects to the address as
    /// written, like `http://127.0.0.1:41234`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The clock; moving it expires consumers and skews dates.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// The faults to come.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// Changes which signatures are accepted, as when a key is rotated.
    pub fn accept(&self, signatures: SignatureCheck) {
        *self.shared.signatures() = signatures;
    }

    /// What has been asked and served so far.
    pub fn traffic(&self) -> Traffic {
        self.shared.traffic()
    }

    /// The recorded requests to one API, oldest first; see [`Builder::record_requests`].
    pub fn recorded(&self, api: Api) -> Vec<RecordedRequest> {
        self.shared.recorded(api)
    }

    /// Stores groups, all received now.
    ///
    /// # Errors
    /// No such logstore or shard, or a shard that is read-only.
    pub fn put(
        &self,
        project: &str,
        logstore: &str,
        placement: Placement,
        groups: impl IntoIterator<Item = EncodedGroup>,
    ) -> Result<(), Refusal> {
        let now = self.shared.clock.now();
        self.change(project, logstore, |logstore| {
            groups.into_iter().try_for_each(|group| logstore.put(placement, group, now).map(drop))
        })
    }

    /// Looks at the service as it is now: consumers that are due have expired.
    pub fn inspect<T>(&self, look: impl FnOnce(&Service) -> T) -> T {
        let now = self.shared.clock.now();
        let mut service = self.shared.service();
        service.expire(now);
        look(&service)
    }

    /// Waits until `look` finds something. It looks after every request and every few milliseconds.
    ///
    /// Put a timeout around it: what never happens is waited for indefinitely.
    pub async fn until<T>(&self, mut look: impl FnMut(&Service) -> Option<T>) -> T {
        loop {
            let changed = self.shared.changed.notified();
            if let Some(found) = self.inspect(&mut look) {
                return found;
            }
            let _ = tokio::time::timeout(LOOK_AGAIN, changed).await;
        }
    }

    /// The checkpoints saved for a group, by shard.
    ///
    /// # Errors
    /// No such group.
    pub fn checkpoints(
        &self,
        project: &str,
        logstore: &str,
        group: &str,
    ) -> Result<BTreeMap<ShardId, Checkpoint>, Refusal> {
        self.inspect(|service| {
            Ok(service.logstore(project, logstore)?.group(group)?.checkpoints().clone())
        })
    }

    /// Which shards each member of a group may read.
    ///
    /// # Errors
    /// No such group.
    pub fn assignment(
        &self,
        project: &str,
        logstore: &str,
        group: &str,
    ) -> Result<BTreeMap<String, Vec<ShardId>>, Refusal> {
        self.inspect(|service| {
            let assignment = service.logstore(project, logstore)?.group(group)?.assignment();
            let held = |member: &str| (member.to_owned(), assignment.held_by(member));
            Ok(assignment.members().map(held).collect())
        })
    }

    /// How many stored log groups lie behind the group's checkpoints, over all shards: 0 means that all
    /// has been consumed and committed.
    ///
    /// # Errors
    /// No such group.
    pub fn backlog(&self, project: &str, logstore: &str, group: &str) -> Result<u64, Refusal> {
        self.inspect(|service| service.logstore(project, logstore)?.backlog(group))
    }

    /// The value of `key` in every stored log that has it; for tests that compare sets of ids.
    ///
    /// # Errors
    /// No such logstore.
    pub fn values(&self, project: &str, logstore: &str, key: &str) -> Result<Vec<String>, Refusal> {
        self.inspect(|service| {
            let shards = service.logstore(project, logstore)?.shards();
            let groups = shards.flat_map(|shard| shard.groups());
            Ok(groups.flat_map(|group| group.values_of(key)).collect())
        })
    }

    /// Splits, merges, trims, freezes: changes one logstore from outside.
    ///
    /// # Errors
    /// No such logstore, and what `change` returns.
    pub fn change<T>(
        &self,
        project: &str,
        logstore: &str,
        change: impl FnOnce(&mut Logstore) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let done = change(self.shared.service().logstore_mut(project, logstore)?);
        self.shared.changed.notify_waiters();
        done
    }

    /// Forgets a consumer now, as if it had been silent for too long.
    ///
    /// # Errors
    /// No such group. An unknown consumer is not an error.
    pub fn expire_consumer(
        &self,
        project: &str,
        logstore: &str,
        group: &str,
        consumer: &str,
    ) -> Result<(), Refusal> {
        self.change(project, logstore, |logstore| {
            logstore.group_mut(group)?.assignment_mut().expel(consumer);
            Ok(())
        })
    }

    /// Stops (or resumes) handing out and moving a group's shards.
    ///
    /// # Errors
    /// No such group.
    pub fn freeze_assignment(
        &self,
        project: &str,
        logstore: &str,
        group: &str,
        frozen: bool,
    ) -> Result<(), Refusal> {
        self.change(project, logstore, |logstore| {
            logstore.group_mut(group)?.assignment_mut().set_frozen(frozen);
            Ok(())
        })
    }

    /// Forgets the oldest `groups` groups of a shard, as the end of their retention would.
    ///
    /// # Errors
    /// No such shard.
    pub fn trim(
        &self,
        project: &str,
        logstore: &str,
        shard: ShardId,
        groups: usize,
    ) -> Result<(), Refusal> {
        self.change(project, logstore, |logstore| logstore.trim(shard, groups))
    }

    /// Packs every block that a consumer pulling from the beginning with this `count` will be sent, so
    /// that a benchmark measures the consumer and not this emulator's compressor.
    ///
    /// # Errors
    /// No such logstore.
    pub async fn prepack(
        &self,
        project: &str,
        logstore: &str,
        count: usize,
    ) -> Result<(), Refusal> {
        let now = self.shared.clock.now();
        let bytes = self.shared.limits.max_pull_bytes;
        let bounds = PullBounds { groups: count.clamp(1, MAX_COUNT), bytes, end: None };
        let mut starts: Vec<(ShardId, Cursor)> = self.inspect(|service| {
            let shards = service.logstore(project, logstore)?.shards();
            Ok::<_, Refusal>(shards.map(|shard| (shard.id(), shard.begin())).collect())
        })?;
        while let Some((shard, cursor)) = starts.pop() {
            let pulled = self.inspect(|service| {
                service.logstore(project, logstore)?.shard(shard)?.pull(cursor, bounds, now)
            })?;
            self.shared.blocks.get(pulled.groups, BlockCompression::Lz4).await;
            if !pulled.at_end {
                starts.push((shard, pulled.next));
            }
        }
        Ok(())
    }

    /// Closes the listener and every connection, and waits until they are closed.
    pub async fn stop(self) {
        self.listener.close().await;
    }
}
