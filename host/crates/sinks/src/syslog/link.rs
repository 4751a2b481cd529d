//! The task that owns the connection to one receiver.
//!
//! It connects when there is something to send, tries once per body and never more often than its back-off
//! allows. A body is *accepted* when the receiver's kernel has acknowledged it, and stays in the window until it
//! is *confirmed*: from time to time the link finishes its side of the connection, and a receiver that then
//! closes its own in order has read everything. A connection that ends otherwise confirms nothing, and the window
//! goes out first on the next one. Of a receiver that gives no such proof, age has to do ([`Habit`]).

mod ending;

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

use super::connection::{Connection, Dialer, End, Failure};
use super::habit::Habit;
use super::reconnect::{Reconnect, STABLE};
use super::transport::{Close, Confirmation, Inbox, MAX_IN_FLIGHT, Order, Sent, not_confirming};
use super::window::{Window, WindowLimits};
use crate::body::Body;
use crate::outcome::Outcome;

/// How often to look for acknowledgements: soon at first, seldom while a receiver is far or busy.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const RARE_LOOK: Duration = Duration::from_millis(20);

/// A connection lives at least this long before it is finished, however often a confirmation is asked for: each
/// one that we close occupies a local port for a minute.
const SHORTEST_LIFE: Duration = Duration::from_millis(100);

/// How long a finished connection that carried nothing is waited for before the next one is made.
const EMPTY_ENDING: Duration = Duration::from_secs(2);

/// The task behind a client.
pub(super) struct Link {
    sink: String,
    dialer: Dialer,
    window: Window,
    /// After this long without a confirmation senders hear that the receiver does not read.
    patience: Duration,
    habit: Habit,
    reconnect: Reconnect,
    last_failure: Option<Failure>,
    connection: Option<Connection>,
    connected_at: Instant,
    /// When our side of the connection was finished.
    finished_at: Option<Instant>,
    /// A finished connection that the receiver has kept open, while another one is used. Should it close it yet, it
    /// is one that closes.
    kept_open: Option<KeptOpen>,
    /// It was logged that it gives no proof.
    is_warned: bool,
    /// The connection is there to learn how the receiver ends one.
    is_probing: bool,
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

struct KeptOpen {
    connection: Connection,
    since: Instant,
}

/// What a link wakes up for.
enum Event {
    Ended(End),
    KeptOpenEnded(End),
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
            reconnect: Reconnect::default(),
            last_failure: None,
            connection: None,
            connected_at: Instant::now(),
            finished_at: None,
            kept_open: None,
            is_warned: false,
            is_probing: false,
            is_asked: false,
            in_flight: VecDeque::new(),
            next_look: FIRST_LOOK,
        }
    }

    pub(super) async fn run(mut self, mut inbox: Inbox) {
        loop {
            match self.next_event(&mut inbox).await {
                Event::Ended(end) => self.ended(end),
                Event::KeptOpenEnded(end) => self.kept_open_ended(end),
                Event::Look => self.look(),
                Event::Upkeep => self.upkeep().await,
                Event::Asked => self.is_asked = !self.is_settled(),
                Event::Order(Some(Order::Send { body, sent })) => self.send(body, sent).await,
                Event::Order(Some(Order::Probe { result })) => {
                    let ready = self.probe().await.map_err(|failure| failure.cause);
                    // The task that asked may have left; then the answer is of no use.
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
            end = ended(self.kept_open.as_mut().map(|it| &mut it.connection)) => Event::KeptOpenEnded(end),
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
        let is_held_up = self.is_probing
            || (self.is_learning() && self.window.is_full())
            || (self.is_confirmation_due()
                && (self.window.is_full() || self.connected_at.elapsed() >= SHORTEST_LIFE));
        self.in_flight.len() < MAX_IN_FLIGHT && !is_held_up
    }

    /// Whether a finished connection is to show soon what the receiver does with one.
    fn is_learning(&self) -> bool {
        self.habit.is_unknown() && self.kept_open.is_some()
    }

    /// When the link must act by itself.
    fn upkeep_at(&self) -> Option<Instant> {
        let learned_at = self.kept_open.as_ref().filter(|_| self.is_learning());
        let learned_at = learned_at.map(|kept| kept.since + self.habit.silence());
        let own = if self.connection.is_none() {
            let at = || self.reconnect.not_before().unwrap_or_else(Instant::now);
            (!self.window.is_empty()).then(at)
        } else if let Some(since) = self.finished_at {
            let is_empty = self.window.is_empty();
            let limit = since + if is_empty { EMPTY_ENDING } else { self.habit.silence() };
            let patience = Some(since + self.patience).filter(|at| *at > Instant::now());
            patience.into_iter().chain([limit]).min()
        } else if self.is_probing {
            Some(self.connected_at + SHORTEST_LIFE)
        } else {
            // What is due already is looked after at every look.
            self.window.expires_at().filter(|_| !self.is_confirmation_due() && !self.is_learning())
        };
        own.into_iter().chain(learned_at).min()
    }

    async fn upkeep(&mut self) {
        let now = Instant::now();
        let silence = self.habit.silence();
        if self.is_learning() && self.kept_open.as_ref().is_some_and(|it| now >= it.since + silence)
        {
            self.gives_no_proof(Habit::kept_silent, "keeps it open");
        }
        match self.finished_at.map(|since| now.duration_since(since)) {
            _ if self.connection.is_none() => {
                if let Err(failure) = self.resend().await {
                    tracing::debug!(sink = self.sink, cause = %failure.cause, "cannot send the unconfirmed logs again yet");
                }
            }
            None if self.is_probing => self.finish().await,
            None if self.habit.gives_no_proof() => self.confirm_by_age(now),
            None => {}
            Some(waited) if self.window.is_empty() && waited >= EMPTY_ENDING => self.leave_open(),
            Some(_) if self.window.is_empty() => {}
            Some(waited) if waited >= silence => {
                self.gives_no_proof(Habit::kept_silent, "keeps it open");
                self.leave_open();
            }
            Some(waited) if waited >= self.patience => self.warn_of_silence(waited),
            Some(_) => {}
        }
    }

    /// Connects again, if what is unconfirmed is still wanted.
    async fn resend(&mut self) -> Result<(), Failure> {
        self.window.drop_unwanted();
        if !self.window.is_empty() {
            self.ready().await?;
        }
        Ok(())
    }

    async fn send(&mut self, body: Body, sent: oneshot::Sender<Sent>) {
        if self.finished_at.is_some() {
            let cause = not_confirming(self.dialer.target());
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
                let after = self.reconnect.left(Instant::now());
                let _ = sent.send(Sent::Decided(failure.outcome(after)));
            }
        }
    }

    /// Connects; and if it is not known how the receiver ends a connection, finishes this one soon to see.
    async fn probe(&mut self) -> Result<(), Failure> {
        if self.finished_at.is_some() {
            return Ok(());
        }
        let is_new = self.connection.is_none();
        self.ready().await?;
        let is_empty = is_new && self.is_settled();
        self.is_probing = is_empty && self.window.is_wanted() && self.habit.is_unknown();
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
        if let (Some(_), Some(failure)) = (self.reconnect.left(Instant::now()), &self.last_failure)
        {
            return Err(failure.clone());
        }
        let connected = self.dial_and_repeat().await;
        connected.inspect_err(|failure| self.lost(failure.clone()))
    }

    async fn dial_and_repeat(&mut self) -> Result<Connection, Failure> {
        let mut connection = self.dialer.dial().await?;
        if self.habit.ends_early() {
            connection.let_end_early();
        }
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
        if self.habit.gives_no_proof() {
            self.window.confirm_by_age(now);
        }
        let progress = self.in_flight.len() < before;
        self.next_look = if progress { FIRST_LOOK } else { (self.next_look * 2).min(RARE_LOOK) };
    }

    fn disconnect(&mut self) {
        self.connection = None;
        self.finished_at = None;
        self.is_probing = false;
    }

    /// The connection is no more, or could not be made. A long-lived one that ends is no failure of the
    /// receiver's: it may be taken up again at once.
    fn lost(&mut self, failure: Failure) {
        let now = Instant::now();
        let had_connection = self.connection.is_some();
        self.disconnect();
        if self.habit.lost() {
            self.kept_open = None;
        }
        if had_connection {
            let unconfirmed = self.window.rows();
            tracing::warn!(sink = self.sink, unconfirmed, cause = %failure.cause, "lost the connection to the receiver");
        }
        if had_connection && now.duration_since(self.connected_at) >= STABLE {
            self.reconnect.succeeded();
        } else {
            self.reconnect.failed(now);
        }
        let after = self.reconnect.left(now);
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
