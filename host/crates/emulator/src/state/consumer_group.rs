//! One consumer group: its options, its members' shards and its checkpoints.
//!
//! The assignment itself is [`super::assignment`]; here it meets the shards it assigns.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::ShardId;
use super::assignment::Assignment;
use super::cursor::Cursor;
use super::shard::Shard;
use crate::clock::Timestamp;
use crate::refusal::Refusal;

/// The shards of the logstore a group belongs to.
type Shards = BTreeMap<ShardId, Shard>;

/// What CreateConsumerGroup sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupOptions {
    /// A consumer silent for longer is removed.
    pub timeout: Duration,
    /// Whether children of a split or merge wait until their ancestors are consumed.
    pub order: bool,
}

/// A saved position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The cursor of the next group to read, as the consumer wrote it.
    pub cursor: String,
    /// When it was saved.
    pub updated: Timestamp,
    /// Who saved it; empty if the caller gave no name.
    pub consumer: String,
}

/// An UpdateCheckPoint request.
#[derive(Debug, Clone, Copy)]
pub struct SaveCheckpoint<'a> {
    /// The caller, if it named itself.
    pub consumer: Option<&'a str>,
    /// The shard.
    pub shard: ShardId,
    /// The cursor of the next group to read.
    pub cursor: &'a str,
    /// Whether to save it whichever consumer holds the shard.
    pub force: bool,
}

/// A consumer group of one logstore.
#[derive(Debug, Clone)]
pub struct ConsumerGroup {
    options: GroupOptions,
    assignment: Assignment,
    checkpoints: BTreeMap<ShardId, Checkpoint>,
}

impl ConsumerGroup {
    /// A group over the shards there are.
    pub fn new(options: GroupOptions, shards: &Shards) -> Self {
        let assignment = Assignment::new(options.timeout);
        let mut group = Self { options, assignment, checkpoints: BTreeMap::new() };
        group.take_in(shards);
        group
    }

    /// Changes the options. Unordered, waiting shards are free at once; ordered, only shards born
    /// later wait.
    pub fn update(&mut self, options: GroupOptions) {
        self.assignment.set_timeout(options.timeout);
        self.options = options;
        if !options.order {
            self.free_waiting(|_| true);
        }
    }

    /// One heartbeat; see [`Assignment::heartbeat`].
    ///
    /// # Errors
    /// `NotExistConsumerWithBody` if a consumer the group does not know reports shards.
    pub fn heartbeat(
        &mut self,
        consumer: &str,
        reported: &BTreeSet<ShardId>,
        now: Timestamp,
    ) -> Result<Vec<ShardId>, Refusal> {
        self.assignment.heartbeat(consumer, reported, now).map_err(|_| {
            let message = format!("consumer {consumer} is unknown but reports {reported:?}");
            Refusal::new(400, "NotExistConsumerWithBody", message)
        })
    }

    /// Saves a checkpoint, and finishes or revives the shard if that is what it means.
    ///
    /// # Errors
    /// `InvalidShardCheckPoint`, `ShardNotExist`; without force also `ConsumerNotExist` for a caller
    /// that timed out and `ConsumerNotMatch` (400, our choice: no source gives the status) for a
    /// shard that is another's.
    pub fn save(
        &mut self,
        save: SaveCheckpoint<'_>,
        shards: &Shards,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.assignment.expire(now);
        let shard = shards.get(&save.shard).ok_or_else(|| Refusal::no_shard(save.shard))?;
        let cursor = Cursor::parse(save.cursor).ok_or_else(|| {
            let message = format!("checkpoint {:?} is not a cursor", save.cursor);
            Refusal::new(400, "InvalidShardCheckPoint", message)
        })?;
        if !save.force {
            self.check_holder(save)?;
        }
        let checkpoint = Checkpoint {
            cursor: save.cursor.to_owned(),
            updated: now,
            consumer: save.consumer.unwrap_or_default().to_owned(),
        };
        self.checkpoints.insert(save.shard, checkpoint);
        if shard.is_finished_at(cursor) {
            self.assignment.finish(save.shard);
        } else {
            self.assignment.revive(save.shard);
        }
        self.free_consumed(shards);
        Ok(())
    }

    /// Learns of shards that were born, and of shards that became read-only where their checkpoint
    /// already stands: consumers do not save the same checkpoint twice, so none would report it.
    pub fn take_in(&mut self, shards: &Shards) {
        for (id, shard) in shards {
            let saved = self.checkpoints.get(id).and_then(|saved| Cursor::parse(&saved.cursor));
            if saved.is_some_and(|cursor| shard.is_finished_at(cursor)) {
                self.assignment.finish(*id);
            }
        }
        for (id, shard) in shards {
            let waits = self.options.order && !self.consumed(shard.parents());
            self.assignment.add_shard(*id, waits);
        }
        self.free_consumed(shards);
    }

    /// The options in force.
    pub fn options(&self) -> GroupOptions {
        self.options
    }

    /// Who holds what.
    pub fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    /// Who holds what, for a test that interferes.
    pub(crate) fn assignment_mut(&mut self) -> &mut Assignment {
        &mut self.assignment
    }

    /// The saved checkpoints, by shard.
    pub fn checkpoints(&self) -> &BTreeMap<ShardId, Checkpoint> {
        &self.checkpoints
    }

    fn check_holder(&self, save: SaveCheckpoint<'_>) -> Result<(), Refusal> {
        let Some(consumer) = save.consumer else {
            return Err(Refusal::parameter("without `consumer`, forceSuccess must be true"));
        };
        if !self.assignment.is_member(consumer) {
            let message = format!("consumer {consumer} is not in the group");
            return Err(Refusal::new(404, "ConsumerNotExist", message));
        }
        let holder = self.assignment.holding(save.shard).and_then(|holding| holding.holder());
        if holder != Some(consumer) {
            let message = format!("shard {} is held by {holder:?}, not {consumer}", save.shard);
            return Err(Refusal::new(400, "ConsumerNotMatch", message));
        }
        Ok(())
    }

    /// A child waits for all its ancestors; since parents wait for theirs, asking the parents is enough.
    fn free_consumed(&mut self, shards: &Shards) {
        let ready: BTreeSet<ShardId> =
            shards.values().filter(|shard| self.consumed(shard.parents())).map(Shard::id).collect();
        self.free_waiting(|id| ready.contains(&id));
    }

    fn free_waiting(&mut self, ready: impl Fn(ShardId) -> bool) {
        let ids: Vec<_> =
            self.assignment.shards().map(|(id, _)| id).filter(|id| ready(*id)).collect();
        for id in ids {
            self.assignment.stop_waiting(id);
        }
    }

    fn consumed(&self, parents: &[ShardId]) -> bool {
        use super::assignment::ShardHolding::Over;
        parents.iter().all(|parent| self.assignment.holding(*parent) == Some(&Over))
    }
}
