//! One request until its sink has accepted or refused it, or it is no longer ours. A retry is never given up;
//! what a refusal means is decided in [`search`](super::search).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use forwarder_connector::{Answer, Body, Cause, Verdict};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use crate::alarm::Holding;
use crate::compute::Died;
use crate::deliver::context::SinkContext;
use crate::deliver::request::Request;
use crate::deliver::unconfirmed::Unconfirmed;
use crate::ledger::sealed::{Proof, Settlement};
use crate::retry::Retries;

/// Receipt of a sink: it has taken responsibility for these rows. Made in this file only, on hearing
/// [`Verdict::Delivered`].
#[derive(Debug)]
pub struct Delivered(());

impl Proof for Delivered {
    fn settlement(&self) -> Settlement {
        Settlement::Delivered
    }
}

impl SinkContext {
    /// Settles rows for which the sink has taken responsibility.
    pub(super) fn delivered(&self, request: Request) {
        self.meters.delivered_records.increment(request.rows() as u64);
        self.meters.delivered_bytes.increment(request.bytes() as u64);
        for chunk in request.into_chunks() {
            chunk.settle(Delivered(()));
        }
    }
}

/// What was finally decided about a request.
pub(super) enum Decision {
    /// Every row is settled.
    Delivered,
    /// Every row waits for its confirmation.
    Unconfirmed,
    /// Every row belongs to another consumer by now.
    Gone,
    /// The receiver refuses these rows, or some of them.
    Refused {
        /// What was refused. Still ours to settle.
        request: Request,
        /// The rows it named, ascending and without repetition; none if it named none.
        rows: Vec<usize>,
        /// What it said.
        cause: Cause,
    },
}

/// Sends a request until the sink accepts or refuses it. What is not delivered yet goes to `accept`, where its
/// confirmation is waited for; that of a suspect is waited for here. `heard` is the verdict with which such a wait
/// ended, if that is why the request is sent again; `number` is that of the request.
pub(super) async fn decide(
    context: &SinkContext,
    accept: &mpsc::Sender<Unconfirmed>,
    request: Request,
    heard: Option<Verdict>,
    number: u64,
) -> Decision {
    Attempts::new(context, accept, number).until_decided(request, heard).await
}

/// The attempts at one request.
struct Attempts<'d> {
    context: &'d SinkContext,
    accept: &'d mpsc::Sender<Unconfirmed>,
    retries: Retries,
    holds: Retries,
    failed: u32,
    holding: Option<Holding>,
    /// Requests that the sink had taken when this request was held last.
    taken: u64,
    number: u64,
}

impl<'d> Attempts<'d> {
    fn new(context: &'d SinkContext, accept: &'d mpsc::Sender<Unconfirmed>, number: u64) -> Self {
        let retry = &context.settings.retry;
        let (retries, holds) = (retry.retries(), retry.holds());
        Self {
            context,
            accept,
            retries,
            holds,
            failed: 0,
            holding: None,
            taken: context.taken(),
            number,
        }
    }

    async fn until_decided(mut self, mut request: Request, mut heard: Option<Verdict>) -> Decision {
        loop {
            self.until_admitted(&mut request).await;
            if request.is_empty() {
                return Decision::Gone;
            }
            let answer = match heard.take() {
                Some(heard) => Answer::Decided(heard),
                None => match self.body(&mut request).await {
                    // A lease moved while we waited for a compute thread.
                    _ if !request.is_admitted() => continue,
                    Ok(body) => self.ask(body).await,
                    Err(died) => {
                        Verdict::Hold { cause: Cause::new("panic", died.to_string()) }.into()
                    }
                },
            };
            let verdict = match answer {
                Answer::Decided(verdict) => verdict,
                Answer::Accepted(confirmation) => {
                    let number = self.number;
                    let unconfirmed = Unconfirmed { request, confirmation, number };
                    if !unconfirmed.request.is_suspect() {
                        return self.accepted(unconfirmed).await;
                    }
                    self.context.sink.confirm();
                    let Some(decided) = unconfirmed.decided(self.context).await else {
                        return Decision::Gone;
                    };
                    request = decided.request;
                    decided.verdict
                }
            };
            match verdict {
                Verdict::Delivered => return self.delivered(request),
                Verdict::Retry { after, cause } => self.retry(&mut request, after, &cause).await,
                Verdict::Hold { cause } => self.hold(&mut request, &cause).await,
                Verdict::Reject { mut rows, cause } => {
                    self.context.meters.rejected.increment(1);
                    // A row that is not there is as good as none.
                    rows.retain(|&row| row < request.rows());
                    rows.sort_unstable();
                    rows.dedup();
                    return Decision::Refused { request, rows, cause };
                }
                Verdict::Divide { cause } => {
                    self.context.meters.divided.increment(1);
                    return Decision::Refused { request, rows: Vec::new(), cause };
                }
            }
        }
    }

    /// Waits while a lease of the request is in doubt, and lets go of rows whose lease is lost.
    async fn until_admitted(&self, request: &mut Request) {
        let is_decided = || {
            request.drop_closed();
            !request.is_paused()
        };
        self.context.gates.unless(is_decided, std::future::pending::<()>()).await;
    }

    /// The packed body of a request. Cheap if it was packed before.
    async fn body(&self, request: &mut Request) -> Result<Body, Died> {
        if let Some(body) = request.body() {
            return Ok(body.clone());
        }
        let (segments, rows) = (request.segments(), request.rows());
        let body = if self.context.sink.packs() {
            let sink = Arc::clone(&self.context.sink);
            self.context.compute.submit(move |_| sink.pack(segments, rows)).await.result().await?
        } else {
            self.context.sink.pack(segments, rows)
        };
        Ok(request.set_body(body).clone())
    }

    async fn ask(&self, body: Body) -> Answer {
        let asked = Instant::now();
        let answer = self.context.sink.deliver(&body).await;
        self.context.meters.seconds.record(asked.elapsed().as_secs_f64());
        answer
    }

    fn delivered(self, request: Request) -> Decision {
        let context = self.context;
        self.succeeded();
        context.delivered(request);
        Decision::Delivered
    }

    /// The rows are settled when they are confirmed; meanwhile the next body may be sent.
    async fn accepted(self, unconfirmed: Unconfirmed) -> Decision {
        let accept = self.accept;
        self.succeeded();
        // The dispatcher, which joins us, keeps the other end. If it is gone, the rows stay unsettled.
        let _ = accept.send(unconfirmed).await;
        Decision::Unconfirmed
    }

    fn succeeded(self) {
        let Self { context, failed, holding, .. } = self;
        context.taken.fetch_add(1, Ordering::AcqRel);
        if holding.is_some_and(Holding::recovered) {
            info!(sink = %context.name, "sink takes rows again");
        } else if failed > 0 {
            info!(sink = %context.name, attempts = failed + 1, "delivered after retries");
        }
    }

    async fn retry(&mut self, request: &mut Request, after: Option<Duration>, cause: &Cause) {
        self.context.meters.retried.increment(1);
        self.failed += 1;
        self.renew_waits();
        let delay = self.retries.wait(after);
        // A long outage is one story, not a line every thirty seconds for each request.
        if self.failed.is_power_of_two() {
            let (sink, attempt) = (&self.context.name, self.failed);
            let reason = cause.reason();
            warn!(%sink, reason, attempt, retry_in = ?delay, error = %cause, "not delivered yet, retrying");
        }
        match after {
            Some(_asked) => self.wait(request, delay).await,
            None => {
                self.wait_for_acceptance(request, delay, self.context.settings.retry.first).await
            }
        }
    }

    async fn hold(&mut self, request: &mut Request, cause: &Cause) {
        self.context.meters.held.increment(1);
        if self.holding.is_none() {
            let (holding, first) = self.context.alarm.raise();
            self.holding = Some(holding);
            if first {
                error!(
                    sink = %self.context.name,
                    reason = cause.reason(),
                    error = %cause,
                    "sink paused: needs operator action; no data lost, its rows are kept and tried again"
                );
            }
        }
        self.renew_waits();
        let delay = self.holds.wait(None);
        self.wait_for_acceptance(request, delay, self.context.settings.retry.first_hold).await;
    }

    /// Another request was taken since the last wait: what stopped this one is not all of the receiver.
    fn renew_waits(&mut self) {
        let taken = self.context.taken();
        if std::mem::replace(&mut self.taken, taken) != taken {
            let retry = &self.context.settings.retry;
            (self.retries, self.holds) = (retry.retries(), retry.holds());
        }
    }

    /// Waits, but not much longer than until another request is taken.
    async fn wait_for_acceptance(&self, request: &mut Request, delay: Duration, look: Duration) {
        let until = Instant::now() + delay;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || request.is_empty() || self.context.taken() != self.taken {
                return;
            }
            self.wait(request, left.min(look)).await;
        }
    }

    /// Waits, unless all rows turn out to be another consumer's meanwhile.
    async fn wait(&self, request: &mut Request, delay: Duration) {
        self.context.gates.unless(|| request.all_lost(), sleep(delay)).await;
    }
}
