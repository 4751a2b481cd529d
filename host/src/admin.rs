//! `/metrics`, `/healthz` and `/readyz`: read-only, on loopback unless configured otherwise.
//!
//! Ready means that the process does its work or could: a standby without shards is ready, and so is
//! one that holds because a sink refuses it. Restarting it would not help, and metrics show the rest.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use forwarder_listener::Listener;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::config::process::AdminConfig;

/// Connections served at once; more than a scraper and a few people need.
const MAX_CONNECTIONS: usize = 32;

/// How long a client may take for the head of its request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may last, from the first byte of the request to the last one of the answer.
const LIFETIME: Duration = Duration::from_secs(10);

/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// Where the process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Plugins are being loaded, the consumer group is being joined.
    Starting,
    /// At work, on standby, or holding.
    Ready,
    /// Draining.
    Stopping,
}

/// The current [`Phase`], shared.
#[derive(Debug, Default)]
pub struct Health(AtomicU8);

impl Health {
    /// Enters a phase.
    pub fn enter(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::Relaxed);
    }

    /// The current phase.
    pub fn phase(&self) -> Phase {
        match self.0.load(Ordering::Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Stopping,
        }
    }
}

/// Binds the port of an instance: the configured one for the first, and those above it for the others.
/// Port 0 is any free port.
///
/// # Errors
/// The port is taken or not ours to take.
pub async fn bind(config: &AdminConfig, instance: u32) -> io::Result<TcpListener> {
    let mut address = config.listen;
    if address.port() != 0 {
        let offset = u16::try_from(instance.saturating_sub(1)).unwrap_or(u16::MAX);
        let port = address.port().checked_add(offset);
        address.set_port(port.ok_or_else(|| io::Error::other("there is no port above 65535"))?);
    }
    TcpListener::bind(address).await
}

/// Serves until the listener is closed. Connections that are open then are cut: nothing of value is on them.
pub fn serve(port: TcpListener, metrics: PrometheusHandle, health: Arc<Health>) -> Listener {
    Listener::start(port, MAX_CONNECTIONS, move |stream, peer| {
        let (metrics, health) = (metrics.clone(), Arc::clone(&health));
        async move { connection(stream, peer, &metrics, &health).await }
    })
}

/// One request and its answer.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    metrics: &PrometheusHandle,
    health: &Health,
) {
    let service =
        service_fn(async |request| Ok::<_, Infallible>(answer(&request, metrics, health)));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(LIFETIME, served).await {
        Ok(Ok(())) => {}
        Ok(Err(cause)) => tracing::debug!(%peer, error = %cause, "admin connection ended"),
        Err(_) => tracing::debug!(%peer, limit = ?LIFETIME, "admin connection cut: too slow"),
    }
}

fn answer(
    request: &Request<Incoming>,
    metrics: &PrometheusHandle,
    health: &Health,
) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "this is read-only: use GET\n");
    }
    match (request.uri().path(), health.phase()) {
        ("/metrics", _) => exposition(metrics.render()),
        ("/healthz", _) => text(StatusCode::OK, "ok\n"),
        ("/readyz", Phase::Ready) => text(StatusCode::OK, "ready\n"),
        ("/readyz", Phase::Starting) => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        ("/readyz", Phase::Stopping) => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        _ => text(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n"),
    }
}

fn exposition(metrics: String) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::OK, metrics);
    let format = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, format);
    response
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let plain = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    struct Server {
        address: SocketAddr,
        health: Arc<Health>,
        listener: Listener,
    }

    async fn start() -> Server {
        let config = AdminConfig { listen: "127.0.0.1:0".parse().unwrap(), is_chosen: true };
        let port = bind(&config, 2).await.unwrap();
        let address = port.local_addr().unwrap();
        let health = Arc::new(Health::default());
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let listener = serve(port, metrics, Arc::clone(&health));
        Server { address, health, listener }
    }

    async fn ask(server: &Server, request: &str) -> String {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        reply
    }

    #[tokio::test]
    async fn readiness_follows_the_life_of_the_process() {
        let server = start().await;
        for (phase, status) in [
            (Phase::Starting, "503 Service Unavailable"),
            (Phase::Ready, "200 OK"),
            (Phase::Stopping, "503 Service Unavailable"),
        ] {
            server.health.enter(phase);
            let reply = ask(&server, "GET /readyz").await;
            assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{phase:?}: {reply}");
            assert!(ask(&server, "GET /healthz").await.starts_with("HTTP/1.1 200 OK"));
        }
        server.listener.close().await;
    }

    #[tokio::test]
    async fn nothing_can_be_changed_from_outside() {
        let server = start().await;
        assert!(ask(&server, "POST /metrics").await.starts_with("HTTP/1.1 405"));
        assert!(ask(&server, "GET /metrics").await.starts_with("HTTP/1.1 200"));
        assert!(ask(&server, "GET /config").await.starts_with("HTTP/1.1 404"));
        server.listener.close().await;
    }

    #[tokio::test]
    async fn a_silent_client_does_not_keep_the_process_from_stopping() {
        let server = start().await;
        let _silent = TcpStream::connect(server.address).await.unwrap();
        assert!(ask(&server, "GET /healthz").await.starts_with("HTTP/1.1 200"));
        server.listener.close().await;
    }

    /// Each of these kept its connection for as long as it liked.
    #[tokio::test]
    async fn clients_that_hold_connections_open_keep_no_other_from_being_served() {
        let server = start().await;
        let pipelined = "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1_000);
        let endless = format!("GET /metrics HTTP/1.1\r\nx: {}", "x".repeat(2 * MAX_HEAD));
        let mut held = Vec::new();
        for request in ["", "GET /metr", &pipelined, &endless] {
            for _client in 0..2 * MAX_CONNECTIONS {
                let mut stream = TcpStream::connect(server.address).await.unwrap();
                // It may be cut at any time, which is the point.
                let _ = stream.write_all(request.as_bytes()).await;
                held.push(stream);
            }
            assert!(ask(&server, "GET /healthz").await.starts_with("HTTP/1.1 200 OK"));
        }
        server.listener.close().await;
    }

    #[tokio::test]
    async fn a_connection_ends_with_its_answer_and_a_slow_one_with_its_time() {
        let server = start().await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        assert!(reply.contains("connection: close"), "{reply}");

        // A byte now and then, without end.
        let mut slow = TcpStream::connect(server.address).await.unwrap();
        let head = b"GET /healthz HTTP/1.1\r\nx: ".iter().chain(std::iter::repeat(&b'x'));
        let began = tokio::time::Instant::now();
        for byte in head {
            if slow.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert!(began.elapsed() <= 3 * LIFETIME, "it is never cut");
        }
        server.listener.close().await;
    }
}
