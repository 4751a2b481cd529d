//! Per shard: the open batches in pull order, and the safe point behind them.
//!
//! The ledger is the only maker of [`SafePoint`]s, and a safe point is the only thing that can be saved as a
//! checkpoint. How one comes to be:
//!
//! 1. [`Ledger::open`] enters a batch, with the position that follows it, and hands out its [`Ticket`].
//! 2. The ticket is split into [`Share`]s: each is the responsibility for some rows, in flight to one sink,
//!    to the dead letters, or nowhere because they were dropped on purpose.
//! 3. A share is given up by [`Share::settle`], against the receipt of what took the rows over: the
//!    delivery after a sink's [`Delivered`](crate::Verdict::Delivered), the dead letters once they are on
//!    disk, or the plan of a batch for rows that were dropped on purpose. Nothing else can write a receipt.
//! 4. When the ticket is sealed and its last share is gone, the batch is settled. The longest settled prefix
//!    of all batches is the safe point.
//!
//! **What happens without a word:** a ticket or a share that is dropped counts as *not delivered*.
//! Its batch stays open, the safe point stays before it, and [`Unsettled::abandoned`] reports it to the
//! shard, which starts again from the last checkpoint.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use crate::ledger::sealed::Settlement;
use crate::metrics::ShardMeters;
use crate::position::{Position, ShardId};

/// The batches of one shard from pull to settle.
#[derive(Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
}

impl Ledger {
    /// An empty ledger for one run over one shard. Not for other crates: with a ledger of their own they
    /// could open and seal what was not delivered.
    pub(crate) fn new(shard: ShardId) -> Self {
        let meters = ShardMeters::new(&shard);
        let unsettled = watch::Sender::new(Unsettled::default());
        let (batches, tally) = (Mutex::default(), Counts::default());
        Self { shared: Arc::new(Shared { shard, batches, unsettled, tally, meters }) }
    }

    /// The shard whose batches these are.
    pub fn shard(&self) -> &ShardId {
        &self.shared.shard
    }

    pub(crate) fn meters(&self) -> &ShardMeters {
        &self.shared.meters
    }

    /// Enters a batch that was just pulled. `next` is the position after it: where to pull from once this
    /// batch, and all before it, are settled.
    pub fn open(&self, next: Position) -> Ticket {
        let seq = {
            let mut batches = self.shared.batches();
            batches.slots.push_back(Slot { next, state: SlotState::Open, pulled: Instant::now() });
            batches.first + batches.slots.len() as u64 - 1
        };
        self.shared.publish();
        let entry =
            Entry { shared: Arc::clone(&self.shared), seq, abandoned: AtomicBool::new(false) };
        Ticket { entry: Arc::new(entry), sealed: false }
    }

    /// Notes that there is nothing to deliver before `next`: an empty pull, or one that a query filtered
    /// empty on the server. It becomes part of the prefix as soon as everything before it is settled.
    pub fn skip_to(&self, next: Position) {
        {
            let mut batches = self.shared.batches();
            // A shard that polls in vain while a sink is down must not grow the ledger poll by poll.
            match batches.slots.back_mut() {
                Some(last) if last.state == SlotState::Settled => last.next = next,
                _ => {
                    let pulled = Instant::now();
                    batches.slots.push_back(Slot { next, state: SlotState::Settled, pulled });
                }
            }
            batches.advance(&self.shared.shard);
        }
        self.shared.publish();
    }

    /// The end of the longest settled prefix, if it moved since the last call.
    pub fn safe_point(&self) -> Option<SafePoint> {
        self.shared.batches().reached.take()
    }

    /// When the oldest batch was pulled that no safe point covers.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.shared.batches().slots.front().map(|slot| slot.pulled)
    }

    /// How many batches are open or abandoned now, and a way to wait for a change.
    pub fn unsettled(&self) -> watch::Receiver<Unsettled> {
        self.shared.unsettled.subscribe()
    }

    /// How the rows settled so far were settled.
    pub fn tally(&self) -> Tally {
        let Counts { delivered, dead_lettered, filtered } = &self.shared.tally;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Tally {
            delivered: read(delivered),
            dead_lettered: read(dead_lettered),
            filtered: read(filtered),
        }
    }
}

/// How far a ledger is from being settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unsettled {
    /// Batches that still have a holder who may settle them.
    pub open: usize,
    /// Batches that cannot be settled any more: a part of them was dropped without a verdict.
    pub abandoned: usize,
}

/// Rows by the way in which they were settled. A row that goes to two sinks counts for each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// A sink took responsibility.
    pub delivered: u64,
    /// A dead letter is on disk.
    pub dead_lettered: u64,
    /// Dropped on purpose by a plugin or by a rule.
    pub filtered: u64,
}

/// Everything before this position is settled. The only thing a checkpoint can be made of.
///
/// Neither fields nor constructor are public, so that a checkpoint cannot be saved early: there would be
/// nothing to save it with.
#[derive(Debug)]
#[must_use = "a safe point that is not saved is progress that a restart repeats"]
pub struct SafePoint {
    shard: ShardId,
    seq: u64,
    next: Position,
    since: Instant,
}

impl SafePoint {
    /// The shard it belongs to.
    pub const fn shard(&self) -> &ShardId {
        &self.shard
    }

    /// Where to resume: the position of the first thing that is not settled.
    pub const fn next(&self) -> &Position {
        &self.next
    }

    /// How many entries of the ledger it covers; a later safe point of the same ledger has no less.
    pub(crate) const fn seq(&self) -> u64 {
        self.seq
    }

    /// When the oldest batch was pulled of those that it covers and the one reported before it did not.
    pub(crate) const fn since(&self) -> Instant {
        self.since
    }
}

/// The claim of one batch on its place in the ledger. Neither `Clone` nor constructible elsewhere, so a batch
/// is settled at most once, and it can only return to the ledger that opened it.
#[derive(Debug)]
#[must_use = "a dropped ticket keeps the checkpoint where it is"]
pub struct Ticket {
    entry: Arc<Entry>,
    sealed: bool,
}

impl Ticket {
    /// Splits off the responsibility for `rows` rows.
    pub fn share(&self, rows: usize) -> Share {
        Share { entry: Arc::clone(&self.entry), rows }
    }

    /// Declares that every row of the batch is now in a share. A batch without rows is settled by
    /// this.
    pub fn seal(mut self) {
        self.sealed = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.sealed {
            self.entry.abandon();
        }
    }
}

/// The responsibility for some rows of a batch, to be given up against a receipt and not otherwise.
#[derive(Debug)]
#[must_use = "a dropped share keeps the checkpoint where it is"]
pub struct Share {
    entry: Arc<Entry>,
    rows: usize,
}

impl Share {
    /// How many rows it stands for.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Moves the responsibility for `rows` of its rows, or for all it has if that is less, into a share of
    /// its own.
    pub fn split(&mut self, rows: usize) -> Self {
        let rows = rows.min(self.rows);
        self.rows -= rows;
        Self { entry: Arc::clone(&self.entry), rows }
    }

    /// Gives the responsibility up to what wrote the receipt.
    pub fn settle(mut self, receipt: impl Receipt) {
        let rows = std::mem::take(&mut self.rows) as u64;
        let Shared { tally, meters, .. } = &*self.entry.shared;
        let (count, meter) = match receipt.settlement() {
            Settlement::Delivered => (&tally.delivered, &meters.delivered),
            Settlement::DeadLettered => (&tally.dead_lettered, &meters.dead_lettered),
            Settlement::Filtered => (&tally.filtered, &meters.filtered),
        };
        count.fetch_add(rows, Ordering::Relaxed);
        meter.increment(rows);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.rows > 0 {
            self.entry.abandon();
        }
    }
}

/// Proof that something else has taken rows over.
///
/// Each kind of receipt is a type whose only field is private to the module that hears the proof:
/// `deliver` for sinks, `dead_letter` for the dead letters, `plan` for rows that were dropped on purpose.
/// The trait is sealed, so that there is no fourth kind.
pub trait Receipt: sealed::Proof {}

impl<P: sealed::Proof> Receipt for P {}

pub(crate) mod sealed {
    /// Keeps other crates from inventing receipts.
    pub trait Proof {
        fn settlement(&self) -> Settlement;
    }

    /// The three ways to be done.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Settlement {
        Delivered,
        DeadLettered,
        Filtered,
    }
}

/// What ledger, tickets and shares have in common.
#[derive(Debug)]
struct Shared {
    shard: ShardId,
    // A std mutex: held for a few instructions, never across an await.
    batches: Mutex<OpenBatches>,
    unsettled: watch::Sender<Unsettled>,
    tally: Counts,
    meters: ShardMeters,
}

#[derive(Debug, Default)]
struct Counts {
    delivered: AtomicU64,
    dead_lettered: AtomicU64,
    filtered: AtomicU64,
}

/// The batches that are not behind the safe point yet.
#[derive(Debug, Default)]
struct OpenBatches {
    /// Number of the entry at the front of `slots`.
    first: u64,
    slots: VecDeque<Slot>,
    reached: Option<SafePoint>,
}

#[derive(Debug)]
struct Slot {
    next: Position,
    state: SlotState,
    pulled: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SlotState {
    Open,
    Settled,
    Abandoned,
}

impl Shared {
    fn batches(&self) -> MutexGuard<'_, OpenBatches> {
        // Nothing in here panics while the lock is held, so what a poisoned one holds is still consistent.
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, seq: u64, state: SlotState) {
        {
            let mut batches = self.batches();
            let index =
                seq.checked_sub(batches.first).and_then(|index| usize::try_from(index).ok());
            if let Some(slot) = index.and_then(|index| batches.slots.get_mut(index)) {
                slot.state = state;
            }
            batches.advance(&self.shard);
        }
        self.publish();
    }

    fn publish(&self) {
        // Counted under the channel's lock, so that of two closers the later one publishes the later state.
        self.unsettled.send_modify(|unsettled| {
            let batches = self.batches();
            let count = |state| batches.slots.iter().filter(|slot| slot.state == state).count();
            *unsettled =
                Unsettled { open: count(SlotState::Open), abandoned: count(SlotState::Abandoned) };
        });
    }
}

impl OpenBatches {
    /// Moves the safe point over the settled prefix.
    fn advance(&mut self, shard: &ShardId) {
        while self.slots.front().is_some_and(|slot| slot.state == SlotState::Settled) {
            let Some(Slot { next, pulled, .. }) = self.slots.pop_front() else { return };
            self.first += 1;
            let since = self.reached.take().map_or(pulled, |untold| untold.since);
            self.reached = Some(SafePoint { shard: shard.clone(), seq: self.first, next, since });
        }
    }
}

/// A batch's line in the ledger, kept by its ticket and shares together. The last one to go closes it.
#[derive(Debug)]
struct Entry {
    shared: Arc<Shared>,
    seq: u64,
    abandoned: AtomicBool,
}

impl Entry {
    /// The shard hears of it at once, not when the other holders are done: they may be stuck at a sink that is
    /// down, and nothing they do can settle the batch any more.
    fn abandon(&self) {
        if !self.abandoned.swap(true, Ordering::Relaxed) {
            self.shared.close(self.seq, SlotState::Abandoned);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // The counter of the `Arc` orders this after every holder's `abandon`.
        if !*self.abandoned.get_mut() {
            self.shared.close(self.seq, SlotState::Settled);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What `deliver`, `dead_letter` and `plan` have, without their reasons.
    struct Signed(Settlement);

    impl sealed::Proof for Signed {
        fn settlement(&self) -> Settlement {
            self.0
        }
    }

    const DELIVERED: Signed = Signed(Settlement::Delivered);

    fn ledger() -> Ledger {
        Ledger::new(ShardId::new("audit", 7))
    }

    fn at(seq: usize) -> Position {
        Position::new(seq.to_string())
    }

    fn reached(ledger: &Ledger) -> Option<String> {
        ledger.safe_point().map(|point| point.next().to_string())
    }

    fn settle(ticket: Ticket, rows: usize) {
        let share = ticket.share(rows);
        ticket.seal();
        share.settle(DELIVERED);
    }

    #[test]
    fn a_batch_is_settled_by_its_last_share() {
        let ledger = ledger();
        let ticket = ledger.open(at(1));
        let (splunk, qradar) = (ticket.share(10), ticket.share(4));
        ticket.seal();

        splunk.settle(DELIVERED);
        assert_eq!(reached(&ledger), None, "qradar has not taken its rows");
        qradar.settle(Signed(Settlement::DeadLettered));
        assert_eq!(reached(&ledger).as_deref(), Some("1"));
        assert_eq!(reached(&ledger), None, "reported once");
        let expected = Tally { delivered: 10, dead_lettered: 4, filtered: 0 };
        assert_eq!(ledger.tally(), expected);
    }

    #[test]
    fn a_share_without_a_verdict_keeps_the_checkpoint_and_is_reported_at_once() {
        let ledger = ledger();
        let (first, second) = (ledger.open(at(1)), ledger.open(at(2)));
        let (lost, stuck) = (first.share(1), first.share(1));
        first.seal();
        settle(second, 3);

        drop(lost);
        assert_eq!(*ledger.unsettled().borrow(), Unsettled { open: 0, abandoned: 1 });
        stuck.settle(DELIVERED);
        assert_eq!(reached(&ledger), None);
        assert_eq!(*ledger.unsettled().borrow(), Unsettled { open: 0, abandoned: 1 });
    }

    #[test]
    fn a_ticket_that_was_not_sealed_is_not_settled() {
        let ledger = ledger();
        let ticket = ledger.open(at(1));
        ticket.share(5).settle(DELIVERED);
        drop(ticket);
        assert_eq!(reached(&ledger), None);
        assert_eq!(ledger.unsettled().borrow().abandoned, 1);
    }

    #[test]
    fn a_share_that_was_split_to_nothing_stands_for_nothing() {
        let ledger = ledger();
        let ticket = ledger.open(at(1));
        let mut share = ticket.share(3);
        ticket.seal();
        let all = share.split(99);
        assert_eq!((share.rows(), all.rows()), (0, 3));
        drop(share);
        all.settle(DELIVERED);
        assert_eq!(reached(&ledger).as_deref(), Some("1"));
    }

    #[test]
    fn empty_pulls_move_the_safe_point_but_never_past_an_open_batch() {
        let ledger = ledger();
        ledger.skip_to(at(1));
        assert_eq!(reached(&ledger).as_deref(), Some("1"));

        let ticket = ledger.open(at(2));
        for polled in 3..1_000 {
            ledger.skip_to(at(polled));
        }
        assert_eq!(reached(&ledger), None);
        assert!(ledger.shared.batches().slots.len() <= 2, "idle polls must not pile up");
        settle(ticket, 1);
        assert_eq!(reached(&ledger).as_deref(), Some("999"));
    }

    #[test]
    fn a_batch_without_rows_is_settled_when_it_is_sealed() {
        let ledger = ledger();
        ledger.open(at(1)).seal();
        assert_eq!(reached(&ledger).as_deref(), Some("1"));
    }

    proptest! {
        #[test]
        fn the_safe_point_is_the_longest_settled_prefix(
            order in Just((0..24_usize).collect::<Vec<_>>()).prop_shuffle(),
            lost in proptest::collection::btree_set(0..24_usize, 0..3),
        ) {
            let ledger = ledger();
            let mut tickets: Vec<_> = (0..24).map(|seq| Some(ledger.open(at(seq + 1)))).collect();
            let mut settled = [false; 24];
            let mut safe = 0;
            for seq in order {
                let ticket = tickets[seq].take().unwrap();
                if lost.contains(&seq) {
                    drop(ticket);
                } else {
                    settle(ticket, 1);
                    settled[seq] = true;
                }
                if let Some(point) = ledger.safe_point() {
                    let now = point.next().as_str().parse().unwrap();
                    prop_assert!(now > safe, "did not move forward");
                    prop_assert_eq!(point.seq(), now as u64);
                    safe = now;
                }
                let prefix = settled.iter().take_while(|&&done| done).count();
                prop_assert_eq!(safe, prefix);
            }
            let expected = Unsettled { open: 0, abandoned: lost.len() };
            prop_assert_eq!(*ledger.unsettled().borrow(), expected);
        }

        #[test]
        fn however_a_share_is_split_its_rows_are_settled_once(
            rows in 0..500_usize,
            cuts in proptest::collection::vec(0..200_usize, 0..12),
        ) {
            let ledger = ledger();
            let ticket = ledger.open(at(1));
            let mut rest = ticket.share(rows);
            ticket.seal();
            let mut parts: Vec<_> = cuts.into_iter().map(|cut| rest.split(cut)).collect();
            parts.push(rest);
            prop_assert_eq!(parts.iter().map(Share::rows).sum::<usize>(), rows);
            for part in parts {
                part.settle(DELIVERED);
            }
            prop_assert_eq!(reached(&ledger), Some("1".to_owned()));
            prop_assert_eq!(ledger.tally().delivered, rows as u64);
        }
    }
}
