//! One body until each of its rows has an answer: delivered, or durably refused, or no longer ours.
//!
//! A rejection is never retried and a retry is never given up. Rows that were refused by name go to the dead
//! letters after the others were sent again, so that good rows do not wait for a full disk.

use std::collections::VecDeque;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use crate::alarm::Holding;
use crate::compute::Died;
use crate::dead_letter::{Burial, Offer, TooManyRefused};
use crate::deliver::Desk;
use crate::deliver::parcel::Parcel;
use crate::ledger::sealed::{Proof, Settlement};
use crate::retry::Backoff;
use crate::seams::{BoxError, Verdict};

/// Receipt of a sink: it has taken responsibility for these rows. Made in this file only, on hearing
/// [`Verdict::Delivered`].
#[derive(Debug)]
pub struct Delivered(());

impl Proof for Delivered {
    fn settlement(&self) -> Settlement {
        Settlement::Delivered
    }
}

/// What is left to be done for a body.
enum Step {
    Send(Parcel),
    /// These rows can never be delivered.
    Bury(Parcel, String),
}

/// Delivers a parcel, in as many requests as its sink's verdicts make of it.
pub(super) async fn deliver(desk: Arc<Desk>, parcel: Parcel) {
    let mut offer = desk.refusals.offer(parcel.rows());
    let mut steps = VecDeque::from([Step::Send(parcel)]);
    while let Some(step) = steps.pop_front() {
        match step {
            Step::Bury(parcel, reason) => bury(&desk, parcel, &reason).await,
            Step::Send(parcel) => {
                match Attempts::new(&desk, &mut offer).until_decided(parcel).await {
                    Decision::Done => {}
                    Decision::Refused { bad, good, reason } => {
                        steps.push_back(Step::Bury(bad, reason));
                        if !good.is_empty() {
                            steps.push_front(Step::Send(good));
                        }
                    }
                    Decision::Divided(first, second) => {
                        steps.push_front(Step::Send(second));
                        steps.push_front(Step::Send(first));
                    }
                }
            }
        }
    }
}

async fn bury(desk: &Desk, parcel: Parcel, reason: &str) {
    let mut burials = Vec::new();
    for piece in parcel.into_pieces() {
        let gate = Arc::clone(piece.gate());
        let (letters, share) = piece.into_letters(&desk.name, reason);
        desk.meters.refused_letters.increment(letters.len() as u64);
        burials.push(Burial { letters, share, gate });
    }
    desk.office.bury(burials).await;
}

/// What a sink finally said about a parcel.
enum Decision {
    /// Every row is settled, or nobody's business any more.
    Done,
    /// Some rows never; the others again.
    Refused { bad: Parcel, good: Parcel, reason: String },
    /// Not as a whole.
    Divided(Parcel, Parcel),
}

/// The attempts at one parcel.
struct Attempts<'d, 'o> {
    desk: &'d Desk,
    /// That of the whole body, of which the parcel may be a part.
    offer: &'o mut Offer<'d>,
    retries: Backoff,
    holds: Backoff,
    failed: u32,
    holding: Option<Holding>,
}

impl<'d, 'o> Attempts<'d, 'o> {
    fn new(desk: &'d Desk, offer: &'o mut Offer<'d>) -> Self {
        let retry = &desk.settings.retry;
        let (retries, holds) = (retry.retries(), retry.holds());
        Self { desk, offer, retries, holds, failed: 0, holding: None }
    }

    async fn until_decided(mut self, mut parcel: Parcel) -> Decision {
        loop {
            self.until_admitted(&mut parcel).await;
            if parcel.is_empty() {
                return Decision::Done;
            }
            let packed = self.pack(&mut parcel).await;
            if !parcel.is_admitted() {
                // A lease moved while we waited for a compute thread.
                continue;
            }
            let verdict = match packed {
                Ok(()) => self.ask(&parcel).await,
                Err(died) => Verdict::Hold { cause: died.into() },
            };
            let decision = match verdict {
                Verdict::Delivered => return self.delivered(parcel),
                Verdict::Retry { after, cause } => {
                    self.retry(&mut parcel, after, &cause).await;
                    continue;
                }
                Verdict::Hold { cause } => {
                    self.hold(&mut parcel, &*cause).await;
                    continue;
                }
                Verdict::Reject { rows, cause } => self.reject(parcel, rows, &cause),
                Verdict::Divide { cause } => self.divide(parcel, &cause),
            };
            match decision {
                Ok(decision) => return decision,
                Err((kept, doubt)) => {
                    parcel = kept;
                    self.hold(&mut parcel, &doubt).await;
                }
            }
        }
    }

    /// Waits while a lease of the parcel is in doubt, and lets go of rows whose lease is lost.
    async fn until_admitted(&self, parcel: &mut Parcel) {
        let mut moved = self.desk.bell.listen();
        loop {
            parcel.drop_closed();
            if !parcel.is_paused() {
                return;
            }
            // The bell is as long-lived as we are.
            let _ = moved.changed().await;
        }
    }

    async fn pack(&self, parcel: &mut Parcel) -> Result<(), Died> {
        let Some(parts) = parcel.unpacked() else { return Ok(()) };
        let body = if self.desk.sink.packs() {
            let sink = Arc::clone(&self.desk.sink);
            self.desk.compute.submit(move |_| sink.pack(&parts)).await.result().await?
        } else {
            self.desk.sink.pack(&parts)
        };
        parcel.set_body(body);
        Ok(())
    }

    async fn ask(&self, parcel: &Parcel) -> Verdict {
        let asked = Instant::now();
        let verdict = self.desk.sink.deliver(parcel).await;
        self.desk.meters.seconds.record(asked.elapsed().as_secs_f64());
        verdict
    }

    fn delivered(self, parcel: Parcel) -> Decision {
        let Self { desk, offer, failed, holding, .. } = self;
        // Cannot be too many refused, since none was.
        let _ = offer.hear(0);
        let rows = parcel.rows();
        desk.meters.delivered_records.increment(rows as u64);
        desk.meters.delivered_bytes.increment(parcel.bytes() as u64);
        for piece in parcel.into_pieces() {
            piece.settle(Delivered(()));
        }
        if holding.is_some_and(Holding::recovered) {
            info!(sink = %desk.name, "sink takes rows again");
        } else if failed > 0 {
            info!(sink = %desk.name, attempts = failed + 1, "delivered after retries");
        }
        Decision::Done
    }

    async fn retry(&mut self, parcel: &mut Parcel, after: Option<Duration>, cause: &BoxError) {
        self.desk.meters.retried.increment(1);
        self.failed += 1;
        let delay = self.retries.wait(after);
        // A long outage is one story, not a line every thirty seconds for each request.
        if self.failed.is_power_of_two() {
            let (sink, attempt) = (&self.desk.name, self.failed);
            warn!(%sink, attempt, retry_in = ?delay, error = %cause, "not delivered yet, retrying");
        }
        self.wait(parcel, delay).await;
    }

    async fn hold(&mut self, parcel: &mut Parcel, cause: &(dyn Error + Send + Sync)) {
        self.desk.meters.held.increment(1);
        if self.holding.is_none() {
            let (holding, first) = self.desk.alarm.raise();
            self.holding = Some(holding);
            if first {
                error!(
                    sink = %self.desk.name,
                    error = %cause,
                    "sink takes nothing from us until somebody acts; nothing was lost, its rows are held"
                );
            }
        }
        let delay = self.holds.wait(None);
        self.wait(parcel, delay).await;
    }

    /// Waits, unless all rows turn out to be somebody else's meanwhile.
    async fn wait(&self, parcel: &mut Parcel, delay: Duration) {
        let mut moved = self.desk.bell.listen();
        let waiting = sleep(delay);
        tokio::pin!(waiting);
        loop {
            parcel.drop_closed();
            if parcel.is_empty() {
                return;
            }
            tokio::select! {
                () = &mut waiting => return,
                _ = moved.changed() => {}
            }
        }
    }

    fn reject(&mut self, parcel: Parcel, rows: Vec<usize>, cause: &BoxError) -> Doubtful {
        let mut rows: Vec<_> = rows.into_iter().filter(|&row| row < parcel.rows()).collect();
        rows.sort_unstable();
        rows.dedup();
        if rows.is_empty() {
            // It names a row that is not there: as good as not naming one.
            return self.divide(parcel, cause);
        }
        if let Err(doubt) = self.offer.hear(rows.len()) {
            return Err((parcel, doubt));
        }
        self.desk.meters.rejected.increment(1);
        let (bad, good) = parcel.part(&rows);
        warn!(
            sink = %self.desk.name,
            rows = rows.len(),
            error = %cause,
            "rows refused, sending them to the dead letters"
        );
        Ok(Decision::Refused { bad, good, reason: cause.to_string() })
    }

    fn divide(&mut self, parcel: Parcel, cause: &BoxError) -> Doubtful {
        if parcel.rows() == 1 {
            return self.reject(parcel, vec![0], cause);
        }
        self.desk.meters.divided.increment(1);
        let (first, second) = parcel.halves();
        Ok(Decision::Divided(first, second))
    }
}

/// A decision, or the parcel back because so many refusals are not believed.
type Doubtful = Result<Decision, (Parcel, TooManyRefused)>;
