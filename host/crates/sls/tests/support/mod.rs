//! A small real SLS for the tests of this crate: HTTP on a loopback port, shards of opaque bytes, one
//! consumer group whose grants the test decides, faults by name, and a record of every request.
//!
//! It verifies signatures and addressing the way the service documents them. The full server side, with
//! assignment and expiry, is the emulator's; this one exists to answer wrongly on purpose.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::allow_attributes,
    clippy::indexing_slicing,
    clippy::result_large_err,
    reason = "each test file uses a part, and errors are answers here"
)]

pub mod counters;
pub mod reading;
pub mod world;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use bytes::Bytes;
use forwarder_sls::sign::Signature;
use forwarder_sls::{AccessKey, Client, ClientConfig, Credentials, Endpoint, Scheme};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub use counters::Counters;
pub use world::{Fault, Seen, World};

pub const KEY_ID: &str = "LTAI-test";
pub const SECRET: &str = "test-secret";
pub const REGION: &str = "cn-test";

/// A running server; stops when dropped.
pub struct Sls {
    pub address: SocketAddr,
    world: Arc<Mutex<World>>,
    _tasks: JoinSet<()>,
}

impl Sls {
    /// Starts with these shards, all empty.
    pub async fn start(shards: &[u32]) -> Self {
        Self::start_with(shards, None).await
    }

    /// The same behind TLS.
    pub async fn start_tls(shards: &[u32], tls: rustls::ServerConfig) -> Self {
        Self::start_with(shards, Some(TlsAcceptor::from(Arc::new(tls)))).await
    }

    async fn start_with(shards: &[u32], tls: Option<TlsAcceptor>) -> Self {
        install_tls();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let world = Arc::new(Mutex::new(World::new(shards)));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, tls, Arc::clone(&world)));
        Self { address, world, _tasks: tasks }
    }

    /// Looks at or changes the server's state.
    pub fn with<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.world.lock().unwrap())
    }

    /// Adds a fault for the next call of this name.
    pub fn fault(&self, api: &'static str, fault: Fault) {
        self.faults(api, 1, fault);
    }

    /// Adds a fault for the next few calls of this name.
    pub fn faults(&self, api: &'static str, times: usize, fault: Fault) {
        self.with(|world| world.faults.extend(vec![(api, fault); times]));
    }

    /// The requests of one call so far.
    pub fn seen(&self, api: &str) -> Vec<Seen> {
        self.with(|world| world.seen.iter().filter(|seen| seen.api == api).cloned().collect())
    }

    /// Waits until the state is as wanted.
    pub async fn until(&self, what: &str, wanted: impl Fn(&mut World) -> bool) {
        let poll = async {
            while !self.with(|world| wanted(world)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), poll).await.is_err() {
            panic!("waited in vain until {what}");
        }
    }

    pub fn config(&self) -> ClientConfig {
        let endpoint =
            Endpoint::new(Scheme::Http, &self.address.ip().to_string(), Some(self.address.port()));
        let key = Credentials::fixed(AccessKey::new(KEY_ID, SECRET));
        let mut config = ClientConfig::new(endpoint, "proj".parse().unwrap(), key);
        config.signature = Signature::V4 { region: REGION.into() };
        config.backoff_factor = 0.01;
        config.timeout = Duration::from_secs(10);
        config
    }

    pub fn client(&self) -> Client {
        Client::new(self.config()).unwrap()
    }
}

/// TLS needs a provider even where no test speaks it.
pub fn install_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| rustls::crypto::ring::default_provider().install_default().unwrap());
}

async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, world: Arc<Mutex<World>>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer) = listener.accept().await.unwrap();
        let world = Arc::clone(&world);
        match tls.clone() {
            None => connections.spawn(speak(stream, peer, world)),
            Some(tls) => connections.spawn(async move {
                if let Ok(stream) = tls.accept(stream).await {
                    speak(stream, peer, world).await;
                }
            }),
        };
    }
}

async fn speak<S>(stream: S, peer: SocketAddr, world: Arc<Mutex<World>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| answer(Arc::clone(&world), peer, request));
    let connection = hyper::server::conn::http1::Builder::new();
    // A client that goes away in the middle is part of the tests.
    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    world: Arc<Mutex<World>>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<world::Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let answer = world.lock().unwrap().answer(peer, &parts, &body);
    match answer {
        world::Answer::Now(response) => Ok(response),
        world::Answer::Never => std::future::pending().await,
        world::Answer::Later(delay, response) => {
            tokio::time::sleep(delay).await;
            Ok(response)
        }
    }
}

pub fn full(bytes: impl Into<Bytes>) -> world::Body {
    world::Body::Whole(Full::new(bytes.into()))
}
