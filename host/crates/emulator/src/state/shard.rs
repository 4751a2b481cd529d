//! One shard: an append-only run of encoded log groups, addressed by consecutive cursors.

use std::collections::VecDeque;
use std::fmt;

use super::cursor::Cursor;
use super::{KeyRange, ShardId};
use crate::clock::Timestamp;
use crate::log_group::EncodedGroup;
use crate::refusal::Refusal;

/// Whether a shard still takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardStatus {
    /// Takes writes.
    ReadWrite,
    /// Was split or merged; its data stays readable and gets no more.
    ReadOnly,
}

impl fmt::Display for ShardStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadWrite => "readwrite",
            Self::ReadOnly => "readonly",
        })
    }
}

/// Where a consumer without a checkpoint starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// The oldest data still kept.
    Begin,
    /// Where the next write will land.
    End,
    /// The first data received at or after this second. Never the logs' own time.
    Received(u64),
}

/// How much one pull may return.
#[derive(Debug, Clone, Copy)]
pub struct PullBounds {
    /// Log groups at most.
    pub groups: usize,
    /// Uncompressed bytes at most; one group is returned whatever its size.
    pub bytes: usize,
    /// Exclusive end, if the consumer gave one.
    pub end: Option<Cursor>,
}

/// What one pull found.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The groups, in order.
    pub groups: Vec<EncodedGroup>,
    /// The cursor to pull from next.
    pub next: Cursor,
    /// Whether that is the end of what is stored.
    pub at_end: bool,
    /// Receive time, in seconds, of the last group before `next`; of now if there is none.
    pub received: u64,
}

#[derive(Debug, Clone)]
struct Stored {
    group: EncodedGroup,
    received: u64,
}

/// One shard of a logstore.
#[derive(Debug, Clone)]
pub struct Shard {
    id: ShardId,
    keys: KeyRange,
    parents: Vec<ShardId>,
    created: Timestamp,
    status: ShardStatus,
    /// Cursor integer of the oldest group still kept.
    begin: u64,
    groups: VecDeque<Stored>,
    /// Receive time of the newest group ever stored.
    last_received: u64,
}

impl Shard {
    /// An empty shard over `keys`, born of `parents`.
    pub fn new(id: ShardId, keys: KeyRange, parents: Vec<ShardId>, created: Timestamp) -> Self {
        // Cursors look like the service's: a creation time with nine more digits. The id is mixed in
        // so that a cursor sent to the wrong shard is refused instead of read.
        let begin = created.seconds() * 1_000_000_000 + u64::from(id) * 10_000_000;
        Self {
            id,
            keys,
            parents,
            created,
            status: ShardStatus::ReadWrite,
            begin,
            groups: VecDeque::new(),
            last_received: 0,
        }
    }

    /// Stores one group; returns its cursor.
    ///
    /// # Errors
    /// A read-only shard takes no writes.
    pub fn append(&mut self, group: EncodedGroup, now: Timestamp) -> Result<Cursor, Refusal> {
        if self.status == ShardStatus::ReadOnly {
            return Err(Refusal::parameter(format!("shard {} is read-only", self.id)));
        }
        // Receive times must not decrease, whatever the clock does: GetCursor(time) searches them.
        self.last_received = self.last_received.max(now.seconds());
        let at = self.end();
        self.groups.push_back(Stored { group, received: self.last_received });
        Ok(at)
    }

    /// Ends writing, because the shard was split or merged.
    pub fn seal(&mut self) {
        self.status = ShardStatus::ReadOnly;
    }

    /// Forgets the oldest `groups` groups, as the end of their retention would.
    pub fn trim(&mut self, groups: usize) {
        let gone = groups.min(self.groups.len());
        self.groups.drain(..gone);
        self.begin += gone as u64;
    }

    /// The shard's number within its logstore.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// The hash keys it takes.
    pub fn keys(&self) -> KeyRange {
        self.keys
    }

    /// The shards it was split or merged from.
    pub fn parents(&self) -> &[ShardId] {
        &self.parents
    }

    /// When it came to be.
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// Whether it takes writes.
    pub fn status(&self) -> ShardStatus {
        self.status
    }

    /// The cursor of the oldest group still kept.
    pub fn begin(&self) -> Cursor {
        Cursor::from_number(self.begin)
    }

    /// The cursor the next group will get.
    pub fn end(&self) -> Cursor {
        Cursor::from_number(self.begin + self.groups.len() as u64)
    }

    /// The groups still kept, oldest first.
    pub fn groups(&self) -> impl Iterator<Item = &EncodedGroup> {
        self.groups.iter().map(|stored| &stored.group)
    }

    /// Whether a consumer at `cursor` has nothing left to read, now or ever.
    pub(crate) fn is_finished_at(&self, cursor: Cursor) -> bool {
        self.status == ShardStatus::ReadOnly && cursor == self.end()
    }

    /// GetCursor.
    pub fn cursor_for(&self, start: StartAt) -> Cursor {
        match start {
            StartAt::Begin => self.begin(),
            StartAt::End => self.end(),
            StartAt::Received(second) => {
                let older = self.groups.partition_point(|stored| stored.received < second);
                Cursor::from_number(self.begin + older as u64)
            }
        }
    }

    /// GetCursorTime: when the group at `cursor` was received, in seconds.
    ///
    /// # Errors
    /// `InvalidCursor` outside the stored range, and at the end, where no data is yet.
    pub fn received_at(&self, cursor: Cursor) -> Result<u64, Refusal> {
        let stored = self.groups.get(self.index_of(cursor)?);
        let stored =
            stored.ok_or_else(|| Refusal::cursor("no data at the end of the shard yet"))?;
        Ok(stored.received)
    }

    /// PullLogs: the groups from `cursor` on, as many as `bounds` lets through.
    ///
    /// # Errors
    /// `InvalidCursor` outside the stored range.
    pub fn pull(
        &self,
        cursor: Cursor,
        bounds: PullBounds,
        now: Timestamp,
    ) -> Result<Pulled, Refusal> {
        let start = self.index_of(cursor)?;
        let stop = bounds.end.map_or(self.groups.len(), |end| self.index_below(end));
        let mut groups = Vec::new();
        let mut bytes = 0;
        for stored in self.groups.range(start..stop.max(start)).take(bounds.groups) {
            bytes += stored.group.entry().len();
            if bytes > bounds.bytes && !groups.is_empty() {
                break;
            }
            groups.push(stored.group.clone());
        }
        let next = start + groups.len();
        let before = next.checked_sub(1).and_then(|last| self.groups.get(last));
        Ok(Pulled {
            groups,
            next: Cursor::from_number(self.begin + next as u64),
            at_end: next == self.groups.len(),
            received: before.map_or(now.seconds(), |stored| stored.received),
        })
    }

    /// The index of the group at `cursor`; the number of groups for the end cursor.
    fn index_of(&self, cursor: Cursor) -> Result<usize, Refusal> {
        let offset = cursor.number().checked_sub(self.begin).ok_or_else(|| {
            Refusal::cursor(format!("cursor {} is older than the data kept", cursor.number()))
        })?;
        match usize::try_from(offset) {
            Ok(index) if index <= self.groups.len() => Ok(index),
            _ => Err(Refusal::cursor(format!("cursor {} is beyond the end", cursor.number()))),
        }
    }

    /// Like [`Self::index_of`], but anything out of range is clamped: an end cursor is only a bound.
    fn index_below(&self, end: Cursor) -> usize {
        let offset = end.number().saturating_sub(self.begin);
        usize::try_from(offset).unwrap_or(usize::MAX).min(self.groups.len())
    }
}
