//! Bytes in flight, as permits that travel with the data.
//!
//! What a pull brings in is charged before it is asked for and given back when the batch is settled or
//! dropped, because the permit is dropped with it: ownership is the accounting, and there is no counter to
//! forget. Every other queue of the pipeline may hold what it likes; this is what bounds them all.
//!
//! The process budget is cut into one [`Budget`] per source, once. A source whose sinks are paused fills its
//! own part and stops; the others do not notice.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::Gauge;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::demand::Demand;
use crate::metrics as meters;

/// Bytes that one source may hold between pull and settle.
#[derive(Debug, Clone)]
pub struct Budget {
    account: Arc<Account>,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self::with_demand(limit, Demand::default())
    }

    /// A budget of `limit` bytes. A wait for some of them raises `demand`, since they may be those of rows
    /// that only need to be confirmed.
    pub fn with_demand(limit: u64, demand: Demand) -> Self {
        let account = Account {
            limit,
            state: Mutex::new(State { used: 0, growth: ASSUMED_GROWTH, parts: 0 }),
            turn: tokio::sync::Mutex::new(()),
            turn_of_parts: tokio::sync::Mutex::new(()),
            returned: Notify::new(),
            gauge: meters::in_flight_bytes(),
            demand,
        };
        Self { account: Arc::new(account) }
    }

    /// The budget of the process in equal parts, one per source.
    pub fn split(total: u64, sources: usize, demand: &Demand) -> Vec<Self> {
        let part = total / sources.max(1) as u64;
        (0..sources).map(|_| Self::with_demand(part, demand.clone())).collect()
    }

    /// Waits until a block of `raw_bytes` decompressed bytes fits, with what it is expected to grow by when
    /// it is decoded and encoded.
    ///
    /// First come, first served, so that a large block is not overtaken indefinitely by small ones. What is
    /// larger than the whole budget is admitted alone. The future may be dropped at any time.
    pub async fn admit(&self, raw_bytes: u64) -> Permit {
        let account = &self.account;
        let asked = Instant::now();
        let mut waited = None;
        let _turn = account.turn.lock().await;
        loop {
            let returned = account.returned.notified();
            if let Some(charged) = account.try_charge(raw_bytes) {
                let account = Arc::clone(account);
                return Permit { account, raw: raw_bytes, charged, part: None };
            }
            waited.get_or_insert_with(|| {
                (meters::Waiting::since(asked, meters::STAGE_PULL), account.demand.raise())
            });
            returned.await;
        }
    }

    /// Bytes charged now. May exceed [`Budget::limit`] by what admitted batches grew beyond expectation.
    pub fn used(&self) -> u64 {
        self.account.state().used
    }

    /// Bytes this source may hold.
    pub fn limit(&self) -> u64 {
        self.account.limit
    }
}

/// Some bytes of a [`Budget`]. Gives them back when it is dropped.
#[derive(Debug)]
#[must_use = "dropping the permit gives its bytes back"]
pub struct Permit {
    account: Arc<Account>,
    raw: u64,
    charged: u64,
    part: Option<AdmittedPart>,
}

/// That a permit is for a part of a block, in addition to what the block itself holds.
#[derive(Debug, Clone, Copy)]
struct AdmittedPart {
    /// Bytes that it was admitted with.
    bytes: u64,
}

impl Permit {
    /// Says what the batch really holds now: block, table, overlay and encoded bodies. Later pulls are
    /// charged by the same measure.
    pub fn holds(&mut self, bytes: u64) {
        if self.raw > 0 && self.part.is_none() {
            let growth = bytes as f64 / self.raw as f64;
            let mut state = self.account.state();
            state.growth += (growth.min(MAX_GROWTH) - state.growth) * LEARNING;
        }
        self.charge(bytes);
    }

    /// Charges what the batch has grown to, if the budget and a half bears it, or if it is the only part of a block
    /// that is held and comes to no more than [`GROWTH_OF_PART`]. What it cannot bear is not to be held: the batch
    /// has to be made smaller, see [`Permit::part`].
    pub(crate) fn cover(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.charged);
        let only_part_may = self.part.map_or(0, |part| part.bytes.saturating_mul(GROWTH_OF_PART));
        let covered = self.account.try_grow(more, bytes <= only_part_may);
        self.charged += if covered { more } else { 0 };
        covered
    }

    /// Falls back to the block as it was pulled.
    pub(crate) fn holds_block_only(&mut self) {
        self.charge(self.raw);
    }

    /// Waits for the memory that one part of the block may take. In turn, and one part is admitted whatever
    /// else is held, because blocks that hold their bytes while they wait for their parts would otherwise wait
    /// for each other. The future may be dropped at any time.
    pub(crate) async fn part(&self) -> Self {
        self.part_of((self.account.limit / 8).clamp(LEAST_PART, MOST_PART)).await
    }

    /// The same for a part that needs all there is: it waits until no other part is held.
    pub(crate) async fn part_alone(&self) -> Self {
        self.part_of(self.account.limit).await
    }

    async fn part_of(&self, bytes: u64) -> Self {
        let account = &self.account;
        let asked = Instant::now();
        let mut waited = None;
        let _turn = account.turn_of_parts.lock().await;
        loop {
            let returned = account.returned.notified();
            if account.try_charge_part(bytes) {
                let account = Arc::clone(account);
                return Self {
                    account,
                    raw: 0,
                    charged: bytes,
                    part: Some(AdmittedPart { bytes }),
                };
            }
            waited.get_or_insert_with(|| {
                (meters::Waiting::since(asked, meters::STAGE_PULL), account.demand.raise())
            });
            returned.await;
        }
    }

    /// Size of the block.
    pub(crate) const fn raw(&self) -> u64 {
        self.raw
    }

    /// Bytes charged for it now.
    pub const fn charged(&self) -> u64 {
        self.charged
    }

    fn charge(&mut self, bytes: u64) {
        let before = std::mem::replace(&mut self.charged, bytes);
        self.account.recharge(before, bytes);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.part.is_some() {
            self.account.state().parts -= 1;
        }
        self.charge(0);
    }
}

/// Least and most memory of one part of a block that has to be divided.
const LEAST_PART: u64 = 512 << 10;
const MOST_PART: u64 = 8 << 20;

/// Most that the only part that is held may come to, in parts of what was admitted for it, where the budget does not
/// bear it: plugins add to it, and sinks escape what is in it. Without it, blocks that fill the budget by
/// themselves would be made log by log.
const GROWTH_OF_PART: u64 = 4;

#[derive(Debug)]
struct Account {
    limit: u64,
    state: Mutex<State>,
    /// The task that holds it is next. tokio's mutex hands it on in the order of asking.
    turn: tokio::sync::Mutex<()>,
    /// The same among the parts of divided blocks, which do not wait behind pulls: a pull waits for them.
    turn_of_parts: tokio::sync::Mutex<()>,
    returned: Notify,
    gauge: Gauge,
    demand: Demand,
}

#[derive(Debug)]
struct State {
    used: u64,
    /// Bytes held per raw byte, as seen lately.
    growth: f64,
    /// Parts of divided blocks that are held.
    parts: usize,
}

/// A block, its table and one body that repeats it: what the first pulls are charged, before we know better.
const ASSUMED_GROWTH: f64 = 2.5;

/// One tiny block with a large fixed cost must not make a source believe that nothing fits any more.
const MAX_GROWTH: f64 = 16.0;

/// Weight of the latest batch.
const LEARNING: f64 = 0.1;

impl State {
    fn expected(&self, raw_bytes: u64) -> u64 {
        (raw_bytes as f64 * self.growth) as u64
    }
}

impl Account {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_charge(&self, raw_bytes: u64) -> Option<u64> {
        let mut state = self.state();
        let charge = state.expected(raw_bytes);
        if state.used > 0 && state.used.saturating_add(charge) > self.limit {
            return None;
        }
        state.used += charge;
        self.gauge.increment(charge as f64);
        Some(charge)
    }

    /// Growth is a debt that pulls wait for; it is bounded, since many batches may grow at a time. The only part of a
    /// divided block may be beyond that bound.
    fn try_grow(&self, more: u64, may_as_only_part: bool) -> bool {
        let mut state = self.state();
        let used = state.used.saturating_add(more);
        let is_excused = may_as_only_part && state.parts == 1;
        if more > 0 && used > self.limit.saturating_add(self.limit / 2) && !is_excused {
            return false;
        }
        state.used = used;
        self.gauge.increment(more as f64);
        true
    }

    fn try_charge_part(&self, bytes: u64) -> bool {
        let mut state = self.state();
        if state.parts > 0 && state.used.saturating_add(bytes) > self.limit {
            return false;
        }
        state.parts += 1;
        state.used = state.used.saturating_add(bytes);
        self.gauge.increment(bytes as f64);
        true
    }

    fn recharge(&self, before: u64, now: u64) {
        {
            let mut state = self.state();
            state.used = (state.used + now).saturating_sub(before);
        }
        self.gauge.increment(now as f64 - before as f64);
        if now < before {
            self.returned.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;

    /// A budget that charges raw bytes one to one, so that tests can count.
    fn exact(limit: u64) -> Budget {
        let budget = Budget::new(limit);
        budget.account.state().growth = 1.0;
        budget
    }

    async fn is_refused(budget: &Budget, bytes: u64) -> bool {
        tokio::time::timeout(Duration::from_secs(1), budget.admit(bytes)).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_pull_waits_until_a_batch_is_settled() {
        let budget = exact(100);
        let first = budget.admit(80).await;
        assert!(is_refused(&budget, 30).await);
        let (second, ()) = tokio::join!(budget.admit(30), async { drop(first) });
        assert_eq!(budget.used(), 30);
        drop(second);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_larger_than_the_budget_is_admitted_alone() {
        let budget = exact(100);
        let small = budget.admit(1).await;
        assert!(is_refused(&budget, 1_000).await);
        drop(small);
        let _large = budget.admit(1_000).await;
        assert!(is_refused(&budget, 1).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_block_is_not_overtaken_by_small_ones() {
        let budget = exact(100);
        let first = budget.admit(50).await;
        let large = budget.admit(100);
        tokio::pin!(large);
        assert!(large.as_mut().now_or_never().is_none());
        assert!(is_refused(&budget, 1).await, "it would fit, but it is not its turn");
        drop(first);
        assert_eq!(large.await.charged(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn growth_is_a_debt_that_only_the_next_pull_waits_for() {
        let budget = exact(100);
        let mut permit = budget.admit(10).await;
        permit.holds(250);
        assert_eq!(budget.used(), 250);
        assert!(is_refused(&budget, 1).await);
        drop(permit);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn parts_grow_within_the_budget_and_a_half_and_the_only_one_a_little_beyond() {
        let budget = exact(8 * LEAST_PART);
        let block = budget.admit(4 * LEAST_PART).await;
        let mut first = block.part().await;
        assert_eq!(first.charged(), LEAST_PART);
        let mut second = block.part().await;
        assert!(first.cover(6 * LEAST_PART), "the budget and a half bears it");
        assert!(!second.cover(4 * LEAST_PART));
        assert_eq!(second.charged(), LEAST_PART, "what is refused is not charged");
        drop(first);
        let _other = budget.admit(3 * LEAST_PART).await;
        let mut pulled = budget.admit(LEAST_PART).now_or_never();
        assert!(pulled.is_none(), "the budget is used up");
        assert!(second.cover(4 * LEAST_PART), "it is the only part");
        pulled = budget.admit(0).now_or_never();
        assert!(pulled.is_none(), "growth is a debt");
        assert!(!second.cover(100 * LEAST_PART), "but not without end");
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_needs_all_waits_until_no_other_is_held() {
        let budget = exact(8 * LEAST_PART);
        let block = budget.admit(1).await;
        let part = block.part().await;
        let alone = block.part_alone();
        tokio::pin!(alone);
        assert!(alone.as_mut().now_or_never().is_none());
        drop(part);
        assert_eq!(alone.await.charged(), budget.limit());
    }

    #[tokio::test]
    async fn later_pulls_are_charged_for_what_earlier_ones_grew_to() {
        let budget = exact(u64::MAX);
        for _ in 0..100 {
            budget.admit(1_000).await.holds(3_000);
        }
        let charged = budget.admit(1_000).await.charged();
        assert!((2_990..=3_000).contains(&charged), "{charged}");
    }

    proptest! {
        #[test]
        fn a_budget_returns_to_its_start(
            sizes in proptest::collection::vec((0..1_000_u64, 0..5_000_u64, any::<bool>()), 0..40),
        ) {
            let budget = exact(u64::MAX);
            let admitted: Vec<_> = sizes
                .into_iter()
                .map(|(raw, held, grows)| {
                    let mut permit = budget.admit(raw).now_or_never().expect("there is room");
                    if grows {
                        permit.holds(held);
                    }
                    permit
                })
                .collect();
            prop_assert_eq!(budget.used(), admitted.iter().map(Permit::charged).sum::<u64>());
            drop(admitted);
            prop_assert_eq!(budget.used(), 0);
        }
    }
}
