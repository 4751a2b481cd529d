//! Posts bodies to one event collector and reads its replies.
//!
//! One `Client` per sink: it keeps connections that work and is shared by all senders. It does not retry;
//! that is the pipeline's business. It follows no redirect, since that would carry the token elsewhere.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use forwarder_connector::{Body, Cause, Encoding, Verdict};
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{RequestBuilder, Response};
use tokio::time::{Instant, timeout_at};

use super::access::{Access, AccessFiles};
use super::body::Segments;
use super::endpoint::Endpoint;
use super::reply::{Reply, SuccessReply};
use super::settings::{BadClient, ClientSettings};
use crate::limit::{BodyLimit, Suspicion};
use crate::message::chain;
use crate::reload::Reloaded;
use crate::tls::{Refusal, TlsSettings};

/// How much of a reply is read. HEC replies are a line; a web page need not be read to its end.
const REPLY_BYTES: usize = 64 * 1024;

/// How long a reply may take to come in after its head: a collector answers with a line.
const REPLY_TIME: Duration = Duration::from_secs(10);

/// How long the next request waits after Splunk has said that its queue is nearly full.
const EASE_OFF: Duration = Duration::from_millis(500);

/// No reply: the receiver could not be reached, or went away before it had answered in full. The events
/// may have arrived all the same; sending them again may repeat them.
#[derive(Debug, thiserror::Error)]
#[error("no answer to {call}: {detail}")]
pub struct Unreachable {
    /// Method and address.
    call: String,
    detail: String,
    kind: FailureKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum FailureKind {
    Trust(Refusal),
    Timeout,
    Connect,
    Broken,
}

impl Unreachable {
    fn new(call: String, error: reqwest::Error, tls: &TlsSettings) -> Self {
        let kind = if let Some(refusal) = Refusal::of(&error, tls) {
            FailureKind::Trust(refusal)
        } else if error.is_connect() {
            FailureKind::Connect
        } else if error.is_timeout() {
            FailureKind::Timeout
        } else {
            FailureKind::Broken
        };
        let detail = match &kind {
            FailureKind::Trust(refusal) => refusal.fact.clone(),
            _ => chain(&error.without_url()),
        };
        Self { call, detail, kind }
    }

    fn is_refusal(&self) -> bool {
        matches!(self.kind, FailureKind::Trust(_))
    }

    /// Whether the connection stood, so that the size of the body may be why there was no answer.
    fn may_be_size(&self) -> bool {
        matches!(self.kind, FailureKind::Timeout | FailureKind::Broken)
    }

    /// The same body has failed so often that its parts are to be sent.
    fn suspected_size(&self, bytes: usize) -> Cause {
        let text = format!(
            "{self}; the same body of {bytes} bytes has failed repeatedly, its size may be the reason: look for a \
             limit in the proxy before the collector, or lower `max_body`"
        );
        Cause::new(self.reason(), text).with_fate("nothing was lost, will send it in halves")
    }

    const fn reason(&self) -> &'static str {
        match self.kind {
            FailureKind::Timeout => "timeout",
            _ => "broken_connection",
        }
    }

    /// The same single row has failed so often that something between may object to what it says.
    fn suspected_row(&self) -> Cause {
        let text = format!(
            "{self}; this row alone has failed repeatedly: look for a content filter or a limit in the proxy before the \
             collector"
        );
        Cause::new(self.reason(), text)
    }

    /// Why, and what to do.
    pub(super) fn cause(&self) -> Cause {
        const AGAIN: &str = "nothing was lost, will send it again";
        match &self.kind {
            FailureKind::Trust(refusal) => {
                Cause::new("tls_refused", format!("{self}; {}", refusal.help))
                    .with_fate("nothing was lost, the records are held")
            }
            FailureKind::Timeout => Cause::new("timeout", self.to_string()).with_fate(AGAIN),
            FailureKind::Connect => {
                Cause::new("connect", format!("{self}; is Splunk up and the port open?"))
                    .with_fate(AGAIN)
            }
            FailureKind::Broken => {
                Cause::new("broken_connection", self.to_string()).with_fate(AGAIN)
            }
        }
    }

    /// Retry, unless the two sides do not accept each other's certificates: that needs operator action.
    pub fn verdict(&self) -> Verdict {
        let cause = self.cause();
        if self.is_refusal() {
            Verdict::Hold { cause }
        } else {
            Verdict::Retry { after: None, cause }
        }
    }
}

/// A connection pool to one collector.
#[derive(Debug)]
pub struct Client {
    access: Reloaded<AccessFiles>,
    endpoint: Endpoint,
    /// To explain why a handshake failed.
    tls: TlsSettings,
    /// No request before this instant: Splunk's queue was nearly full.
    not_before: Mutex<Option<Instant>>,
    success: SuccessReply,
    body_limit: BodyLimit,
    /// How long a reply may take to come in after its head.
    reply_time: Duration,
}

impl Client {
    /// Sets up a client; connects to nothing yet. Blocks on reading the trust roots.
    ///
    /// # Errors
    ///
    /// [`BadClient`] when the TLS settings cannot work.
    pub fn new(settings: ClientSettings) -> Result<Self, BadClient> {
        let (endpoint, tls) = (settings.endpoint.clone(), settings.tls.clone());
        let (success, reply_time) = (settings.success, REPLY_TIME.min(settings.timeout / 2));
        let access = Reloaded::new(AccessFiles::new(settings))?;
        let (not_before, body_limit) = (Mutex::new(None), BodyLimit::new());
        Ok(Self { access, endpoint, tls, not_before, success, body_limit, reply_time })
    }

    /// Where this client posts to, for messages.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Posts a body and says what became of its rows. A body without rows is delivered unsent.
    ///
    /// May be dropped at any time; the events may have arrived then.
    pub async fn send(&self, body: &Body) -> Verdict {
        if body.rows() == 0 {
            return Verdict::Delivered;
        }
        let access = self.access.current().await;
        let (verdict, refused) = match self.post(&access, body).await {
            Ok(reply) => (self.answered(&reply, body), reply.refuses_us()),
            Err(lost) => (self.unanswered(&lost, body), lost.is_refusal()),
        };
        match verdict.cause() {
            Some(cause) if refused && self.access.replaced(&access).await => {
                let text = format!(
                    "{cause}; the token or TLS files have changed since, will use the new ones"
                );
                Verdict::Retry { after: None, cause: Cause::new("credentials_changed", text) }
            }
            _ => verdict,
        }
    }

    fn answered(&self, reply: &Reply, body: &Body) -> Verdict {
        let (rows, bytes) = (body.rows(), body.raw_bytes());
        let verdict = reply.verdict(&self.posting(), rows, self.success);
        if reply.is_too_large() && rows > 1 {
            self.learn(bytes);
        } else if verdict == Verdict::Delivered {
            self.body_limit.accepted(bytes);
        }
        verdict
    }

    fn unanswered(&self, lost: &Unreachable, body: &Body) -> Verdict {
        if !lost.may_be_size() {
            return lost.verdict();
        }
        if body.rows() < 2 {
            return if self.body_limit.failed_alone(body.raw_bytes()) {
                Verdict::Divide { cause: lost.suspected_row() }
            } else {
                lost.verdict()
            };
        }
        let cause = lost.suspected_size(body.raw_bytes());
        match self.body_limit.failed(body.raw_bytes()) {
            Suspicion::None => return lost.verdict(),
            Suspicion::Known => {}
            Suspicion::New { limit } => {
                tracing::warn!(reason = cause.reason(), error = %cause, limit, "sending smaller bodies");
            }
        }
        Verdict::Divide { cause }
    }

    /// The largest body that is worth sending, in bytes before compression, as refusals have taught:
    /// `usize::MAX` if there were none, or none for long.
    pub fn body_limit(&self) -> usize {
        self.body_limit.current()
    }

    pub(super) const fn success(&self) -> SuccessReply {
        self.success
    }

    /// The call and the address, for messages.
    fn posting(&self) -> String {
        format!("POST {}", self.endpoint.as_str())
    }

    fn learn(&self, refused: usize) {
        if let Some(limit) = self.body_limit.too_large(refused) {
            let collector = self.endpoint.as_str();
            tracing::info!(
                collector,
                refused_bytes = refused,
                limit,
                "collector takes no bodies of that size, sending smaller ones; `max_body` spares the attempts"
            );
        }
    }

    /// Posts a body and returns the reply as it came.
    async fn post(&self, access: &Access, body: &Body) -> Result<Reply, Unreachable> {
        self.ease_off().await;
        let url = &self.endpoint.event;
        let request = |http: &reqwest::Client| {
            let mut request = http
                .post(url.clone())
                .header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            if body.encoding() == Encoding::Gzip {
                request = request.header(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            request.body(reqwest::Body::wrap(Segments::of(body)))
        };
        let reply = self.ask(access, self.posting(), request).await?;
        if reply.nearly_full() {
            self.set_not_before(Some(Instant::now() + EASE_OFF));
        }
        Ok(reply)
    }

    /// The connections and the token in force.
    pub(super) async fn access(&self) -> Arc<Access> {
        self.access.current().await
    }

    /// Sends a request with our token and reads the answer.
    pub(super) async fn ask(
        &self,
        access: &Access,
        call: String,
        request: impl FnOnce(&reqwest::Client) -> RequestBuilder,
    ) -> Result<Reply, Unreachable> {
        let failed = |error| Unreachable::new(call.clone(), error, &self.tls);
        let connection = access.connections.take().map_err(failed)?;
        let request = request(&connection).header(AUTHORIZATION, access.token.header.clone());
        let response = request.send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let header = response.headers().get(RETRY_AFTER);
        let retry_after = header.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = read_some(response, self.reply_time).await.map_err(failed)?;
        // Some proxies echo the request's headers in their error pages.
        let body = String::from_utf8_lossy(&body).replace(&access.token.bare, "***");
        let now = jiff::Timestamp::now();
        let reply = Reply::parse(status, retry_after.as_deref(), body.as_bytes(), now);
        if reply.shows_working_node(self.success) {
            access.connections.keep(connection);
        }
        Ok(reply)
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

/// The reply's first bytes, and its end if that is near, so that the connection can be used again. One that does
/// not end in time is what has come of it.
async fn read_some(mut response: Response, limit: Duration) -> reqwest::Result<Vec<u8>> {
    let mut body = Vec::new();
    let by = Instant::now() + limit;
    while let Ok(chunk) = timeout_at(by, response.chunk()).await {
        let chunk = match chunk {
            Err(error) if error.is_timeout() => break,
            chunk => chunk?,
        };
        let Some(chunk) = chunk else { break };
        body.extend_from_slice(&chunk);
        if body.len() >= REPLY_BYTES {
            break;
        }
    }
    Ok(body)
}
