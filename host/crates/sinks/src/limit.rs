//! The largest body that is worth sending, as refusals have taught, and as acceptances have taught since.
//!
//! A 413 halves it, and so do three failures of the same body without any answer: some gateways break the
//! connection instead of answering. Since no answer says when a limit was raised, or that a 413 was an accident,
//! bodies grow again: after a number of full ones were accepted the limit is doubled. If that fails it goes back,
//! and the next attempt waits for twice as many, so that a real limit costs a vanishing part of the requests.
//!
//! A body that was accepted proves that its size is none too large: the limit is never below it, and a 413 of one that
//! is no larger says nothing about size, unless [`CONTRADICTIONS`] come in a row. If one of that size is accepted
//! before, the receiver refuses at random, and attempts to grow are made sooner and given up later.

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

/// So many refusals in a row of sizes that were accepted before mean that the receiver takes less now.
const CONTRADICTIONS: u32 = 10;

/// For so many acceptances after a contradiction a receiver is taken to refuse at random.
const RANDOM_FOR: u32 = 256;

/// Full bodies that such a receiver must accept before the limit is doubled.
const FULL_BODIES_AT_RANDOM: u32 = 2;

/// Larger bodies that such a receiver must refuse in a row before the limit goes back.
const ATTEMPTS_AT_RANDOM: u32 = 4;

/// So often the same body must fail without an answer before its size is suspected.
const FAILURES: u32 = 3;

/// Bodies whose failures are remembered; as many as a sink may have in flight.
const REMEMBERED: usize = 256;

/// What a failure without an answer says about the size of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suspicion {
    /// Nothing.
    None,
    /// It is larger than what is suspected already.
    Known,
    /// It is suspected from now on.
    New { limit: usize },
}

#[derive(Debug)]
pub(crate) struct BodyLimit(Mutex<LearnedLimit>);

#[derive(Debug)]
struct LearnedLimit {
    limit: usize,
    /// What it was before it was doubled, until a body shows whether that was right.
    before_raise: Option<usize>,
    /// Full bodies accepted since it changed.
    full: u32,
    /// Full bodies to be accepted before it is doubled.
    needed: u32,
    /// The largest body that was accepted, unless it was disproved.
    proven: usize,
    /// Refusals in a row of bodies no larger than that: how many, the smallest and the largest.
    contradictions: u32,
    smallest: usize,
    largest: usize,
    /// Acceptances for which the receiver is still taken to refuse at random.
    random_for: u32,
    /// Larger bodies refused since the limit was doubled.
    attempts: u32,
    /// Failures without an answer, by the size of the body: the same body has the same size.
    failures: BTreeMap<usize, u32>,
}

impl BodyLimit {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(LearnedLimit {
            limit: usize::MAX,
            before_raise: None,
            full: 0,
            needed: FULL_BODIES,
            proven: 0,
            contradictions: 0,
            smallest: usize::MAX,
            largest: 0,
            random_for: 0,
            attempts: 0,
            failures: BTreeMap::new(),
        }))
    }

    /// In bytes before compression; `usize::MAX` if nothing is known.
    pub(crate) fn current(&self) -> usize {
        self.state().limit
    }

    /// A body of several rows was called too large. Returns the new limit if this has changed it.
    pub(crate) fn too_large(&self, bytes: usize) -> Option<usize> {
        self.state().too_large(bytes)
    }

    /// A body of several rows failed without an answer.
    pub(crate) fn failed(&self, bytes: usize) -> Suspicion {
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
    pub(crate) fn failed_alone(&self, bytes: usize) -> bool {
        self.state().has_failed_often(bytes)
    }

    /// A body was accepted.
    pub(crate) fn accepted(&self, bytes: usize) {
        let mut state = self.state();
        state.failures.remove(&bytes);
        state.accepted(bytes);
    }

    fn state(&self) -> MutexGuard<'_, LearnedLimit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LearnedLimit {
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

    fn accepted(&mut self, bytes: usize) {
        self.random_for = self.random_for.saturating_sub(1);
        if self.contradictions > 0 && bytes >= self.smallest {
            self.random_for = RANDOM_FOR;
            self.forget_contradictions();
        }
        self.proven = self.proven.max(bytes);
        if self.limit == usize::MAX || bytes < self.limit / 2 {
            return;
        }
        if self.before_raise.is_some_and(|before| bytes > before) || bytes > self.limit {
            self.before_raise = None;
            self.needed = FULL_BODIES;
        }
        self.limit = self.limit.max(bytes);
        self.full += 1;
        let needed =
            if self.random_for > 0 { FULL_BODIES_AT_RANDOM.min(self.needed) } else { self.needed };
        if self.full < needed {
            return;
        }
        (self.full, self.attempts) = (0, 0);
        self.before_raise = Some(self.limit);
        self.limit = self.limit.saturating_mul(2);
        if self.limit > NO_LIMIT {
            (self.limit, self.before_raise) = (usize::MAX, None);
        }
    }

    fn too_large(&mut self, bytes: usize) -> Option<usize> {
        if bytes > self.limit {
            // Was in flight when the limit was learned.
            return None;
        }
        if bytes <= self.proven {
            self.contradictions += 1;
            (self.smallest, self.largest) = (self.smallest.min(bytes), self.largest.max(bytes));
            if self.contradictions < CONTRADICTIONS {
                return None;
            }
            self.limit = (self.largest / 2).max(LEAST);
            // What is left is believed until as many say otherwise.
            (self.proven, self.before_raise) = (self.limit, None);
            self.forget_contradictions();
        } else if let Some(before) = self.before_raise.filter(|&before| bytes > before) {
            self.attempts += 1;
            if self.random_for > 0 && self.attempts < ATTEMPTS_AT_RANDOM {
                return None;
            }
            self.needed = self.needed.saturating_mul(2).min(MOST_FULL_BODIES);
            (self.limit, self.before_raise) = (before, None);
        } else {
            self.limit = (bytes / 2).max(LEAST).max(self.proven);
            self.before_raise = None;
        }
        self.full = 0;
        Some(self.limit)
    }

    fn forget_contradictions(&mut self) {
        (self.contradictions, self.smallest, self.largest) = (0, usize::MAX, 0);
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
    fn a_real_limit_that_is_lowered_is_found() {
        let limit = BodyLimit::new();
        send(&limit, 1_000_000, 100);
        let refused = send(&limit, 100_000, 1_000);
        assert!(refused < 60, "{refused}");
        assert!((50_000..=100_000).contains(&limit.current()), "{}", limit.current());
    }

    /// Half of all requests are refused whatever their size; what is refused is halved and sent again. Returns how many
    /// bodies are made of so many bytes.
    fn send_at_random(limit: &BodyLimit, mut bytes: usize) -> usize {
        let (mut bodies, mut state) = (0, 7_u64);
        while bytes > 0 {
            let mut parts = vec![limit.current().min(1_000_000).min(bytes)];
            bytes -= parts[0];
            bodies += 1;
            while let Some(part) = parts.pop() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if (state >> 33).is_multiple_of(2) {
                    limit.accepted(part);
                } else {
                    limit.too_large(part);
                    let parts_of_it = if part > 1_000 { vec![part / 2; 2] } else { vec![part] };
                    parts.extend(parts_of_it);
                }
            }
        }
        bodies
    }

    #[test]
    fn a_receiver_that_answers_413_at_random_gets_large_bodies() {
        let limit = BodyLimit::new();
        let bodies = send_at_random(&limit, 1_000_000_000);
        assert!(bodies < 1_300, "{bodies} instead of 1,000");
        // Also after everything was refused for a while.
        send(&limit, 0, 1_000);
        assert_eq!(limit.current(), LEAST);
        let bodies = send_at_random(&limit, 1_000_000_000);
        assert!(bodies < 1_300, "{bodies} instead of 1,000");
    }

    #[test]
    fn what_was_accepted_is_never_above_the_limit() {
        let limit = BodyLimit::new();
        limit.accepted(500_000);
        assert_eq!(limit.too_large(900_000), Some(500_000));
        assert_eq!(limit.too_large(400_000), None, "it is not about size");
        assert_eq!(limit.current(), 500_000);
        // In flight while the limit was learned.
        limit.accepted(800_000);
        assert_eq!(limit.current(), 800_000);
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
        assert_eq!([failed(90_000), failed(90_000), failed(80_000)], [Suspicion::None; 3]);
        assert_eq!(failed(90_000), Suspicion::New { limit: 45_000 });
        assert_eq!(failed(80_000), Suspicion::Known);
        assert_eq!(
            [failed(4_000), failed(4_000), failed(4_000)],
            [Suspicion::None, Suspicion::None, Suspicion::New { limit: LEAST }]
        );
        limit.accepted(300);
        assert_eq!([failed(300), failed(300), failed(300)][2], Suspicion::Known, "not its size");
        assert_eq!(limit.current(), LEAST);
        assert_eq!([failed(400), failed(400)], [Suspicion::None; 2]);
        assert_eq!(failed(400), Suspicion::Known, "divided, though its size is not the reason");
        let alone: Vec<_> = (0..6).map(|_| limit.failed_alone(9)).collect();
        assert_eq!(alone, [false, false, true, false, false, true]);
    }
}
