//! `sls` → the pipeline's `Source` and `CheckpointStore`: a block in a reply becomes a batch, a cursor a
//! position. The only file that knows both vocabularies.

use std::sync::Arc;

use forwarder_connector::BoxError;
use forwarder_pipeline::{
    Block, Budget, CheckpointStore, Load, Position, Pulled, SafePoint, SaveError, Source,
    SourceLost, Unreadable,
};
use forwarder_record::{Batch, BlockReader, DecodeError, Limits, Origin, count_groups};
use forwarder_sls::group::{Checkpoints, Pull, PullError, Puller};
use forwarder_sls::{
    CallTo, Chain, Client, ClientConfig, ConsumerName, Credentials, CredentialsError, Cursor,
    Error, GroupConfig, METADATA, Part, RamRole,
};
use futures_util::future::BoxFuture;

use crate::config::secret::Secret;
use crate::config::source::{Credentials as CredentialsConfig, SourceConfig};
use crate::exit::{Exit, Failure};
use crate::problem::Problem;

/// A client for the project of a source.
///
/// # Errors
/// The key file or the certificates cannot be used, or the metadata service gives no key.
pub async fn client(config: &SourceConfig) -> Result<Client, Failure> {
    build_client(config).await.map_err(|cause| not_set_up(config, &cause))
}

fn not_set_up(config: &SourceConfig, cause: &BoxError) -> Failure {
    let message = format!("source `{}` cannot be set up: {}", config.name, Chain(&**cause));
    let exit = match cause.downcast_ref() {
        Some(CredentialsError::NoRole { .. } | CredentialsError::Unanswered { .. }) => Exit::Source,
        _ => Exit::Config,
    };
    Failure::new(exit, Problem::new(message).help("nothing was read and nothing was lost"))
}

/// Why there is no client for a source whose key is that of a RAM role.
pub enum NoKey {
    /// The metadata service does not answer.
    Unanswered(String),
    /// It has no key for us, or the client cannot be made.
    Refused(Failure),
}

/// The same for such a source: the metadata service may not answer yet.
///
/// # Errors
/// As [`client`].
pub async fn client_of_role(config: &SourceConfig) -> Result<Client, NoKey> {
    match build_client(config).await {
        Ok(client) => Ok(client),
        Err(cause) if cause.downcast_ref().is_some_and(CredentialsError::is_passing) => {
            Err(NoKey::Unanswered(Chain(&*cause).to_string()))
        }
        Err(cause) => Err(NoKey::Refused(not_set_up(config, &cause))),
    }
}

async fn build_client(config: &SourceConfig) -> Result<Client, BoxError> {
    let credentials = match &config.credentials {
        CredentialsConfig::File(path) => Credentials::from_file(path).await?,
        CredentialsConfig::Role { role, metadata } => {
            let metadata = metadata.as_deref().unwrap_or(METADATA);
            Credentials::from_role(RamRole::new(role, metadata)?).await?
        }
        CredentialsConfig::Key { id, secret, token } => {
            Credentials::from_parts(part(id), part(secret), token.as_ref().map(part)).await?
        }
    };
    let endpoint = config.endpoint.clone();
    let mut settings = ClientConfig::new(endpoint, config.project.clone(), credentials);
    settings.signature = config.signature.clone();
    settings.ca_file.clone_from(&config.ca_file);
    settings.timeout = config.timeout;
    Ok(Client::new(settings)?)
}

/// A part of a key: in a file, which is read again when the key is refused, or as it is.
fn part(secret: &Secret) -> Part {
    match secret.file() {
        Some(path) => Part::File(path.to_path_buf()),
        None => Part::Fixed(secret.expose().to_owned()),
    }
}

/// How a source takes part in its consumer group.
pub fn group(config: &SourceConfig, consumer: ConsumerName) -> GroupConfig {
    let mut group =
        GroupConfig::new(config.logstore.clone(), config.consumer_group.clone(), consumer);
    group.source.clone_from(&config.name);
    group.manage_group = config.manage_group;
    group.timeout = config.group_timeout;
    group.in_order = config.in_order;
    group.heartbeat_interval = config.heartbeat_interval;
    group.start = config.start;
    group.end = config.end;
    group.filter.clone_from(&config.query);
    group.on_invalid_cursor = config.on_invalid_cursor;
    group.idle = (group.idle.0.min(config.idle_poll), config.idle_poll);
    group.block_limit = config.max_block as u64;
    group
}

/// A cursor as the pipeline keeps it.
pub fn position(cursor: &Cursor) -> Position {
    Position::new(cursor.as_str())
}

/// Fields of a block that is one log group. It cannot be asked for in smaller parts, and is read in parts whatever it
/// comes to, so this only bounds the time that it takes.
const MAX_CELLS_OF_ONE_GROUP: usize = 1 << 28;

/// Bytes of topics, sources and tags of all logs of such a block, written out for each log.
const MAX_SHARED_BYTES_OF_ONE_GROUP: usize = 8 << 30;

/// Blocks of one shard, under one lease.
pub struct ShardSource {
    puller: Puller,
    origin: Origin,
    budget: Budget,
    limits: Limits,
    end_reached: bool,
}

impl ShardSource {
    /// Reads with `puller`; every block is admitted by `budget` before its body is received.
    pub fn new(puller: Puller, origin: Origin, budget: Budget, max_block: usize) -> Self {
        let limits = Limits { max_block_bytes: max_block, ..Limits::default() };
        Self { puller, origin, budget, limits, end_reached: false }
    }

    async fn next(&mut self) -> Result<Pulled, SourceLost> {
        if self.end_reached {
            return Ok(Pulled::End);
        }
        loop {
            let pulled = match self.puller.pull().await {
                Ok(Pull::Data(pulled)) => pulled,
                Ok(Pull::Empty { next_cursor }) => {
                    return Ok(Pulled::Empty { next: position(&next_cursor) });
                }
                Ok(Pull::ReachedEnd { cursor }) => {
                    self.end_reached = true;
                    return Ok(Pulled::Empty { next: position(&cursor) });
                }
                // The pipeline watches the lease itself, and knows what follows from its end.
                Err(PullError::Ended(_)) => std::future::pending().await,
                Err(cause) => return Err(SourceLost(Box::new(cause))),
            };
            // Memory is waited for when the size is known and the bytes are still in the network. Should
            // the server lose patience meanwhile, the same block is asked for again.
            let permit = self.budget.admit(pulled.raw_size()).await;
            let next = position(pulled.next_cursor());
            let call = pulled.call().clone();
            let (first_cursor, groups) = (pulled.head().first_cursor(), pulled.head().count());
            let block = match pulled.block().await {
                Ok(block) => block,
                Err(_) => continue, // counted and logged by `sls`, which waits before it asks again
            };
            let origin = Origin { first_cursor, ..self.origin.clone() };
            let raw_bytes = block.raw_size();
            let limits = self.limits.clone();
            let packed = Some(PackedBlock { block, groups, origin, limits });
            let load = Box::new(BlockLoad { call, packed, reader: None });
            return Ok(Pulled::Block(Block { load, next, raw_bytes, permit }));
        }
    }
}

impl Source for ShardSource {
    fn pull(&mut self) -> BoxFuture<'_, Result<Pulled, SourceLost>> {
        Box::pin(self.next())
    }
}

/// Decompressing and decoding, for compute threads.
struct BlockLoad {
    /// The call that was answered with it.
    call: CallTo,
    packed: Option<PackedBlock>,
    reader: Option<BlockReader>,
}

/// A block as it was pulled.
struct PackedBlock {
    block: forwarder_sls::wire::Block,
    /// Log groups that it must hold.
    groups: u64,
    origin: Origin,
    limits: Limits,
}

impl PackedBlock {
    fn unpack(self, call: &CallTo) -> Result<BlockReader, Unreadable> {
        let Self { block, groups: said, origin, mut limits } = self;
        let bytes = block
            .unpack()
            .map_err(|source| damaged(&Error::Block { call: call.clone(), source }))?;
        let found = count_groups(&bytes).map_err(|cause| malformed(call, cause.to_string()))?;
        if found != said {
            // Those that are missing would be skipped.
            let fault = format!("{found} log groups, but `x-log-count` is {said}");
            return Err(malformed(call, fault));
        }
        if found == 1 {
            limits.max_cells = MAX_CELLS_OF_ONE_GROUP;
            limits.max_shared_bytes = MAX_SHARED_BYTES_OF_ONE_GROUP;
        }
        Ok(BlockReader::new(bytes, origin, limits))
    }
}

/// A block that is not what the service wrote, with the call, the address and what to do.
fn damaged(error: &Error) -> Unreadable {
    Unreadable(Chain(error).to_string().into())
}

fn malformed(call: &CallTo, fault: String) -> Unreadable {
    damaged(&Error::Malformed { call: call.clone(), fault })
}

impl Load for BlockLoad {
    fn read(&mut self, room: usize) -> Result<Batch, Unreadable> {
        if let Some(packed) = self.packed.take() {
            self.reader = Some(packed.unpack(&self.call)?);
        }
        // Absent only after a block that could not be unpacked, which ends its use.
        let reader = self.reader.as_mut().ok_or_else(|| Unreadable("asked for again".into()))?;
        reader.read(room).map_err(|cause| match cause {
            // Sound, and too much: the pipeline asks for less.
            DecodeError::TooLarge { .. } => Unreadable(Box::new(cause)),
            cause => malformed(&self.call, cause.to_string()),
        })
    }

    fn advance(&mut self) -> bool {
        self.reader.as_mut().is_some_and(Load::advance)
    }
}

/// Checkpoints of one shard, under one lease.
pub struct ShardCheckpoints {
    checkpoints: Checkpoints,
}

impl ShardCheckpoints {
    /// Saves through the lease, never by force.
    pub fn new(checkpoints: Checkpoints) -> Self {
        Self { checkpoints }
    }

    async fn store(&self, point: &SafePoint) -> Result<(), SaveError> {
        let cursor = Cursor::new(point.next().as_str())
            .map_err(|cause| SaveError::Unavailable(Box::new(cause)))?;
        self.checkpoints.save(&cursor).await.map_err(|error| match error {
            forwarder_sls::group::SaveError::LeaseLost { .. } => {
                SaveError::LeaseLost(Box::new(error))
            }
            // With its causes: the core prints one line and looks no further.
            _ => SaveError::Unavailable(Chain(&error).to_string().into()),
        })
    }
}

impl CheckpointStore for ShardCheckpoints {
    fn save<'a>(&'a self, point: &'a SafePoint) -> BoxFuture<'a, Result<(), SaveError>> {
        Box::pin(self.store(point))
    }
}

/// The origin of a shard's logs; the cursor is filled in per block.
pub fn origin(config: &SourceConfig, shard: u32) -> Origin {
    Origin {
        source: Arc::from(config.name.as_str()),
        project: Arc::from(config.project.as_str()),
        logstore: Arc::from(config.logstore.as_str()),
        shard,
        first_cursor: None,
    }
}
