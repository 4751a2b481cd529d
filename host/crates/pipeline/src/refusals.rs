//! How many refusals are believed, counted by reason.
//!
//! If more than a small part of the rows is refused, the refusals themselves are in doubt: a broken plugin or a
//! wrong setting must not turn a logstore into dead letters. Reasons are keys from a small fixed set, so that
//! the counts are bounded; the sentence kept for each is the last one heard.

use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use forwarder_connector::Cause;
use thiserror::Error;

/// How much refusing is believed, of one plugin or by one sink.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RejectLimit {
    /// Largest part of the rows in a window that may be refused; 1.0 never holds.
    pub max_ratio: f64,
    /// Rows in a window. Before that many were seen, the limit is the same number of rows as for a full one.
    pub window: usize,
}

impl Default for RejectLimit {
    fn default() -> Self {
        Self { max_ratio: 0.05, window: 1_000 }
    }
}

/// Refused rows, counted by reason, with one sentence for each.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Refusals(BTreeMap<&'static str, Counted>);

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Counted {
    rows: usize,
    example: String,
}

impl Refusals {
    pub(crate) fn one(cause: &Cause) -> Self {
        let mut refusals = Self::default();
        refusals.add(cause);
        refusals
    }

    /// Counts one more row.
    pub(crate) fn add(&mut self, cause: &Cause) {
        let counted = self.0.entry(cause.reason()).or_default();
        counted.rows += 1;
        if counted.example.is_empty() {
            counted.example = cause.to_string();
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.0.values().map(|counted| counted.rows).sum()
    }

    fn merge(&mut self, more: &Self) {
        for (&reason, Counted { rows, example }) in &more.0 {
            let counted = self.0.entry(reason).or_default();
            counted.rows += rows;
            counted.example.clone_from(example);
        }
    }

    fn remove(&mut self, less: &Self) {
        for (reason, Counted { rows, .. }) in &less.0 {
            if let Some(counted) = self.0.get_mut(reason) {
                counted.rows = counted.rows.saturating_sub(*rows);
            }
        }
        self.0.retain(|_, counted| counted.rows > 0);
    }
}

/// `12 x too_large (…), 3 x invalid_format (…)`, the most frequent first.
impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut by_rows: Vec<_> = self.0.iter().collect();
        by_rows.sort_by_key(|(_, counted)| std::cmp::Reverse(counted.rows));
        for (n, (reason, Counted { rows, example })) in by_rows.into_iter().enumerate() {
            let separator = if n == 0 { "" } else { ", " };
            write!(f, "{separator}{rows} x {reason} ({example})")?;
        }
        Ok(())
    }
}

/// Counts refusals against a [`RejectLimit`].
#[derive(Debug)]
pub(crate) struct RejectWatch {
    limit: RejectLimit,
    window: Mutex<Window>,
    /// Dead letters so far, by reason.
    letters: Mutex<BTreeMap<&'static str, usize>>,
}

/// What refusals are judged against. A window is over once as many rows as it holds were decided; the one
/// before it counts too, so that a burst is not forgotten at the boundary.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Window {
    /// Rows of accounts that were heard about and of which more may be refused: as long as they are open, what
    /// was refused of them is judged against all of them, and no window ends without them.
    open: Seen,
    current: Seen,
    before: Seen,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Seen {
    rows: usize,
    refused: Refusals,
}

impl Seen {
    fn add(&mut self, more: &Self) {
        self.rows += more.rows;
        self.refused.merge(&more.refused);
    }

    fn subtract(&mut self, less: &Self) {
        self.rows = self.rows.saturating_sub(less.rows);
        self.refused.remove(&less.refused);
    }
}

/// A number of dead letters of one reason that is worth a line in the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Milestone {
    pub(crate) reason: &'static str,
    /// Dead letters of this reason so far.
    pub(crate) letters: usize,
    /// One of them, for a person.
    pub(crate) example: String,
}

impl RejectWatch {
    pub(crate) fn new(limit: RejectLimit) -> Self {
        Self { limit, window: Mutex::default(), letters: Mutex::default() }
    }

    /// Whether every refusal is to be believed: the operator has said so by a limit of 100 %.
    pub(crate) fn believes_all(&self) -> bool {
        self.limit.max_ratio >= 1.0
    }

    /// Opens the account of rows that are offered together and may be refused one after the other.
    pub(crate) fn account(&self, rows: usize) -> RejectAccount<'_> {
        RejectAccount { watch: self, rows, heard: None }
    }

    /// Counts dead letters. Returns the reasons to be logged: each at its first letter, and when their number
    /// reaches another power of ten, so that a steady few do not fill the log.
    #[must_use]
    pub(crate) fn count_letters(&self, refusals: &Refusals) -> Vec<Milestone> {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reached = Vec::new();
        for (&reason, Counted { rows, example }) in &refusals.0 {
            let count = letters.entry(reason).or_default();
            let before = *count;
            *count += rows;
            if count.checked_ilog10() > before.checked_ilog10() {
                reached.push(Milestone { reason, letters: *count, example: example.clone() });
            }
        }
        reached
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rows that were offered together. They count from the first answer about any of them, and belong to the
/// past when this is dropped.
#[derive(Debug)]
pub(crate) struct RejectAccount<'a> {
    watch: &'a RejectWatch,
    rows: usize,
    heard: Option<Seen>,
}

impl RejectAccount<'_> {
    /// Counts an answer in which more of the rows were refused, or nothing at all if that is more than the
    /// limit allows: the same rows will be offered again.
    pub(crate) fn hear(&mut self, refused: &Refusals) -> Result<(), TooManyRefused> {
        let first = self.heard.is_none();
        let rows = if first { self.rows } else { 0 };
        let news = Seen { rows, refused: refused.clone() };
        let mut window = self.watch.window();
        if news.refused.rows() > 0 {
            let mut all = news.clone();
            for part in [&window.open, &window.current, &window.before] {
                all.add(part);
            }
            let limit = &self.watch.limit;
            let allowed = limit.max_ratio * all.rows.max(limit.window) as f64;
            if all.refused.rows() as f64 > allowed {
                let percent = limit.max_ratio * 100.0;
                let (refused, rows) = (all.refused.rows(), all.rows);
                return Err(TooManyRefused { refused, rows, percent, reasons: all.refused });
            }
        }
        window.open.add(&news);
        self.heard.get_or_insert_default().add(&news);
        Ok(())
    }

    /// Takes rows out of the account whose verdict is still to come: they will be offered again.
    pub(crate) fn leave(&mut self, rows: usize) {
        self.rows = self.rows.saturating_sub(rows);
        if let Some(heard) = &mut self.heard {
            let left = Seen { rows: rows.min(heard.rows), refused: Refusals::default() };
            heard.subtract(&left);
            self.watch.window().open.subtract(&left);
        }
    }

    /// Forgets what was heard: nothing came of it, and the same rows will be offered again.
    pub(crate) fn take_back(mut self) {
        if let Some(heard) = self.heard.take() {
            self.watch.window().open.subtract(&heard);
        }
    }
}

impl Drop for RejectAccount<'_> {
    fn drop(&mut self) {
        let Some(heard) = self.heard.take() else { return };
        let mut window = self.watch.window();
        window.open.subtract(&heard);
        window.current.add(&heard);
        if window.current.rows >= self.watch.limit.window {
            window.before = mem::take(&mut window.current);
        }
    }
}

/// So many refusals that the fault is more likely ours than the rows'.
#[derive(Debug, Error, PartialEq)]
#[error(
    "{refused} of the last {rows} rows were refused, more than max_reject_ratio ({percent} %) allows: {reasons}; \
     they are neither dropped nor dead-lettered; repair the cause or raise the limit"
)]
pub(crate) struct TooManyRefused {
    refused: usize,
    rows: usize,
    percent: f64,
    reasons: Refusals,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch() -> RejectWatch {
        RejectWatch::new(RejectLimit::default())
    }

    fn refused(rows: usize) -> Refusals {
        let mut refusals = Refusals::default();
        (0..rows).for_each(|_| refusals.add(&Cause::new("blank", "event field is blank")));
        refusals
    }

    impl RejectWatch {
        /// Rows that are all decided at once.
        fn admit(&self, rows: usize, refusals: usize) -> Result<(), TooManyRefused> {
            self.account(rows).hear(&refused(refusals))
        }
    }

    impl TooManyRefused {
        fn counts(&self) -> (usize, usize) {
            (self.refused, self.rows)
        }
    }

    #[test]
    fn a_few_refusals_are_believed() {
        let watch = watch();
        assert_eq!(watch.admit(50, 50), Ok(()));
        assert!(watch.admit(1, 1).is_err(), "the 51st of fewer than 1,000");
    }

    #[test]
    fn a_small_part_may_be_refused_without_end() {
        let watch = watch();
        for _ in 0..100 {
            assert_eq!(watch.admit(100, 2), Ok(()));
        }
    }

    #[test]
    fn a_broken_plugin_is_not() {
        let watch = watch();
        assert_eq!(watch.admit(10_000, 0), Ok(()));
        let error = watch.admit(1_000, 1_000).unwrap_err();
        assert_eq!(error.counts(), (1_000, 11_000));
    }

    #[test]
    fn what_was_refused_is_counted_once_however_often_it_is_offered() {
        let watch = watch();
        assert_eq!(watch.admit(40, 40), Ok(()));
        for _ in 0..10 {
            assert!(watch.admit(20, 20).is_err());
        }
        assert_eq!(watch.admit(10, 10), Ok(()), "50 in all");
    }

    #[test]
    fn a_burst_is_remembered_across_the_boundary_of_a_window_and_forgotten_later() {
        let watch = watch();
        assert_eq!(watch.admit(999, 45), Ok(()));
        assert_eq!(watch.admit(1, 0), Ok(()));
        assert!(watch.admit(10, 10).is_err());
        for _ in 0..3 {
            assert_eq!(watch.admit(1_000, 0), Ok(()));
        }
        assert_eq!(watch.admit(50, 50), Ok(()));
    }

    #[test]
    fn rows_whose_verdict_is_still_to_come_are_not_forgotten() {
        let watch = watch();
        let mut bodies: Vec<_> = (0..8).map(|_| watch.account(1_000)).collect();
        for round in 0..50 {
            for body in &mut bodies {
                assert_eq!(body.hear(&refused(1)), Ok(()), "refusal {round} of each body");
            }
        }
        let error = bodies[0].hear(&refused(1)).unwrap_err();
        assert_eq!(error.counts(), (401, 8_000));
    }

    #[test]
    fn what_is_taken_back_was_never_heard() {
        let watch = watch();
        let mut account = watch.account(50);
        assert_eq!(account.hear(&refused(50)), Ok(()));
        account.take_back();
        assert_eq!(*watch.window(), Window::default());
    }

    #[test]
    fn rows_count_for_nothing_before_the_first_verdict_about_them() {
        let watch = watch();
        let mut bodies: Vec<_> = (0..8).map(|_| watch.account(1_000)).collect();
        assert!(
            bodies.iter_mut().all(|body| body.hear(&refused(1_000)).is_err()),
            "however many are under way"
        );
        drop(bodies);
        assert_eq!(*watch.window(), Window::default());
    }

    #[test]
    fn too_many_refusals_are_reported_by_reason_with_an_example_of_each() {
        let watch = watch();
        let mut mixed = refused(60);
        mixed.add(&Cause::new("oversize", "the message has 20480 bytes, raise `max_message`"));
        let error = watch.account(100).hear(&mixed).unwrap_err();
        assert_eq!(
            error.to_string(),
            "61 of the last 100 rows were refused, more than max_reject_ratio (5 %) allows: \
             60 x blank (event field is blank), \
             1 x oversize (the message has 20480 bytes, raise `max_message`); \
             they are neither dropped nor dead-lettered; repair the cause or raise the limit"
        );
    }

    #[test]
    fn the_first_dead_letter_of_a_reason_is_logged_and_later_ones_by_powers_of_ten() {
        let watch = watch();
        let mut logged = Vec::new();
        for _ in 0..100 {
            logged
                .extend(watch.count_letters(&refused(1)).into_iter().map(|logged| logged.letters));
        }
        assert_eq!(logged, [1, 10, 100]);
        let other = watch.count_letters(&Refusals::one(&Cause::new("oversize", "too long")));
        assert_eq!(other.len(), 1, "another reason is another story");
    }

    #[test]
    fn rows_that_are_left_for_later_count_when_they_are_offered_again() {
        let watch = watch();
        let mut account = watch.account(100);
        assert_eq!(account.hear(&refused(0)), Ok(()));
        account.leave(10);
        drop(account);
        assert_eq!(watch.window().current.rows, 90);
        assert_eq!(watch.admit(10, 0), Ok(()));
        assert_eq!(watch.window().current.rows, 100);
    }
}
