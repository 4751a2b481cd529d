//! Connections to one collector, one request on each at a time.
//!
//! A load balancer spreads connections, not requests: what is repeated over the connection that has failed meets
//! the same node again. So a connection is used again only after an answer of a collector that works; after any
//! other it is closed, and the next request goes over another one. The HTTP library keeps its pool to itself, therefore each
//! connection is a client of its own with a pool of one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;

/// Splunk closes an idle connection after 12 s when it is busy (`busyKeepAliveIdleTimeout`). We close
/// first: a reset of a reused connection leaves it open whether the events arrived.
const POOL_IDLE: Duration = Duration::from_secs(10);

/// Clients that are kept between requests; as many as a sink may have requests in flight.
const KEPT: usize = 256;

/// What every connection is made with.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) tls: ClientConfig,
    /// Whether the environment's proxy is passed by.
    pub(super) no_proxy: bool,
    /// For a connection to stand, TLS included.
    pub(super) connect_timeout: Duration,
    /// For a whole request and its reply.
    pub(super) timeout: Duration,
}

#[derive(Debug)]
pub(super) struct Connections {
    dial: Dial,
    /// Those whose last answer came from a collector that works, the latest at the end.
    idle: Mutex<Vec<reqwest::Client>>,
}

impl Connections {
    /// Connects to nothing yet.
    pub(super) fn new(dial: Dial) -> reqwest::Result<Self> {
        let first = client(&dial)?;
        Ok(Self { dial, idle: Mutex::new(vec![first]) })
    }

    /// The one that was used last, or a new one.
    pub(super) fn take(&self) -> reqwest::Result<reqwest::Client> {
        let kept = self.idle().pop();
        kept.map_or_else(|| client(&self.dial), Ok)
    }

    /// Keeps one for the next request. One that is not given back is closed.
    pub(super) fn keep(&self, connection: reqwest::Client) {
        let mut idle = self.idle();
        if idle.len() < KEPT {
            idle.push(connection);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<reqwest::Client>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn client(dial: &Dial) -> reqwest::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder();
    if dial.no_proxy {
        builder = builder.no_proxy();
    }
    builder
        .tls_backend_preconfigured(dial.tls.clone())
        // Splunk speaks HTTP/1.1 only, and one request per connection is what it balances by.
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(1)
        .tcp_nodelay(true)
        .connect_timeout(dial.connect_timeout)
        .timeout(dial.timeout)
        .user_agent(concat!("forwarder/", env!("CARGO_PKG_VERSION")))
        .build()
}
