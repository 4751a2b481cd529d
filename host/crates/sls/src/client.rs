//! One project of the service, and how a call gets there and back.
//!
//! A [`Client`] signs, sends, limits and classifies; the calls themselves are in [`crate::api`], one file
//! each. There is exactly one retry layer, here, and it repeats only what may happen twice. The consumer
//! group, which has its own idea of patience, uses a client that tries once.

mod service_clock;
mod transport;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{DATE, HOST};
use http::{HeaderMap, HeaderValue};
use reqwest::Url;
use tokio::time::timeout;

use crate::access_key::AccessKey;
use crate::backoff::Backoff;
use crate::call::{Call, Reply};
use crate::credentials::Credentials;
use crate::endpoint::Endpoint;
use crate::error::{CallTo, Chain, ConfigError, Error, ErrorCode, Refusal};
use crate::names::ProjectName;
use crate::sign::{Parts, Signature, percent_encode};
use service_clock::ServiceClock;
use transport::{Connections, Transport};

/// Most bytes of a refusal's body that are looked at.
const MAX_REFUSAL: usize = 64 << 10;
/// Most characters of a foreign refusal (a proxy's HTML page) that are shown.
const EXCERPT: usize = 200;

/// Where the time comes from when requests are signed.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// What a [`Client`] needs to know. Start from [`ClientConfig::new`].
#[derive(Clone)]
pub struct ClientConfig {
    /// Where the service is.
    pub endpoint: Endpoint,
    /// Whose logstores.
    pub project: ProjectName,
    /// What to sign with.
    pub credentials: Credentials,
    /// How to sign. Version 1 unless changed; choose version 4 where the region is known.
    pub signature: Signature,
    /// A PEM file with certificates to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Longest wait for a connection, TLS included.
    pub connect_timeout: Duration,
    /// Longest wait for the answer to one attempt.
    pub timeout: Duration,
    /// How often a call that may be repeated is tried in all.
    pub attempts: u32,
    /// Multiplies every wait between attempts; 1 in production, less in tests.
    pub backoff_factor: f64,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// The time for signatures.
    pub clock: Clock,
}

impl ClientConfig {
    /// The defaults: version 1 signatures, system trust, 10 s to connect, 60 s to answer, four
    /// attempts.
    pub fn new(endpoint: Endpoint, project: ProjectName, credentials: Credentials) -> Self {
        Self {
            endpoint,
            project,
            credentials,
            signature: Signature::V1,
            ca_file: None,
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(60),
            attempts: 4,
            backoff_factor: 1.0,
            user_agent: concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")).into(),
            clock: Arc::new(SystemTime::now),
        }
    }
}

/// Speaks to one project. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client {
    shared: Arc<ClientParts>,
    connections: Arc<Connections>,
    attempts: u32,
    timeout: Duration,
}

struct ClientParts {
    endpoint: Endpoint,
    project: ProjectName,
    /// Where everything is sent; what errors name.
    base_url: Arc<str>,
    host: HeaderValue,
    credentials: Credentials,
    signature: Signature,
    clock: Clock,
    service_clock: ServiceClock,
    backoff_factor: f64,
    transport: Transport,
}

impl Client {
    /// Builds the client; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// No TLS provider is installed in this process, the CA file is unusable, or the endpoint already
    /// contains the project.
    pub fn new(config: ClientConfig) -> Result<Self, ConfigError> {
        let ClientConfig { endpoint, project, credentials, signature, clock, .. } = config.clone();
        let label = format!("{project}.");
        if let Some(without) = endpoint.host().strip_prefix(&label.to_ascii_lowercase()) {
            let without = endpoint.to_string().replacen(endpoint.host(), without, 1);
            return Err(ConfigError::ProjectInEndpoint { endpoint: endpoint.to_string(), without });
        }
        let transport = Transport::new(&config)?;
        let host = endpoint.host_header(&project);
        let host = HeaderValue::from_str(&host).map_err(|_| ConfigError::Host(host))?;
        let connections = Arc::new(transport.connections()?);
        let shared = ClientParts {
            base_url: endpoint.base_url(&project).into(),
            host,
            endpoint,
            project,
            credentials,
            signature,
            clock,
            service_clock: ServiceClock::default(),
            backoff_factor: config.backoff_factor,
            transport,
        };
        let attempts = config.attempts.max(1);
        Ok(Self { shared: Arc::new(shared), connections, attempts, timeout: config.timeout })
    }

    /// A client with connections of its own, so that nothing else can hold up its requests.
    ///
    /// # Errors
    ///
    /// The HTTP client cannot be built, which then is a matter of the system's certificates.
    pub(crate) fn with_own_connections(&self) -> Result<Self, ConfigError> {
        let connections = Arc::new(self.shared.transport.connections()?);
        Ok(Self { connections, ..self.clone() })
    }

    /// The same client, trying every call once: for callers with a retry loop of their own.
    #[must_use]
    pub fn trying_once(&self) -> Self {
        Self { attempts: 1, ..self.clone() }
    }

    /// The same client with another limit for one attempt.
    #[must_use]
    pub fn within(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// The project spoken to.
    pub fn project(&self) -> &ProjectName {
        &self.shared.project
    }

    /// The endpoint spoken to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.shared.endpoint
    }

    /// The service's clock in seconds since the epoch: ours, corrected by the last answer's `Date`. One answer may be
    /// wrong, so this is for what only informs.
    pub fn server_time(&self) -> i64 {
        self.local_time().saturating_add(self.shared.service_clock.ahead())
    }

    /// A time in seconds since the epoch that the service's clock has reached, unless both our clock and its last two
    /// answers are ahead of it. For decisions that skip logs if they are made too early.
    pub(crate) fn earliest_time(&self) -> i64 {
        self.local_time().saturating_add(self.shared.service_clock.ahead_at_least())
    }

    /// A call by name and address, for what is said about it.
    pub(crate) fn call_to(&self, name: &'static str) -> CallTo {
        CallTo { name, address: Arc::clone(&self.shared.base_url) }
    }

    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.shared.backoff_factor)
    }

    /// Sends a call and reads its whole body, at most `limit` bytes, trying again where that may help: also
    /// where `read` finds that the body is not what it should be.
    pub(crate) async fn fetch<T>(
        &self,
        call: &Call,
        limit: usize,
        read: impl Fn(Bytes) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut backoff = self.backoff();
        loop {
            let error = match self.fetch_once(call, limit).await.and_then(&read) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let may_pass = error.is_retryable() || error.is_damaged();
            if !may_pass || backoff.failures() + 1 >= self.attempts {
                return Err(error);
            }
            let wait = backoff.after_failure(error.retry_class());
            tracing::debug!(call = call.name, ?wait, error = %Chain(&error), "trying again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn fetch_once(&self, call: &Call, limit: usize) -> Result<Bytes, Error> {
        let whole = async { self.exchange(call).await?.bytes(limit).await };
        let overdue = Error::TimedOut { call: self.call_to(call.name), after: self.timeout };
        timeout(self.timeout, whole).await.unwrap_or(Err(overdue))
    }

    /// Sends a call and returns once the headers are here. One attempt; a second only with a key that
    /// was renewed because the first was refused.
    pub(crate) async fn exchange(&self, call: &Call) -> Result<Reply, Error> {
        let key = self.shared.credentials.current();
        let error = match self.attempt(call, &key).await {
            Err(error) if error.auth() => error,
            outcome => return outcome,
        };
        match self.shared.credentials.renew(&key).await {
            Ok(true) => self.attempt(call, &self.shared.credentials.current()).await,
            Ok(false) => Err(error),
            Err(cause) => {
                tracing::warn!(error = %Chain(&cause), "the access key was refused and cannot be renewed");
                Err(error)
            }
        }
    }

    async fn attempt(&self, call: &Call, key: &AccessKey) -> Result<Reply, Error> {
        let request = self.signed(call, key)?;
        let sent = timeout(self.timeout, self.connections.current().execute(request));
        let overdue = |_| Error::TimedOut { call: self.call_to(call.name), after: self.timeout };
        let answer = sent.await.map_err(overdue)?;
        if answer.as_ref().is_err_and(reqwest::Error::is_connect) {
            self.connections.renew(&self.shared.transport).await;
        }
        let response = answer.map_err(|source| Error::Unreachable {
            call: self.call_to(call.name),
            source: source.without_url(),
        })?;
        let skew = self.note_date(response.headers());
        if response.status() == http::StatusCode::OK {
            return Ok(Reply::new(self.call_to(call.name), response, self.timeout));
        }
        Err(Error::Refused(Box::new(self.refusal(call, key, skew, response).await)))
    }

    async fn refusal(
        &self,
        call: &Call,
        key: &AccessKey,
        skew: Option<i64>,
        response: reqwest::Response,
    ) -> Refusal {
        let status = response.status().as_u16();
        let request_id = response.headers().get("x-log-requestid").and_then(|id| id.to_str().ok());
        let request_id = request_id.map(excerpt);
        // The status has decided already; a body that is cut off or too long loses us only the details.
        let reply = Reply::new(self.call_to(call.name), response, Duration::from_secs(5));
        let body =
            timeout(Duration::from_secs(5), reply.beginning(MAX_REFUSAL)).await.unwrap_or_default();
        // Scrubbed before it is cut: the beginning of a secret could not be recognized any more.
        let (code, message) = match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(ErrorBody { code, message }) => {
                (code, key.scrub(&message).chars().take(2000).collect())
            }
            Err(_) => (String::new(), excerpt(&key.scrub(&String::from_utf8_lossy(&body)))),
        };
        Refusal {
            call: self.call_to(call.name),
            action: call.action,
            status,
            code: ErrorCode::parse(&code),
            message,
            request_id,
            skew,
        }
    }

    fn signed(&self, call: &Call, key: &AccessKey) -> Result<reqwest::Request, Error> {
        let shared = &*self.shared;
        let mut headers = call.headers.clone();
        headers.insert(HOST, shared.host.clone());
        let parts = Parts {
            method: &call.method,
            path: &call.path,
            params: &call.params,
            headers: &mut headers,
            body: &call.body,
        };
        shared.signature.sign(key, self.local_time(), parts)?;
        let url = self.url(call).map_err(|error| Error::Malformed {
            call: self.call_to(call.name),
            fault: format!("its address is no URL: {error}"),
        })?;
        let mut request = reqwest::Request::new(call.method.clone(), url);
        *request.headers_mut() = headers;
        if !call.body.is_empty() {
            *request.body_mut() = Some(call.body.clone().into());
        }
        Ok(request)
    }

    fn url(&self, call: &Call) -> Result<Url, impl fmt::Display + use<>> {
        let query: Vec<String> = call
            .params
            .iter()
            .map(|(key, value)| format!("{key}={}", percent_encode(value)))
            .collect();
        let mark = if query.is_empty() { "" } else { "?" };
        Url::parse(&format!("{}{}{mark}{}", self.shared.base_url, call.path, query.join("&")))
    }

    /// Remembers how far the service's clock is from ours; returns ours minus theirs in seconds.
    fn note_date(&self, headers: &HeaderMap) -> Option<i64> {
        let text = headers.get(DATE)?.to_str().ok()?;
        let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_second();
        let ahead = date.saturating_sub(self.local_time());
        self.shared.service_clock.note(ahead);
        Some(ahead.saturating_neg())
    }

    fn local_time(&self) -> i64 {
        let now = (self.shared.clock)();
        now.duration_since(UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({}, {:?})", self.shared.project, self.shared.endpoint)
    }
}

/// The service's form of an error.
#[derive(serde::Deserialize)]
struct ErrorBody {
    #[serde(rename = "errorCode")]
    code: String,
    #[serde(rename = "errorMessage", default)]
    message: String,
}

/// The beginning of a foreign text, on one line.
fn excerpt(text: &str) -> String {
    let words = text.split_whitespace().flat_map(|word| [" ", word]).skip(1);
    words.flat_map(str::chars).filter(|c| !c.is_control()).take(EXCERPT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_one_short_line() {
        let page = format!("<html>\n\n <body>\x07 {}", "x".repeat(500));
        let shown = excerpt(&page);
        assert!(shown.starts_with("<html> <body> xxx"), "{shown}");
        assert_eq!(shown.chars().count(), EXCERPT);
    }
}
