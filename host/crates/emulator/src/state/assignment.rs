//! Who may hold which shard: the server side of a consumer group.
//!
//! Plain data and pure transitions; time comes in as an argument. The machine is the one the
//! vendor's consumer library documents, with the choices it leaves open made deterministic: ties go
//! to the lower consumer name, lower shard ids move first, and shards are balanced on every
//! heartbeat and every change.
//!
//! What holds at all times:
//! * a shard has at most one holder;
//! * a shard leaves a living holder only after that holder's heartbeat stops reporting it;
//! * when no consumer joins, leaves or winds down any more, the consumers' counts differ by at most one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::ShardId;
use crate::clock::Timestamp;

/// What a consumer group knows of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShardHolding {
    /// In-order group: an ancestor is not consumed yet.
    Wait,
    /// Free.
    NotAlloc,
    /// Held.
    AlreadyAlloc {
        /// The consumer that may read it.
        holder: String,
    },
    /// Held by one consumer that has been asked to release it, promised to another.
    Transfer {
        /// Still winds it down, and may still save its checkpoint.
        holder: String,
        /// Gets it as soon as the holder stops reporting it.
        heir: String,
    },
    /// Read-only and consumed to its end.
    Over,
}

impl ShardHolding {
    /// The consumer whose checkpoints count, if any.
    pub fn holder(&self) -> Option<&str> {
        match self {
            Self::AlreadyAlloc { holder } | Self::Transfer { holder, .. } => Some(holder),
            Self::Wait | Self::NotAlloc | Self::Over => None,
        }
    }

    /// The consumer this shard weighs on in the balance: the heir of a transfer, else the holder.
    fn weighs_on(&self) -> Option<&str> {
        match self {
            Self::AlreadyAlloc { holder } => Some(holder),
            Self::Transfer { heir, .. } => Some(heir),
            Self::Wait | Self::NotAlloc | Self::Over => None,
        }
    }
}

/// A consumer the group does not know reported shards. It timed out, or never joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotMember;

/// The members of one consumer group and the shards between them.
#[derive(Debug, Clone)]
pub struct Assignment {
    timeout: Duration,
    /// Consumer name → its last heartbeat.
    members: BTreeMap<String, Timestamp>,
    shards: BTreeMap<ShardId, ShardHolding>,
    frozen: bool,
}

impl Assignment {
    /// An empty group whose members are forgotten after `timeout` without a heartbeat.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, members: BTreeMap::new(), shards: BTreeMap::new(), frozen: false }
    }

    /// Changes how long a silent consumer is kept.
    pub(crate) fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Stops (or resumes) handing out and moving shards. Expiry and pending transfers continue.
    pub fn set_frozen(&mut self, frozen: bool) {
        self.frozen = frozen;
        self.rebalance();
    }

    /// Takes in a new shard: free, or waiting for its ancestors.
    pub fn add_shard(&mut self, shard: ShardId, waits: bool) {
        let holding = if waits { ShardHolding::Wait } else { ShardHolding::NotAlloc };
        self.shards.entry(shard).or_insert(holding);
        self.rebalance();
    }

    /// Frees a waiting shard; no effect on any other.
    pub fn stop_waiting(&mut self, shard: ShardId) {
        if let Some(holding @ ShardHolding::Wait) = self.shards.get_mut(&shard) {
            *holding = ShardHolding::NotAlloc;
            self.rebalance();
        }
    }

    /// Marks a read-only shard as consumed; it is not granted any more.
    pub fn finish(&mut self, shard: ShardId) {
        if let Some(holding) = self.shards.get_mut(&shard) {
            *holding = ShardHolding::Over;
            self.rebalance();
        }
    }

    /// Frees a finished shard, because its checkpoint was forced back.
    pub fn revive(&mut self, shard: ShardId) {
        if let Some(holding @ ShardHolding::Over) = self.shards.get_mut(&shard) {
            *holding = ShardHolding::NotAlloc;
            self.rebalance();
        }
    }

    /// One heartbeat: `consumer` still works on `reported`; the answer is what it may hold from now.
    ///
    /// Reported shards that `consumer` does not hold are ignored: it is winding them down. A held
    /// shard that is not reported stays held: the consumer may not have started it yet.
    ///
    /// # Errors
    /// [`NotMember`] if the consumer is unknown and reports shards. It must come back with none.
    pub fn heartbeat(
        &mut self,
        consumer: &str,
        reported: &BTreeSet<ShardId>,
        now: Timestamp,
    ) -> Result<Vec<ShardId>, NotMember> {
        self.expire(now);
        if !self.members.contains_key(consumer) && !reported.is_empty() {
            return Err(NotMember);
        }
        self.members.insert(consumer.to_owned(), now);
        self.complete_transfers(consumer, reported);
        self.rebalance();
        Ok(self.held_by(consumer))
    }

    /// Forgets every consumer whose last heartbeat is older than the timeout, and frees its shards.
    pub fn expire(&mut self, now: Timestamp) {
        let before = self.members.len();
        self.members.retain(|_, last_beat| now.since(*last_beat) <= self.timeout);
        if self.members.len() != before {
            self.free_shards_of_the_gone();
        }
    }

    /// Forgets one consumer now, as if it had timed out; `false` if it was not a member.
    pub fn expel(&mut self, consumer: &str) -> bool {
        let known = self.members.remove(consumer).is_some();
        if known {
            self.free_shards_of_the_gone();
        }
        known
    }

    /// Whether `consumer` has not timed out.
    pub fn is_member(&self, consumer: &str) -> bool {
        self.members.contains_key(consumer)
    }

    /// The members, by name.
    pub fn members(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    /// Every shard and what is known of it, by id.
    pub fn shards(&self) -> impl Iterator<Item = (ShardId, &ShardHolding)> {
        self.shards.iter().map(|(id, holding)| (*id, holding))
    }

    /// What is known of one shard.
    pub fn holding(&self, shard: ShardId) -> Option<&ShardHolding> {
        self.shards.get(&shard)
    }

    /// The shards `consumer` may read. Those it is to give up are not among them.
    pub fn held_by(&self, consumer: &str) -> Vec<ShardId> {
        let held = |holding: &ShardHolding| matches!(holding, ShardHolding::AlreadyAlloc { holder } if holder == consumer);
        self.shards.iter().filter(|(_, holding)| held(holding)).map(|(id, _)| *id).collect()
    }

    fn complete_transfers(&mut self, consumer: &str, reported: &BTreeSet<ShardId>) {
        for (id, holding) in &mut self.shards {
            if let ShardHolding::Transfer { holder, heir } = holding
                && holder == consumer
                && !reported.contains(id)
            {
                *holding = ShardHolding::AlreadyAlloc { holder: std::mem::take(heir) };
            }
        }
    }

    fn free_shards_of_the_gone(&mut self) {
        let members = &self.members;
        for holding in self.shards.values_mut() {
            let next = match holding {
                ShardHolding::AlreadyAlloc { holder } if !members.contains_key(holder) => None,
                ShardHolding::Transfer { holder, heir } => {
                    match (members.contains_key(holder), members.contains_key(heir)) {
                        (true, true) => continue,
                        (true, false) => Some(std::mem::take(holder)),
                        (false, true) => Some(std::mem::take(heir)),
                        (false, false) => None,
                    }
                }
                _ => continue,
            };
            *holding =
                next.map_or(ShardHolding::NotAlloc, |holder| ShardHolding::AlreadyAlloc { holder });
        }
        self.rebalance();
    }

    /// Hands out the free shards, then asks the fullest for one at a time until all are level.
    fn rebalance(&mut self) {
        if self.frozen || self.members.is_empty() {
            return;
        }
        let mut counts: BTreeMap<String, usize> =
            self.members.keys().map(|name| (name.clone(), 0)).collect();
        for consumer in self.shards.values().filter_map(ShardHolding::weighs_on) {
            counts.entry(consumer.to_owned()).and_modify(|count| *count += 1);
        }
        for holding in self.shards.values_mut() {
            if *holding == ShardHolding::NotAlloc
                && let Some((holder, count)) = least(&mut counts)
            {
                *count += 1;
                *holding = ShardHolding::AlreadyAlloc { holder };
            }
        }
        while self.move_one(&mut counts) {}
    }

    /// Moves one shard from the fullest consumer that can give one to the emptiest.
    ///
    /// A consumer whose shards have all still to arrive has none to give; the next heartbeat
    /// tries again. Every move lowers the sum of squared counts, so the loop around this ends.
    fn move_one(&mut self, counts: &mut BTreeMap<String, usize>) -> bool {
        let Some((heir, heir_count)) = least(counts).map(|(name, count)| (name, *count)) else {
            return false;
        };
        let weight = |holding: &ShardHolding| match holding {
            ShardHolding::AlreadyAlloc { holder } => counts.get(holder).copied(),
            _ => None,
        };
        let Some(fullest) = self.shards.values().filter_map(weight).max() else { return false };
        if fullest <= heir_count + 1 {
            return false;
        }
        let donor = self.shards.values().filter(|h| weight(h) == Some(fullest));
        let Some(donor) = donor.filter_map(ShardHolding::holder).min().map(str::to_owned) else {
            return false;
        };
        let gives = |holding: &&mut ShardHolding| matches!(holding, ShardHolding::AlreadyAlloc { holder } if *holder == donor);
        let Some(holding) = self.shards.values_mut().find(gives) else { return false };
        *holding = ShardHolding::Transfer { holder: donor.clone(), heir: heir.clone() };
        counts.entry(donor).and_modify(|count| *count -= 1);
        counts.entry(heir).and_modify(|count| *count += 1);
        true
    }
}

/// The consumer with the fewest shards, the first by name among equals.
fn least(counts: &mut BTreeMap<String, usize>) -> Option<(String, &mut usize)> {
    counts.iter_mut().min_by_key(|(_, count)| **count).map(|(name, count)| (name.clone(), count))
}
