//! The collector behind the port: from an HTTP request to a reply, a record, or a fault.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;

use super::body::{self, BodyError};
use super::envelope::Envelope;
use super::faults::Faults;
use super::intake::{BodyEvents, Mode, Rules};
use super::reply::{Code, Reply, ReplyBody};
use super::request::{self, Metadata, Route};
use super::script::Step;
use crate::ids::Ids;
use crate::register::{Entries, Register, Tally, TimedOut};
use crate::server::Serve;
use crate::wire::{Connection, ResetSwitch};

/// Largest body of a question about acknowledgements; a million ids fit.
const MAX_ACK_QUERY: u64 = 16 * 1024 * 1024;

/// The connection ends here, without a reply.
#[derive(Debug, thiserror::Error)]
#[error("hung up")]
pub(crate) struct Hangup;

pub(crate) struct Endpoint {
    rules: Rules,
    acks: bool,
    /// The path before `/services/collector`.
    base: String,
    faults: Faults,
    register: Register<Envelope>,
    replies: Mutex<Replies>,
    /// Connections accepted so far.
    connections: AtomicU64,
}

#[derive(Clone, Default)]
struct Replies {
    by_status: BTreeMap<u16, u64>,
    by_code: BTreeMap<u8, u64>,
}

/// Everything a collector has accepted, at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Received {
    /// Totals.
    pub tally: Tally,
    /// The events in order of acceptance; empty unless the mode is [`Mode::Events`].
    pub events: Arc<Vec<Envelope>>,
    /// The ids; empty unless the mode is [`Mode::Ids`].
    pub ids: Arc<Ids>,
    /// Replies given to any endpoint, by HTTP status.
    pub by_status: BTreeMap<u16, u64>,
    /// Replies given to any endpoint, by HEC code.
    pub by_code: BTreeMap<u8, u64>,
}

/// A request whose headers are in order.
struct CheckedHeaders {
    channel: Option<String>,
    gzip: bool,
}

/// How an accepted request is to be treated.
#[derive(Clone, Copy)]
struct Acceptance {
    code: Code,
    lost: bool,
}

impl Serve for Endpoint {
    fn connected(&self) {
        self.register.note(|tally| tally.connections += 1);
    }

    fn handshake_failed(&self) {
        self.register.note(|tally| tally.failed_handshakes += 1);
    }

    async fn serve(self: Arc<Self>, connection: Connection, reset: ResetSwitch) {
        let number = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let service = service_fn(|request| {
            let endpoint = Arc::clone(&self);
            let reset = reset.clone();
            async move { endpoint.respond(request, number, &reset).await }
        });
        // How the connection ended is the client's business; what it brought is recorded.
        let _ended =
            http1::Builder::new().serve_connection(TokioIo::new(connection), service).await;
    }
}

impl Endpoint {
    pub(crate) fn new(rules: Rules, acks: bool, base: String, faults: Faults) -> Self {
        let register = Register::default();
        let (replies, connections) = (Mutex::default(), AtomicU64::new(0));
        Self { rules, acks, base, faults, register, replies, connections }
    }

    pub(crate) fn tally(&self) -> Tally {
        self.register.tally()
    }

    pub(crate) fn received(&self) -> Received {
        let snapshot = self.register.snapshot();
        let Replies { by_status, by_code } =
            self.replies.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Received {
            tally: snapshot.tally,
            events: snapshot.items,
            ids: snapshot.ids,
            by_status,
            by_code,
        }
    }

    pub(crate) async fn wait_until(
        &self,
        limit: Duration,
        condition: impl FnMut(&Tally) -> bool,
    ) -> Result<Tally, TimedOut> {
        self.register.wait_until(limit, condition).await
    }

    async fn respond(
        &self,
        request: Request<Incoming>,
        connection: u64,
        reset: &ResetSwitch,
    ) -> Result<Response<ReplyBody>, Hangup> {
        let (parts, body) = request.into_parts();
        let reply = match Route::of(&parts, &self.base) {
            Ok(Route::Health) => self.health(&parts),
            Ok(Route::Event | Route::Raw) if self.is_busy_node(connection) => {
                self.register.note(|tally| tally.requests += 1);
                self.drain(body).await?;
                Reply::code(Code::Busy)
            }
            Ok(Route::Ack) => self.answer_ack_query(&parts, body).await?,
            Ok(route) => self.follow_script(route, &parts, body, reset).await?,
            Err(reply) => reply,
        };
        self.note(&reply);
        Ok(reply.into_response())
    }

    fn health(&self, parts: &Parts) -> Reply {
        let active = self.faults.active();
        active.health_page.clone().unwrap_or_else(|| active.access.health(parts))
    }

    fn is_busy_node(&self, connection: u64) -> bool {
        self.faults.active().odd_connections_busy && connection % 2 == 1
    }

    /// Takes the next step of the script, or does what a collector does.
    async fn follow_script(
        &self,
        route: Route,
        parts: &Parts,
        body: Incoming,
        reset: &ResetSwitch,
    ) -> Result<Reply, Hangup> {
        self.register.note(|tally| tally.requests += 1);
        let reset_above = self.faults.active().reset_above;
        if reset_above.is_some_and(|most| body.size_hint().lower() > most) {
            let _whatever_came = body::begin(body).await;
            reset.on();
            return Err(Hangup);
        }
        let step = self.faults.active().next_step();
        let mut acceptance = Acceptance { code: Code::Success, lost: false };
        match &step {
            Some(Step::Answer(reply)) => {
                self.drain(body).await?;
                return Ok(reply.clone());
            }
            Some(Step::Reset) => {
                let _whatever_came = body::begin(body).await;
                reset.on();
                return Err(Hangup);
            }
            Some(Step::NearCapacity) => acceptance.code = Code::NearCapacity,
            Some(Step::LoseBeforeIndexing) => acceptance.lost = true,
            Some(Step::LoseResponse | Step::Delay(_)) | None => {}
        }
        let reply = self.collect(route, parts, body, acceptance).await?;
        match step {
            Some(Step::LoseResponse) => return Err(Hangup),
            Some(Step::Delay(delay)) => tokio::time::sleep(delay).await,
            _ => {}
        }
        Ok(reply)
    }

    /// Reads a request to the event or raw endpoint, records it, and replies.
    async fn collect(
        &self,
        route: Route,
        parts: &Parts,
        body: Incoming,
        acceptance: Acceptance,
    ) -> Result<Reply, Hangup> {
        let headers = match self.admit(parts) {
            Ok(headers) => headers,
            Err(reply) => {
                self.drain(body).await?;
                return Ok(reply);
            }
        };
        let limit = self.faults.active().max_content_length;
        if matches!(self.rules.mode, Mode::Counts) {
            return self.count(body, limit, &headers, acceptance).await;
        }
        let taken = match body::take(body, headers.gzip, limit).await {
            Ok(taken) => taken,
            Err(error) => return refuse_body(&error, limit),
        };
        self.register.note(|tally| tally.wire_bytes += taken.wire_bytes);
        let Ok(text) = str::from_utf8(&taken.bytes) else {
            return Ok(Reply::code(Code::InvalidFormat));
        };
        let filter = self.faults.active().content_filter.clone();
        if let Some(filter) = filter.filter(|filter| text.contains(&filter.needle)) {
            return Ok(filter.reply.clone());
        }
        let BodyEvents { entries, refusal } = self.read(route, parts, text, &headers).await;
        let Some(refusal) = refusal else {
            return Ok(self.accept(entries, text.len() as u64, &headers, acceptance));
        };
        if self.faults.active().keep_before_bad {
            self.register.enter(entries, |_| {});
        }
        Ok(refusal)
    }

    /// Takes a body without looking at it.
    async fn count(
        &self,
        body: Incoming,
        limit: u64,
        headers: &CheckedHeaders,
        acceptance: Acceptance,
    ) -> Result<Reply, Hangup> {
        let length = self.drain(body).await?;
        if length > limit {
            return Ok(Reply::too_large(length, limit));
        }
        let bytes = if headers.gzip { 0 } else { length };
        Ok(self.accept(Entries::Count(0), bytes, headers, acceptance))
    }

    /// What must be right before the body is looked at: token, channel, encoding.
    fn admit(&self, parts: &Parts) -> Result<CheckedHeaders, Reply> {
        self.faults.active().access.check(parts)?;
        let channel = request::channel(parts)?;
        if self.acks && channel.is_none() {
            return Err(Reply::code(Code::ChannelMissing));
        }
        Ok(CheckedHeaders { channel, gzip: request::is_gzip(parts)? })
    }

    async fn read<'a>(
        &self,
        route: Route,
        parts: &Parts,
        text: &'a str,
        headers: &CheckedHeaders,
    ) -> BodyEvents<'a> {
        let channel = headers.channel.as_deref();
        let poison = self.faults.active().poison.clone();
        if route == Route::Event {
            return self.rules.read_events(text, channel, poison.as_deref()).await;
        }
        let metadata = Metadata::of(parts, channel);
        let mut intake = self.rules.read_lines(text, &metadata, poison.as_deref());
        if !self.rules.allows_index(metadata.index.as_deref()) {
            intake.refusal = Some(Reply::code(Code::IncorrectIndex));
        }
        intake
    }

    /// Records what was accepted, and issues its ack id.
    fn accept(
        &self,
        mut entries: Entries<'_, Envelope>,
        bytes: u64,
        headers: &CheckedHeaders,
        acceptance: Acceptance,
    ) -> Reply {
        let mut ack_id = None;
        let mut discarded = 0;
        {
            let mut active = self.faults.active();
            if let Some(channel) = headers.channel.as_deref().filter(|_| self.acks) {
                ack_id = active.channels.issue(channel, acceptance.lost);
                if ack_id.is_none() {
                    return Reply::code(Code::AckChannelFull);
                }
            }
            if !acceptance.lost {
                discarded = active.claim_discards(entries.len());
            }
        }
        let kept = if acceptance.lost { 0 } else { entries.len() - discarded };
        entries.truncate(kept);
        self.register.enter(entries, |tally| {
            tally.accepted_requests += 1;
            tally.gzip_requests += u64::from(headers.gzip);
            tally.bytes += bytes;
            tally.discarded += discarded;
        });
        Reply::accepted(acceptance.code, ack_id)
    }

    async fn answer_ack_query(&self, parts: &Parts, body: Incoming) -> Result<Reply, Hangup> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Query {
            acks: Vec<u64>,
        }

        let headers = self.admit(parts);
        let taken = match body::take(body, false, MAX_ACK_QUERY).await {
            Ok(taken) => taken,
            Err(error) => return refuse_body(&error, MAX_ACK_QUERY),
        };
        let channel = match headers {
            Err(reply) => return Ok(reply),
            Ok(_) if !self.acks => return Ok(Reply::code(Code::AckDisabled)),
            Ok(headers) => headers.channel.unwrap_or_default(),
        };
        let Ok(query) = serde_json::from_slice::<Query>(&taken.bytes) else {
            return Ok(Reply::code(Code::InvalidFormat));
        };
        let mut active = self.faults.active();
        let answers = active.channels.poll(&channel, &query.acks);
        if active.claim_lost_ack_reply() {
            return Err(Hangup);
        }
        Ok(Reply::acks(answers))
    }

    /// Reads a body and discards it, so that the client is ready for the reply.
    async fn drain(&self, body: Incoming) -> Result<u64, Hangup> {
        let length = body::drain(body).await.map_err(|_| Hangup)?;
        self.register.note(|tally| tally.wire_bytes += length);
        Ok(length)
    }

    fn note(&self, reply: &Reply) {
        let mut replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        *replies.by_status.entry(reply.status.as_u16()).or_default() += 1;
        if let Some(code) = reply.code {
            *replies.by_code.entry(code as u8).or_default() += 1;
        }
    }
}

fn refuse_body(error: &BodyError, limit: u64) -> Result<Reply, Hangup> {
    match error {
        BodyError::TooLarge { length } => Ok(Reply::too_large(*length, limit)),
        BodyError::NotGzip => {
            Ok(Reply::text(StatusCode::BAD_REQUEST, "text/plain", "body is not gzip"))
        }
        BodyError::Interrupted => Err(Hangup),
    }
}
