//! Where refused rows go.
//!
//! A row that can never be delivered is settled once its letter is durable, and not before. If letters
//! cannot be written, because the file is at its cap or the disk is full, everything behind them waits:
//! nothing is deleted to make room.

use std::sync::Arc;
use std::time::Duration;

use forwarder_record::{Batch, EventId, Format, Origin, RowIx, Time};
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
    /// shards is ours any more, or when the future is dropped; then the rows are not settled and are pulled again.
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
