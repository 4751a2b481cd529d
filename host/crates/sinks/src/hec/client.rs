//! Posts bodies to one event collector and reads its replies.
//!
//! One `Client` per sink: it keeps connections alive and is shared by all senders. It does not retry;
//! that is the pipeline's business. It follows no redirect, since that would carry the token elsewhere.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, Url};
use tokio::time::Instant;

use super::body::Segments;
use super::endpoint::{Endpoint, Token};
use super::reply::Reply;
use crate::body::Body;
use crate::outcome::{Cause, Outcome, chain};
use crate::tls::{self, TlsError, TlsSettings};

/// Splunk closes an idle connection after 12 s when it is busy (`busyKeepAliveIdleTimeout`). We close
/// first: a reset of a reused connection leaves it open whether the events arrived.
const POOL_IDLE: Duration = Duration::from_secs(10);

/// How much of a reply is read. HEC replies are a line; a web page need not be read to its end.
const REPLY_BYTES: usize = 64 * 1024;

/// The least that we believe a collector means when it calls bodies too large. A larger row is what is too
/// large then, not the company it is in.
const LEAST_BODY: usize = 4 * 1024;

/// How long the next request waits after Splunk has said that its queue is nearly full.
const EASE_OFF: Duration = Duration::from_millis(500);

/// How to reach a collector.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Where it is.
    pub endpoint: Endpoint,
    /// The token that Splunk issued for us.
    pub token: Token,
    /// Whom to trust; not used for `http`.
    pub tls: TlsSettings,
    /// For a connection to stand, TLS included.
    pub connect_timeout: Duration,
    /// For a whole request and its reply.
    pub timeout: Duration,
}

/// No reply: the receiver could not be reached, or went away before it had answered in full. The events
/// may have arrived all the same; sending them again may repeat them.
#[derive(Debug, thiserror::Error)]
#[error("cannot reach {endpoint}: {detail}")]
pub struct Unreachable {
    endpoint: String,
    detail: String,
    kind: Failure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    Trust,
    Timeout,
    Connect,
    Broken,
}

impl Unreachable {
    fn new(endpoint: &Url, error: reqwest::Error) -> Self {
        let kind = if tls::is_trust_failure(&error) {
            Failure::Trust
        } else if error.is_timeout() {
            Failure::Timeout
        } else if error.is_connect() {
            Failure::Connect
        } else {
            Failure::Broken
        };
        let detail = chain(&error.without_url());
        Self { endpoint: endpoint.to_string(), detail, kind }
    }

    /// Retry, unless the two sides do not accept each other's certificates: a person must mend that.
    pub fn outcome(&self) -> Outcome {
        let (reason, help) = match self.kind {
            Failure::Trust => (
                "tls_refused",
                "set `ca_file` to the authority that signed Splunk's certificate and check that `url` \
                 uses a name in it; nothing was lost, the records are held",
            ),
            Failure::Timeout => ("timeout", "nothing was lost, will send it again"),
            Failure::Connect => {
                ("connect", "is Splunk up and the port open? nothing was lost, will send it again")
            }
            Failure::Broken => ("broken_connection", "nothing was lost, will send it again"),
        };
        let cause = Cause::new(reason, format!("{self}; {help}"));
        match self.kind {
            Failure::Trust => Outcome::Hold { cause },
            _ => Outcome::Retry { after: None, cause },
        }
    }
}

/// A connection pool to one collector.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    endpoint: Endpoint,
    token: Token,
    /// No request before this instant: Splunk's queue was nearly full.
    not_before: Mutex<Option<Instant>>,
    /// Half of the smallest body of several rows that was called too large.
    body_limit: AtomicUsize,
}

/// Settings from which no client can be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadClient {
    /// Trust roots or client certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The HTTP library refuses the combination.
    #[error("the HTTP client cannot be set up")]
    Http(#[from] reqwest::Error),
}

impl Client {
    /// Sets up a client; connects to nothing yet. Blocks on reading the trust roots.
    ///
    /// # Errors
    ///
    /// [`BadClient`] when the TLS settings cannot work.
    pub fn new(settings: ClientSettings) -> Result<Self, BadClient> {
        let ClientSettings { endpoint, token, tls, connect_timeout, timeout } = settings;
        let tls = if endpoint.is_tls() { tls.client_config()? } else { tls::unused()? };
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            // Splunk speaks HTTP/1.1 only, and one request per connection is what it balances by.
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .pool_idle_timeout(POOL_IDLE)
            .tcp_nodelay(true)
            .connect_timeout(connect_timeout)
            .timeout(timeout)
            .user_agent(concat!("forwarder/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let (not_before, body_limit) = (Mutex::new(None), AtomicUsize::new(usize::MAX));
        Ok(Self { http, endpoint, token, not_before, body_limit })
    }

    /// Where this client posts to, for messages.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Posts a body and says what became of its rows. A body without rows is delivered unsent.
    ///
    /// May be dropped at any time; the events may have arrived then.
    pub async fn send(&self, body: &Body) -> Outcome {
        if body.rows() == 0 {
            return Outcome::Delivered;
        }
        match self.post(body).await {
            Ok(reply) => {
                if reply.is_too_large() && body.rows() > 1 {
                    self.learn(body.raw_bytes());
                }
                reply.outcome(self.endpoint.as_str(), body.rows())
            }
            Err(unreachable) => unreachable.outcome(),
        }
    }

    /// The largest body that is worth sending, in bytes before compression, as refusals have taught:
    /// `usize::MAX` before the first. It never grows, since nobody tells when a limit was raised.
    pub fn body_limit(&self) -> usize {
        self.body_limit.load(Ordering::Relaxed)
    }

    fn learn(&self, refused: usize) {
        let limit = (refused / 2).max(LEAST_BODY);
        if self.body_limit.fetch_min(limit, Ordering::Relaxed) > limit {
            let collector = self.endpoint.as_str();
            tracing::info!(
                collector,
                refused_bytes = refused,
                max_body = limit,
                "collector takes no bodies of that size, sending smaller ones; `max_body` spares the attempts"
            );
        }
    }

    /// Posts a body and returns the reply as it came.
    ///
    /// # Errors
    ///
    /// [`Unreachable`] when there was none.
    pub async fn post(&self, body: &Body) -> Result<Reply, Unreachable> {
        self.ease_off().await;
        let url = &self.endpoint.event;
        let mut request = self
            .http
            .post(url.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if body.is_gzip() {
            request = request.header(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let reply = self.ask(request.body(reqwest::Body::wrap(Segments::of(body))), url).await?;
        if reply.nearly_full() {
            self.set_not_before(Some(Instant::now() + EASE_OFF));
        }
        Ok(reply)
    }

    /// Asks for the collector's health, with our token, so that a bad one shows up too. Not a gate for
    /// sending: collectors behind balancers often do not answer this, and take events all the same.
    ///
    /// # Errors
    ///
    /// Why not, and what to do.
    pub async fn probe(&self) -> Result<(), Cause> {
        let url = &self.endpoint.health;
        let outcome = match self.ask(self.http.get(url.clone()), url).await {
            Ok(reply) => reply.outcome(url.as_str(), 0),
            Err(unreachable) => unreachable.outcome(),
        };
        outcome.cause().map_or(Ok(()), |cause| Err(cause.clone()))
    }

    async fn ask(&self, request: RequestBuilder, url: &Url) -> Result<Reply, Unreachable> {
        let failed = |error| Unreachable::new(url, error);
        let request = request.header(AUTHORIZATION, self.token.header.clone());
        let response = request.send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let header = response.headers().get(RETRY_AFTER);
        let retry_after = header.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = read_some(response).await.map_err(failed)?;
        // Some proxies echo the request's headers in their error pages.
        let body = String::from_utf8_lossy(&body).replace(&self.token.bare, "***");
        Ok(Reply::parse(status, retry_after.as_deref(), body.as_bytes(), jiff::Timestamp::now()))
    }

    async fn ease_off(&self) {
        let until = match self.not_before.lock() {
            Ok(held) => *held,
            Err(poisoned) => *poisoned.into_inner(),
        };
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
    }

    fn set_not_before(&self, until: Option<Instant>) {
        match self.not_before.lock() {
            Ok(mut held) => *held = until,
            Err(poisoned) => *poisoned.into_inner() = until,
        }
    }
}

/// The reply's first bytes, and its end if that is near, so that the connection can be used again.
async fn read_some(mut response: Response) -> reqwest::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() >= REPLY_BYTES {
            break;
        }
    }
    Ok(body)
}
