//! PullLogs, in two steps: what the headers say, then the body.
//!
//! Between the two a caller can wait for memory, knowing exactly how much. A header that is missing or
//! garbled, or that contradicts another or the body, is an error and never "no data": one official client
//! reads an unparsable size as an empty answer and skips what was in it. All that speaks about data must agree:
//! the number of groups, the plain size, the length of the body, and how far the cursor moves: by one for each log
//! group that was read. A cursor that moves less than the groups that came is an error; any other difference is for
//! the caller to examine ([`PullHead::movement`]), since logs in between may have expired.

mod movement;

use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_LENGTH;

use super::cursor;
use super::shards::shard_call;
use crate::call::{Call, Reply};
use crate::client::Client;
use crate::cursor::Cursor;
use crate::error::{CallTo, Error};
use crate::names::LogstoreName;
use crate::wire::{Block, BlockError, Compression};
pub(crate) use movement::Movement;

/// Most log groups one pull may ask for; more is refused with `ParameterInvalid`.
pub const MAX_COUNT: u32 = 1000;

/// What LZ4 makes of no bytes.
const LZ4_NOTHING: &[u8] = &[0];

/// Server-side filtering ("rule-based consumption"). Cursors keep meaning positions in the raw data; log
/// groups come regrouped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Filter {
    /// SPL text, like `* | where status = 500`.
    Query(String),
    /// The id of a consume processor kept in the project.
    Processor(String),
}

/// What to pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequest<'a> {
    /// From which logstore.
    pub logstore: &'a LogstoreName,
    /// From which shard.
    pub shard: u32,
    /// The first log group to return.
    pub cursor: &'a Cursor,
    /// At most so many log *groups*; brought into 1 to [`MAX_COUNT`].
    pub count: u32,
    /// The first log group not to return.
    pub end_cursor: Option<&'a Cursor>,
    /// Filtering by the service.
    pub filter: Option<&'a Filter>,
}

impl PullRequest<'_> {
    fn call(&self) -> Call {
        let mut call = shard_call("PullLogs", self.logstore, self.shard)
            .header("accept", HeaderValue::from_static("application/x-protobuf"))
            .header("accept-encoding", HeaderValue::from_static("lz4"))
            .param("type", "log")
            .param("cursor", self.cursor.as_str())
            .param("count", self.count.clamp(1, MAX_COUNT).to_string());
        if let Some(end) = self.end_cursor {
            call = call.param("end_cursor", end.as_str());
        }
        match self.filter {
            None => call,
            Some(Filter::Processor(id)) => call.param("processor", id),
            // Some official clients send the query without a mode; with it is the documented form.
            Some(Filter::Query(text)) => {
                call.param("query", text).param("pullMode", "scan_on_stream")
            }
        }
    }
}

/// What the headers of an answer say.
#[derive(Debug, Clone)]
pub struct PullHead {
    request_cursor: Cursor,
    filtered: bool,
    next_cursor: Cursor,
    count: u64,
    raw_size: u64,
    compression: Compression,
    end_of_cursor: bool,
    /// The position behind the last group that was read, by a header that only some answers have.
    behind_last: Option<u64>,
    cursor_time: Option<i64>,
    scanned_groups: Option<u64>,
    result_lines: Option<u64>,
    failed_lines: Option<u64>,
}

impl PullHead {
    fn read(reply: &Reply, request: &PullRequest<'_>) -> Result<Self, Error> {
        let missing = |name: &str| reply.malformed(format!("header `{name}` is missing"));
        let raw_size =
            reply.number("x-log-bodyrawsize")?.ok_or_else(|| missing("x-log-bodyrawsize"))?;
        let count = reply.number("x-log-count")?.ok_or_else(|| missing("x-log-count"))?;
        let next_cursor = match reply.header("x-log-cursor")? {
            Some(text) if !text.is_empty() => cursor(reply.call().clone(), text)?,
            _ => return Err(missing("x-log-cursor")),
        };
        let compression = match Compression::from_header(reply.header("x-log-compresstype")?) {
            // An empty answer has nothing to unpack, whatever its headers say about packing.
            Err(_) if raw_size == 0 => Compression::Plain,
            compression => compression.map_err(|source| reply.unpackable(source))?,
        };
        // Numbers that only help us pace or count: garbled is as good as absent.
        let optional = |name| reply.number(name).ok().flatten();
        let head = Self {
            end_of_cursor: optional("x-log-end-of-cursor") == Some(1),
            behind_last: optional("x-log-read-last-cursor").and_then(|last| last.checked_add(1)),
            cursor_time: optional("x-log-cursor-time").and_then(|time| i64::try_from(time).ok()),
            scanned_groups: optional("x-log-rawdatacount"),
            result_lines: optional("x-log-resultlines"),
            failed_lines: optional("x-log-failedlines"),
            request_cursor: request.cursor.clone(),
            filtered: request.filter.is_some(),
            next_cursor,
            count,
            raw_size,
            compression,
        };
        match head.contradiction() {
            Some(fault) => Err(reply.malformed(fault)),
            None => Ok(head),
        }
    }

    /// What does not fit together in the headers. Were one of two believed, data could be skipped.
    fn contradiction(&self) -> Option<String> {
        let Self { count, raw_size, next_cursor, request_cursor, .. } = self;
        if (*count == 0) != (*raw_size == 0) {
            return Some(format!(
                "`x-log-count` is {count}, but `x-log-bodyrawsize` is {raw_size}"
            ));
        }
        if let (0, Some(lines @ 1..)) = (*count, self.result_lines) {
            return Some(format!("`x-log-count` is 0, but `x-log-resultlines` is {lines}"));
        }
        if request_cursor.position().is_some() && next_cursor.position().is_none() {
            return Some(format!(
                "`x-log-cursor` {next_cursor} is not a position, as {request_cursor} is"
            ));
        }
        if next_cursor.lies_before(request_cursor) {
            return Some(format!(
                "`x-log-cursor` {next_cursor} lies before the cursor {request_cursor} that was asked for"
            ));
        }
        if *count > 0 && self.is_unmoved() {
            return Some(format!("{count} log groups, but `x-log-cursor` does not move"));
        }
        let too_short = next_cursor.position() < self.behind_groups();
        too_short.then(|| {
            format!("{count} log groups, but `x-log-cursor` only moves from {request_cursor} to {next_cursor}")
        })
    }

    /// The position behind the log groups of this answer if they begin at the one that was asked for. `None` with a
    /// filter, without groups, and where no integers can be read.
    fn behind_groups(&self) -> Option<u64> {
        let sound = !self.filtered && self.count > 0 && self.next_cursor.position().is_some();
        self.request_cursor.position().filter(|_| sound)?.checked_add(self.count)
    }

    /// Where to pull next, and what to save as checkpoint once this answer is delivered.
    pub fn next_cursor(&self) -> &Cursor {
        &self.next_cursor
    }

    /// The cursor that was asked for.
    pub(crate) fn request_cursor(&self) -> &Cursor {
        &self.request_cursor
    }

    /// Log groups in the body.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Bytes of the body when unpacked; 0 means that there is none.
    pub fn raw_size(&self) -> u64 {
        self.raw_size
    }

    /// How the body is packed.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Whether the body holds log groups.
    pub fn has_data(&self) -> bool {
        self.raw_size > 0
    }

    /// Whether the cursor moves although there is no data. Without a filter that is not an answer by itself: what
    /// lay between may have expired, or the answer is damaged.
    pub(crate) fn skips(&self) -> bool {
        !self.filtered && !self.has_data() && !self.is_unmoved()
    }

    /// Whether this answer reached the end of what is stored.
    pub fn at_end(&self) -> bool {
        self.end_of_cursor || self.is_unmoved()
    }

    /// Whether the position did not move.
    pub fn is_unmoved(&self) -> bool {
        self.next_cursor == self.request_cursor
    }

    /// The integer of the last log group returned, where it agrees with the next cursor.
    pub fn read_last_cursor(&self) -> Option<u64> {
        let behind = self.behind_last.filter(|_| self.behind_last == self.next_cursor.position());
        behind.and_then(|behind| behind.checked_sub(1))
    }

    /// When the service received the logs at the position reached, in seconds since the epoch.
    pub fn cursor_time(&self) -> Option<i64> {
        self.cursor_time
    }

    /// Log groups read by the service before filtering.
    pub(crate) fn scanned_groups(&self) -> u64 {
        self.scanned_groups.unwrap_or(self.count)
    }

    /// Log lines the filter failed on.
    pub(crate) fn failed_lines(&self) -> u64 {
        self.failed_lines.unwrap_or(0)
    }

    /// The integer of the first log group returned: group *i* of the body has this plus *i*. `None`
    /// with a filter, which regroups, and where no integer can be read.
    pub fn first_cursor(&self) -> Option<u64> {
        if self.filtered || self.count == 0 {
            return None;
        }
        let after_last = self.read_last_cursor().and_then(|last| last.checked_add(1));
        let from_last = after_last.and_then(|after| after.checked_sub(self.count));
        from_last.or_else(|| self.request_cursor.position())
    }
}

/// An answer to PullLogs whose body is not read yet.
pub struct PullResponse {
    head: PullHead,
    reply: Reply,
}

impl PullResponse {
    /// What the headers say.
    pub fn head(&self) -> &PullHead {
        &self.head
    }

    pub(crate) fn call(&self) -> &CallTo {
        self.reply.call()
    }

    /// Lets reading continue at this position, whatever the next cursor says.
    pub(crate) fn continue_at(&mut self, position: u64) {
        self.head.next_cursor = Cursor::at(position);
    }

    /// Reads the body as it is on the wire, refusing more than `limit` plain bytes. Unpacking it is work
    /// for another thread.
    ///
    /// # Errors
    ///
    /// The network fails, or the body is larger than claimed or allowed. The position has not moved:
    /// pull again from the cursor that was asked for.
    pub async fn block(self, limit: u64) -> Result<Block, Error> {
        let call = self.reply.call().clone();
        let fault = |source| Error::Block { call: call.clone(), source };
        let PullHead { raw_size, compression, .. } = self.head;
        if raw_size > limit {
            return Err(fault(BlockError::TooLarge { raw_size, limit }));
        }
        if raw_size == 0 {
            self.confirm_empty().await?;
            return Block::new(Bytes::new(), Compression::Plain, 0, limit).map_err(fault);
        }
        let most = usize::try_from(compression.max_packed_size(raw_size))
            .map_err(|_| fault(BlockError::TooLarge { raw_size, limit }))?;
        let packed = self.reply.bytes(most).await?;
        Block::new(packed, compression, raw_size, limit).map_err(fault)
    }

    /// Makes sure that an answer without log groups has no body either. A packed nothing is one byte of LZ4.
    ///
    /// # Errors
    ///
    /// There is a body, or it broke off.
    pub async fn confirm_empty(self) -> Result<(), Error> {
        let (call, lz4) = (self.reply.call().clone(), self.head.compression == Compression::Lz4);
        let body = self.reply.bytes(LZ4_NOTHING.len()).await?;
        if body.is_empty() || (lz4 && body == LZ4_NOTHING) {
            return Ok(());
        }
        Err(Error::Malformed { call, fault: "no log groups, but a body".into() })
    }

    /// Compares the announced length of the body with the size it claims to unpack to.
    fn check_length(&self) -> Result<(), Error> {
        let Some(announced) = self.reply.number(CONTENT_LENGTH.as_str())? else { return Ok(()) };
        let PullHead { raw_size, compression, .. } = self.head;
        let possible = match raw_size {
            0 => announced <= LZ4_NOTHING.len() as u64,
            _ => compression.can_hold(raw_size, announced),
        };
        if possible {
            return Ok(());
        }
        let source = BlockError::ImpossibleSize { raw_size, packed: announced };
        Err(self.reply.unpackable(source))
    }

    /// Reads and unpacks the body. See [`block`](Self::block) for doing the second elsewhere.
    ///
    /// # Errors
    ///
    /// As [`block`](Self::block), or the body is damaged.
    pub async fn body(self, limit: u64) -> Result<Bytes, Error> {
        let call = self.reply.call().clone();
        let block = self.block(limit).await?;
        block.unpack().map_err(|source| Error::Block { call, source })
    }
}

impl std::fmt::Debug for PullResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PullResponse").field("head", &self.head).finish_non_exhaustive()
    }
}

impl Client {
    /// Pulls log groups; returns once the headers are here. Tried once: the caller has a loop.
    ///
    /// # Errors
    ///
    /// Refused with `InvalidCursor` (expired or foreign), `ShardNotExist`, a read quota; or malformed
    /// headers.
    pub async fn pull_logs(&self, request: &PullRequest<'_>) -> Result<PullResponse, Error> {
        let reply = self.exchange(&request.call()).await?;
        let response = PullResponse { head: PullHead::read(&reply, request)?, reply };
        response.check_length()?;
        Ok(response)
    }
}
