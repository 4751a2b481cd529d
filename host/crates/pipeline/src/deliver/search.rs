//! What refusals are believed: a refusal counts only in contrast with an acceptance.
//!
//! A receiver that refuses a row says either that the row is bad or that it takes nothing at the moment: a proxy
//! that answers 413, 415 or 403 to everything looks, row by row, like one that objects to a row. So a row
//! becomes a dead letter only after it was refused alone, then another row of the same sink was accepted, then it was
//! refused alone once more; so often that it cannot be randomness ([`rate`](super::rate)), further and further apart, and
//! while no other row is in doubt: a receiver that comes and goes, or one bad node of several, refuses good rows now and
//! then. A row that the receiver names is asked about again whenever something was accepted. One that is accepted alone
//! was not the culprit; where that was seen, a body that is refused is sent once more before it is divided.
//!
//! Parts of a body that are refused without a name are halved, which costs the logarithm of its rows per bad one.
//! Rows without an acceptance to compare with are left undecided: they wait at the dispatcher, unsettled, until
//! something was accepted or their time has come. After [`REFUSED_IN_A_ROW`](super::context::REFUSED_IN_A_ROW) different rows without an acceptance
//! it is the receiver's state: nothing more is divided or sent but one probe at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use forwarder_connector::Cause;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::warn;

use crate::dead_letter::PendingLetters;
use crate::deliver::attempt::{self, Decision};
use crate::deliver::context::SinkContext;
use crate::deliver::part::{Refusal, RequestPart};
use crate::deliver::rate::{OpenRefusal, REFUSALS, Since};
use crate::deliver::request::Request;
use crate::deliver::unconfirmed::Unconfirmed;
use crate::refusals::{Milestone, Refusals, RejectAccount, TooManyRefused};

/// The longest wait between two refusals alone is the first, doubled so often.
const LONGEST_DOUBLED: u32 = 6;

/// Which parts are asked though nothing speaks for it: those whose time has come.
#[derive(Debug, Clone, Copy)]
pub(super) enum Probe {
    /// None.
    No,
    /// The first, and then another: one that was not asked about alone, or the one whose turn it is.
    Turn {
        /// Counts the probes.
        turn: usize,
        /// The first is still to be asked.
        first: bool,
    },
    /// The first, before rows that came later are sent: for sinks that keep the order.
    First,
}

/// What a search leaves undecided.
#[derive(Debug, Default)]
pub(super) struct Undecided {
    pub(super) parts: Vec<RequestPart>,
    /// Why refusals that were confirmed are not believed.
    pub(super) doubt: Option<TooManyRefused>,
}

/// Delivers parts, in as many requests as the sink's answers make of them. Returns those that cannot be decided
/// yet.
pub(super) async fn run(
    context: Arc<SinkContext>,
    accept: mpsc::Sender<Unconfirmed>,
    parts: Vec<RequestPart>,
    probe: Probe,
) -> Undecided {
    let rows = parts.iter().map(|part| part.request.rows()).sum();
    let account = context.refusals.account(rows);
    let (context, accept) = (&*context, &accept);
    let mut search =
        Search { context, accept, parts, account, bad: Vec::new(), doubt: None, probe };
    while let Some(index) = search.next() {
        search.ask(index).await;
    }
    search.end().await
}

struct Search<'d> {
    context: &'d SinkContext,
    /// Where rows go that are accepted and not confirmed yet.
    accept: &'d mpsc::Sender<Unconfirmed>,
    /// In the order of their rows.
    parts: Vec<RequestPart>,
    account: RejectAccount<'d>,
    /// Rows for the dead letters.
    bad: Vec<(Request, Cause)>,
    doubt: Option<TooManyRefused>,
    probe: Probe,
}

impl Search<'_> {
    /// The part to be asked about next.
    fn next(&mut self) -> Option<usize> {
        if let Some(index) = self.next_probe() {
            return Some(index);
        }
        let (accepted, now) = (self.context.last_accepted(), Instant::now());
        if let Some(index) = self.parts.iter().position(|part| part.is_decidable(accepted, now)) {
            return Some(index);
        }
        if self.context.is_refused_everything() {
            return None;
        }
        self.parts.iter().position(RequestPart::is_as_it_was).or_else(|| self.next_unasked())
    }

    fn next_probe(&mut self) -> Option<usize> {
        let parts = self.parts.len();
        if parts == 0 {
            return None;
        }
        match self.probe {
            Probe::No => None,
            Probe::First => {
                self.probe = Probe::No;
                Some(0)
            }
            // The first before any other, so that a receiver that has recovered gets the rows in their order.
            Probe::Turn { turn, first: true } => {
                self.probe = Probe::Turn { turn, first: false };
                Some(0)
            }
            Probe::Turn { turn, first: false } => {
                self.probe = Probe::No;
                self.next_unasked().or_else(|| (parts > 1).then_some(turn % parts))
            }
        }
    }

    /// A part that was not asked about alone.
    fn next_unasked(&mut self) -> Option<usize> {
        let next = self.parts.iter().position(|part| !part.is_suspect())?;
        let in_doubt = self.context.refused_in_a_row.load(Ordering::Acquire) > 0;
        // One that refuses at random is sent the whole again instead.
        let samples =
            in_doubt && !self.context.settings.ordered && !self.context.rate.refuses_good_rows();
        Some(if samples { self.sample() } else { next })
    }

    /// Cuts one row out of the middle of the largest part that was not asked about alone. Bad rows often stand
    /// side by side; a row from elsewhere shows sooner whether it is a receiver that refuses everything.
    fn sample(&mut self) -> usize {
        let unasked = self.parts.iter().enumerate().filter(|(_, part)| !part.is_suspect());
        let Some((index, rows)) =
            unasked.map(|(index, part)| (index, part.request.rows())).max_by_key(|(_, rows)| *rows)
        else {
            return 0;
        };
        if rows < 2 {
            return index;
        }
        let RequestPart { request, refusal, heard: _ } = self.parts.remove(index);
        let refusal = refusal.map(|refusal| Refusal { as_it_was: false, ..refusal });
        let (before, row, after) = request.around(rows / 2);
        let parts = [before, row, after].into_iter().filter(|request| !request.is_empty());
        let parts: Vec<_> = parts
            .map(|request| RequestPart { refusal: refusal.clone(), ..RequestPart::new(request) })
            .collect();
        let sampled = index + parts.len().min(2) - 1;
        self.parts.splice(index..index, parts);
        sampled
    }

    async fn ask(&mut self, index: usize) {
        let RequestPart { mut request, refusal, heard } = self.parts.remove(index);
        if refusal.is_some() {
            request.suspect();
        }
        let (accepted, asked) = (self.context.last_accepted(), Instant::now());
        let since = refusal.as_ref().map_or_else(|| self.context.rate.now(), |known| known.since);
        let number = self.context.begun.fetch_add(1, Ordering::AcqRel) + 1;
        match attempt::decide(self.context, self.accept, request, heard, number).await {
            Decision::Gone => {}
            Decision::Unconfirmed => {
                // Cannot be too many refused, since none was.
                let _ = self.account.hear(&Refusals::default());
            }
            Decision::Delivered => {
                let disproved =
                    |known: &&Refusal| known.alone > 0 || known.named || known.as_it_was;
                if let Some(known) = refusal.as_ref().filter(disproved) {
                    self.context.rate.disproved(known.alone.max(1));
                }
                self.context.accepted(number);
                // Now there is something to compare with.
                self.probe = Probe::No;
                let _ = self.account.hear(&Refusals::default());
            }
            Decision::Refused { request, rows, cause } if request.rows() == 1 => {
                let named = !rows.is_empty() || refusal.as_ref().is_some_and(|known| known.named);
                let mut heard = self.heard(cause, named, since);
                let alone = refusal.as_ref().filter(|known| known.alone > 0);
                let contrasted = alone.is_some_and(|known| accepted > known.begun);
                // Asked before its time, as a probe, it says nothing new about the row.
                let in_time = |known: &&Refusal| (named && contrasted) || asked >= known.again_at;
                let too_early = alone.filter(|known| !in_time(known));
                heard.alone = alone.map_or(0, |known| known.alone) + u32::from(too_early.is_none());
                heard.open = Some(match alone.and_then(|known| known.open.clone()) {
                    Some(open) => {
                        self.context.rate.repeated(alone.map_or(0, |known| known.alone));
                        open
                    }
                    None => {
                        let within = refusal.as_ref().and_then(|known| known.open.clone());
                        OpenRefusal::suspect(&self.context.rate, within)
                    }
                });
                heard.contrasts = alone.map_or(0, |known| known.contrasts) + u32::from(contrasted);
                heard.again_at = match too_early {
                    Some(known) => known.again_at,
                    None => heard.again_at + self.wait_after(&heard),
                };
                self.refused_alone(index, request, heard, contrasted);
            }
            Decision::Refused { request, rows, cause } => {
                let known = refusal.as_ref();
                let mut heard = self.heard(cause, false, since);
                let within = known.and_then(|known| known.open.clone());
                let was_sent_again = known.is_some_and(|known| known.as_it_was);
                heard.as_it_was = !was_sent_again && self.context.rate.sends_again(known.is_none());
                // The same rows are one refusal, however often they are sent.
                heard.open = match within {
                    Some(open) if was_sent_again => Some(open),
                    within => Some(OpenRefusal::new(&self.context.rate, within)),
                };
                if heard.as_it_was {
                    self.parts.insert(
                        index,
                        RequestPart { refusal: Some(heard), ..RequestPart::new(request) },
                    );
                } else {
                    self.divide(index, request, &rows, &heard);
                }
            }
        }
    }

    /// A refusal that was heard just now.
    fn heard(&self, cause: Cause, named: bool, since: Since) -> Refusal {
        let (begun, now) = (self.context.begun.load(Ordering::Acquire), Instant::now());
        Refusal {
            cause,
            named,
            alone: 0,
            begun,
            contrasts: 0,
            heard_at: now,
            again_at: now,
            too_many: false,
            as_it_was: false,
            since,
            open: None,
        }
    }

    /// How long a row that was refused alone is left in peace.
    fn wait_after(&self, heard: &Refusal) -> Duration {
        let first = self.context.settings.retry.first_hold / 2;
        first * 2_u32.pow(heard.alone.saturating_sub(1).min(LONGEST_DOUBLED))
    }

    /// Puts the parts of a refused one in its place.
    fn divide(&mut self, index: usize, request: Request, rows: &[usize], heard: &Refusal) {
        let refused = |named| Some(Refusal { named, ..heard.clone() });
        let parts: Vec<_> = if rows.is_empty() {
            let (first, second) = request.halves();
            [first, second]
                .map(|request| RequestPart { refusal: refused(false), ..RequestPart::new(request) })
                .into()
        } else {
            let part = |(request, named)| match named {
                true => RequestPart { refusal: refused(true), ..RequestPart::new(request) },
                false => RequestPart::new(request),
            };
            request.split_at(rows).into_iter().map(part).collect()
        };
        self.parts.splice(index..index, parts);
    }

    fn refused_alone(
        &mut self,
        index: usize,
        request: Request,
        mut heard: Refusal,
        contrasted: bool,
    ) {
        if self.is_confirmed(&heard, contrasted) || self.is_believed(&heard) {
            match self.account.hear(&Refusals::one(&heard.cause)) {
                Ok(()) => {
                    self.bad.push((request, heard.cause));
                    return;
                }
                Err(doubt) => {
                    self.doubt = Some(doubt);
                    heard.too_many = true;
                }
            }
        }
        if heard.alone == 1 {
            self.context.refused_in_a_row.fetch_add(1, Ordering::AcqRel);
        }
        self.parts.insert(index, RequestPart { refusal: Some(heard), ..RequestPart::new(request) });
    }

    /// Whether enough was asked about a row. `contrasted` if something was accepted since it was refused before.
    fn is_confirmed(&self, heard: &Refusal, contrasted: bool) -> bool {
        let others_in_doubt = || {
            self.context.is_refused_everything()
                || self.parts.iter().any(RequestPart::is_uncontrasted)
        };
        heard.contrasts > 0
            && (contrasted || !others_in_doubt())
            && self.context.rate.is_bad(heard.alone, heard.since)
    }

    /// Whether a row that the receiver names is taken to be bad without an acceptance to compare with.
    fn is_believed(&self, heard: &Refusal) -> bool {
        let alone_in_doubt = || {
            let is_alone = self.context.rate.is_alone(heard.since);
            heard.alone >= REFUSALS && self.parts.is_empty() && is_alone
        };
        heard.named
            && (self.context.refusals.believes_all()
                || (alone_in_doubt() && !self.context.rate.refuses_good_rows()))
    }

    /// Writes the dead letters, after the other rows were sent: good rows do not wait for a full disk.
    async fn end(mut self) -> Undecided {
        let undecided = self.parts.iter().map(|part| part.request.rows()).sum();
        self.account.leave(undecided);
        let mut pending = Vec::new();
        let mut refusals = Refusals::default();
        for (request, cause) in self.bad {
            refusals.add(&cause);
            for chunk in request.into_chunks() {
                let gate = Arc::clone(chunk.gate());
                let (letters, share) = chunk.into_letters(&self.context.name, &cause.to_string());
                self.context.meters.refused_letters.increment(letters.len() as u64);
                pending.push(PendingLetters { letters, share, gate });
            }
        }
        for Milestone { reason, letters, example } in self.context.refusals.count_letters(&refusals)
        {
            let sink = &self.context.name;
            warn!(%sink, reason, letters, error = %example, "rows refused by the receiver, writing dead letters");
        }
        self.context.dead_letters.write(pending).await;
        Undecided { parts: self.parts, doubt: self.doubt }
    }
}
