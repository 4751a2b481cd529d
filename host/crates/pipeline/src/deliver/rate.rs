//! How often a receiver refuses what is not bad, and how likely it is that a good row was refused so often.
//!
//! A number of refusals that is certain for one receiver is nothing for another: where 90 % of all requests are
//! refused at random, one good row in eight is refused twenty times. So a row is judged by what was seen of all
//! others in the time since it was refused first: requests that were accepted, and refusals of something that was
//! accepted later or is still in doubt, each counted once. A body in which a suspect was found counts no
//! more, since the suspect explains its refusal. From `a` acceptances and `r` refusals follows, with every rate
//! equally likely beforehand, how likely `n` refusals in a row are: the product of (r + 1 + i) / (r + a + 2 + i)
//! for i below n (Laplace's rule of succession). That needs no estimate of the rate, and few requests prove little.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A row is believed to be bad after so many refusals alone at the least.
pub(super) const REFUSALS: u32 = 6;

/// The same while the receiver is known to refuse, or blame, rows that it accepts.
const REFUSALS_IN_DOUBT: u32 = 20;

/// So long after such a row it is taken to do so.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);

/// Less likely than this, the refusals of a row are not due to randomness.
const CERTAIN: f64 = 1e-9;

/// The same where nothing has shown that the receiver refuses at random, which few do. Three acceptances and six
/// refusals are enough.
const LIKELY: f64 = 5e-3;

/// The same for a row that is in doubt for less than [`UNHURRIED`]: thirty acceptances and six refusals.
const LIKELY_AT_ONCE: f64 = 1e-6;

/// In this time a receiver that refuses at random mostly accepts something that it has refused.
const UNHURRIED: Duration = Duration::from_secs(10);

/// So many refusals of a row count about others, after its first: a bad row that waits for long says nothing more.
const MOST_REPEATED: u32 = 12;

/// One in so many bodies that are refused is sent once more though nothing shows that the receiver refuses at random.
const TRIED_BODIES: u64 = 2;

/// A receiver that refuses more than this share of all other requests is what is wrong: no row is set aside.
const MOST_REFUSED: f64 = 0.95;

/// What was heard of one receiver. All numbers only grow, but for `open`.
#[derive(Debug, Default)]
pub(crate) struct RefusalRate {
    /// Requests that were accepted.
    accepted: AtomicU64,
    /// Refusals of rows that were accepted later.
    disproved: AtomicU64,
    /// Rows refused alone, each time but the first, up to [`MOST_REPEATED`].
    repeated: AtomicU64,
    /// Refusals that are neither disproved nor explained, and rows that are suspects.
    open: AtomicU64,
    /// Bodies that were refused, as they came from the queues.
    bodies: AtomicU64,
    /// When a row was accepted that had been refused before.
    disproved_at: Mutex<Option<Instant>>,
}

/// A moment, in numbers of a [`RefusalRate`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Since {
    accepted: u64,
    disproved: u64,
    repeated: u64,
    at: Instant,
}

impl RefusalRate {
    pub(super) fn now(&self) -> Since {
        let read = |number: &AtomicU64| number.load(Ordering::Acquire);
        Since {
            accepted: read(&self.accepted),
            disproved: read(&self.disproved),
            repeated: read(&self.repeated),
            at: Instant::now(),
        }
    }

    /// A request was accepted.
    pub(super) fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::AcqRel);
    }

    /// Something was accepted that had been refused so often.
    pub(super) fn disproved(&self, refusals: u32) {
        self.disproved.fetch_add(refusals.into(), Ordering::AcqRel);
        let mut at = self.disproved_at.lock().unwrap_or_else(PoisonError::into_inner);
        *at = Some(Instant::now());
    }

    /// Whether the receiver has lately refused a row that it accepted later: then a refusal says little.
    pub(super) fn refuses_good_rows(&self) -> bool {
        let at = self.disproved_at.lock().unwrap_or_else(PoisonError::into_inner);
        at.is_some_and(|at| at.elapsed() < REMEMBERED_FOR)
    }

    /// Whether nothing but one row was refused since then, so that no other speaks against it or for it.
    pub(super) fn is_alone(&self, since: Since) -> bool {
        self.open.load(Ordering::Acquire) <= 1
            && self.now().disproved == since.disproved
            && since.at.elapsed() >= UNHURRIED
    }

    /// Whether a row that was refused alone so often since then is bad, rather than unlucky.
    pub(super) fn is_bad(&self, refusals: u32, since: Since) -> bool {
        let now = self.now();
        let accepted = now.accepted.saturating_sub(since.accepted);
        // The row itself is open.
        let others = self.open.load(Ordering::Acquire).saturating_sub(1);
        let disproved = now.disproved.saturating_sub(since.disproved);
        let refused = disproved + others;
        if refused as f64 > MOST_REFUSED * (refused + accepted) as f64 {
            return false;
        }
        if disproved > 0 || self.refuses_good_rows() {
            return refusals >= REFUSALS_IN_DOUBT && chance(refused, accepted, refusals) < CERTAIN;
        }
        // Or all that were suspects in this time: of so many one would have been accepted.
        let repeated = now.repeated.saturating_sub(since.repeated);
        let repeated = repeated.try_into().unwrap_or(u32::MAX);
        let likely = if since.at.elapsed() < UNHURRIED { LIKELY_AT_ONCE } else { LIKELY };
        let is_likely = || chance(refused, accepted, refusals) < likely;
        let is_certain = || chance(refused, accepted, repeated) < CERTAIN;
        refusals >= REFUSALS && (is_likely() || is_certain())
    }

    /// Whether several rows that were refused are sent once more before they are divided: where the receiver refuses at
    /// random that mostly ends the search, and now and then to find out. `whole` is a body that was not divided before.
    pub(super) fn sends_again(&self, whole: bool) -> bool {
        let is_tried =
            || (self.bodies.fetch_add(1, Ordering::AcqRel) + 1).is_multiple_of(TRIED_BODIES);
        self.refuses_good_rows() || (whole && is_tried())
    }

    /// One more refusal of a row that was refused alone so often before.
    pub(super) fn repeated(&self, before: u32) {
        if before <= MOST_REPEATED {
            self.repeated.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// How likely so many refusals in a row are after so many refusals and acceptances.
fn chance(refused: u64, accepted: u64, refusals: u32) -> f64 {
    let (refused, accepted) = (refused as f64, accepted as f64);
    let mut chance = 1.0;
    for nth in 0..refusals {
        let nth = f64::from(nth);
        chance *= (refused + 1.0 + nth) / (refused + accepted + 2.0 + nth);
        if chance < CERTAIN {
            break;
        }
    }
    chance
}

/// A refusal that is not explained yet, or a suspect. Kept by all parts that it was about; counted until the last of
/// them is decided, or until a suspect in one of them explains it.
#[derive(Debug)]
pub(super) struct OpenRefusal {
    rate: Arc<RefusalRate>,
    counts: AtomicBool,
    /// That of the part which this one was cut out of.
    within: Option<Arc<Self>>,
}

impl OpenRefusal {
    /// Several rows were refused.
    pub(super) fn new(rate: &Arc<RefusalRate>, within: Option<Arc<Self>>) -> Arc<Self> {
        rate.open.fetch_add(1, Ordering::AcqRel);
        Arc::new(Self { rate: Arc::clone(rate), counts: AtomicBool::new(true), within })
    }

    /// A row was refused alone for the first time.
    pub(super) fn suspect(rate: &Arc<RefusalRate>, within: Option<Arc<Self>>) -> Arc<Self> {
        let mut next = within.as_ref();
        while let Some(refusal) = next {
            refusal.close();
            next = refusal.within.as_ref();
        }
        Self::new(rate, None)
    }

    fn close(&self) {
        if self.counts.swap(false, Ordering::AcqRel) {
            self.rate.open.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for OpenRefusal {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Refusals after which a row is believed to be bad, with so many others refused and accepted; 0 if never.
    fn needed(rate: &RefusalRate, since: Since) -> u32 {
        (1..5_000).find(|&refusals| rate.is_bad(refusals, since)).unwrap_or_default()
    }

    async fn after(accepted: u64, disproved: u32) -> u32 {
        let rate = RefusalRate::default();
        let since = rate.now();
        tokio::time::advance(UNHURRIED).await;
        (0..accepted).for_each(|_| rate.accepted());
        if disproved > 0 {
            rate.disproved(disproved);
        }
        needed(&rate, since)
    }

    #[tokio::test(start_paused = true)]
    async fn next_to_a_receiver_that_accepts_all_others_six_refusals_are_enough() {
        for (accepted, needed) in [(1_000, 6), (4, 6), (3, 6), (2, 9), (1, 19), (0, 200)] {
            assert_eq!(after(accepted, 0).await, needed, "{accepted} to compare with");
        }
        let rate = RefusalRate::default();
        let since = rate.now();
        (0..30).for_each(|_| rate.accepted());
        assert_eq!(needed(&rate, since), 6, "at once, with many to compare with");
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_follows_the_share_of_requests_that_are_refused_at_random() {
        for (percent, least) in [(10_u32, 20), (30, 20), (50, 30), (70, 58), (80, 93), (90, 197)] {
            let needed = after((1_000 - percent * 10).into(), percent * 10).await;
            assert!((least..least + least / 3).contains(&needed), "{percent} %: {needed}");
            let chance = f64::from(percent) / 100.0;
            assert!(chance.powi(needed.try_into().unwrap()) < 2.0 * CERTAIN, "{percent} %");
        }
        assert_eq!(after(40, 960).await, 0, "the receiver is what is wrong");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_open_until_it_is_explained_or_decided() {
        let rate = Arc::new(RefusalRate::default());
        let open = || rate.open.load(Ordering::Acquire);
        let body = OpenRefusal::new(&rate, None);
        let half = OpenRefusal::new(&rate, Some(Arc::clone(&body)));
        assert_eq!(open(), 2);
        let suspect = OpenRefusal::suspect(&rate, Some(Arc::clone(&half)));
        assert_eq!(open(), 1, "the suspect alone");
        drop((body, half));
        assert_eq!(open(), 1);
        drop(suspect);
        assert_eq!(open(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn many_suspects_of_which_none_is_ever_accepted_speak_for_each_other() {
        let rate = Arc::new(RefusalRate::default());
        let since = rate.now();
        (0..15).for_each(|_| rate.accepted());
        let suspects: Vec<_> = (0..30).map(|_| OpenRefusal::suspect(&rate, None)).collect();
        assert!(!rate.is_bad(6, since));
        (0..5 * suspects.len()).for_each(|_| rate.repeated(1));
        assert!(rate.is_bad(6, since) && !rate.is_bad(5, since));
        rate.disproved(1);
        assert!(!rate.is_bad(6, since), "one of them was");
    }
}
