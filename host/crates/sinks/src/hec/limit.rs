//! The largest body that is worth sending, as refusals have taught, and as acceptances have taught since.
//!
//! A 413 halves it, and so do three failures of the same body without any answer: some gateways break the
//! connection instead of answering. Since no answer says when a limit was raised, or that a 413 was an accident,
//! bodies grow again: after a number of full ones were accepted the limit is doubled. If that fails it goes back,
//! and the next attempt waits for twice as many, so that a real limit costs a vanishing part of the requests.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The least that we believe a collector means when it calls bodies too large. A larger row is what is too
/// large then, not the company it is in.
const LEAST: usize = 4 * 1024;

/// From here on there is no limit: no sink may be set to larger bodies (`max_body`).
const NO_LIMIT: usize = 64 * 1024 * 1024;

/// Full bodies that must be accepted before the limit is doubled.
const FULL_BODIES: u32 = 16;

/// The same, at most, after attempts that have failed.
const MOST_FULL_BODIES: u32 = 4_096;

/// So often the same body must fail without an answer before its size is suspected.
const FAILURES: u32 = 3;

/// Bodies whose failures are remembered; as many as a sink may have in flight.
const REMEMBERED: usize = 256;

/// What a failure without an answer says about the size of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suspicion {
    /// Nothing.
    None,
    /// It is larger than what is suspected already.
    Known,
    /// It is suspected from now on.
    New { limit: usize },
}

#[derive(Debug)]
pub(super) struct BodyLimit(Mutex<State>);

#[derive(Debug)]
struct State {
    limit: usize,
    /// What it was before it was doubled, until a body shows whether that was right.
    before_raise: Option<usize>,
    /// Full bodies accepted since it changed.
    full: u32,
    /// Full bodies to be accepted before it is doubled.
    needed: u32,
    /// Failures without an answer, by the size of the body: the same body has the same size.
    failures: BTreeMap<usize, u32>,
}

impl BodyLimit {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            limit: usize::MAX,
            before_raise: None,
            full: 0,
            needed: FULL_BODIES,
            failures: BTreeMap::new(),
        }))
    }

    /// In bytes before compression; `usize::MAX` if nothing is known.
    pub(super) fn current(&self) -> usize {
        self.state().limit
    }

    /// A body of several rows was called too large. Returns the new limit if this has changed it.
    pub(super) fn too_large(&self, bytes: usize) -> Option<usize> {
        self.state().too_large(bytes)
    }

    /// A body of several rows failed without an answer.
    pub(super) fn failed(&self, bytes: usize) -> Suspicion {
        let mut state = self.state();
        if bytes > state.limit {
            return Suspicion::Known;
        }
        if !state.has_failed_often(bytes) {
            return Suspicion::None;
        }
        let before = state.limit;
        match state.too_large(bytes) {
            Some(limit) if limit != before => Suspicion::New { limit },
            _ => Suspicion::Known,
        }
    }

    /// A single row failed without an answer. Whether it has done so often enough to be suspected itself.
    pub(super) fn failed_alone(&self, bytes: usize) -> bool {
        self.state().has_failed_often(bytes)
    }

    /// A body was accepted.
    pub(super) fn accepted(&self, bytes: usize) {
        let mut state = self.state();
        state.failures.remove(&bytes);
        if state.limit == usize::MAX || bytes < state.limit / 2 {
            return;
        }
        if state.before_raise.take().is_some() {
            state.needed = FULL_BODIES;
        }
        state.full += 1;
        if state.full < state.needed {
            return;
        }
        state.full = 0;
        state.before_raise = Some(state.limit);
        state.limit = state.limit.saturating_mul(2);
        if state.limit > NO_LIMIT {
            (state.limit, state.before_raise) = (usize::MAX, None);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts a failure of this body; true, and counting begins again, if it is one too many.
    fn has_failed_often(&mut self, bytes: usize) -> bool {
        if self.failures.len() >= REMEMBERED && !self.failures.contains_key(&bytes) {
            self.failures.pop_first();
        }
        let failures = self.failures.entry(bytes).or_default();
        *failures += 1;
        let often = *failures >= FAILURES;
        if often {
            self.failures.remove(&bytes);
        }
        often
    }

    fn too_large(&mut self, bytes: usize) -> Option<usize> {
        if bytes > self.limit {
            // Was in flight when the limit was learned.
            return None;
        }
        self.limit = match self.before_raise.take() {
            Some(before) if bytes > before => {
                self.needed = self.needed.saturating_mul(2).min(MOST_FULL_BODIES);
                before
            }
            _ => (bytes / 2).max(LEAST),
        };
        self.full = 0;
        Some(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bodies as large as allowed, up to a megabyte, against a receiver that takes `most`. Returns how many were
    /// refused.
    fn send(limit: &BodyLimit, most: usize, bodies: usize) -> usize {
        let refused = (0..bodies).filter(|_| {
            let bytes = limit.current().min(1_000_000);
            if bytes > most {
                limit.too_large(bytes);
            } else {
                limit.accepted(bytes);
            }
            bytes > most
        });
        refused.count()
    }

    #[test]
    fn what_was_refused_for_a_while_is_sent_again_when_it_is_accepted() {
        let limit = BodyLimit::new();
        assert_eq!(send(&limit, 0, 100), 100);
        assert_eq!(limit.current(), LEAST);
        assert_eq!(send(&limit, usize::MAX, 16 * 8), 0);
        assert!(limit.current() >= 1_000_000, "{}", limit.current());
    }

    #[test]
    fn a_real_limit_is_found_and_seldom_tried_again() {
        let limit = BodyLimit::new();
        send(&limit, 200_000, 1_000);
        let refused = send(&limit, 200_000, 100_000);
        assert!(refused < 50, "{refused} of 100,000 bodies were refused");
        assert!((100_000..=200_000).contains(&limit.current()), "{}", limit.current());
    }

    #[test]
    fn after_a_real_limit_is_raised_bodies_grow() {
        let limit = BodyLimit::new();
        send(&limit, 200_000, 1_000);
        send(&limit, usize::MAX, 5_000);
        assert!(limit.current() >= 1_000_000, "{}", limit.current());
    }

    #[test]
    fn small_bodies_do_not_raise_a_limit() {
        let limit = BodyLimit::new();
        assert_eq!(limit.too_large(100_000), Some(50_000));
        (0..1_000).for_each(|_| limit.accepted(1_000));
        assert_eq!(limit.current(), 50_000);
    }

    #[test]
    fn a_size_is_suspected_when_the_same_body_fails_again_and_again() {
        let limit = BodyLimit::new();
        let failed = |bytes| limit.failed(bytes);
        assert_eq!([failed(90_000), failed(90_000)], [Suspicion::None; 2]);
        limit.accepted(90_000);
        assert_eq!([failed(90_000), failed(90_000), failed(80_000)], [Suspicion::None; 3]);
        assert_eq!(failed(90_000), Suspicion::New { limit: 45_000 });
        assert_eq!(failed(80_000), Suspicion::Known);
        assert_eq!(
            [failed(4_000), failed(4_000), failed(4_000)],
            [Suspicion::None, Suspicion::None, Suspicion::New { limit: LEAST }]
        );
        assert_eq!([failed(400), failed(400)], [Suspicion::None; 2]);
        assert_eq!(failed(400), Suspicion::Known, "divided, though its size is not the reason");
        let alone: Vec<_> = (0..6).map(|_| limit.failed_alone(9)).collect();
        assert_eq!(alone, [false, false, true, false, false, true]);
    }
}
