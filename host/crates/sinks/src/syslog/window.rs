//! The bodies that a link owes to its receiver, oldest first: those that nothing proves to be read, and those that are
//! still to be written.
//!
//! What the receiver's kernel has acknowledged may yet be lost with the receiver. Each body is kept, and written again
//! on the next connection, until it is confirmed.

use std::collections::VecDeque;
use std::time::Duration;

use forwarder_connector::{Body, Cause, Verdict};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::proof::{Decided, PendingProof, Proof, Sent};

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

/// The bodies of one link.
#[derive(Debug)]
pub(super) struct Window {
    limits: WindowLimits,
    held: VecDeque<Held>,
    total: Count,
    /// The first of them, on this connection.
    written: Count,
    /// The first of those, which the receiver's kernel has.
    acknowledged: usize,
    /// The first of those, which the receiver has had for so long that it will not break the connection at them.
    cleared: Count,
}

/// Bodies, and their bytes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Count {
    pub(super) bodies: usize,
    pub(super) bytes: usize,
}

impl Count {
    fn add(&mut self, body: &Body) {
        self.bodies += 1;
        self.bytes += body.wire_bytes();
    }

    fn remove(&mut self, body: &Body) {
        self.bodies -= 1;
        self.bytes -= body.wire_bytes();
    }
}

#[derive(Debug)]
struct Held {
    body: Body,
    waits_for: WaitsFor,
    /// On this connection.
    progress: Progress,
    /// Connections that were lost while it was the only body on them.
    failures: u32,
}

/// What its sender waits for.
#[derive(Debug)]
enum WaitsFor {
    Acknowledgement(oneshot::Sender<Sent>),
    Confirmation(oneshot::Sender<Decided>),
}

#[derive(Debug, Clone, Copy)]
enum Progress {
    Unwritten,
    /// It has arrived once the connection has reached the mark.
    Written {
        mark: u64,
    },
    Acknowledged {
        at: Instant,
    },
}

impl Held {
    const fn is_written(&self) -> bool {
        !matches!(self.progress, Progress::Unwritten)
    }

    fn is_unwanted(&self) -> bool {
        match &self.waits_for {
            WaitsFor::Acknowledgement(sender) => !self.is_written() && sender.is_closed(),
            WaitsFor::Confirmation(sender) => sender.is_closed(),
        }
    }

    /// The receiver's kernel has it; if it had it before, its sender knows.
    fn accepted(&mut self) {
        if matches!(self.waits_for, WaitsFor::Confirmation(_)) {
            return;
        }
        let (confirm, confirmed) = oneshot::channel();
        let waited = std::mem::replace(&mut self.waits_for, WaitsFor::Confirmation(confirm));
        if let WaitsFor::Acknowledgement(sender) = waited {
            let _ = sender.send(Sent::Accepted(PendingProof(confirmed)));
        }
    }

    /// Its sender may no longer wait for it.
    fn decide(self, decided: Decided) {
        match self.waits_for {
            WaitsFor::Confirmation(sender) => {
                let _ = sender.send(decided);
            }
            WaitsFor::Acknowledgement(sender) => {
                let verdict = decided
                    .map_or_else(|cause| Verdict::Divide { cause }, |_proof| Verdict::Delivered);
                let _ = sender.send(Sent::Decided(verdict));
            }
        }
    }
}

impl Window {
    pub(super) fn new(limits: WindowLimits) -> Self {
        let none = Count::default();
        let held = VecDeque::new();
        Self { limits, held, total: none, written: none, acknowledged: 0, cleared: none }
    }

    /// Whether anything is to be kept that was acknowledged.
    pub(super) fn is_wanted(&self) -> bool {
        self.limits.bytes > 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.total.bytes >= self.limits.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Rows of bodies that were accepted before, on this connection or another.
    pub(super) fn rows(&self) -> usize {
        let accepted = |held: &&Held| matches!(held.waits_for, WaitsFor::Confirmation(_));
        self.held.iter().filter(accepted).map(|held| held.body.rows()).sum()
    }

    /// Takes over a body that is to be written.
    pub(super) fn push(&mut self, body: Body, sent: oneshot::Sender<Sent>) {
        self.total.add(&body);
        let waits_for = WaitsFor::Acknowledgement(sent);
        let progress = Progress::Unwritten;
        self.held.push_back(Held { body, waits_for, progress, failures: 0 });
    }

    /// What is on this connection and not confirmed.
    pub(super) const fn written(&self) -> Count {
        self.written
    }

    /// What is on this connection and may be what it is lost at.
    pub(super) const fn suspects(&self) -> Count {
        Count {
            bodies: self.written.bodies - self.cleared.bodies,
            bytes: self.written.bytes - self.cleared.bytes,
        }
    }

    /// Clears what was acknowledged so long ago. For receivers that confirm nothing; the others confirm instead.
    pub(super) fn clear(&mut self, now: Instant, quiet: Duration) {
        while let Some(Held { progress: Progress::Acknowledged { at }, body, .. }) =
            self.held.get(self.cleared.bodies)
            && *at + quiet <= now
        {
            self.cleared.add(body);
        }
    }

    /// Bodies on this connection that the receiver's kernel has not acknowledged.
    pub(super) const fn in_flight(&self) -> usize {
        self.written.bodies - self.acknowledged
    }

    /// Whether something is still to be written.
    pub(super) fn has_unwritten(&self) -> bool {
        self.held.len() > self.written.bodies
    }

    /// The body to be written next, if it may share the connection with the suspects there: at most `most` bytes
    /// together.
    pub(super) fn next(&self, most: usize) -> Option<&Body> {
        let next = self.held.get(self.written.bodies)?;
        let suspects = self.suspects();
        let fits = || suspects.bytes.saturating_add(next.body.wire_bytes()) <= most;
        let may_share = || !self.is_written_alone() && !next.body.is_suspect() && fits();
        (suspects.bodies == 0 || may_share()).then_some(&next.body)
    }

    /// The next body was written, or part of it.
    pub(super) fn wrote(&mut self, mark: u64) {
        if let Some(next) = self.held.get_mut(self.written.bodies) {
            next.progress = Progress::Written { mark };
            self.written.add(&next.body);
        }
    }

    /// The receiver's kernel has everything up to this mark. Returns how many bodies that is news of.
    pub(super) fn acknowledged(&mut self, mark: u64, now: Instant) -> usize {
        let is_wanted = self.is_wanted();
        let mut news = 0;
        while let Some(next) = self.held.get_mut(self.acknowledged) {
            if !matches!(next.progress, Progress::Written { mark: reached } if reached <= mark) {
                break;
            }
            news += 1;
            next.progress = Progress::Acknowledged { at: now };
            self.acknowledged += 1;
            if is_wanted {
                next.accepted();
            } else {
                // Then none is kept before it.
                self.confirm_oldest(Proof::Age);
            }
        }
        news
    }

    /// When the oldest body will have reached its age, if the receiver's kernel has it.
    pub(super) fn expires_at(&self) -> Option<Instant> {
        match self.held.front()?.progress {
            Progress::Acknowledged { at } => Some(at + self.limits.age),
            Progress::Written { .. } | Progress::Unwritten => None,
        }
    }

    /// Everything acknowledged is as young as if it had been so at `now`.
    pub(super) fn renew(&mut self, now: Instant) {
        for held in &mut self.held {
            if let Progress::Acknowledged { at } = &mut held.progress {
                *at = now;
            }
        }
    }

    /// There is no connection any more: everything is still to be written.
    pub(super) fn disconnected(&mut self) {
        self.held.iter_mut().for_each(|held| held.progress = Progress::Unwritten);
        (self.written, self.acknowledged, self.cleared) = (Count::default(), 0, Count::default());
    }

    /// Lets go of bodies whose sender no longer waits: their rows are another consumer's, or are read again.
    pub(super) fn drop_unwanted(&mut self) {
        self.held.retain(|held| !held.is_unwanted());
        self.count();
    }

    /// The receiver has confirmed that it read everything that was written. Returns how many bytes that was.
    pub(super) fn confirm_read(&mut self) -> usize {
        let Count { bodies, bytes } = self.written;
        (0..bodies).for_each(|_| self.confirm_oldest(Proof::Read));
        bytes
    }

    /// For receivers that confirm nothing: takes what is older than the age, or exceeds the limit in bytes, for
    /// read. To be called only while the connection is well.
    pub(super) fn confirm_by_age(&mut self, now: Instant) {
        while let Some(expires_at) = self.expires_at() {
            let is_over = self.written.bytes > self.limits.bytes && self.written.bodies > 1;
            if !is_over && expires_at > now {
                break;
            }
            self.confirm_oldest(Proof::Age);
        }
    }

    /// Gives the bodies back that the receiver's kernel never had.
    pub(super) fn give_back(&mut self, verdict: &Verdict) {
        let mut kept = VecDeque::with_capacity(self.held.len());
        for held in self.held.drain(..) {
            match held.waits_for {
                WaitsFor::Acknowledgement(sender) => {
                    let _ = sender.send(Sent::Decided(verdict.clone()));
                }
                WaitsFor::Confirmation(_) => kept.push_back(held),
            }
        }
        self.held = kept;
        self.count();
    }

    /// Whether the connection is kept for one body.
    pub(super) fn is_written_alone(&self) -> bool {
        let first = self.held.get(self.cleared.bodies);
        first.is_some_and(|first| first.body.is_suspect() && first.is_written())
    }

    /// The only suspect, if there is one alone; to be asked for before the loss of the connection is noted.
    pub(super) fn only_suspect(&self) -> Option<usize> {
        (self.suspects().bodies == 1).then_some(self.cleared.bodies)
    }

    /// The connection was lost at this body.
    pub(super) fn lost_at(&mut self, at: usize) -> Option<Lost> {
        let held = self.held.get_mut(at)?;
        held.failures += 1;
        let (is_alone, failures) = (held.body.is_suspect(), held.failures);
        let (rows, bytes) = (held.body.rows(), held.body.wire_bytes());
        Some(Lost { rows, bytes, is_alone, failures })
    }

    /// Gives this body back, to be divided. Not while there is a connection.
    pub(super) fn divide(&mut self, at: usize, cause: Cause) {
        if let Some(held) = self.held.remove(at) {
            self.count();
            held.decide(Err(cause));
        }
    }

    fn confirm_oldest(&mut self, proof: Proof) {
        let Some(oldest) = self.held.pop_front() else { return };
        self.total.remove(&oldest.body);
        if oldest.is_written() {
            self.written.remove(&oldest.body);
        }
        if matches!(oldest.progress, Progress::Acknowledged { .. }) {
            self.acknowledged -= 1;
        }
        if self.cleared.bodies > 0 {
            self.cleared.remove(&oldest.body);
        }
        oldest.decide(Ok(proof));
    }

    fn count(&mut self) {
        let (mut total, mut written, mut acknowledged) = (Count::default(), Count::default(), 0);
        for held in &self.held {
            total.add(&held.body);
            if held.is_written() {
                written.add(&held.body);
            }
            acknowledged += usize::from(matches!(held.progress, Progress::Acknowledged { .. }));
        }
        (self.total, self.written, self.acknowledged) = (total, written, acknowledged);
        // Cleared again at the next look, if they were.
        self.cleared = Count::default();
    }
}

/// What is known of a body at which a connection was lost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lost {
    pub(super) rows: usize,
    pub(super) bytes: usize,
    /// It was to be alone.
    pub(super) is_alone: bool,
    /// How often.
    pub(super) failures: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Written and acknowledged at this time.
    fn push(window: &mut Window, bytes: usize, at: Instant) -> oneshot::Receiver<Decided> {
        let mut sent = order(window, bytes, false);
        window.wrote(0);
        assert_eq!(window.acknowledged(0, at), 1);
        match sent.try_recv() {
            Ok(Sent::Accepted(PendingProof(confirmed))) => confirmed,
            other => panic!("{other:?}"),
        }
    }

    fn order(window: &mut Window, bytes: usize, is_alone: bool) -> oneshot::Receiver<Sent> {
        let (sent, heard) = oneshot::channel();
        let body = Body::plain(vec![vec![b'x'; bytes].into()], 1);
        window.push(if is_alone { body.as_suspect() } else { body }, sent);
        heard
    }

    fn sizes(window: &Window) -> Vec<usize> {
        window.held.iter().map(|held| held.body.wire_bytes()).collect()
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
        assert_eq!(window.confirm_read(), 11);
        assert_eq!(oldest.try_recv(), Ok(Ok(Proof::Read)));
        assert!(window.is_empty() && !window.is_full());
    }

    #[test]
    fn only_what_was_written_on_this_connection_is_confirmed() {
        let (mut window, start) = (window(), Instant::now());
        let mut first = push(&mut window, 4, start);
        let mut second = push(&mut window, 5, start);
        window.disconnected();
        assert_eq!((window.expires_at(), window.written()), (None, Count::default()));
        assert_eq!(window.next(4).map(Body::wire_bytes), Some(4));
        window.wrote(4);
        assert!(window.next(8).is_none(), "more than may be there");
        window.confirm_by_age(start + 60 * SECOND);
        assert_eq!(sizes(&window), [4, 5], "not acknowledged");
        assert_eq!((window.acknowledged(4, start), window.confirm_read()), (1, 4));
        assert_eq!(first.try_recv(), Ok(Ok(Proof::Read)));
        window.confirm_by_age(start + 60 * SECOND);
        assert!(second.try_recv().is_err());
        assert_eq!(sizes(&window), [5]);
    }

    #[test]
    fn a_body_that_is_to_be_alone_shares_a_connection_with_no_other() {
        let mut window = window();
        let _sent = [(1, false), (1, true), (1, false)]
            .map(|(bytes, is_alone)| order(&mut window, bytes, is_alone));
        for _ in 0..3 {
            assert!(window.next(10).is_some());
            window.wrote(1);
            assert!(window.next(10).is_none());
            window.acknowledged(1, Instant::now());
            window.confirm_read();
        }
        assert!(window.is_empty());
    }

    #[test]
    fn what_a_receiver_has_had_for_a_while_is_not_what_it_breaks_connections_at() {
        let (mut window, start) = (window(), Instant::now());
        let _old = push(&mut window, 4, start);
        let _sent = order(&mut window, 5, true);
        assert!(window.next(100).is_none(), "not while the first is a suspect");
        window.clear(start + SECOND, SECOND);
        assert_eq!(window.next(100).map(Body::wire_bytes), Some(5));
        window.wrote(1);
        assert_eq!(window.only_suspect(), Some(1));
        window.disconnected();
        assert_eq!(window.suspects(), Count::default());
        assert_eq!(window.lost_at(1).map(|lost| (lost.bytes, lost.failures)), Some((5, 1)));
    }

    #[test]
    fn without_confirmations_the_oldest_make_room_and_age_out() {
        let (mut window, start) = (window(), Instant::now());
        let mut first = push(&mut window, 4, start);
        let mut second = push(&mut window, 5, start + SECOND);
        let _third = push(&mut window, 3, start + 2 * SECOND);
        window.confirm_by_age(start + 2 * SECOND);
        assert_eq!((sizes(&window), first.try_recv()), (vec![5, 3], Ok(Ok(Proof::Age))));
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
        drop(order(&mut window, 1, false));
        window.drop_unwanted();
        assert_eq!((sizes(&window), window.total.bytes), (vec![5], 5));
    }

    #[test]
    fn what_the_receiver_never_had_is_given_back() {
        let mut window = window();
        let mut kept = push(&mut window, 4, Instant::now());
        let mut given = order(&mut window, 5, false);
        let cause = Cause::new("connect", "why");
        window.give_back(&Verdict::Hold { cause: cause.clone() });
        assert!(matches!(given.try_recv(), Ok(Sent::Decided(Verdict::Hold { .. }))));
        assert_eq!((sizes(&window), window.total.bytes), (vec![4], 4));
        window.disconnected();
        window.divide(0, cause.clone());
        assert_eq!(kept.try_recv(), Ok(Err(cause)));
    }
}
