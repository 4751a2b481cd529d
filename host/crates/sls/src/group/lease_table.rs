//! Which shards are ours: the plain state behind leases, heartbeats and hand-over. No I/O, no clock.
//!
//! The heartbeat task writes what the service grants, leases write when they are released, and the task that
//! waits for a lease reads. Three rules live here.
//!
//! * A shard is reported until its lease is released, also after it was taken from us: only when it
//!   disappears from the report does the service hand it on.
//! * There is at most one live lease per shard. A shard that comes back while an old lease is still
//!   winding down waits for it.
//! * A shard that was lost is not reported any more, even if a task still works on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use forwarder_connector::LeaseState;
use tokio::sync::{Notify, watch};

/// Distinguishes leases of the same shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeaseId(u64);

/// What a new lease is made of.
#[derive(Debug)]
pub(crate) struct LeaseGrant {
    pub(crate) shard: u32,
    pub(crate) id: LeaseId,
    pub(crate) state: watch::Receiver<LeaseState>,
}

#[derive(Debug, Default)]
pub(crate) struct LeaseTable {
    slots: Mutex<Slots>,
    /// A lease may be waiting to be taken.
    pub(crate) granted: Notify,
    /// A lease was released.
    pub(crate) released: Notify,
    /// The service should hear of a change soon.
    pub(crate) hurry: Notify,
}

#[derive(Debug, Default)]
struct Slots {
    by_shard: BTreeMap<u32, Slot>,
    issued: u64,
    leaving: bool,
    suspended: bool,
    /// Another call showed that the membership is gone.
    expelled: bool,
    /// Shards consumed up to the configured end; not leased again.
    finished: BTreeSet<u32>,
    /// Counts what speaks against being done: grants of shards that had no slot, and losses of all.
    changes: u64,
}

#[derive(Debug)]
struct Slot {
    id: LeaseId,
    state: watch::Sender<LeaseState>,
    taken: bool,
    /// Granted again while the old lease is still winding down.
    regranted: bool,
    finished: bool,
}

impl Slot {
    fn state(&self) -> LeaseState {
        *self.state.borrow()
    }

    fn set(&self, state: LeaseState) {
        self.state.send_if_modified(|old| std::mem::replace(old, state) != state);
    }

    fn is_reported(&self) -> bool {
        self.state() != LeaseState::Lost || self.regranted
    }
}

impl Slots {
    fn open(&mut self, shard: u32) {
        self.issued += 1;
        let state = if self.suspended { LeaseState::Suspended } else { LeaseState::Held };
        let slot = Slot {
            id: LeaseId(self.issued),
            state: watch::Sender::new(state),
            taken: false,
            regranted: false,
            finished: false,
        };
        self.by_shard.insert(shard, slot);
    }

    fn slot(&mut self, shard: u32, id: LeaseId) -> Option<&mut Slot> {
        self.by_shard.get_mut(&shard).filter(|slot| slot.id == id)
    }
}

impl LeaseTable {
    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the service said we may hold: the answer to a successful heartbeat. Returns how many shards are new.
    pub(crate) fn grant(&self, held: &[u32]) -> usize {
        let mut slots = self.lock();
        slots.suspended = false;
        let leaving = slots.leaving;
        slots.by_shard.retain(|shard, slot| {
            let ours = held.contains(shard);
            match (slot.state(), ours) {
                (LeaseState::Held | LeaseState::Suspended, true) => slot.set(LeaseState::Held),
                (LeaseState::Held | LeaseState::Suspended, false) => {
                    slot.set(LeaseState::HandOver);
                    return slot.taken;
                }
                (LeaseState::HandOver | LeaseState::Lost, _) => slot.regranted = ours && !leaving,
            }
            true
        });
        if leaving {
            return 0;
        }
        let mut new = 0;
        for &shard in held {
            if !slots.by_shard.contains_key(&shard) && !slots.finished.contains(&shard) {
                slots.open(shard);
                slots.changes += 1;
                new += 1;
            }
        }
        drop(slots);
        self.granted.notify_one();
        new
    }

    /// Shards with a live lease.
    pub(crate) fn held(&self) -> usize {
        self.lock().by_shard.len()
    }

    /// The shards to report.
    pub(crate) fn report(&self) -> Vec<u32> {
        let slots = self.lock();
        let reported = slots.by_shard.iter().filter(|(_, slot)| slot.is_reported());
        reported.map(|(shard, _)| *shard).collect()
    }

    /// Heartbeats have failed for long: work on all shards should pause.
    pub(crate) fn suspend(&self) {
        let mut slots = self.lock();
        slots.suspended = true;
        for slot in slots.by_shard.values() {
            if slot.state() == LeaseState::Held {
                slot.set(LeaseState::Suspended);
            }
        }
    }

    /// The membership is gone, and every shard with it.
    pub(crate) fn lose_all(&self) {
        let mut slots = self.lock();
        slots.changes += 1;
        slots.by_shard.retain(|_, slot| {
            slot.regranted = false;
            slot.set(LeaseState::Lost);
            slot.taken
        });
    }

    /// A call other than the heartbeat showed that the service does not know us any more.
    pub(crate) fn expel(&self) {
        self.lose_all();
        self.lock().expelled = true;
        self.hurry.notify_one();
    }

    /// Whether [`expel`](Self::expel) was called since the last time this was asked.
    pub(crate) fn was_expelled(&self) -> bool {
        std::mem::take(&mut self.lock().expelled)
    }

    /// One shard turned out to be another consumer's.
    pub(crate) fn lose(&self, shard: u32, id: LeaseId) {
        if let Some(slot) = self.lock().slot(shard, id) {
            slot.regranted = false;
            slot.set(LeaseState::Lost);
        }
        self.hurry.notify_one();
    }

    /// The shard was consumed up to the configured end, and what was read of it is settled.
    pub(crate) fn finish(&self, shard: u32, id: LeaseId) {
        if let Some(slot) = self.lock().slot(shard, id) {
            slot.finished = true;
        }
        self.granted.notify_one();
    }

    /// Hands out the next lease that has not been taken.
    pub(crate) fn take(&self) -> Option<LeaseGrant> {
        let mut slots = self.lock();
        let (&shard, slot) = slots.by_shard.iter_mut().find(|(_, slot)| !slot.taken)?;
        slot.taken = true;
        Some(LeaseGrant { shard, id: slot.id, state: slot.state.subscribe() })
    }

    /// The holder is done with a lease.
    pub(crate) fn release(&self, shard: u32, id: LeaseId) {
        let mut slots = self.lock();
        let Some(slot) = slots.slot(shard, id) else { return };
        let was = slot.state();
        let (finished, regranted) = (slot.finished && was != LeaseState::Lost, slot.regranted);
        slot.set(LeaseState::Lost);
        slots.by_shard.remove(&shard);
        if finished {
            slots.finished.insert(shard);
        } else if regranted && !slots.leaving {
            slots.open(shard);
        }
        drop(slots);
        self.granted.notify_one();
        self.released.notify_one();
        self.hurry.notify_one();
    }

    /// From now on nothing new is leased.
    pub(crate) fn leave(&self) {
        let mut slots = self.lock();
        slots.leaving = true;
        slots.by_shard.retain(|_, slot| {
            slot.regranted = false;
            slot.taken
        });
    }

    /// Whether no lease is left that the service should hear of.
    pub(crate) fn is_drained(&self) -> bool {
        !self.lock().by_shard.values().any(Slot::is_reported)
    }

    /// The membership was lost and is there again: what may be granted now is open once more.
    pub(crate) fn begin_again(&self) {
        self.lock().changes += 1;
    }

    /// Whether every shard we have was consumed up to the configured end; also where we have none.
    pub(crate) fn all_finished(&self) -> bool {
        self.lock().by_shard.values().all(|slot| slot.finished)
    }

    /// The shards that we have consumed up to the configured end.
    pub(crate) fn finished(&self) -> BTreeSet<u32> {
        let slots = self.lock();
        let held = slots.by_shard.iter().filter(|(_, slot)| slot.finished).map(|(shard, _)| *shard);
        held.chain(slots.finished.iter().copied()).collect()
    }

    /// Differs from before if a shard was granted since, or the membership lost or found again.
    pub(crate) fn changes(&self) -> u64 {
        self.lock().changes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn state(grant: &LeaseGrant) -> LeaseState {
        *grant.state.borrow()
    }

    #[test]
    fn a_shard_taken_away_is_reported_until_its_lease_is_released() {
        let lease_table = LeaseTable::default();
        lease_table.grant(&[0, 1]);
        let (zero, one) = (lease_table.take().unwrap(), lease_table.take().unwrap());
        lease_table.grant(&[1]);
        assert_eq!((state(&zero), state(&one)), (LeaseState::HandOver, LeaseState::Held));
        assert_eq!(lease_table.report(), [0, 1]);
        lease_table.release(0, zero.id);
        assert_eq!(lease_table.report(), [1]);
        assert_eq!(state(&zero), LeaseState::Lost);
    }

    #[test]
    fn a_shard_that_was_not_taken_yet_is_given_back_at_once() {
        let lease_table = LeaseTable::default();
        lease_table.grant(&[0]);
        lease_table.grant(&[]);
        assert!(lease_table.take().is_none());
        assert!(lease_table.report().is_empty());
    }

    #[test]
    fn a_lost_membership_reports_nothing_and_the_shard_waits_for_its_old_lease() {
        let lease_table = LeaseTable::default();
        lease_table.grant(&[0]);
        let old = lease_table.take().unwrap();
        lease_table.lose_all();
        assert_eq!(state(&old), LeaseState::Lost);
        assert!(lease_table.report().is_empty());

        lease_table.grant(&[0]);
        assert!(lease_table.take().is_none(), "the old lease is still alive");
        assert_eq!(lease_table.report(), [0]);
        lease_table.release(0, old.id);
        let new = lease_table.take().unwrap();
        assert_eq!(state(&new), LeaseState::Held);
        assert_ne!(new.id, old.id);
    }

    #[test]
    fn a_released_lease_cannot_touch_its_successor() {
        let lease_table = LeaseTable::default();
        lease_table.grant(&[0]);
        let old = lease_table.take().unwrap();
        lease_table.release(0, old.id);
        lease_table.grant(&[0]);
        let new = lease_table.take().unwrap();
        lease_table.lose(0, old.id);
        lease_table.release(0, old.id);
        assert_eq!(state(&new), LeaseState::Held);
        assert_eq!(lease_table.report(), [0]);
    }

    #[test]
    fn suspension_ends_with_the_next_grant() {
        let lease_table = LeaseTable::default();
        lease_table.grant(&[0]);
        let lease = lease_table.take().unwrap();
        lease_table.suspend();
        assert_eq!(state(&lease), LeaseState::Suspended);
        lease_table.grant(&[0]);
        assert_eq!(state(&lease), LeaseState::Held);
    }

    #[test]
    fn leaving_takes_nothing_new_and_waits_for_what_is_held() {
        let lease_table = LeaseTable::default();
        lease_table.grant(&[0, 1]);
        let zero = lease_table.take().unwrap();
        lease_table.leave();
        lease_table.grant(&[0, 1, 2]);
        assert!(lease_table.take().is_none());
        assert_eq!(lease_table.report(), [0]);
        assert!(!lease_table.is_drained());
        lease_table.release(0, zero.id);
        assert!(lease_table.is_drained());
    }

    #[test]
    fn a_finished_shard_is_not_leased_again_unless_it_was_lost_first() {
        let lease_table = LeaseTable::default();
        lease_table.grant(&[0, 1]);
        let (zero, one) = (lease_table.take().unwrap(), lease_table.take().unwrap());
        lease_table.finish(0, zero.id);
        lease_table.finish(1, one.id);
        assert!(lease_table.all_finished());
        lease_table.release(0, zero.id);
        lease_table.lose(1, one.id);
        lease_table.release(1, one.id);
        lease_table.grant(&[0, 1]);
        assert_eq!(lease_table.take().unwrap().shard, 1);
        assert!(lease_table.take().is_none());
    }

    #[derive(Debug, Clone)]
    enum Event {
        LeaseGrant(Vec<u32>),
        Take,
        Release(prop::sample::Index),
        Lose(prop::sample::Index),
        LoseAll,
        Suspend,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            3 => prop::collection::vec(0..5u32, 0..5).prop_map(Event::LeaseGrant),
            3 => Just(Event::Take),
            2 => any::<prop::sample::Index>().prop_map(Event::Release),
            1 => any::<prop::sample::Index>().prop_map(Event::Lose),
            1 => Just(Event::LoseAll),
            1 => Just(Event::Suspend),
        ]
    }

    proptest! {
        #[test]
        fn a_shard_has_one_live_lease_and_is_reported_while_it_is_worked_on(
            events in prop::collection::vec(event(), 1..60),
        ) {
            let lease_table = LeaseTable::default();
            let mut live: Vec<LeaseGrant> = Vec::new();
            for event in events {
                match event {
                    Event::LeaseGrant(held) => {
                        lease_table.grant(&held);
                        for lease in &live {
                            let allowed = held.contains(&lease.shard);
                            prop_assert!(allowed || state(lease) != LeaseState::Held);
                        }
                    }
                    Event::Take => live.extend(lease_table.take()),
                    Event::Release(at) if !live.is_empty() => {
                        let lease = live.swap_remove(at.index(live.len()));
                        lease_table.release(lease.shard, lease.id);
                        prop_assert_eq!(state(&lease), LeaseState::Lost);
                    }
                    Event::Lose(at) if !live.is_empty() => {
                        let lease = &live[at.index(live.len())];
                        lease_table.lose(lease.shard, lease.id);
                    }
                    Event::LoseAll => lease_table.lose_all(),
                    Event::Suspend => lease_table.suspend(),
                    _ => {}
                }
                let report = lease_table.report();
                let mut shards: Vec<u32> = live.iter().map(|lease| lease.shard).collect();
                shards.sort_unstable();
                shards.dedup();
                prop_assert_eq!(shards.len(), live.len(), "two live leases of one shard");
                for lease in &live {
                    if state(lease) != LeaseState::Lost {
                        prop_assert!(report.contains(&lease.shard));
                    }
                }
            }
        }
    }
}
