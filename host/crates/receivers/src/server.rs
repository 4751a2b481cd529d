//! A listening TCP port that can be closed and opened again, and the connections behind it.
//!
//! Between `down` and `up` the port stays bound by a socket that does not listen: peers are refused,
//! as they would be by a dead server, and no other program can be given the port in the meantime.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use forwarder_listener::Listener;
use rustls::ServerConfig;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Mutex;
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;

use crate::wire::{Connection, ResetSwitch, Wire};

/// Connections the kernel may hold for us before we accept them.
const BACKLOG: u32 = 1024;

/// Connections served at once.
const MAX_CONNECTIONS: usize = 4_096;

/// A receiver could not be started, or could not come back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {source}; port 0 lets the system choose a free one")]
    Unavailable {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Two settings exclude each other.
    #[error("{0}")]
    Misconfigured(&'static str),
}

/// What happens on accepted connections.
pub(crate) trait Serve: Send + Sync + 'static {
    /// Called for every connection, before any TLS handshake.
    fn connected(&self);
    /// The TLS handshake failed; the connection is gone.
    fn handshake_failed(&self);
    /// Speaks the protocol until the connection ends.
    fn serve(
        self: Arc<Self>,
        connection: Connection,
        reset: ResetSwitch,
    ) -> impl Future<Output = ()> + Send;
}

/// Owns the port and, through its listener, every connection. Dropping it ends them all.
pub(crate) struct Server<S> {
    addr: SocketAddr,
    tls: Option<TlsAcceptor>,
    receive_buffer: Option<u32>,
    service: Arc<S>,
    open: Mutex<Option<Listener>>,
    _reservation: TcpSocket,
}

impl<S: Serve> Server<S> {
    /// Starts to listen on `addr`, where port 0 means any free one. `receive_buffer` is the size in
    /// bytes of the kernel's buffer per connection; the system's own choice if `None`.
    pub(crate) async fn open(
        addr: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        receive_buffer: Option<u32>,
        service: Arc<S>,
    ) -> Result<Self, StartError> {
        let unavailable = |source| StartError::Unavailable { addr, source };
        let reservation = bind(addr, None).map_err(unavailable)?;
        let addr = reservation.local_addr().map_err(unavailable)?;
        let server = Self {
            addr,
            tls: tls.map(TlsAcceptor::from),
            receive_buffer,
            service,
            open: Mutex::new(None),
            _reservation: reservation,
        };
        server.up().await?;
        Ok(server)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Listens again after `down`; does nothing if it is listening.
    pub(crate) async fn up(&self) -> Result<(), StartError> {
        let mut open = self.open.lock().await;
        if open.is_some() {
            return Ok(());
        }
        let port = bind(self.addr, self.receive_buffer)
            .and_then(|socket| socket.listen(BACKLOG))
            .map_err(|source| StartError::Unavailable { addr: self.addr, source })?;
        let (tls, service) = (self.tls.clone(), Arc::clone(&self.service));
        *open = Some(Listener::start(port, MAX_CONNECTIONS, move |stream, _| {
            service.connected();
            attend(stream, tls.clone(), Arc::clone(&service))
        }));
        Ok(())
    }

    /// Stops listening and closes every connection; returns when all of them are closed.
    pub(crate) async fn down(&self) {
        if let Some(listener) = self.open.lock().await.take() {
            listener.close().await;
        }
    }
}

fn bind(addr: SocketAddr, receive_buffer: Option<u32>) -> io::Result<TcpSocket> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Lets the listener share the port with its reservation, and with connections in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit it; set later, it would not shrink the window already offered.
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.bind(addr)?;
    Ok(socket)
}

async fn attend<S: Serve>(stream: TcpStream, tls: Option<TlsAcceptor>, service: Arc<S>) {
    // Replies are small and complete; waiting to fill a segment would only delay them.
    let _gone = stream.set_nodelay(true);
    let reset = ResetSwitch::default();
    let wire = Wire::new(stream, reset.clone());
    let connection = match tls {
        None => Either::Left(wire),
        Some(acceptor) => match acceptor.accept(wire).await {
            Ok(stream) => Either::Right(Box::new(stream)),
            Err(_) => return service.handshake_failed(),
        },
    };
    service.serve(connection, reset).await;
}
