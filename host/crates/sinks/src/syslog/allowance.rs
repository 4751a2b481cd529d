//! How many bytes may be unconfirmed on one connection.
//!
//! As many as the window holds, until a connection is lost: then half of what was on it, and half again, so that a
//! message at which the receiver breaks connections is soon alone on one; what is confirmed doubles it. Apart from that
//! a receiver may take only so much on each connection, which is learned as the size of HEC's bodies is.

use std::sync::Arc;

use crate::limit::BodyLimit;

#[derive(Debug)]
pub(super) struct Allowance {
    /// The window.
    most: usize,
    /// While it is searched what the connections are lost at.
    search: Option<usize>,
    learned: Arc<BodyLimit>,
}

impl Allowance {
    pub(super) fn new(most: usize, learned: Arc<BodyLimit>) -> Self {
        Self { most, search: None, learned }
    }

    /// A receiver that proves nothing takes long for each confirmation, so that what was learned would be very dear.
    pub(super) fn current(&self, gives_proof: bool) -> usize {
        let learned = if gives_proof { self.learned.current() } else { usize::MAX };
        self.search.unwrap_or(usize::MAX).min(learned)
    }

    /// Whether the receiver is known to take less than so many bytes.
    pub(super) fn has_learned_less(&self, bytes: usize) -> bool {
        bytes > self.learned.current()
    }

    /// Whether confirmations are to come as soon as possible.
    pub(super) const fn is_searching(&self) -> bool {
        self.search.is_some()
    }

    /// A connection was lost with so many bytes on it. Returns what the receiver is known to take, if that is less than
    /// before.
    pub(super) fn lost(&mut self, bytes: usize) -> Option<usize> {
        let before = self.search.unwrap_or(usize::MAX);
        self.search = Some((bytes / 2).min(before));
        let known = self.learned.current();
        self.learned.too_large(bytes).filter(|&limit| limit < known)
    }

    /// The receiver has read so many bytes on a connection.
    pub(super) fn read(&mut self, bytes: usize) {
        self.survived();
        self.learned.accepted(bytes);
    }

    /// The connection was not lost.
    pub(super) fn survived(&mut self) {
        self.search =
            self.search.map(|most| most.saturating_mul(2)).filter(|&most| most < self.most);
    }

    /// Nothing is left of what the search was about.
    pub(super) const fn found(&mut self) {
        self.search = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_halves_it_and_what_is_read_doubles_it() {
        let mut allowance = Allowance::new(1_000, Arc::new(BodyLimit::new()));
        assert_eq!(allowance.current(true), usize::MAX);
        allowance.read(900);
        allowance.lost(400);
        allowance.lost(200);
        assert_eq!((allowance.current(true), allowance.is_searching()), (100, true));
        allowance.read(100);
        allowance.read(150);
        assert_eq!(allowance.current(true), 400);
        allowance.read(400);
        allowance.read(800);
        assert_eq!((allowance.current(true), allowance.is_searching()), (usize::MAX, false));
    }

    #[test]
    fn what_the_receiver_takes_on_each_connection_is_learned() {
        let mut allowance = Allowance::new(1_000_000, Arc::new(BodyLimit::new()));
        let mut lost = 0;
        for _ in 0..1_000 {
            let bytes = allowance.current(true).min(1_000_000);
            if bytes > 20_000 {
                lost += 1;
                allowance.lost(bytes);
            } else {
                allowance.read(bytes);
            }
        }
        assert!(lost < 20, "{lost}");
        assert!((10_000..=20_000).contains(&allowance.learned.current()));
        assert_eq!(allowance.current(false), usize::MAX, "unless it proves nothing");
    }
}
