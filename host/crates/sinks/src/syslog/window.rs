//! Bodies that the receiver's kernel has acknowledged and that nothing proves to be read: they may yet be lost
//! with the receiver. Each is kept, and sent again on the next connection, until it is confirmed.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::body::Body;

/// When the receiver is asked to confirm what it has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowLimits {
    /// Once this many bytes are unconfirmed; nothing more is written until they are. Zero keeps nothing: the
    /// acknowledgement of the receiver's kernel counts as delivery.
    pub bytes: usize,
    /// Once the oldest of them is this old.
    pub age: Duration,
}

impl Default for WindowLimits {
    fn default() -> Self {
        Self { bytes: 8 * 1024 * 1024, age: Duration::from_secs(10) }
    }
}

/// Why a body counts as delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The receiver has read it.
    Read,
    /// None: the receiver's kernel has acknowledged it, and it has become as old as [`WindowLimits::age`].
    Age,
}

/// The unconfirmed bodies, oldest first.
#[derive(Debug)]
pub(super) struct Window {
    limits: WindowLimits,
    held: VecDeque<Held>,
    bytes: usize,
}

#[derive(Debug)]
struct Held {
    since: Instant,
    body: Body,
    confirm: oneshot::Sender<Proof>,
}

impl Window {
    pub(super) fn new(limits: WindowLimits) -> Self {
        Self { limits, held: VecDeque::new(), bytes: 0 }
    }

    /// Whether anything is to be kept at all.
    pub(super) fn is_wanted(&self) -> bool {
        self.limits.bytes > 0
    }

    /// Keeps a body that was acknowledged at `now`. `confirm` hears once the body is confirmed.
    pub(super) fn push(&mut self, body: Body, confirm: oneshot::Sender<Proof>, now: Instant) {
        self.bytes += body.wire_bytes();
        self.held.push_back(Held { since: now, body, confirm });
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= self.limits.bytes
    }

    /// When the oldest body will have reached its age.
    pub(super) fn expires_at(&self) -> Option<Instant> {
        self.held.front().map(|oldest| oldest.since + self.limits.age)
    }

    /// What to send first on a new connection.
    pub(super) fn bodies(&self) -> Vec<Body> {
        self.held.iter().map(|held| held.body.clone()).collect()
    }

    /// Everything was sent again, at `now`.
    pub(super) fn renew(&mut self, now: Instant) {
        self.held.iter_mut().for_each(|held| held.since = now);
    }

    /// Lets go of bodies whose sender no longer waits: their rows are another consumer's, or are read again.
    pub(super) fn drop_unwanted(&mut self) {
        self.held.retain(|held| !held.confirm.is_closed());
        self.bytes = self.held.iter().map(|held| held.body.wire_bytes()).sum();
    }

    /// The receiver has confirmed that it read everything.
    pub(super) fn confirm_all(&mut self) {
        while self.confirm_oldest(Proof::Read) {}
    }

    /// For receivers that confirm nothing: takes what is older than the age, or exceeds the limit in bytes, for
    /// read. To be called only while the connection is well.
    pub(super) fn confirm_by_age(&mut self, now: Instant) {
        let is_over = |window: &Self| window.bytes > window.limits.bytes && window.held.len() > 1;
        while is_over(self) || self.expires_at().is_some_and(|at| at <= now) {
            self.confirm_oldest(Proof::Age);
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.held.iter().map(|held| held.body.rows()).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    fn confirm_oldest(&mut self, proof: Proof) -> bool {
        let Some(Held { body, confirm, .. }) = self.held.pop_front() else { return false };
        self.bytes -= body.wire_bytes();
        // The sender may no longer wait for it.
        let _ = confirm.send(proof);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn push(window: &mut Window, bytes: usize, at: Instant) -> oneshot::Receiver<Proof> {
        let (confirm, confirmed) = oneshot::channel();
        window.push(Body::plain(vec![vec![b'x'; bytes].into()], 1), confirm, at);
        confirmed
    }

    fn sizes(window: &Window) -> Vec<usize> {
        window.bodies().iter().map(Body::wire_bytes).collect()
    }

    fn window() -> Window {
        Window::new(WindowLimits { bytes: 10, age: 5 * SECOND })
    }

    #[test]
    fn nothing_is_confirmed_by_itself() {
        let (mut window, start) = (window(), Instant::now());
        let mut oldest = push(&mut window, 4, start);
        let _other = push(&mut window, 7, start + SECOND);
        assert!(window.is_full());
        assert_eq!(window.expires_at(), Some(start + 5 * SECOND));
        assert_eq!(sizes(&window), [4, 7]);
        assert!(oldest.try_recv().is_err());
        window.confirm_all();
        assert_eq!(oldest.try_recv(), Ok(Proof::Read));
        assert!(window.is_empty() && !window.is_full());
    }

    #[test]
    fn without_confirmations_the_oldest_make_room_and_age_out() {
        let (mut window, start) = (window(), Instant::now());
        let mut first = push(&mut window, 4, start);
        let mut second = push(&mut window, 5, start + SECOND);
        let _third = push(&mut window, 3, start + 2 * SECOND);
        window.confirm_by_age(start + 2 * SECOND);
        assert_eq!((sizes(&window), first.try_recv()), (vec![5, 3], Ok(Proof::Age)));
        window.renew(start + 10 * SECOND);
        window.confirm_by_age(start + 14 * SECOND);
        assert!(second.try_recv().is_err(), "what was sent again is young again");
        window.confirm_by_age(start + 15 * SECOND);
        assert!(window.is_empty());
    }

    #[test]
    fn what_no_sender_waits_for_is_let_go() {
        let (mut window, start) = (window(), Instant::now());
        drop(push(&mut window, 4, start));
        let _kept = push(&mut window, 5, start);
        window.drop_unwanted();
        assert_eq!((sizes(&window), window.bytes), (vec![5], 5));
    }
}
