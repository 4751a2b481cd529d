//! One connection to a receiver: made with every option that helps to notice its end, written under a
//! progress limit, and always being read, because a receiver that leaves says so nowhere else.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use forwarder_connector::{Body, Cause, Verdict};
use rustls::ProtocolVersion;
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::acked::{AckGauge, CountedStream};
use super::target::{Security, Target};
use crate::message::chain;
use crate::reload::{ContentDigest, ReloadSource, Reloaded};
use crate::tls::{Refusal, TlsError, TlsFiles, TlsSettings};

/// A silent peer is asked for a sign of life after 30 s, then every 10 s, and given up after three.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;

/// Keepalive is silent while data is unacknowledged; this bounds that time.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a fresh TLS 1.3 connection may take to show that the receiver liked our certificate.
const TLS_SETTLE: Duration = Duration::from_millis(250);

/// How long a receiver that has ended its side may take to show whether it still takes what was sent: a program that is
/// gone answers with a reset.
const END_SETTLE: Duration = Duration::from_secs(1);

/// How often to look whether it has.
const END_LOOK: Duration = Duration::from_millis(5);

/// How often a connection is looked at whose receiver has ended its side and is known to do so.
const HALF_OPEN_LOOK: Duration = Duration::from_secs(1);

/// Why there is no connection, or no more.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) cause: Cause,
    /// This needs operator action; trying again will not help.
    permanent: bool,
}

impl Failure {
    fn new(target: &Target, tls: &TlsSettings, doing: &str, error: &io::Error) -> Self {
        if let Some(Refusal { fact, help }) = Refusal::of(error, tls) {
            let cause = Cause::new("tls_refused", format!("{doing} {target}: {fact}; {help}"))
                .with_fate("nothing was lost, the records are held");
            return Self { cause, permanent: true };
        }
        let (reason, help, fate) = if error.kind() == io::ErrorKind::TimedOut {
            (
                "timeout",
                "check that the receiver is up and reading, and firewalls between",
                "nothing was lost, will try again",
            )
        } else if doing == CONNECTING {
            ("connect", "is the receiver up and the port open?", "nothing was lost, will try again")
        } else {
            (
                "broken_connection",
                "if this repeats, see the receiver's log",
                "will connect again; what is unconfirmed is not lost, it is sent again",
            )
        };
        let text = format!("{doing} {target}: {}; {help}", chain(error));
        Self { cause: Cause::new(reason, text).with_fate(fate), permanent: false }
    }

    pub(super) const fn is_permanent(&self) -> bool {
        self.permanent
    }

    /// Why a body of so many rows is to be divided: connections are lost while it is alone on them.
    pub(super) fn suspecting(&self, rows: usize) -> Cause {
        let what = if rows == 1 { "this row" } else { "the same rows" };
        let text = format!(
            "{}; again and again with nothing but {what} on the connection: look for a limit of its length or content in \
             the receiver, or in what is before it",
            self.cause.fact()
        );
        Cause::new(self.cause.reason(), text)
    }

    /// What it means for a body that was not delivered because of it.
    pub(super) fn verdict(&self, after: Option<Duration>) -> Verdict {
        let cause = self.cause.clone();
        if self.permanent { Verdict::Hold { cause } } else { Verdict::Retry { after, cause } }
    }
}

const CONNECTING: &str = "connecting to";
const WRITING: &str = "writing to";
const LOST: &str = "lost the connection to";

/// Makes connections to one receiver.
pub(super) struct Dialer {
    target: Target,
    settings: Arc<TlsSettings>,
    tls: Option<Reloaded<ConnectorFiles>>,
    connect_timeout: Duration,
    write_timeout: Duration,
}

impl Dialer {
    pub(super) fn new(
        target: Target,
        settings: TlsSettings,
        connect_timeout: Duration,
        write_timeout: Duration,
    ) -> Result<Self, TlsError> {
        let settings = Arc::new(settings);
        let tls = match target.security {
            Security::Plain => None,
            Security::Tls => Some(Reloaded::new(ConnectorFiles::new(&target, &settings)?)?),
        };
        Ok(Self { target, settings, tls, connect_timeout, write_timeout })
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Connects, once, TLS included.
    pub(super) async fn dial(&self) -> Result<Connection, Failure> {
        let dialed = timeout(self.connect_timeout, self.open()).await;
        let (stream, gauge) = dialed
            .unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| Failure::new(&self.target, &self.settings, CONNECTING, &error))?;
        let (reader, writer) = tokio::io::split(stream);
        Ok(Connection {
            target: self.target.clone(),
            settings: Arc::clone(&self.settings),
            reader,
            writer,
            gauge,
            write_timeout: self.write_timeout,
            finished: false,
            ended_at: None,
            may_end_early: false,
        })
    }

    async fn open(&self) -> io::Result<(Box<dyn Duplex>, AckGauge)> {
        let Target { host, port, .. } = &self.target;
        let tcp = TcpStream::connect((host.as_str(), *port)).await?;
        set_options(&tcp)?;
        let (counted, gauge) = CountedStream::new(tcp)?;
        let Some(tls) = &self.tls else { return Ok((Box::new(counted), gauge)) };
        let (connector, name) = &*tls.latest().await;
        let mut stream = connector.connect(name.clone(), counted).await?;
        settle(&mut stream).await?;
        Ok((Box::new(stream), gauge))
    }
}

/// How a connector is made of certificates and keys in files.
struct ConnectorFiles {
    settings: Arc<TlsSettings>,
    server_name: ServerName<'static>,
    receiver: String,
}

impl ConnectorFiles {
    fn new(target: &Target, settings: &Arc<TlsSettings>) -> Result<Self, TlsError> {
        let server_name = match &settings.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(target.host.clone())
                .map_err(|_invalid| TlsError::ServerName { given: target.host.clone() })?,
        };
        Ok(Self { settings: Arc::clone(settings), server_name, receiver: target.to_string() })
    }
}

impl ReloadSource for ConnectorFiles {
    type Value = (TlsConnector, ServerName<'static>);
    type Parts = TlsFiles;
    type Error = TlsError;

    fn is_fixed(&self) -> bool {
        self.settings.is_fixed()
    }

    fn read(&self) -> Result<(TlsFiles, ContentDigest), TlsError> {
        let files = self.settings.read()?;
        let digest = files.digest();
        Ok((files, digest))
    }

    fn make(&self, files: TlsFiles) -> Result<Self::Value, TlsError> {
        let config = Arc::new(self.settings.client_config(files)?);
        Ok((TlsConnector::from(config), self.server_name.clone()))
    }

    fn name(&self) -> &str {
        &self.receiver
    }
}

fn set_options(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(())
}

/// In TLS 1.3 a client has finished its handshake before the server has looked at its certificate. Waits
/// until the server has sent a session ticket, which it does only once it is content, or has refused, or
/// has stayed silent for [`TLS_SETTLE`].
async fn settle(stream: &mut TlsStream<CountedStream>) -> io::Result<()> {
    if stream.get_ref().1.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return Ok(());
    }
    let mut byte = [0u8; 1];
    let verdict = std::future::poll_fn(|cx| {
        let mut buf = tokio::io::ReadBuf::new(&mut byte);
        let read = std::pin::Pin::new(&mut *stream).poll_read(cx, &mut buf);
        match read {
            std::task::Poll::Ready(Ok(())) if buf.filled().is_empty() => {
                std::task::Poll::Ready(Err(gone_silently()))
            }
            std::task::Poll::Pending if stream.get_ref().1.tls13_tickets_received() == 0 => {
                std::task::Poll::Pending
            }
            std::task::Poll::Pending => std::task::Poll::Ready(Ok(())),
            ready => ready,
        }
    });
    timeout(TLS_SETTLE, verdict).await.unwrap_or(Ok(()))
}

/// The peer has closed its side.
fn gone_silently() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the receiver closed the connection")
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection that stands, as far as we know.
pub(super) struct Connection {
    target: Target,
    settings: Arc<TlsSettings>,
    reader: ReadHalf<Box<dyn Duplex>>,
    writer: WriteHalf<Box<dyn Duplex>>,
    gauge: AckGauge,
    write_timeout: Duration,
    finished: bool,
    /// When the receiver ended its side, if it has.
    ended_at: Option<Instant>,
    /// Such an end says nothing: the receiver is known to end its side while it reads on.
    may_end_early: bool,
}

/// How a connection ended.
pub(super) enum End {
    /// The receiver closed its side after its kernel had our end. A kernel answers with a reset instead where a
    /// program closes, or dies, before it has read everything.
    Orderly,
    /// The receiver ended its side before it had our end. It may have closed, or reads on and does not say so.
    Early {
        /// It took everything that was sent, before its end or after.
        took_all: bool,
        failure: Failure,
    },
    /// In any other way.
    Broken(Failure),
}

impl Connection {
    /// Writes a body; returns the mark that [`Connection::acknowledged`] must reach before it has arrived.
    /// If this is given up halfway, the connection is of no more use.
    pub(super) async fn write(&mut self, body: &Body) -> Result<u64, Failure> {
        self.write_segments(body).await.map_err(|error| self.failure(WRITING, &error))?;
        Ok(self.gauge.accepted())
    }

    async fn write_segments(&mut self, body: &Body) -> io::Result<()> {
        for segment in body.segments() {
            let mut rest: &[u8] = segment;
            while !rest.is_empty() {
                let written = tokio::select! {
                    biased;
                    error = broken(&mut self.reader, &mut self.ended_at) => return Err(error),
                    written = timeout(self.write_timeout, self.writer.write(rest)) => stalled(written)?,
                };
                let more = || io::Error::other("more was written than was given");
                rest = rest.get(written..).ok_or_else(more)?;
            }
        }
        stalled(timeout(self.write_timeout, self.writer.flush()).await)
    }

    /// Waits for the connection to end. May be given up and asked again.
    pub(super) async fn ended(&mut self) -> End {
        if self.ended_at.is_none()
            && let Some(error) = ended_or_broken(&mut self.reader, &mut self.ended_at).await
        {
            return End::Broken(self.failure(LOST, &error));
        }
        // An end that answers ours acknowledges it. In TLS the receiver may have read our goodbye before the end of
        // TCP came.
        if self.finished && (self.target.security == Security::Tls || self.gauge.is_idle()) {
            return End::Orderly;
        }
        self.ended_early().await
    }

    async fn ended_early(&mut self) -> End {
        loop {
            if let Some(error) = self.gauge.error() {
                return End::Broken(self.failure(LOST, &error));
            }
            let took_all = self.gauge.is_idle();
            let since = self.ended_at.map_or(Duration::ZERO, |at| at.elapsed());
            if !self.may_end_early && (took_all || since >= END_SETTLE) {
                let took_all = took_all && self.gauge.accepted() > 0;
                return End::Early { took_all, failure: self.failure(LOST, &gone_silently()) };
            }
            sleep(if self.may_end_early { HALF_OPEN_LOOK } else { END_LOOK }).await;
        }
    }

    /// From now on the receiver may end its side and read on.
    pub(super) const fn let_end_early(&mut self) {
        self.may_end_early = true;
    }

    fn failure(&self, doing: &str, error: &io::Error) -> Failure {
        Failure::new(&self.target, &self.settings, doing, error)
    }

    /// How far the receiver's kernel has acknowledged what was written.
    pub(super) fn acknowledged(&self) -> Result<u64, Failure> {
        let acknowledged = self.gauge.acknowledged();
        // Asked second: a connection that was reset before the count was taken must not count.
        match self.gauge.error() {
            None => Ok(acknowledged),
            Some(error) => Err(self.failure(WRITING, &error)),
        }
    }

    /// Whether the receiver's kernel has acknowledged everything.
    pub(super) fn is_acknowledged(&self) -> Result<bool, Failure> {
        Ok(self.acknowledged()? >= self.gauge.accepted())
    }

    /// Ends our side (TLS first, then TCP), unless something is still unacknowledged or the receiver has ended its own:
    /// its end would prove nothing. Nothing may be written after that; [`Connection::ended`] says what the receiver
    /// makes of it. False if it was not the time.
    pub(super) async fn finish(&mut self) -> Result<bool, Failure> {
        if !self.is_acknowledged()? || self.ended_at.is_some() || self.gauge.has_unread() {
            return Ok(false);
        }
        self.finished = true;
        let finished = timeout(self.write_timeout, self.writer.shutdown()).await;
        stalled(finished).map_err(|error| self.failure("finishing the connection to", &error))?;
        Ok(true)
    }
}

/// Reads and discards until the end or an error, which is returned. Receivers have nothing to say.
async fn ended_or_broken(
    reader: &mut ReadHalf<Box<dyn Duplex>>,
    ended_at: &mut Option<Instant>,
) -> Option<io::Error> {
    let mut scratch = [0u8; 256];
    loop {
        match reader.read(&mut scratch).await {
            Ok(0) => break,
            Ok(_) => {}
            // TLS that ends without a goodbye.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Some(error),
        }
    }
    *ended_at = Some(Instant::now());
    None
}

/// Waits until the connection is broken. An end of the receiver's side is noted only: a program that is gone answers
/// what is written with a reset.
async fn broken(
    reader: &mut ReadHalf<Box<dyn Duplex>>,
    ended_at: &mut Option<Instant>,
) -> io::Error {
    if ended_at.is_none()
        && let Some(error) = ended_or_broken(reader, ended_at).await
    {
        return error;
    }
    std::future::pending().await
}

/// A write that makes no progress in time has failed.
fn stalled<T>(written: Result<io::Result<T>, tokio::time::error::Elapsed>) -> io::Result<T> {
    written.unwrap_or_else(|_elapsed| {
        Err(io::Error::new(io::ErrorKind::TimedOut, "the receiver has stopped reading"))
    })
}
