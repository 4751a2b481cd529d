//! An event collector that answers what a test scripts, request by request.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Listens on loopback, at a port that the system chooses.
pub(crate) struct Collector {
    listener: TcpListener,
}

/// A request as it came.
pub(crate) struct Request {
    /// Request line and headers, names in lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl Collector {
    pub(crate) async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub(crate) async fn accept(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    /// Accepts a connection and answers one request; the connection comes back open.
    pub(crate) async fn answer(&self, reply: &str) -> (Request, TcpStream) {
        let mut stream = self.accept().await;
        let request = exchange(&mut stream, reply).await;
        (request, stream)
    }
}

/// Reads a request and writes a reply, given as status line and headers, an empty line, and the body.
pub(crate) async fn exchange(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    reply: &str,
) -> Request {
    let request = read_request(stream).await;
    let (head, body) = reply.split_once("\n\n").unwrap();
    let head = head.trim().replace('\n', "\r\n");
    let reply = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(reply.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    request
}

pub(crate) async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Request {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let mut request = Request { head: String::from_utf8(head).unwrap(), body: Vec::new() };
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    request.body.resize(length, 0);
    stream.read_exact(&mut request.body).await.unwrap();
    request
}
