//! One logstore: its shards, and the consumer groups that read them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use forwarder_sls::GroupName;

use super::consumer_group::{ConsumerGroup, GroupOptions, SaveCheckpoint};
use super::cursor::Cursor;
use super::shard::{Shard, ShardStatus};
use super::{KeyRange, ShardId};
use crate::clock::Timestamp;
use crate::log_group::EncodedGroup;
use crate::refusal::Refusal;

/// Which shard a log group goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// The writable shards in turn.
    Balanced,
    /// The shard that takes this hash key.
    Key(u128),
    /// This one, for tests that care.
    Shard(ShardId),
}

/// A logstore of one project.
#[derive(Debug, Clone)]
pub struct Logstore {
    shards: BTreeMap<ShardId, Shard>,
    groups: BTreeMap<String, ConsumerGroup>,
    max_groups: usize,
    /// Counts balanced writes.
    turn: usize,
}

impl Logstore {
    /// A logstore with `shards` empty shards (at least one) and room for `max_groups` consumer groups.
    pub fn new(shards: u32, max_groups: usize, now: Timestamp) -> Self {
        let shards = (0..)
            .zip(KeyRange::partition(shards))
            .map(|(id, keys)| (id, Shard::new(id, keys, Vec::new(), now)))
            .collect();
        Self { shards, groups: BTreeMap::new(), max_groups, turn: 0 }
    }

    /// Stores one group; returns where.
    ///
    /// # Errors
    /// `ShardNotExist`, or a shard that is read-only.
    pub fn put(
        &mut self,
        placement: Placement,
        group: EncodedGroup,
        now: Timestamp,
    ) -> Result<(ShardId, Cursor), Refusal> {
        let id = match placement {
            Placement::Shard(id) => id,
            Placement::Key(key) => self
                .writable()
                .find(|shard| shard.keys().contains(key))
                .map(Shard::id)
                .ok_or_else(no_shards)?,
            Placement::Balanced => {
                let writable: Vec<_> = self.writable().map(Shard::id).collect();
                self.turn = self.turn.wrapping_add(1);
                let turn = self.turn.wrapping_sub(1).checked_rem(writable.len()).unwrap_or(0);
                writable.get(turn).copied().ok_or_else(no_shards)?
            }
        };
        let shard = self.shards.get_mut(&id).ok_or_else(|| Refusal::no_shard(id))?;
        Ok((id, shard.append(group, now)?))
    }

    /// Splits a shard at `key`: it becomes read-only and two children take its range.
    ///
    /// Returns the old shard and its children.
    ///
    /// # Errors
    /// `ParameterInvalid` for a shard that is unknown or read-only, or a key not strictly inside.
    pub fn split(
        &mut self,
        id: ShardId,
        key: u128,
        now: Timestamp,
    ) -> Result<[ShardId; 3], Refusal> {
        let shard = self.writable_by_id(id)?;
        let (left, right) =
            shard.keys().split_at(key).ok_or_else(|| Refusal::parameter("invalid mid hash"))?;
        let first = self.next_id();
        self.shards.insert(first, Shard::new(first, left, vec![id], now));
        self.shards.insert(first + 1, Shard::new(first + 1, right, vec![id], now));
        self.seal(&[id]);
        Ok([id, first, first + 1])
    }

    /// Merges a shard with its right neighbour: both become read-only and one child takes their range.
    ///
    /// Returns the child and the two old shards.
    ///
    /// # Errors
    /// `ParameterInvalid` for a shard that is unknown, read-only, or the last one.
    pub fn merge(&mut self, id: ShardId, now: Timestamp) -> Result<[ShardId; 3], Refusal> {
        let left = self.writable_by_id(id)?;
        let right = self.writable().find(|right| left.keys().touches(&right.keys()));
        let right = right.ok_or_else(|| Refusal::parameter("can not merge the last shard"))?;
        let (right_id, keys) = (right.id(), left.keys().joined_with(&right.keys()));
        let child = self.next_id();
        self.shards.insert(child, Shard::new(child, keys, vec![id, right_id], now));
        self.seal(&[id, right_id]);
        Ok([child, id, right_id])
    }

    /// Forgets the oldest `groups` log groups of a shard, as the end of their retention would.
    ///
    /// # Errors
    /// `ShardNotExist`.
    pub fn trim(&mut self, id: ShardId, groups: usize) -> Result<(), Refusal> {
        self.shards.get_mut(&id).ok_or_else(|| Refusal::no_shard(id))?.trim(groups);
        Ok(())
    }

    /// CreateConsumerGroup.
    ///
    /// # Errors
    /// `ConsumerGroupAlreadyExist`; a bad name; `ConsumerGroupQuotaExceed` (403, our choice: no source
    /// names the code) at the limit.
    pub fn create_group(&mut self, name: &str, options: GroupOptions) -> Result<(), Refusal> {
        if GroupName::try_from(name).is_err() {
            return Err(Refusal::parameter(format!("invalid consumer group name {name:?}")));
        }
        let full = self.groups.len() >= self.max_groups;
        match self.groups.entry(name.to_owned()) {
            Entry::Occupied(_) => {
                let message = format!("consumer group {name} exists already");
                Err(Refusal::new(400, "ConsumerGroupAlreadyExist", message))
            }
            Entry::Vacant(_) if full => {
                let message = format!("at most {} consumer groups per logstore", self.max_groups);
                Err(Refusal::new(403, "ConsumerGroupQuotaExceed", message))
            }
            Entry::Vacant(vacant) => {
                vacant.insert(ConsumerGroup::new(options, &self.shards));
                Ok(())
            }
        }
    }

    /// DeleteConsumerGroup.
    ///
    /// # Errors
    /// `ConsumerGroupNotExist`.
    pub fn delete_group(&mut self, name: &str) -> Result<(), Refusal> {
        self.groups.remove(name).map(drop).ok_or_else(|| Refusal::no_group(name))
    }

    /// UpdateCheckPoint; see [`ConsumerGroup::save`].
    ///
    /// # Errors
    /// `ConsumerGroupNotExist`, and those of [`ConsumerGroup::save`].
    pub fn save_checkpoint(
        &mut self,
        group: &str,
        save: SaveCheckpoint<'_>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let found = self.groups.get_mut(group).ok_or_else(|| Refusal::no_group(group))?;
        found.save(save, &self.shards, now)
    }

    /// Forgets the consumers of all groups that have been silent for too long.
    pub fn expire(&mut self, now: Timestamp) {
        self.groups.values_mut().for_each(|group| group.assignment_mut().expire(now));
    }

    /// How many stored log groups lie behind a group's checkpoints, over all shards.
    ///
    /// # Errors
    /// `ConsumerGroupNotExist`.
    pub fn backlog(&self, group: &str) -> Result<u64, Refusal> {
        let saved = self.group(group)?.checkpoints();
        let behind = |shard: &Shard| {
            let cursor = saved.get(&shard.id()).and_then(|saved| Cursor::parse(&saved.cursor));
            let from = cursor.map_or(shard.begin(), |cursor| cursor.max(shard.begin()));
            shard.end().number().saturating_sub(from.number())
        };
        Ok(self.shards().map(behind).sum())
    }

    /// A consumer group.
    ///
    /// # Errors
    /// `ConsumerGroupNotExist`.
    pub fn group(&self, name: &str) -> Result<&ConsumerGroup, Refusal> {
        self.groups.get(name).ok_or_else(|| Refusal::no_group(name))
    }

    /// A consumer group, to beat or to change.
    ///
    /// # Errors
    /// `ConsumerGroupNotExist`.
    pub fn group_mut(&mut self, name: &str) -> Result<&mut ConsumerGroup, Refusal> {
        self.groups.get_mut(name).ok_or_else(|| Refusal::no_group(name))
    }

    /// The consumer groups, by name.
    pub fn groups(&self) -> impl Iterator<Item = (&str, &ConsumerGroup)> {
        self.groups.iter().map(|(name, group)| (name.as_str(), group))
    }

    /// One shard.
    ///
    /// # Errors
    /// `ShardNotExist`.
    pub fn shard(&self, id: ShardId) -> Result<&Shard, Refusal> {
        self.shards.get(&id).ok_or_else(|| Refusal::no_shard(id))
    }

    /// The shards, by id, read-only ones included.
    pub fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.shards.values()
    }

    fn writable(&self) -> impl Iterator<Item = &Shard> {
        self.shards.values().filter(|shard| shard.status() == ShardStatus::ReadWrite)
    }

    fn writable_by_id(&self, id: ShardId) -> Result<&Shard, Refusal> {
        let found = self.writable().find(|shard| shard.id() == id);
        found.ok_or_else(|| Refusal::parameter("invalid shard id"))
    }

    fn next_id(&self) -> ShardId {
        self.shards.keys().next_back().map_or(0, |last| last + 1)
    }

    fn seal(&mut self, ids: &[ShardId]) {
        for id in ids {
            if let Some(shard) = self.shards.get_mut(id) {
                shard.seal();
            }
        }
        for group in self.groups.values_mut() {
            group.take_in(&self.shards);
        }
    }
}

fn no_shards() -> Refusal {
    Refusal::new(400, "LogStoreWithoutShard", "the logstore has no writable shard")
}
