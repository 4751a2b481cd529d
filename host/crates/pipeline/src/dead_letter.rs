//! Where refused rows go, and the limit on that.
//!
//! A row that can never be delivered is settled once its letter is durable, and not before. If letters
//! cannot be written, because the file is at its cap or the disk is full, everything behind them waits:
//! nothing is deleted to make room. And if more than a small part of the rows is refused, the refusals
//! themselves are doubted: a broken plugin or a wrong setting must not turn a logstore into dead letters.

use std::mem;
use std::ops::{AddAssign, SubAssign};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forwarder_record::{Batch, EventId, Format, Origin, RowIx, Time};
use thiserror::Error;
use tokio::time::sleep;
use tracing::{error, info};

use crate::alarm::{Alarm, Holding};
use crate::lease::{Bell, Gate, Passage};
use crate::ledger::Share;
use crate::ledger::sealed::{Proof, Settlement};
use crate::metrics as meters;
use crate::retry::RetryPolicy;
use crate::seams::{BoxError, DeadLetters};

/// A row that was refused, with what a person or a replay needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Who refused the row. Also says what `fields` are.
    pub refused_by: RefusedBy,
    /// Why, for a person.
    pub reason: String,
    /// Stable name of the event, unless the source cannot give one.
    pub id: Option<EventId>,
    /// Project, logstore and shard.
    pub origin: Origin,
    /// Time of the event.
    pub time: Time,
    /// Topic of the log group.
    pub topic: String,
    /// Source of the log group.
    pub source: String,
    /// The fields: as the sink was to get them if a sink refused, as they were pulled if a plugin did.
    pub fields: Vec<(String, String, Format)>,
}

/// Who refused a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RefusedBy {
    /// A plugin; a replay runs the chain again.
    Plugin(Arc<str>),
    /// A sink; a replay sends to it.
    Sink(Arc<str>),
}

impl Letter {
    /// A letter about a row that a sink refused: as it is after the chain.
    pub(crate) fn from_sink(sink: &Arc<str>, batch: &Batch, row: RowIx, reason: String) -> Self {
        let cells = batch.row(row).cells();
        let fields = cells.map(|cell| (cell.key.to_owned(), cell.value.to_owned(), cell.format));
        Self::about(RefusedBy::Sink(Arc::clone(sink)), batch, row, reason, fields.collect())
    }

    /// A letter about a row that a plugin refused: as it was before the chain.
    pub(crate) fn from_plugin(
        plugin: &Arc<str>,
        batch: &Batch,
        row: RowIx,
        reason: String,
    ) -> Self {
        let original = batch.row(row).original().into_iter();
        let fields = original.map(|(key, value)| (key, value, Format::Text)).collect();
        Self::about(RefusedBy::Plugin(Arc::clone(plugin)), batch, row, reason, fields)
    }

    /// Memory it takes, approximately.
    pub(crate) fn held_bytes(&self) -> usize {
        let field = |(key, value, _): &(String, String, Format)| {
            size_of::<(String, String, Format)>() + key.capacity() + value.capacity()
        };
        size_of::<Self>() + self.reason.len() + self.fields.iter().map(field).sum::<usize>()
    }

    fn about(
        refused_by: RefusedBy,
        batch: &Batch,
        row: RowIx,
        reason: String,
        fields: Vec<(String, String, Format)>,
    ) -> Self {
        let row = batch.row(row);
        Self {
            refused_by,
            reason,
            id: row.id(),
            origin: row.origin().clone(),
            time: row.time(),
            topic: row.topic().to_owned(),
            source: row.source().to_owned(),
            fields,
        }
    }
}

/// Receipt of the dead letters: these rows are durable elsewhere. Made in this file only.
#[derive(Debug)]
pub struct DeadLettered(());

impl Proof for DeadLettered {
    fn settlement(&self) -> Settlement {
        Settlement::DeadLettered
    }
}

/// Letters and the share that is settled once they are written.
#[derive(Debug)]
pub(crate) struct Burial {
    pub(crate) letters: Vec<Letter>,
    pub(crate) share: Share,
    pub(crate) gate: Arc<Gate>,
}

/// Writes letters and settles their rows. One for the process.
pub(crate) struct Office {
    writer: Arc<dyn DeadLetters>,
    retry: RetryPolicy,
    alarm: Arc<Alarm>,
    bell: Bell,
}

impl Office {
    pub(crate) fn new(writer: Arc<dyn DeadLetters>, retry: RetryPolicy, bell: Bell) -> Self {
        Self { writer, retry, alarm: Alarm::new(meters::dead_letter_holding()), bell }
    }

    /// Writes the letters, however long it takes, and settles their shares. Given up only when none of the
    /// shards is ours any more, or when the future is dropped; then the rows are not settled and come again.
    pub(crate) async fn bury(&self, burials: Vec<Burial>) {
        let mut letters = Vec::new();
        let mut shares = Vec::new();
        let mut gates = Vec::new();
        for burial in burials {
            letters.extend(burial.letters);
            shares.push(burial.share);
            gates.push(burial.gate);
        }
        if letters.is_empty() {
            return;
        }
        let mut hold: Option<Holding> = None;
        let mut waits = self.retry.holds();
        while let Err(cause) = self.writer.write(&letters).await {
            self.hold(&mut hold, letters.len(), &cause);
            if self.abandoned_after(waits.wait(None), &gates).await {
                return;
            }
        }
        if hold.is_some_and(Holding::recovered) {
            info!("dead letters are written again");
        }
        for share in shares {
            share.settle(DeadLettered(()));
        }
    }

    fn hold(&self, hold: &mut Option<Holding>, letters: usize, cause: &BoxError) {
        if hold.is_some() {
            return;
        }
        let (holding, first) = self.alarm.raise();
        *hold = Some(holding);
        if first {
            error!(
                letters,
                error = %cause,
                "dead letters cannot be written; nothing was lost, what waits for them is holding"
            );
        }
    }

    /// Waits; true if meanwhile all gates were closed.
    async fn abandoned_after(&self, wait: Duration, gates: &[Arc<Gate>]) -> bool {
        let mut moved = self.bell.listen();
        let waiting = sleep(wait);
        tokio::pin!(waiting);
        loop {
            if gates.iter().all(|gate| gate.passage() == Passage::Closed) {
                return true;
            }
            tokio::select! {
                () = &mut waiting => return false,
                _ = moved.changed() => {}
            }
        }
    }
}

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

/// Counts refusals against a [`RejectLimit`].
#[derive(Debug)]
pub(crate) struct RejectWatch {
    limit: RejectLimit,
    window: Mutex<Window>,
}

/// What refusals are judged against. A window is over once as many rows as it holds were decided; the one
/// before it counts too, so that a burst is not forgotten at the boundary.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Window {
    /// Rows of offers that were heard about and of which more may be refused: as long as they are open, what
    /// was refused of them is judged against all of them, and no window ends without them.
    open: Seen,
    current: Seen,
    before: Seen,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Seen {
    rows: usize,
    refused: usize,
}

impl AddAssign for Seen {
    fn add_assign(&mut self, more: Self) {
        self.rows += more.rows;
        self.refused += more.refused;
    }
}

impl SubAssign for Seen {
    fn sub_assign(&mut self, less: Self) {
        self.rows -= less.rows;
        self.refused -= less.refused;
    }
}

impl RejectWatch {
    pub(crate) fn new(limit: RejectLimit) -> Self {
        Self { limit, window: Mutex::default() }
    }

    /// Opens the account of rows that are offered together and may be refused one after the other.
    pub(crate) fn offer(&self, rows: usize) -> Offer<'_> {
        Offer { watch: self, rows, heard: None }
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rows that were offered together. They count from the first answer about any of them, and belong to the
/// past when this is dropped.
#[derive(Debug)]
pub(crate) struct Offer<'a> {
    watch: &'a RejectWatch,
    rows: usize,
    heard: Option<Seen>,
}

impl Offer<'_> {
    /// Counts an answer in which `refused` more of the rows were refused, or nothing at all if that is more
    /// than the limit allows: the same rows will be offered again.
    pub(crate) fn hear(&mut self, refused: usize) -> Result<(), TooManyRefused> {
        let first = self.heard.is_none();
        let news = Seen { rows: if first { self.rows } else { 0 }, refused };
        let mut window = self.watch.window();
        let mut all = news;
        for part in [window.open, window.current, window.before] {
            all += part;
        }
        let limit = &self.watch.limit;
        let allowed = limit.max_ratio * all.rows.max(limit.window) as f64;
        if refused > 0 && all.refused as f64 > allowed {
            let percent = limit.max_ratio * 100.0;
            return Err(TooManyRefused { refused: all.refused, rows: all.rows, percent });
        }
        window.open += news;
        *self.heard.get_or_insert_default() += news;
        Ok(())
    }

    /// Forgets what was heard: nothing came of it, and the same rows will be offered again.
    pub(crate) fn take_back(mut self) {
        if let Some(heard) = self.heard.take() {
            self.watch.window().open -= heard;
        }
    }
}

impl Drop for Offer<'_> {
    fn drop(&mut self) {
        let Some(heard) = self.heard else { return };
        let mut window = self.watch.window();
        window.open -= heard;
        window.current += heard;
        if window.current.rows >= self.watch.limit.window {
            window.before = mem::take(&mut window.current);
        }
    }
}

/// So many refusals that the fault is more likely ours than the rows'.
#[derive(Debug, Error, PartialEq)]
#[error(
    "{refused} of the last {rows} rows were refused, more than max_reject_ratio ({percent} %) allows \
     (they are neither dropped nor dead-lettered; repair the cause or raise the limit)"
)]
pub(crate) struct TooManyRefused {
    refused: usize,
    rows: usize,
    percent: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch() -> RejectWatch {
        RejectWatch::new(RejectLimit::default())
    }

    impl RejectWatch {
        /// Rows that are all decided at once.
        fn admit(&self, rows: usize, refused: usize) -> Result<(), TooManyRefused> {
            self.offer(rows).hear(refused)
        }
    }

    #[test]
    fn a_few_refusals_are_believed() {
        let watch = watch();
        assert_eq!(watch.admit(50, 50), Ok(()));
        assert!(watch.admit(1, 1).is_err(), "the 51st of fewer than 1,000");
    }

    #[test]
    fn a_small_part_may_be_refused_for_ever() {
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
        assert_eq!(error, TooManyRefused { refused: 1_000, rows: 11_000, percent: 5.0 });
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
        let mut bodies: Vec<_> = (0..8).map(|_| watch.offer(1_000)).collect();
        for round in 0..50 {
            for body in &mut bodies {
                assert_eq!(body.hear(1), Ok(()), "refusal {round} of each body");
            }
        }
        let error = bodies[0].hear(1).unwrap_err();
        assert_eq!(error, TooManyRefused { refused: 401, rows: 8_000, percent: 5.0 });
    }

    #[test]
    fn what_is_taken_back_was_never_heard() {
        let watch = watch();
        let mut offer = watch.offer(50);
        assert_eq!(offer.hear(50), Ok(()));
        offer.take_back();
        assert_eq!(*watch.window(), Window::default());
    }

    #[test]
    fn rows_count_for_nothing_before_the_first_verdict_about_them() {
        let watch = watch();
        let mut bodies: Vec<_> = (0..8).map(|_| watch.offer(1_000)).collect();
        assert!(
            bodies.iter_mut().all(|body| body.hear(1_000).is_err()),
            "however many are under way"
        );
        drop(bodies);
        assert_eq!(*watch.window(), Window::default());
    }
}
