//! What was reported as delivered and may yet be lost with the receiver: kept for a while, sent again on the
//! next connection.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::body::Body;

/// How much to remember. Memory beside the pipeline's own budget, per sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowLimits {
    /// At most this many bytes, or one body if that alone is larger; should hold what a receiver may have in
    /// its kernel unread. Zero keeps nothing.
    pub bytes: usize,
    /// For this long while the connection is well. Time without a connection does not count.
    pub age: Duration,
}

impl Default for WindowLimits {
    fn default() -> Self {
        Self { bytes: 4 * 1024 * 1024, age: Duration::from_secs(30) }
    }
}

/// The bodies last delivered, oldest first.
#[derive(Debug)]
pub(super) struct Window {
    limits: WindowLimits,
    held: VecDeque<(Instant, Body)>,
    bytes: usize,
}

impl Window {
    pub(super) fn new(limits: WindowLimits) -> Self {
        Self { limits, held: VecDeque::new(), bytes: 0 }
    }

    /// Remembers a body that was delivered at `now`. The oldest ones make room.
    pub(super) fn push(&mut self, body: Body, now: Instant) {
        if self.limits.bytes == 0 {
            return;
        }
        self.bytes += body.wire_bytes();
        self.held.push_back((now, body));
        while self.bytes > self.limits.bytes && self.held.len() > 1 {
            self.forget_oldest();
        }
    }

    /// Forgets what is too old at `now`. To be called only while the connection is well.
    pub(super) fn expire(&mut self, now: Instant) {
        while self.expires_at().is_some_and(|at| at <= now) {
            self.forget_oldest();
        }
    }

    /// When the oldest body will be too old.
    pub(super) fn expires_at(&self) -> Option<Instant> {
        self.held.front().map(|(since, _)| *since + self.limits.age)
    }

    /// What to send first on a new connection.
    pub(super) fn bodies(&self) -> Vec<Body> {
        self.held.iter().map(|(_, body)| body.clone()).collect()
    }

    /// Everything was sent again, at `now`.
    pub(super) fn renew(&mut self, now: Instant) {
        self.held.iter_mut().for_each(|(since, _)| *since = now);
    }

    /// The receiver has confirmed that it read everything.
    pub(super) fn clear(&mut self) {
        self.held.clear();
        self.bytes = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    fn forget_oldest(&mut self) {
        if let Some((_, body)) = self.held.pop_front() {
            self.bytes -= body.wire_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(bytes: usize) -> Body {
        Body::plain(vec![vec![b'x'; bytes].into()], 1)
    }

    fn sizes(window: &Window) -> Vec<usize> {
        window.bodies().iter().map(Body::wire_bytes).collect()
    }

    #[test]
    fn the_oldest_make_room_and_age_out() {
        let limits = WindowLimits { bytes: 10, age: Duration::from_secs(5) };
        let mut window = Window::new(limits);
        let start = Instant::now();
        window.push(body(4), start);
        window.push(body(5), start + Duration::from_secs(1));
        window.push(body(3), start + Duration::from_secs(2));
        assert_eq!(sizes(&window), [5, 3]);
        window.expire(start + Duration::from_secs(6));
        assert_eq!(sizes(&window), [3]);
        window.push(body(11), start);
        assert_eq!(sizes(&window), [11]);
        window.push(body(1), start);
        assert_eq!((sizes(&window), window.bytes), (vec![1], 1));
    }

    #[test]
    fn what_was_sent_again_is_young_again() {
        let mut window = Window::new(WindowLimits::default());
        let start = Instant::now();
        window.push(body(1), start);
        let later = start + Duration::from_secs(3600);
        window.renew(later);
        window.expire(later + Duration::from_secs(29));
        assert_eq!(sizes(&window), [1]);
        window.expire(later + Duration::from_secs(30));
        assert!(window.is_empty());
    }
}
