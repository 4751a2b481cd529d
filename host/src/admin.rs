//! `/metrics`, `/healthz` and `/readyz`: read-only, on loopback unless told otherwise.
//!
//! Ready means that the process does its work or could: a standby without shards is ready, and so is
//! one that holds because a sink refuses it. Restarting it would not help, and metrics tell the rest.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::process::AdminConfig;

/// Connections served at once; more than a scraper and a few people need.
const MAX_CONNECTIONS: usize = 32;

/// How long a client may take for the head of its request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How often histograms are folded, so that they stay small when nobody asks for them.
const UPKEEP: Duration = Duration::from_secs(5);

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

/// Serves until told to stop. Connections that are open then are cut: nothing of value is on them.
pub async fn serve(
    listener: TcpListener,
    metrics: PrometheusHandle,
    health: Arc<Health>,
    stop: CancellationToken,
) {
    let connections = TaskTracker::new();
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut upkeep = tokio::time::interval(UPKEEP);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            _ = upkeep.tick() => {
                metrics.run_upkeep();
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (Ok((stream, peer)), Ok(permit)) = (accepted, Arc::clone(&permits).try_acquire_owned())
        else {
            // Too many connections or open files: a pause, so as not to spin on the same error.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (metrics, health, stop) = (metrics.clone(), Arc::clone(&health), stop.clone());
        connections.spawn(async move {
            let _permit = permit;
            tokio::select! {
                () = stop.cancelled() => {}
                () = connection(stream, peer, &metrics, &health) => {}
            }
        });
    }
    connections.close();
    connections.wait().await;
}

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
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(cause) = served {
        tracing::debug!(%peer, error = %cause, "admin connection ended");
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
    use tokio::task::JoinHandle;

    use super::*;

    struct Server {
        address: SocketAddr,
        health: Arc<Health>,
        stop: CancellationToken,
        task: JoinHandle<()>,
    }

    #[expect(clippy::disallowed_methods, reason = "the test joins it")]
    async fn start() -> Server {
        let config = AdminConfig { listen: "127.0.0.1:0".parse().unwrap(), is_chosen: true };
        let listener = bind(&config, 2).await.unwrap();
        let address = listener.local_addr().unwrap();
        let health = Arc::new(Health::default());
        let stop = CancellationToken::new();
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let task = tokio::spawn(serve(listener, metrics, Arc::clone(&health), stop.clone()));
        Server { address, health, stop, task }
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
        server.stop.cancel();
        server.task.await.unwrap();
    }

    #[tokio::test]
    async fn nothing_can_be_changed_from_outside() {
        let server = start().await;
        assert!(ask(&server, "POST /metrics").await.starts_with("HTTP/1.1 405"));
        assert!(ask(&server, "GET /metrics").await.starts_with("HTTP/1.1 200"));
        assert!(ask(&server, "GET /config").await.starts_with("HTTP/1.1 404"));
        server.stop.cancel();
        server.task.await.unwrap();
    }

    #[tokio::test]
    async fn a_silent_client_does_not_keep_the_process_from_stopping() {
        let server = start().await;
        let _silent = TcpStream::connect(server.address).await.unwrap();
        assert!(ask(&server, "GET /healthz").await.starts_with("HTTP/1.1 200"));
        server.stop.cancel();
        server.task.await.unwrap();
    }
}
