//! A syslog server: RFC 5424 and RFC 3164, over TCP and TLS in both framings, and over UDP.
//!
//! It has a parser of its own, strict on purpose: a message that breaks the format is not recorded but
//! reported, with what is wrong with it. Like every syslog server over TCP it acknowledges nothing, so
//! what it has not read when a connection ends is lost; that is what its faults are for.

mod datagrams;
mod faults;
mod format_error;
mod framing;
mod intake;
mod message;
mod rfc3164;
mod rfc5424;
mod streams;
mod structured;
mod timestamp;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;

pub use self::faults::Faults;
pub use self::format_error::FormatError;
pub use self::framing::{Framing, FramingError};
pub use self::intake::{Extract, Format, IdFrom, Malformed, Mode, Received};
pub use self::message::{Element, Message, Parsed, Timestamp};
pub use self::rfc3164::rfc3164;
pub use self::rfc5424::rfc5424;
pub use self::structured::{ElementRef, ParamRef, StructuredData};

use self::datagrams::Datagrams;
use self::intake::Intake;
use self::streams::Streams;
use crate::register::{Tally, TimedOut};
use crate::server::{Server, StartError};

/// Largest message taken unless the builder says otherwise: rsyslog's usual ceiling.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// A running server. Dropping it closes the port and every connection.
pub struct SyslogReceiver {
    transport: Transport,
    intake: Arc<Intake>,
    faults: Faults,
}

enum Transport {
    Streams(Server<Streams>),
    Datagrams(Datagrams),
}

/// How a server is to be set up; see [`SyslogReceiver::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    addr: SocketAddr,
    udp: bool,
    tls: Option<Arc<ServerConfig>>,
    framing: Framing,
    format: Format,
    mode: Mode,
    max_message_bytes: usize,
    receive_buffer: Option<u32>,
}

impl Builder {
    /// Listens on `addr` instead of a free port of 127.0.0.1.
    pub fn bind(mut self, addr: SocketAddr) -> Self {
        self.addr = addr;
        self
    }

    /// Takes datagrams, one message each, instead of streams.
    pub fn udp(mut self) -> Self {
        self.udp = true;
        self
    }

    /// Speaks TLS.
    pub fn tls(mut self, config: Arc<ServerConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// How streams are cut into messages; detected per connection by default.
    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// What messages must look like; RFC 5424 by default.
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// What to remember of each message; everything by default.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Largest message taken from a stream; a larger one ends the connection, as it does with
    /// syslog-ng. [`MAX_MESSAGE_BYTES`] by default.
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// Bytes the kernel may hold per connection before the server has read them. A small buffer makes
    /// a server that does not read felt soon; loopback otherwise takes megabytes.
    pub fn receive_buffer(mut self, bytes: u32) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Starts listening.
    ///
    /// # Errors
    ///
    /// [`StartError::Unavailable`] if the address cannot be listened on, [`StartError::Misconfigured`]
    /// if both TLS and UDP were asked for.
    pub async fn start(self) -> Result<SyslogReceiver, StartError> {
        if self.udp && self.tls.is_some() {
            let reason = "a syslog receiver speaks either UDP or TLS; start two for both";
            return Err(StartError::Misconfigured(reason));
        }
        let faults = Faults::default();
        let intake = Arc::new(Intake::new(self.mode, self.format, faults.clone()));
        let transport = if self.udp {
            Transport::Datagrams(Datagrams::open(self.addr, Arc::clone(&intake)).await?)
        } else {
            let streams = Streams::new(self.framing, self.max_message_bytes, Arc::clone(&intake));
            let service = Arc::new(streams);
            Transport::Streams(
                Server::open(self.addr, self.tls, self.receive_buffer, service).await?,
            )
        };
        Ok(SyslogReceiver { transport, intake, faults })
    }
}

impl SyslogReceiver {
    /// A server on a free port of 127.0.0.1 over TCP, strict about RFC 5424, that detects the framing
    /// and keeps every message.
    pub fn builder() -> Builder {
        Builder {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            udp: false,
            tls: None,
            framing: Framing::default(),
            format: Format::default(),
            mode: Mode::Messages,
            max_message_bytes: MAX_MESSAGE_BYTES,
            receive_buffer: None,
        }
    }

    /// `tcp://127.0.0.1:PORT`, or with `tls` or `udp` in front.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = match &self.transport {
            Transport::Streams(server) if server.has_tls() => "tls",
            Transport::Streams(_) => "tcp",
            Transport::Datagrams(_) => "udp",
        };
        format!("{scheme}://{}", self.addr())
    }

    /// Where it listens; stays the same across [`down`](Self::down) and [`up`](Self::up).
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        match &self.transport {
            Transport::Streams(server) => server.addr(),
            Transport::Datagrams(datagrams) => datagrams.addr(),
        }
    }

    /// Misbehaviour on request.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Everything accepted so far. Cheap, also after a million messages.
    #[must_use]
    pub fn received(&self) -> Received {
        self.intake.received()
    }

    /// The totals alone.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.intake.register().tally()
    }

    /// Waits until at least `messages` were accepted, repetitions included.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] with the totals so far, if that does not happen within `limit`.
    pub async fn wait_for(&self, messages: u64, limit: Duration) -> Result<Tally, TimedOut> {
        self.wait_until(limit, |tally| tally.received >= messages).await
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
        self.intake.register().wait_until(limit, condition).await
    }

    /// Stops listening and closes every connection, whatever it still held unread. What was accepted
    /// stays recorded.
    pub async fn down(&self) {
        match &self.transport {
            Transport::Streams(server) => server.down().await,
            Transport::Datagrams(datagrams) => datagrams.down().await,
        }
    }

    /// Listens again on the same address.
    ///
    /// # Errors
    ///
    /// [`StartError::Unavailable`] if the address was taken in the meantime.
    pub async fn up(&self) -> Result<(), StartError> {
        match &self.transport {
            Transport::Streams(server) => server.up().await,
            Transport::Datagrams(datagrams) => datagrams.up().await,
        }
    }

    /// Closes everything and hands over what was accepted. Bytes not read yet are lost: wait first.
    pub async fn stop(self) -> Received {
        self.down().await;
        self.received()
    }
}
