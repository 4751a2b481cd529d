//! Rows of a body that the sink has not decided about, and what was heard about them.

use std::sync::Arc;

use forwarder_connector::{Cause, Verdict};
use tokio::time::Instant;

use crate::deliver::rate::{OpenRefusal, Since};
use crate::deliver::request::Request;

/// Some rows of a body, and what was heard about them.
#[derive(Debug)]
pub(super) struct RequestPart {
    pub(super) request: Request,
    pub(super) refusal: Option<Refusal>,
    /// The verdict with which the wait for a confirmation ended. It stands for the next answer.
    pub(super) heard: Option<Verdict>,
}

#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) cause: Cause,
    /// The receiver said that it is this row.
    pub(super) named: bool,
    /// How often it was refused alone.
    pub(super) alone: u32,
    /// Requests to the sink that had begun when this was heard last: an acceptance counts if it began later.
    pub(super) begun: u64,
    /// How often something had been accepted between two refusals alone.
    pub(super) contrasts: u32,
    /// When it was heard last.
    pub(super) heard_at: Instant,
    /// Not asked again before; one that the receiver names only if nothing is accepted.
    pub(super) again_at: Instant,
    /// Refused often enough, but so are too many others. Asked again when its time has come.
    pub(super) too_many: bool,
    /// Several rows that are sent once more as they are, before they are divided.
    pub(super) as_it_was: bool,
    /// Before the first refusal of something that held these rows.
    pub(super) since: Since,
    /// Why these rows are in doubt, for as long as they are.
    pub(super) open: Option<Arc<OpenRefusal>>,
}

impl RequestPart {
    pub(super) const fn new(request: Request) -> Self {
        Self { request, refusal: None, heard: None }
    }

    /// Rows that were accepted, and not confirmed.
    pub(super) const fn unconfirmed(request: Request, heard: Verdict) -> Self {
        Self { request, refusal: None, heard: Some(heard) }
    }

    /// A row that was refused alone.
    pub(super) fn is_suspect(&self) -> bool {
        self.refusal.as_ref().is_some_and(|refusal| refusal.alone > 0)
    }

    /// To be sent once more as it is, before it is divided.
    pub(super) fn is_as_it_was(&self) -> bool {
        self.refusal.as_ref().is_some_and(|refusal| refusal.as_it_was)
    }

    /// Refused in some way, and nothing accepted to compare that with.
    pub(super) fn is_uncontrasted(&self) -> bool {
        self.refusal.as_ref().is_some_and(|refusal| refusal.contrasts == 0)
    }

    /// When asking again decides about the row, if the sink has accepted something since. `accepted` is the number
    /// of the latest request that was accepted.
    pub(super) fn decided_at(&self, accepted: u64) -> Option<Instant> {
        let refusal = self.refusal.as_ref().filter(|refusal| refusal.alone > 0)?;
        let is_contrasted = accepted > refusal.begun;
        if refusal.too_many || !(is_contrasted || refusal.contrasts > 0) {
            return None;
        }
        Some(if refusal.named && is_contrasted { refusal.heard_at } else { refusal.again_at })
    }

    /// Whether that time has come.
    pub(super) fn is_decidable(&self, accepted: u64, now: Instant) -> bool {
        self.decided_at(accepted).is_some_and(|at| at <= now)
    }

    /// Its time has come.
    pub(super) const fn ask_again(&mut self) {
        if let Some(refusal) = &mut self.refusal {
            refusal.too_many = false;
        }
    }

    pub(super) const fn cause(&self) -> Option<&Cause> {
        match &self.refusal {
            Some(refusal) => Some(&refusal.cause),
            None => None,
        }
    }
}
