//! A persistent connection to one receiver, and the promise that goes with it.
//!
//! One task owns the connection. It connects when there is something to send, tries once per body and never
//! more often than its back-off allows, and reports a body as delivered when the receiver's kernel has
//! acknowledged it. What was so reported stays in the resend window for a while; when the connection ends,
//! for whatever reason, the window goes out first on the next one.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::backoff::{Backoff, STABLE};
use super::connection::{Connection, Dialer, Failure};
use super::target::Target;
use super::window::{Window, WindowLimits};
use crate::body::Body;
use crate::outcome::{Cause, Outcome};
use crate::tls::{TlsError, TlsSettings};

/// Bodies that may be written before the first of them is acknowledged.
const MAX_IN_FLIGHT: usize = 8;

/// How often to look for acknowledgements: soon at first, seldom while a receiver is far or busy.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const RARE_LOOK: Duration = Duration::from_millis(20);

/// How to reach a receiver.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Where it is.
    pub target: Target,
    /// Whom to trust and who we are; not used for plain TCP.
    pub tls: TlsSettings,
    /// For a connection to stand, TLS included.
    pub connect_timeout: Duration,
    /// For a write to make any progress; after that the connection is given up.
    pub write_timeout: Duration,
    /// What to keep for sending again.
    pub window: WindowLimits,
}

/// A connection to one receiver, made when needed and kept.
#[derive(Debug)]
pub struct Client {
    target: Target,
    orders: mpsc::Sender<Order>,
    /// Owns the task: dropping the client ends it, and with it the connection.
    _link: JoinSet<()>,
}

/// How a connection ended that we closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// The receiver has read everything and said goodbye, or there was nothing to say it about.
    Cleanly,
    /// It did not in time. What the resend window held may be lost with it if it dies now.
    Unconfirmed,
}

#[derive(Debug)]
enum Order {
    Send { body: Body, outcome: oneshot::Sender<Outcome> },
    Probe { result: oneshot::Sender<Result<(), Cause>> },
    Close { limit: Duration, closed: oneshot::Sender<Closed> },
}

impl Client {
    /// Starts the task that owns the connection; connects to nothing yet. Must be called on a tokio runtime.
    /// Blocks on reading certificates.
    ///
    /// # Errors
    ///
    /// [`TlsError`] when the TLS settings cannot work.
    pub fn start(settings: ClientSettings) -> Result<Self, TlsError> {
        let ClientSettings { target, tls, connect_timeout, write_timeout, window } = settings;
        let dialer = Dialer::new(target.clone(), tls, connect_timeout, write_timeout)?;
        let (orders, inbox) = mpsc::channel(MAX_IN_FLIGHT);
        let mut link = JoinSet::new();
        link.spawn(Link::new(dialer, window).run(inbox));
        Ok(Self { target, orders, _link: link })
    }

    /// Where this client sends to, for messages.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Writes a body and waits until the receiver's kernel has it. A body without rows is delivered unsent.
    /// Several may be under way at once; they are written in the order of the calls.
    ///
    /// Once begun, a write goes on even if this is dropped; then nobody hears of its outcome.
    pub async fn send(&self, body: &Body) -> Outcome {
        if body.rows() == 0 {
            return Outcome::Delivered;
        }
        let (outcome, heard) = oneshot::channel();
        let order = Order::Send { body: body.clone(), outcome };
        match self.ask(order, heard).await {
            Some(outcome) => outcome,
            None => Outcome::Retry { after: None, cause: self.closed_already() },
        }
    }

    /// Makes sure that there is a connection, TLS included; sends nothing but what the window holds.
    ///
    /// # Errors
    ///
    /// Why not, and what to do.
    pub async fn probe(&self) -> Result<(), Cause> {
        let (result, heard) = oneshot::channel();
        let answer = self.ask(Order::Probe { result }, heard).await;
        answer.unwrap_or_else(|| Err(self.closed_already()))
    }

    /// Ends the connection in order: waits for acknowledgements, says goodbye, waits for the receiver's. Takes
    /// at most `limit`. After that the client sends nothing any more.
    pub async fn close(&self, limit: Duration) -> Closed {
        let (closed, heard) = oneshot::channel();
        self.ask(Order::Close { limit, closed }, heard).await.unwrap_or(Closed::Cleanly)
    }

    async fn ask<T>(&self, order: Order, answer: oneshot::Receiver<T>) -> Option<T> {
        self.orders.send(order).await.ok()?;
        answer.await.ok()
    }

    fn closed_already(&self) -> Cause {
        let target = &self.target;
        Cause::new(
            "closed",
            format!("the connection to {target} was closed by us; nothing was lost"),
        )
    }
}

/// The task behind a client.
struct Link {
    dialer: Dialer,
    window: Window,
    backoff: Backoff,
    last_failure: Option<Failure>,
    connection: Option<Connection>,
    connected_at: Instant,
    in_flight: VecDeque<InFlight>,
    next_look: Duration,
}

/// Written, not yet acknowledged.
struct InFlight {
    /// The mark at which it has arrived; see [`Connection::write`].
    mark: u64,
    body: Body,
    outcome: oneshot::Sender<Outcome>,
}

/// What a link wakes up for.
enum Event {
    Gone(Failure),
    Look,
    Upkeep,
    Order(Option<Order>),
}

impl Link {
    fn new(dialer: Dialer, window: WindowLimits) -> Self {
        Self {
            dialer,
            window: Window::new(window),
            backoff: Backoff::default(),
            last_failure: None,
            connection: None,
            connected_at: Instant::now(),
            in_flight: VecDeque::new(),
            next_look: FIRST_LOOK,
        }
    }

    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            match self.next_event(&mut orders).await {
                Event::Gone(failure) => self.lost(failure),
                Event::Look => self.look(),
                Event::Upkeep => self.upkeep().await,
                Event::Order(Some(Order::Send { body, outcome })) => self.send(body, outcome).await,
                Event::Order(Some(Order::Probe { result })) => {
                    let ready = self.ready().await.map(drop).map_err(|failure| failure.cause);
                    // Whoever asked may have left; then the answer is of no use.
                    let _ = result.send(ready);
                }
                Event::Order(Some(Order::Close { limit, closed })) => {
                    let _ = closed.send(self.close(limit).await);
                    return;
                }
                Event::Order(None) => return,
            }
        }
    }

    async fn next_event(&mut self, orders: &mut mpsc::Receiver<Order>) -> Event {
        let upkeep_at = self.upkeep_at();
        tokio::select! {
            biased;
            failure = gone(self.connection.as_mut()) => Event::Gone(failure),
            () = sleep(self.next_look), if !self.in_flight.is_empty() => Event::Look,
            () = sleep_until(upkeep_at.unwrap_or_else(Instant::now)), if upkeep_at.is_some() => Event::Upkeep,
            order = orders.recv(), if self.in_flight.len() < MAX_IN_FLIGHT => Event::Order(order),
        }
    }

    /// When the window wants attention: to forget what is old, or without a connection to be sent again.
    fn upkeep_at(&self) -> Option<Instant> {
        match (&self.connection, self.window.is_empty()) {
            (_, true) => None,
            (Some(_), _) => self.window.expires_at(),
            (None, _) => Some(self.backoff.not_before().unwrap_or_else(Instant::now)),
        }
    }

    async fn upkeep(&mut self) {
        if self.connection.is_some() {
            self.window.expire(Instant::now());
        } else if let Err(failure) = self.ready().await {
            tracing::debug!(cause = %failure.cause, "cannot send the resend window again yet");
        }
    }

    async fn send(&mut self, body: Body, outcome: oneshot::Sender<Outcome>) {
        match self.write(&body).await {
            Ok(mark) => {
                self.in_flight.push_back(InFlight { mark, body, outcome });
                self.next_look = FIRST_LOOK;
                self.look();
            }
            Err(failure) => {
                let after = self.backoff.left(Instant::now());
                let _ = outcome.send(failure.outcome(after));
            }
        }
    }

    async fn write(&mut self, body: &Body) -> Result<u64, Failure> {
        let written = self.ready().await?.write(body).await;
        written.inspect_err(|failure| self.lost(failure.clone()))
    }

    /// The connection, made if there is none and it is time to try; what is in the window has been sent on
    /// it.
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
        let mut rows = 0;
        for body in self.window.bodies() {
            connection.write(&body).await?;
            rows += body.rows();
        }
        self.window.renew(Instant::now());
        tracing::info!(receiver = %self.dialer.target(), rows_repeated = rows, "connected");
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
            self.window.push(done.body, now);
            let _ = done.outcome.send(Outcome::Delivered);
        }
        let progress = self.in_flight.len() < before;
        self.next_look = if progress { FIRST_LOOK } else { (self.next_look * 2).min(RARE_LOOK) };
    }

    /// The connection is no more, or could not be made. A long-lived one that ends is no failure of the
    /// receiver's: it may be taken up again at once.
    fn lost(&mut self, failure: Failure) {
        let now = Instant::now();
        let had_connection = self.connection.take().is_some();
        if had_connection {
            tracing::warn!(cause = %failure.cause, "lost the connection to a syslog receiver");
        }
        if had_connection && now.duration_since(self.connected_at) >= STABLE {
            self.window.expire(now);
            self.backoff.succeeded();
        } else {
            self.backoff.failed(now);
        }
        let after = self.backoff.left(now);
        for unsure in self.in_flight.drain(..) {
            let _ = unsure.outcome.send(failure.outcome(after));
        }
        self.last_failure = Some(failure);
    }

    async fn close(&mut self, limit: Duration) -> Closed {
        let farewell = async {
            while !self.in_flight.is_empty() && self.connection.is_some() {
                sleep(self.next_look).await;
                self.look();
            }
            if self.connection.is_none() && !self.window.is_empty() {
                // One last attempt for what may have been lost with the last connection; no time for a pause.
                self.backoff.succeeded();
                let _ = self.ready().await;
            }
            match self.connection.take() {
                Some(connection) => connection.close().await,
                None => self.window.is_empty(),
            }
        };
        match timeout(limit, farewell).await {
            Ok(true) => {
                self.window.clear();
                Closed::Cleanly
            }
            _ => Closed::Unconfirmed,
        }
    }
}

/// Waits for the end of the connection, if there is one.
async fn gone(connection: Option<&mut Connection>) -> Failure {
    match connection {
        Some(connection) => connection.gone().await,
        None => std::future::pending().await,
    }
}
