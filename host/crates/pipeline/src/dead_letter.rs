//! Where refused rows go.
//!
//! A row that can never be delivered is settled once its letter is durable, and not before. If letters
//! cannot be written, because the file is at its cap or the disk is full, everything behind them waits:
//! nothing is deleted to make room.

use std::sync::Arc;

use forwarder_connector::{BoxError, DeadLetter, DeadLetters};
use tokio::time::sleep;
use tracing::{error, info};

use crate::alarm::{Alarm, Holding};
use crate::lease_gate::{LeaseGate, LeaseGates};
use crate::ledger::Share;
use crate::ledger::sealed::{Proof, Settlement};
use crate::metrics as meters;
use crate::retry::RetryPolicy;

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
pub(crate) struct PendingLetters {
    pub(crate) letters: Vec<DeadLetter>,
    pub(crate) share: Share,
    pub(crate) gate: Arc<LeaseGate>,
}

/// Writes letters and settles their rows. One for the process.
pub(crate) struct DeadLetterWriter {
    writer: Arc<dyn DeadLetters>,
    retry: RetryPolicy,
    alarm: Arc<Alarm>,
    gates: LeaseGates,
}

impl DeadLetterWriter {
    pub(crate) fn new(writer: Arc<dyn DeadLetters>, retry: RetryPolicy, gates: LeaseGates) -> Self {
        Self { writer, retry, alarm: Alarm::new(meters::dead_letter_holding()), gates }
    }

    /// Writes the letters, however long it takes, and settles their shares. Given up only when none of the
    /// shards is ours any more, or when the future is dropped; then the rows are not settled and are pulled again.
    pub(crate) async fn write(&self, pending: Vec<PendingLetters>) {
        let mut letters = Vec::new();
        let mut shares = Vec::new();
        let mut gates = Vec::new();
        for pending in pending {
            letters.extend(pending.letters);
            shares.push(pending.share);
            gates.push(pending.gate);
        }
        if letters.is_empty() {
            return;
        }
        let mut hold: Option<Holding> = None;
        let mut waits = self.retry.holds();
        while let Err(cause) = self.writer.write(&letters).await {
            self.hold(&mut hold, letters.len(), &cause);
            let all_lost = || gates.iter().all(|gate| gate.is_closed());
            if self.gates.unless(all_lost, sleep(waits.wait(None))).await.is_none() {
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
}
