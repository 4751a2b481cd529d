//! Parts of requests whose refusal is not decided yet, until something was accepted or their time has come.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;
use tracing::{error, info};

use crate::alarm::Holding;
use crate::deliver::context::SinkContext;
use crate::deliver::part::RequestPart;
use crate::deliver::search::{Probe, Undecided};
use crate::refusals::Refusals;
use crate::retry::Retries;

/// With so many undecided parts nothing new is sent.
const MAX_PARTS: usize = 256;

pub(super) struct Suspects {
    context: Arc<SinkContext>,
    parts: Vec<RequestPart>,
    /// A search has them at the moment.
    in_search: bool,
    /// When they are asked about though nothing was accepted.
    due: Option<Instant>,
    waits: Retries,
    /// The receiver refused everything when this was looked at last.
    was_paused: bool,
    turn: usize,
    holding: Option<Holding>,
}

impl Suspects {
    pub(super) fn new(context: Arc<SinkContext>) -> Self {
        let waits = context.settings.retry.holds();
        let (parts, in_search, due, turn) = (Vec::new(), false, None, 0);
        Self { context, parts, in_search, due, waits, was_paused: false, turn, holding: None }
    }

    /// Whether nothing new may be sent, because the receiver refuses everything or too much is undecided.
    pub(super) fn pauses_sink(&self) -> bool {
        self.context.is_refused_everything()
            || self.parts.len() >= MAX_PARTS
            || (self.context.settings.ordered && self.in_search)
    }

    /// When there is something to ask that nothing else will cause.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.in_search || self.parts.is_empty() {
            return None;
        }
        let accepted = self.context.last_accepted();
        let decidable = self.parts.iter().filter_map(|part| part.decided_at(accepted)).min();
        self.due.into_iter().chain(decidable).min()
    }

    /// Takes the parts that can be decided now.
    pub(super) fn take(&mut self, now: Instant) -> Option<(Vec<RequestPart>, Probe)> {
        if self.in_search || self.parts.is_empty() {
            return None;
        }
        let probe = if self.due.is_some_and(|due| due <= now) {
            self.due = None;
            self.turn = self.turn.wrapping_add(1);
            self.parts.iter_mut().for_each(RequestPart::ask_again);
            Probe::Turn { turn: self.turn, first: true }
        } else if self.parts.iter().any(|part| part.is_decidable(self.context.last_accepted(), now))
        {
            Probe::No
        } else {
            return None;
        };
        self.in_search = true;
        Some((std::mem::take(&mut self.parts), probe))
    }

    /// Takes the parts that must be asked about before later rows are sent, which is so if order matters.
    pub(super) fn take_before_later_rows(&mut self) -> Vec<RequestPart> {
        if !self.context.settings.ordered || self.parts.is_empty() {
            return Vec::new();
        }
        self.in_search = true;
        std::mem::take(&mut self.parts)
    }

    /// The search for these parts has died, and they with it.
    pub(super) fn forget(&mut self) {
        self.put(Undecided::default(), true);
    }

    /// Takes what a search has left; `searched` if it had the parts of before.
    pub(super) fn put(&mut self, undecided: Undecided, searched: bool) {
        let Undecided { mut parts, doubt } = undecided;
        if searched {
            self.in_search = false;
            // Older rows first.
            parts.append(&mut self.parts);
        }
        self.parts.append(&mut parts);
        if self.parts.is_empty() {
            self.settled();
            return;
        }
        let is_paused = self.context.is_refused_everything();
        if std::mem::replace(&mut self.was_paused, is_paused) != is_paused {
            // A pause begins with the shortest wait, however long one before has lasted.
            (self.waits, self.due) = (self.context.settings.retry.holds(), None);
        }
        let was_due = searched && self.due.is_none();
        if self.due.is_none() {
            self.due = Some(Instant::now() + self.waits.wait(None));
        }
        if let Some(doubt) = doubt {
            self.hold(&doubt, "refused rows are kept: too many for dead letters; needs operator action; no data lost");
        } else if self.context.is_refused_everything() {
            let refusals = self.refusals();
            self.hold(
                &refusals,
                "sink paused: the receiver refuses every row; needs operator action; no data lost, its rows are \
                 kept and tried again",
            );
        } else if was_due && self.context.rate.refuses_good_rows() {
            let refusals = self.refusals();
            self.hold(
                &refusals,
                "refused rows are kept: the receiver refuses rows that it accepts later, so they may be good; repair \
                 the receiver or what is before it; no data lost, they are tried again",
            );
        } else if was_due {
            let refusals = self.refusals();
            self.hold(
                &refusals,
                "refused rows are kept: no other row was accepted since, so they may be good; no data lost, they \
                 are tried again with the next rows",
            );
        }
    }

    /// Lets go of the rows of shards that are no longer ours.
    pub(super) fn drop_closed(&mut self) {
        for part in &mut self.parts {
            part.request.drop_closed();
        }
        self.parts.retain(|part| !part.request.is_empty());
        if self.parts.is_empty() && !self.in_search {
            self.settled();
        }
    }

    fn settled(&mut self) {
        if self.in_search {
            return;
        }
        self.due = None;
        self.waits = self.context.settings.retry.holds();
        // With nothing left to ask about, a new body is what shows whether the receiver accepts again.
        self.context.refused_in_a_row.store(0, Ordering::Release);
        if self.holding.take().is_some_and(Holding::recovered) {
            info!(sink = %self.context.name, "sink takes rows again");
        }
    }

    fn refusals(&self) -> Refusals {
        let mut refusals = Refusals::default();
        self.parts.iter().filter_map(RequestPart::cause).for_each(|cause| refusals.add(cause));
        refusals
    }

    fn hold(&mut self, reasons: &dyn std::fmt::Display, what: &'static str) {
        self.context.meters.held.increment(1);
        if self.holding.is_some() {
            return;
        }
        let (holding, first) = self.context.alarm.raise();
        self.holding = Some(holding);
        if first {
            let rows: usize = self.parts.iter().map(|part| part.request.rows()).sum();
            error!(sink = %self.context.name, rows, reasons = %reasons, "{what}");
        }
    }
}
