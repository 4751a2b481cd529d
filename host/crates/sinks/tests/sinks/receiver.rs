//! A syslog receiver that does what a test scripts, connection by connection.

use std::net::SocketAddr;

use forwarder_connector::{Body, Verdict};
use forwarder_sinks::syslog::{Security, Sent, Target};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream};

/// Listens on loopback, at a port that the system chooses.
pub(crate) struct Receiver {
    listener: TcpListener,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        Self { listener: TcpListener::bind(address).await.unwrap() }
    }

    /// With so small a receive buffer that most of a large body stays with the sender.
    pub(crate) fn start_narrow() -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self { listener: socket.listen(8).unwrap() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub(crate) fn target(&self, security: Security) -> Target {
        let address = self.address();
        Target::new(security, address.ip().to_string(), Some(address.port()))
    }

    pub(crate) async fn accept(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }
}

/// A body of octet-counted messages.
pub(crate) fn body(messages: &[&str]) -> Body {
    let frames = messages.iter().map(|message| format!("{} {message}", message.len()).into());
    Body::plain(frames.collect(), messages.len())
}

/// What became of a body about which nothing is still to come.
pub(crate) fn decided(sent: Sent) -> Verdict {
    match sent {
        Sent::Decided(verdict) => verdict,
        Sent::Accepted(_) => panic!("accepted"),
    }
}

/// Reads exactly `count` octet-counted messages.
pub(crate) async fn read_messages(
    stream: &mut (impl AsyncRead + Unpin),
    count: usize,
) -> Vec<String> {
    let mut messages = Vec::new();
    while messages.len() < count {
        let mut length = 0;
        loop {
            match stream.read_u8().await.unwrap() {
                b' ' => break,
                digit => length = length * 10 + usize::from(digit - b'0'),
            }
        }
        let mut message = vec![0; length];
        stream.read_exact(&mut message).await.unwrap();
        messages.push(String::from_utf8(message).unwrap());
    }
    messages
}
