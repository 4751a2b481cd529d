//! The task that owns the connection to one receiver.
//!
//! It connects when there is something to send, and never more often than its back-off allows. A body is *accepted*
//! when the receiver's kernel has acknowledged it, and stays in the window until it is *confirmed*: from time to time
//! the link finishes its side of the connection, and a receiver that then closes its own in order has read everything.
//! A connection that ends otherwise confirms nothing, and the window goes out first on the next one. Of a receiver that
//! gives no such proof, age has to do ([`Habit`]).
//!
//! After a connection was lost less goes out on the next ones ([`Allowance`]), until one body is alone. One that is lost
//! alone again and again is given back to be divided, so that what the receiver breaks connections at is found.

mod ending;
mod losing;

use std::sync::Arc;
use std::time::Duration;

use forwarder_connector::Verdict;
use tokio::time::{Instant, sleep, sleep_until};

use super::allowance::Allowance;
use super::connection::{Connection, Dialer, End, Failure};
use super::habit::Habit;
use super::proof::Sent;
use super::reconnect::Reconnect;
use super::request::{CloseRequest, MAX_IN_FLIGHT, Request, Requests, not_confirming};
use super::window::{Window, WindowLimits};
use crate::limit::BodyLimit;

/// How often to look for acknowledgements: soon at first, seldom while a receiver is far or busy.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const RARE_LOOK: Duration = Duration::from_millis(20);

/// A connection lives at least this long before it is finished, however often a confirmation is asked for: each
/// one that we close occupies a local port for a minute.
const SHORTEST_LIFE: Duration = Duration::from_millis(100);

/// How long a receiver takes at the most to break a connection, while it is searched what it breaks them at.
const LATEST_BREAK: Duration = Duration::from_secs(2);

/// How long a finished connection that carried nothing is waited for before the next one is made.
const EMPTY_ENDING: Duration = Duration::from_secs(2);

/// The task behind a client.
pub(super) struct Link {
    sink: String,
    dialer: Dialer,
    window: Window,
    allowance: Allowance,
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
    /// One was asked for, and could not be made yet.
    owes_probe: bool,
    /// A sender has asked for confirmation.
    is_asked: bool,
    next_look: Duration,
    /// When something was written or acknowledged last.
    last_progress: Instant,
    /// How long after that connections were lost.
    break_delay: Duration,
    /// How many were since something was confirmed.
    breaks: u32,
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
    Writable,
    Request(Option<Request>),
    CloseRequest(Option<CloseRequest>),
}

impl Link {
    pub(super) fn new(
        sink: String,
        dialer: Dialer,
        window: WindowLimits,
        longest_pause: Duration,
        learned: Arc<BodyLimit>,
        patience: Duration,
    ) -> Self {
        Self {
            sink,
            dialer,
            window: Window::new(window),
            allowance: Allowance::new(window.bytes, learned),
            patience,
            habit: Habit::default(),
            reconnect: Reconnect::new(longest_pause),
            last_failure: None,
            connection: None,
            connected_at: Instant::now(),
            finished_at: None,
            kept_open: None,
            is_warned: false,
            is_probing: false,
            owes_probe: false,
            is_asked: false,
            next_look: FIRST_LOOK,
            last_progress: Instant::now(),
            break_delay: Duration::ZERO,
            breaks: 0,
        }
    }

    pub(super) async fn run(mut self, mut requests: Requests) {
        loop {
            match self.next_event(&mut requests).await {
                Event::Ended(end) => self.ended(end),
                Event::KeptOpenEnded(end) => self.kept_open_ended(end),
                Event::Look => self.look(),
                Event::Upkeep => self.upkeep().await,
                Event::Asked => self.is_asked = !self.window.is_empty(),
                Event::Writable => self.write().await,
                Event::Request(Some(Request::Send { body, sent })) => match self.refusal() {
                    Some(verdict) => {
                        let _ = sent.send(Sent::Decided(verdict));
                    }
                    None => self.window.push(body, sent),
                },
                Event::Request(Some(Request::Probe { result })) => {
                    let ready = self.probe().await.map_err(|failure| failure.cause);
                    // The task that asked may have left; then the answer is of no use.
                    let _ = result.send(ready);
                }
                Event::CloseRequest(Some(CloseRequest { limit, closed })) => {
                    let _ = closed.send(self.close(limit).await);
                    return;
                }
                Event::Request(None) | Event::CloseRequest(None) => return,
            }
            self.finish_if_due().await;
        }
    }

    async fn next_event(&mut self, requests: &mut Requests) -> Event {
        let upkeep_at = self.upkeep_at();
        let is_looking =
            self.window.in_flight() > 0 || self.is_confirmation_due() || self.is_clearing();
        let takes_requests = self.takes_requests();
        tokio::select! {
            biased;
            end = ended(self.connection.as_mut()) => Event::Ended(end),
            end = ended(self.kept_open.as_mut().map(|it| &mut it.connection)) => Event::KeptOpenEnded(end),
            close = requests.closing.recv() => Event::CloseRequest(close),
            () = sleep(self.next_look), if is_looking => Event::Look,
            () = sleep_until(upkeep_at.unwrap_or_else(Instant::now)), if upkeep_at.is_some() => Event::Upkeep,
            () = requests.confirm.notified() => Event::Asked,
            () = std::future::ready(()), if self.next_fits() => Event::Writable,
            request = requests.requests.recv(), if takes_requests => Event::Request(request),
        }
    }

    /// Whether a body is to be written now.
    fn next_fits(&self) -> bool {
        let is_open = self.connection.is_some() && self.finished_at.is_none() && !self.is_probing;
        is_open && self.window.next(self.most()).is_some()
    }

    /// How many bytes may be unconfirmed on the connection.
    fn most(&self) -> usize {
        self.allowance.current(!self.habit.gives_no_proof())
    }

    /// Whether it is waited for that a receiver that confirms nothing has had something for a while.
    fn is_clearing(&self) -> bool {
        let is_waited_for = self.window.has_unwritten() || self.allowance.is_searching();
        self.habit.gives_no_proof() && is_waited_for && self.window.suspects().bodies > 0
    }

    fn takes_requests(&self) -> bool {
        if self.refusal().is_some() {
            return true;
        }
        if self.finished_at.is_some() || self.window.has_unwritten() {
            return false;
        }
        let is_held_up = self.is_probing
            || (self.is_learning() && self.window.is_full())
            || (self.is_confirmation_due()
                && (self.window.is_full() || self.connected_at.elapsed() >= SHORTEST_LIFE));
        self.window.in_flight() < MAX_IN_FLIGHT && !is_held_up
    }

    /// Why nothing can be taken on for now, if senders are to hear that rather than wait.
    fn refusal(&self) -> Option<Verdict> {
        if let Some(since) = self.finished_at {
            let cause = || not_confirming(self.dialer.target());
            let is_late = since.elapsed() >= self.patience;
            return is_late.then(|| Verdict::Retry { after: None, cause: cause() });
        }
        if self.connection.is_some() {
            return None;
        }
        let after = self.reconnect.left(Instant::now())?;
        Some(self.last_failure.as_ref()?.verdict(Some(after)))
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
            let limit =
                since + if self.carries_nothing() { EMPTY_ENDING } else { self.habit.silence() };
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
            _ if self.connection.is_none() => self.connect_if_due().await,
            None if self.is_probing => self.finish().await,
            None if self.habit.gives_no_proof() => self.age_or_renew(now),
            None => {}
            Some(waited) if self.carries_nothing() && waited >= EMPTY_ENDING => self.leave_open(),
            Some(_) if self.carries_nothing() => {}
            Some(waited) if waited >= silence => {
                self.gives_no_proof(Habit::kept_silent, "keeps it open");
                self.leave_open();
            }
            Some(waited) if waited >= self.patience => self.warn_of_silence(waited),
            Some(_) => {}
        }
    }

    fn carries_nothing(&self) -> bool {
        self.window.written().bodies == 0
    }

    /// Connects for what is to be sent, if it is still wanted.
    async fn connect_if_due(&mut self) {
        self.window.drop_unwanted();
        if self.window.is_empty() || self.reconnect.left(Instant::now()).is_some() {
            return;
        }
        match self.connect().await {
            // A receiver that breaks connections because of what it is sent must not be taken for one that breaks all.
            Ok(()) if self.owes_probe => self.begin_probe(),
            // At once: of a receiver that ends its side early it shows whether it reads on.
            Ok(()) => self.write().await,
            Err(failure) => self.report_waiting(&failure),
        }
    }

    /// Connects; and if it is not known how the receiver ends a connection, finishes this one soon to see.
    async fn probe(&mut self) -> Result<(), Failure> {
        if self.finished_at.is_some() {
            return Ok(());
        }
        if self.connection.is_none() {
            self.owes_probe = true;
            self.connect().await?;
            self.begin_probe();
        }
        Ok(())
    }

    fn begin_probe(&mut self) {
        self.owes_probe = false;
        self.is_probing = self.window.is_wanted() && self.habit.is_unknown();
    }

    /// Writes the next body.
    async fn write(&mut self) {
        let most = self.most();
        let (Some(connection), Some(body)) = (&mut self.connection, self.window.next(most)) else {
            return;
        };
        match connection.write(body).await {
            Ok(mark) => {
                self.window.wrote(mark);
                self.last_progress = Instant::now();
                self.next_look = FIRST_LOOK;
                self.look();
            }
            Err(failure) => {
                // The receiver may have read a part of it.
                self.window.wrote(u64::MAX);
                self.lost(failure);
            }
        }
    }

    /// Makes a connection, if it is time to.
    async fn connect(&mut self) -> Result<(), Failure> {
        if let (Some(_), Some(failure)) = (self.reconnect.left(Instant::now()), &self.last_failure)
        {
            return Err(failure.clone());
        }
        let mut connection = match self.dialer.dial().await {
            Ok(connection) => connection,
            Err(failure) => {
                self.not_connected(&failure);
                return Err(failure);
            }
        };
        if self.habit.ends_early() {
            connection.let_end_early();
        }
        self.connection = Some(connection);
        self.connected_at = Instant::now();
        self.window.drop_unwanted();
        let (address, rows_repeated) = (self.dialer.target(), self.window.rows());
        if rows_repeated > 0 || self.last_failure.take().is_some() || self.habit.is_unknown() {
            tracing::info!(sink = self.sink, %address, rows_repeated, "connected");
        } else {
            tracing::debug!(sink = self.sink, %address, "connected again after a confirmation");
        }
        Ok(())
    }

    /// Reports what has been acknowledged since the last look.
    fn look(&mut self) {
        let Some(connection) = &self.connection else { return };
        let acknowledged = match connection.acknowledged() {
            Ok(acknowledged) => acknowledged,
            Err(failure) => return self.lost(failure),
        };
        let progress = self.window.acknowledged(acknowledged, Instant::now()) > 0;
        if progress {
            self.last_progress = Instant::now();
        }
        if progress && !self.window.is_wanted() {
            self.reconnect.succeeded();
            if self.window.is_empty() {
                self.allowance.found();
            }
        }
        if self.habit.gives_no_proof() {
            let now = Instant::now();
            if progress {
                self.age(now);
            }
            self.clear(now);
        }
        self.next_look = if progress { FIRST_LOOK } else { (self.next_look * 2).min(RARE_LOOK) };
    }

    fn disconnect(&mut self) {
        self.connection = None;
        self.finished_at = None;
        self.is_probing = false;
        self.window.disconnected();
    }
}

/// Waits for the end of the connection, if there is one.
async fn ended(connection: Option<&mut Connection>) -> End {
    match connection {
        Some(connection) => connection.ended().await,
        None => std::future::pending().await,
    }
}
