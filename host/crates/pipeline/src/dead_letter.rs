//! Where refused rows go, and the limit on that.
//!
//! A row that can never be delivered is settled once its letter is durable, and not before. If letters
//! cannot be written, because the file is at its cap or the disk is full, everything behind them waits:
//! nothing is deleted to make room. And if more than a small part of the rows is refused, the refusals
//! themselves are doubted: a broken plugin or a wrong setting must not turn a logstore into dead letters.

use std::sync::{Arc, Mutex, PoisonError};
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

/// The current window and the one before it, so that a burst is not forgotten at the boundary.
#[derive(Debug, Default, Clone, Copy)]
struct Window {
    current: Seen,
    before: Seen,
}

#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    rows: usize,
    refused: usize,
}

impl RejectWatch {
    pub(crate) fn new(limit: RejectLimit) -> Self {
        Self { limit, window: Mutex::default() }
    }

    /// Counts `refused` refusals among `rows` rows, or nothing at all if that is more than the limit allows:
    /// the same rows will be offered again.
    pub(crate) fn admit(&self, rows: usize, refused: usize) -> Result<(), TooManyRefused> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let total = |part: fn(&Seen) -> usize| part(&window.before) + part(&window.current);
        let seen = total(|seen| seen.rows) + rows;
        let bad = total(|seen| seen.refused) + refused;
        let allowed = self.limit.max_ratio * seen.max(self.limit.window) as f64;
        if refused > 0 && bad as f64 > allowed {
            let percent = self.limit.max_ratio * 100.0;
            return Err(TooManyRefused { refused: bad, rows: seen, percent });
        }
        window.current.rows += rows;
        window.current.refused += refused;
        if window.current.rows >= self.limit.window {
            *window = Window { current: Seen::default(), before: window.current };
        }
        Ok(())
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
}
