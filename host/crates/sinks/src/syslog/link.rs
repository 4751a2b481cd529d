//! The task that owns the connection to one receiver.
//!
//! It connects when there is something to send, tries once per body and never more often than its back-off
//! allows. A body is *accepted* when the receiver's kernel has acknowledged it, and stays in the window until it
//! is *confirmed*: from time to time the link finishes its side of the connection, and a receiver that then
//! closes its own in order has read everything. A connection that ends otherwise confirms nothing, and the window
//! goes out first on the next one.

mod ending;

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

use super::backoff::{Backoff, STABLE};
use super::connection::{Connection, Dialer, End, Failure};
use super::habit::Habit;
use super::transport::{Close, Confirmation, Inbox, MAX_IN_FLIGHT, Order, Sent, not_reading};
use super::window::{Window, WindowLimits};
use crate::body::Body;
use crate::outcome::Outcome;

/// How often to look for acknowledgements: soon at first, seldom while a receiver is far or busy.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const RARE_LOOK: Duration = Duration::from_millis(20);

/// A connection lives at least this long before it is finished, however often a confirmation is asked for: each
/// one that we close occupies a local port for a minute.
const SHORTEST_LIFE: Duration = Duration::from_millis(100);

/// How long a finished connection that carried nothing is waited for.
const EMPTY_ENDING: Duration = Duration::from_secs(2);

/// A receiver that has never closed a connection in order, and keeps a finished one open for this long, is taken
/// for one that never does.
const NEVER_CLOSES_AFTER: Duration = Duration::from_secs(60);

/// The task behind a client.
pub(super) struct Link {
    sink: String,
    dialer: Dialer,
    window: Window,
    /// After this long without a confirmation senders hear that the receiver does not read.
    patience: Duration,
    habit: Habit,
    backoff: Backoff,
    last_failure: Option<Failure>,
    connection: Option<Connection>,
    connected_at: Instant,
    /// When our side of the connection was finished.
    finished_at: Option<Instant>,
    /// A sender has asked for confirmation.
    is_asked: bool,
    in_flight: VecDeque<InFlight>,
    next_look: Duration,
}

/// Written, not yet acknowledged.
struct InFlight {
    /// The mark at which it has arrived; see [`Connection::write`].
    mark: u64,
    body: Body,
    sent: oneshot::Sender<Sent>,
}

/// What a link wakes up for.
enum Event {
    Ended(End),
    Look,
    Upkeep,
    Asked,
    Order(Option<Order>),
    Close(Option<Close>),
}

impl Link {
    pub(super) fn new(
        sink: String,
        dialer: Dialer,
        window: WindowLimits,
        patience: Duration,
    ) -> Self {
        Self {
            sink,
            dialer,
            window: Window::new(window),
            patience,
            habit: Habit::default(),
            backoff: Backoff::default(),
            last_failure: None,
            connection: None,
            connected_at: Instant::now(),
            finished_at: None,
            is_asked: false,
            in_flight: VecDeque::new(),
            next_look: FIRST_LOOK,
        }
    }

    pub(super) async fn run(mut self, mut inbox: Inbox) {
        loop {
            match self.next_event(&mut inbox).await {
                Event::Ended(end) => self.ended(end),
                Event::Look => self.look(),
                Event::Upkeep => self.upkeep().await,
                Event::Asked => self.is_asked = !self.is_settled(),
                Event::Order(Some(Order::Send { body, sent })) => self.send(body, sent).await,
                Event::Order(Some(Order::Probe { result })) => {
                    let ready = self.probe().await.map_err(|failure| failure.cause);
                    // Whoever asked may have left; then the answer is of no use.
                    let _ = result.send(ready);
                }
                Event::Close(Some(Close { limit, closed })) => {
                    let _ = closed.send(self.close(limit).await);
                    return;
                }
                Event::Order(None) | Event::Close(None) => return,
            }
            self.finish_if_due().await;
        }
    }

    async fn next_event(&mut self, inbox: &mut Inbox) -> Event {
        let upkeep_at = self.upkeep_at();
        let is_looking = !self.in_flight.is_empty() || self.is_confirmation_due();
        let takes_orders = self.takes_orders();
        tokio::select! {
            biased;
            end = ended(self.connection.as_mut()) => Event::Ended(end),
            close = inbox.closing.recv() => Event::Close(close),
            () = sleep(self.next_look), if is_looking => Event::Look,
            () = sleep_until(upkeep_at.unwrap_or_else(Instant::now)), if upkeep_at.is_some() => Event::Upkeep,
            () = inbox.confirm.notified() => Event::Asked,
            order = inbox.orders.recv(), if takes_orders => Event::Order(order),
        }
    }

    /// Whether nothing is unsettled that was written.
    fn is_settled(&self) -> bool {
        self.in_flight.is_empty() && self.window.is_empty()
    }

    fn takes_orders(&self) -> bool {
        if let Some(since) = self.finished_at {
            // Late enough, senders are refused rather than kept waiting.
            return since.elapsed() >= self.patience;
        }
        let is_held_up = self.is_confirmation_due()
            && (self.window.is_full() || self.connected_at.elapsed() >= SHORTEST_LIFE);
        self.in_flight.len() < MAX_IN_FLIGHT && !is_held_up
    }

    /// When the link must act by itself.
    fn upkeep_at(&self) -> Option<Instant> {
        if self.connection.is_none() {
            let at = || self.backoff.not_before().unwrap_or_else(Instant::now);
            return (!self.window.is_empty()).then(at);
        }
        let Some(since) = self.finished_at else {
            let at = self.window.expires_at();
            // What is due already is looked after at every look.
            return at.filter(|_| !self.is_confirmation_due());
        };
        let now = Instant::now();
        let limit = match (self.window.is_empty(), self.habit.is_unknown()) {
            (true, _) => Some(since + EMPTY_ENDING),
            (false, true) => Some(since + NEVER_CLOSES_AFTER),
            (false, false) => None,
        };
        let patience = Some(since + self.patience).filter(|at| *at > now);
        limit.into_iter().chain(patience).min()
    }

    async fn upkeep(&mut self) {
        let now = Instant::now();
        match self.finished_at.map(|since| now.duration_since(since)) {
            _ if self.connection.is_none() => {
                if let Err(failure) = self.ready().await {
                    tracing::debug!(sink = self.sink, cause = %failure.cause, "cannot send the unconfirmed logs again yet");
                }
            }
            None if self.habit == Habit::NeverCloses => self.confirm_by_age(now),
            None => {}
            Some(waited) if self.window.is_empty() && waited >= EMPTY_ENDING => self.disconnect(),
            Some(waited) if waited >= NEVER_CLOSES_AFTER && self.habit.kept_silent() => {
                self.warn_of_habit("keeps it open");
                self.disconnect();
            }
            Some(waited) if waited >= self.patience && !self.window.is_empty() => {
                self.warn_of_silence(waited);
            }
            Some(_) => {}
        }
    }

    async fn send(&mut self, body: Body, sent: oneshot::Sender<Sent>) {
        if self.finished_at.is_some() {
            let cause = not_reading(self.dialer.target());
            let _ = sent.send(Sent::Decided(Outcome::Retry { after: None, cause }));
            return;
        }
        match self.write(&body).await {
            Ok(mark) => {
                self.in_flight.push_back(InFlight { mark, body, sent });
                self.next_look = FIRST_LOOK;
                self.look();
            }
            Err(failure) => {
                let after = self.backoff.left(Instant::now());
                let _ = sent.send(Sent::Decided(failure.outcome(after)));
            }
        }
    }

    /// Connects; and if it is not known how the receiver ends a connection, finishes this one to see.
    async fn probe(&mut self) -> Result<(), Failure> {
        if self.finished_at.is_some() {
            return Ok(());
        }
        self.ready().await?;
        if self.window.is_wanted() && self.habit.is_unknown() && self.is_settled() {
            self.finish().await;
        }
        Ok(())
    }

    async fn write(&mut self, body: &Body) -> Result<u64, Failure> {
        let written = self.ready().await?.write(body).await;
        written.inspect_err(|failure| self.lost(failure.clone()))
    }

    /// The connection, made if there is none and it is time to try; what is unconfirmed has been sent on it.
    async fn ready(&mut self) -> Result<&mut Connection, Failure> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        Ok(self.connection.insert(connection))
    }

    async fn connect(&mut self) -> Result<Connection, Failure> {
        if let (Some(_), Some(failure)) = (self.backoff.left(Instant::now()), &self.last_failure) {
            return Err(failure.clone());
        }
        let connected = self.dial_and_repeat().await;
        connected.inspect_err(|failure| self.lost(failure.clone()))
    }

    async fn dial_and_repeat(&mut self) -> Result<Connection, Failure> {
        let mut connection = self.dialer.dial().await?;
        self.connected_at = Instant::now();
        self.window.drop_unwanted();
        for body in self.window.bodies() {
            connection.write(&body).await?;
        }
        self.window.renew(Instant::now());
        let (address, rows_repeated) = (self.dialer.target(), self.window.rows());
        if rows_repeated > 0 || self.last_failure.take().is_some() || self.habit.is_unknown() {
            tracing::info!(sink = self.sink, %address, rows_repeated, "connected");
        } else {
            tracing::debug!(sink = self.sink, %address, "connected again after a confirmation");
        }
        Ok(connection)
    }

    /// Reports what has been acknowledged since the last look.
    fn look(&mut self) {
        let Some(connection) = &self.connection else { return };
        let acknowledged = match connection.acknowledged() {
            Ok(acknowledged) => acknowledged,
            Err(failure) => return self.lost(failure),
        };
        let before = self.in_flight.len();
        let now = Instant::now();
        while let Some(done) = self.in_flight.pop_front_if(|first| first.mark <= acknowledged) {
            let accepted = if self.window.is_wanted() {
                let (confirm, confirmed) = oneshot::channel();
                self.window.push(done.body, confirm, now);
                Sent::Accepted(Confirmation(confirmed))
            } else {
                Sent::Decided(Outcome::Delivered)
            };
            let _ = done.sent.send(accepted);
        }
        if self.habit == Habit::NeverCloses {
            self.window.confirm_by_age(now);
        }
        let progress = self.in_flight.len() < before;
        self.next_look = if progress { FIRST_LOOK } else { (self.next_look * 2).min(RARE_LOOK) };
    }

    fn disconnect(&mut self) {
        self.connection = None;
        self.finished_at = None;
    }

    /// The connection is no more, or could not be made. A long-lived one that ends is no failure of the
    /// receiver's: it may be taken up again at once.
    fn lost(&mut self, failure: Failure) {
        let now = Instant::now();
        let had_connection = self.connection.is_some();
        self.disconnect();
        if had_connection {
            let unconfirmed = self.window.rows();
            tracing::warn!(sink = self.sink, unconfirmed, cause = %failure.cause, "lost the connection to the receiver");
        }
        if had_connection && now.duration_since(self.connected_at) >= STABLE {
            self.backoff.succeeded();
        } else {
            self.backoff.failed(now);
        }
        let after = self.backoff.left(now);
        for unsure in self.in_flight.drain(..) {
            let _ = unsure.sent.send(Sent::Decided(failure.outcome(after)));
        }
        self.last_failure = Some(failure);
    }
}

/// Waits for the end of the connection, if there is one.
async fn ended(connection: Option<&mut Connection>) -> End {
    match connection {
        Some(connection) => connection.ended().await,
        None => std::future::pending().await,
    }
}
