//! The sink's side of a connection to one receiver: what may be asked of the task that owns it.

use std::sync::Arc;
use std::time::Duration;

use forwarder_connector::{Body, Cause, Verdict};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;

use super::connection::Dialer;
use super::link::Link;
use super::proof::Sent;
use super::request::{CloseRequest, Closed, MAX_IN_FLIGHT, Request, Requests, not_confirming};
use super::target::Target;
use super::window::WindowLimits;
use crate::limit::BodyLimit;
use crate::tls::{TlsError, TlsSettings};

/// How to reach a receiver.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Where it is.
    pub target: Target,
    /// Which certificates to trust and to show; not used for plain TCP.
    pub tls: TlsSettings,
    /// For a connection to stand, TLS included.
    pub connect_timeout: Duration,
    /// For a write to make any progress; after that the connection is given up.
    pub write_timeout: Duration,
    /// When to ask for confirmation.
    pub window: WindowLimits,
    /// The longest pause before a receiver is tried again that cannot be reached.
    pub longest_pause: Duration,
}

/// A connection to one receiver, made when needed and kept.
#[derive(Debug)]
pub struct Client {
    target: Target,
    patience: Duration,
    requests: mpsc::Sender<Request>,
    closing: mpsc::Sender<CloseRequest>,
    confirm: Arc<Notify>,
    learned: Arc<BodyLimit>,
    waits_for_proof: bool,
    /// Owns the task: dropping the client ends it, and with it the connection.
    _link: JoinSet<()>,
}

impl Client {
    /// Starts the task that owns the connection; connects to nothing yet. `sink` is what the log calls it. Must be called on a tokio runtime.
    /// Blocks on reading certificates.
    ///
    /// # Errors
    ///
    /// [`TlsError`] when the TLS settings cannot work.
    pub fn start(sink: &str, settings: ClientSettings) -> Result<Self, TlsError> {
        let ClientSettings { target, tls, connect_timeout, write_timeout, window, longest_pause } =
            settings;
        let dialer = Dialer::new(target.clone(), tls, connect_timeout, write_timeout)?;
        let (requests, taken) = mpsc::channel(MAX_IN_FLIGHT);
        let (closing, closes) = mpsc::channel(1);
        let confirm = Arc::new(Notify::new());
        let received = Requests { requests: taken, closing: closes, confirm: Arc::clone(&confirm) };
        let mut link = JoinSet::new();
        let (learned, waits_for_proof) = (Arc::new(BodyLimit::new()), window.bytes > 0);
        let task = Link::new(
            sink.to_owned(),
            dialer,
            window,
            longest_pause,
            Arc::clone(&learned),
            write_timeout,
        );
        link.spawn(task.run(received));
        let patience = write_timeout;
        let _link = link;
        Ok(Self { target, patience, requests, closing, confirm, learned, waits_for_proof, _link })
    }

    /// Where this client sends to, for messages.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Writes a body and waits until the receiver's kernel has it. A body without rows is delivered unsent.
    /// Several may be under way at once; they are written in the order of the calls.
    ///
    /// A suspect is written with nothing else unconfirmed on the connection: if that is lost, it is this body that is
    /// to be divided.
    ///
    /// Once begun, a write is finished even if this is dropped; then its verdict is not reported.
    pub async fn send(&self, body: &Body) -> Sent {
        if body.rows() == 0 {
            return Sent::Decided(Verdict::Delivered);
        }
        let (sent, heard) = oneshot::channel();
        let request = Request::Send { body: body.clone(), sent };
        let closed = || retry(self.closed_already());
        match self.requests.send_timeout(request, self.patience).await {
            Ok(()) => heard.await.unwrap_or_else(|_| closed()),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => retry(not_confirming(&self.target)),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => closed(),
        }
    }

    /// Whether a body counts as delivered once it is proven to be read; otherwise as soon as the receiver's kernel has it.
    pub fn waits_for_proof(&self) -> bool {
        self.waits_for_proof
    }

    /// The most that the receiver takes in one body, as far as lost connections have taught; `usize::MAX` if nothing is
    /// known.
    pub fn body_limit(&self) -> usize {
        self.learned.current()
    }

    /// Asks the receiver soon to confirm what it has read so far. Returns at once.
    pub fn confirm(&self) {
        self.confirm.notify_one();
    }

    /// Makes sure that a connection can be made, TLS included; sends nothing but what is unconfirmed.
    ///
    /// # Errors
    ///
    /// Why not, and what to do.
    pub async fn probe(&self) -> Result<(), Cause> {
        let (result, heard) = oneshot::channel();
        let closed = || Err(self.closed_already());
        match self.requests.send(Request::Probe { result }).await {
            Ok(()) => heard.await.unwrap_or_else(|_| closed()),
            Err(_) => closed(),
        }
    }

    /// Ends the connection in order: waits for acknowledgements, finishes our side, waits for the receiver to
    /// close its own. Takes at most `limit`. After that the client sends nothing any more.
    pub async fn close(&self, limit: Duration) -> Closed {
        let (closed, heard) = oneshot::channel();
        if self.closing.send(CloseRequest { limit, closed }).await.is_err() {
            return Closed::Cleanly;
        }
        heard.await.unwrap_or(Closed::Cleanly)
    }

    fn closed_already(&self) -> Cause {
        let target = &self.target;
        Cause::new(
            "closed",
            format!("the connection to {target} was closed by the forwarder; no data lost"),
        )
    }
}

fn retry(cause: Cause) -> Sent {
    Sent::Decided(Verdict::Retry { after: None, cause })
}
