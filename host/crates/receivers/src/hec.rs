//! A Splunk HTTP Event Collector: tokens, reply codes, gzip, limits, indexer acknowledgement, faults.
//!
//! It answers as Splunk documents its collector to answer, and refuses what Splunk refuses: a missing
//! `Splunk ` prefix, a JSON array, nested `fields`, a blank event, a channel that is no GUID. A request
//! with a bad event is refused whole; see [`Faults::keep_events_before_a_bad_one`] for the other
//! behaviour seen in the field.

mod acks;
mod auth;
mod body;
mod endpoint;
mod envelope;
mod faults;
mod fields;
mod intake;
mod reply;
mod request;
mod script;
mod text;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;

pub use self::acks::AckPolicy;
pub use self::endpoint::Received;
pub use self::envelope::{Candidate, Envelope};
pub use self::faults::Faults;
pub use self::intake::{BadEvent, Extract, IdFrom, Mode};

use self::endpoint::Endpoint;
use crate::register::{Tally, TimedOut};
use crate::server::{Server, StartError};

/// The token accepted when the builder was given none.
pub const DEFAULT_TOKEN: &str = "b6a7ac5e-6b1c-4d5a-9b0e-0d7c1a2f3e4d";

/// `limits.conf [http_input] max_content_length` since Splunk 6.5.0: 800 MiB.
pub const MAX_CONTENT_LENGTH: u64 = 838_860_800;

/// `inputs.conf [http] maxEventSize`: one larger event makes Splunk refuse the request.
pub const MAX_EVENT_BYTES: usize = 5 * 1024 * 1024;

/// A running collector. Dropping it closes the port and every connection.
pub struct HecReceiver {
    server: Server<Endpoint>,
    endpoint: Arc<Endpoint>,
    faults: Faults,
}

/// How a collector is to be set up; see [`HecReceiver::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    addr: SocketAddr,
    token: String,
    indexes: Vec<String>,
    acks: bool,
    tls: Option<Arc<ServerConfig>>,
    mode: Mode,
    max_content_length: u64,
    max_event_bytes: usize,
    base: String,
}

impl Builder {
    /// Answers below this path only, as behind a reverse proxy: `/splunk`.
    pub fn below(mut self, path: impl Into<String>) -> Self {
        self.base = path.into();
        self
    }

    /// Listens on `addr` instead of a free port of 127.0.0.1.
    pub fn bind(mut self, addr: SocketAddr) -> Self {
        self.addr = addr;
        self
    }

    /// Accepts this token instead of [`DEFAULT_TOKEN`].
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = token.into();
        self
    }

    /// Adds an index the token may write to. With none added, any index will do.
    pub fn index(mut self, index: impl Into<String>) -> Self {
        self.indexes.push(index.into());
        self
    }

    /// Turns indexer acknowledgement on or off for the token; off by default.
    pub fn acks(mut self, on: bool) -> Self {
        self.acks = on;
        self
    }

    /// Speaks TLS. The collector knows HTTP/1.1 only, so `alpn_protocols` must not offer `h2`.
    pub fn tls(mut self, config: Arc<ServerConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// What to remember of each event; everything by default.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Largest body taken, before and after decompression; [`MAX_CONTENT_LENGTH`] by default.
    pub fn max_content_length(mut self, bytes: u64) -> Self {
        self.max_content_length = bytes;
        self
    }

    /// Largest envelope taken; [`MAX_EVENT_BYTES`] by default.
    pub fn max_event_bytes(mut self, bytes: usize) -> Self {
        self.max_event_bytes = bytes;
        self
    }

    /// Starts listening.
    ///
    /// # Errors
    ///
    /// [`StartError::Unavailable`] if the address cannot be listened on.
    pub async fn start(self) -> Result<HecReceiver, StartError> {
        let faults = Faults::new(self.token, self.max_content_length);
        let rules = intake::Rules {
            mode: self.mode,
            indexes: self.indexes,
            max_event_bytes: self.max_event_bytes,
        };
        let endpoint = Arc::new(Endpoint::new(rules, self.acks, self.base, faults.clone()));
        let server = Server::open(self.addr, self.tls, None, Arc::clone(&endpoint)).await?;
        Ok(HecReceiver { server, endpoint, faults })
    }
}

impl HecReceiver {
    /// A collector on a free port of 127.0.0.1 over plain HTTP, without acknowledgement, that keeps
    /// every event.
    pub fn builder() -> Builder {
        Builder {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            token: DEFAULT_TOKEN.to_owned(),
            indexes: Vec::new(),
            acks: false,
            tls: None,
            mode: Mode::Events,
            max_content_length: MAX_CONTENT_LENGTH,
            max_event_bytes: MAX_EVENT_BYTES,
            base: String::new(),
        }
    }

    /// `http://127.0.0.1:PORT`, or `https://`; no path and no trailing slash.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.server.has_tls() { "https" } else { "http" };
        format!("{scheme}://{}", self.server.addr())
    }

    /// Where it listens; stays the same across [`down`](Self::down) and [`up`](Self::up).
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The token it accepts at the moment.
    #[must_use]
    pub fn token(&self) -> String {
        self.faults.token()
    }

    /// Misbehaviour on request.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Everything accepted so far. Cheap, also after a million events.
    #[must_use]
    pub fn received(&self) -> Received {
        self.endpoint.received()
    }

    /// The totals alone.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.endpoint.tally()
    }

    /// Waits until at least `events` were accepted, repetitions included.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] with the totals so far, if that does not happen within `limit`.
    pub async fn wait_for(&self, events: u64, limit: Duration) -> Result<Tally, TimedOut> {
        self.wait_until(limit, |tally| tally.received >= events).await
    }

    /// Waits until `condition` holds for the totals.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] with the totals so far, if that does not happen within `limit`.
    pub async fn wait_until(
        &self,
        limit: Duration,
        condition: impl FnMut(&Tally) -> bool,
    ) -> Result<Tally, TimedOut> {
        self.endpoint.wait_until(limit, condition).await
    }

    /// Stops listening and closes every connection, also those in the middle of a request. What was
    /// accepted stays recorded.
    pub async fn down(&self) {
        self.server.down().await;
    }

    /// Listens again on the same address.
    ///
    /// # Errors
    ///
    /// [`StartError::Unavailable`] if the address was taken in the meantime.
    pub async fn up(&self) -> Result<(), StartError> {
        self.server.up().await
    }

    /// Closes everything and hands over what was accepted.
    pub async fn stop(self) -> Received {
        self.server.down().await;
        self.endpoint.received()
    }
}
