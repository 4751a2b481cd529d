//! `sinks` → the pipeline's `Sink`: settings in, verdicts out. What a receiver's answer means was decided
//! in `sinks`; here it is only said in the pipeline's words.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use forwarder_pipeline::{
    BodyLimits, Confirmation, DeliverySettings, EncodeReport, Parcel, RejectLimit, RetryPolicy,
    Sink, Verdict,
};
use forwarder_record::{Batch, Encoded, RowIx};
use forwarder_sinks::file::{self, FileSink, StdoutSink};
use forwarder_sinks::syslog::{self, HeaderFormat, rfc5424};
use forwarder_sinks::{Body, Cause, Notes, Outcome, Template, hec};
use futures_util::future::BoxFuture;
use metrics::{Counter, counter};

use crate::config::hec::HecConfig;
use crate::config::sink::{DeliveryConfig, SinkConfig, SinkKind};
use crate::config::syslog::SyslogConfig;
use crate::exit::{Exit, Failure};
use crate::instance::host_name;
use crate::problem::Problem;
use crate::telemetry::{AMBIGUOUS_RECORDS, OWN_TIME_RECORDS, TRUNCATED_RECORDS, UNPROVEN_RECORDS};

/// A small site's collector holds thousands of rows of one body in memory; more per body gains nothing.
const MAX_ROWS: usize = 16_384;

/// For a connection to stand, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a syslog receiver may take to say that it has read everything.
const FAREWELL: Duration = Duration::from_secs(3);

/// SD-ID of the element that carries the event's id. 32473 is the number reserved for examples
/// (RFC 5612), which is what projects without one of their own are left with.
const ID_ELEMENT: &str = "forwarder@32473";

/// One configured sink.
pub struct WiredSink {
    name: String,
    limits: BodyLimits,
    protocol: Protocol,
    /// The index that the events of a HEC sink are for.
    index: Template,
    truncated: Counter,
    ambiguous: Counter,
    unproven: Counter,
    own_times: OwnTimes,
}

enum Protocol {
    Hec(hec::Encoder, Box<hec::Client>, Compression),
    Syslog(Box<syslog::Encoder>, syslog::Client),
    File(file::Encoder, FileSink),
    Stdout(file::Encoder, StdoutSink),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
}

impl WiredSink {
    /// Sets up a sink; connects to nothing yet. Must be called on a runtime. Blocks on reading
    /// certificates.
    ///
    /// # Errors
    /// Certificates or keys cannot be used.
    pub fn new(config: &SinkConfig) -> Result<Self, Failure> {
        let wrong = |cause: &dyn std::fmt::Display| {
            let problem = Problem::new(format!("sink `{}` cannot be set up: {cause}", config.name));
            Failure::new(Exit::Config, problem)
        };
        let protocol = match &config.kind {
            SinkKind::Hec(hec) => hec_protocol(hec).map_err(|cause| wrong(&cause))?,
            SinkKind::Syslog(syslog) => syslog_protocol(&config.name, syslog, &config.delivery)
                .map_err(|cause| wrong(&cause))?,
            SinkKind::File(path) => Protocol::File(file::Encoder, FileSink::new(path)),
            SinkKind::Stdout => Protocol::Stdout(file::Encoder, StdoutSink::default()),
        };
        let index = match &config.kind {
            SinkKind::Hec(hec) => hec.index.clone(),
            _ => Template::default(),
        };
        let max_bytes = usize::try_from(config.delivery.max_body).unwrap_or(usize::MAX);
        Ok(Self {
            name: config.name.clone(),
            limits: BodyLimits { max_bytes, max_rows: MAX_ROWS },
            protocol,
            index,
            truncated: counter!(TRUNCATED_RECORDS, "sink" => config.name.clone()),
            ambiguous: counter!(AMBIGUOUS_RECORDS, "sink" => config.name.clone()),
            unproven: counter!(UNPROVEN_RECORDS, "sink" => config.name.clone()),
            own_times: OwnTimes::new(&config.name),
        })
    }

    /// Asks whether the receiver answers.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub async fn reachable(&self) -> Result<(), Cause> {
        match &self.protocol {
            Protocol::Hec(_, client, _) => client.reachable().await,
            _ => self.probe().await.map(drop),
        }
    }

    /// Asks the receiver what it would do with our logs, without sending one. Returns what could not be
    /// found out.
    ///
    /// # Errors
    /// Why it would not take them, and what to do.
    pub async fn probe(&self) -> Result<Vec<String>, Cause> {
        match &self.protocol {
            Protocol::Hec(_, client, _) => {
                let fixed = self.index.as_fixed();
                let mut unknown = client.probe(fixed.filter(|index| !index.is_empty())).await?;
                if fixed.is_none() {
                    unknown.push(
                        "whether the indexes that logs choose by `index` are allowed".to_owned(),
                    );
                }
                Ok(unknown)
            }
            Protocol::Syslog(_, client) => client.probe().await.map(|()| Vec::new()),
            Protocol::File(_, file) => file.probe().await.map(|()| Vec::new()),
            Protocol::Stdout(..) => Ok(Vec::new()),
        }
    }

    /// Whether the rows go to standard output.
    pub fn is_stdout(&self) -> bool {
        matches!(self.protocol, Protocol::Stdout(..))
    }

    /// Resolves once the reader of standard output has left, if this sink writes there.
    pub async fn reader_left(&self) {
        match &self.protocol {
            Protocol::Stdout(_, stdout) => stdout.reader_left().await,
            _ => std::future::pending().await,
        }
    }

    /// What "delivered" means here, for people who plan for the worst.
    fn promise(&self) -> &'static str {
        match &self.protocol {
            Protocol::Hec(..) => "Splunk has answered with code 0",
            Protocol::Syslog(_, client) if client.waits_for_proof() => {
                "the receiver has read it, as its orderly end of a connection shows"
            }
            Protocol::Syslog(..) => "the receiver's kernel has acknowledged it",
            Protocol::File(..) => "it is on the disk",
            Protocol::Stdout(..) => "it is in the pipe",
        }
    }

    fn report(&self, notes: Notes) -> EncodeReport {
        self.truncated.increment(notes.truncated as u64);
        self.ambiguous.increment(notes.ambiguous as u64);
        self.own_times.count(&self.name, &notes);
        let cause = |why: String| forwarder_pipeline::Cause::new("oversize", why);
        let rejected =
            notes.oversize.into_iter().map(|oversize| (oversize.row, cause(oversize.to_string())));
        EncodeReport { rejected: rejected.collect(), blank: notes.empty.len() }
    }
}

/// Rows that went out with the time of the log, though `time_field` asks for another.
struct OwnTimes {
    missing: Counter,
    unreadable: Counter,
    is_logged: AtomicBool,
}

impl OwnTimes {
    fn new(sink: &str) -> Self {
        let because =
            |reason| counter!(OWN_TIME_RECORDS, "sink" => sink.to_owned(), "reason" => reason);
        let (missing, unreadable) = (because("missing"), because("unreadable"));
        Self { missing, unreadable, is_logged: AtomicBool::new(false) }
    }

    fn count(&self, sink: &str, notes: &Notes) {
        let Notes { missing_times: missing, unreadable_times: unreadable, .. } = *notes;
        if missing + unreadable == 0 {
            return;
        }
        self.missing.increment(missing as u64);
        self.unreadable.increment(unreadable as u64);
        if !self.is_logged.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                sink,
                missing,
                unreadable,
                "logs without a readable time in `time_field` are sent with the time at which SLS has them; \
                 reported once, counted in {OWN_TIME_RECORDS}"
            );
        }
    }
}

fn hec_protocol(config: &HecConfig) -> Result<Protocol, Box<dyn std::error::Error>> {
    let encoder = hec::Encoder::new(&hec::EncoderSettings {
        host: config.event_host.clone(),
        source: config.source.clone(),
        sourcetype: config.sourcetype.clone(),
        index: config.index.clone(),
        time_field: config.time_field.clone(),
        event_format: config.event_format,
        event_id: config.event_id,
        gzip: config.gzip,
    });
    let client = hec::Client::new(hec::ClientSettings {
        endpoint: config.endpoint.clone(),
        token: config.token.clone(),
        success: config.success_reply,
        tls: config.tls.clone(),
        connect_timeout: CONNECT_TIMEOUT.min(config.timeout),
        timeout: config.timeout,
    })?;
    let compression = if config.gzip { Compression::Gzip } else { Compression::None };
    Ok(Protocol::Hec(encoder, Box::new(client), compression))
}

fn syslog_protocol(
    sink: &str,
    config: &SyslogConfig,
    delivery: &DeliveryConfig,
) -> Result<Protocol, Box<dyn std::error::Error>> {
    let header = rfc5424::HeaderSettings {
        priority: config.priority,
        hostname: Some(config.hostname.clone().unwrap_or_else(host_name)),
        app_name: config.app_name.clone(),
        id_element: config.event_id.then(|| ID_ELEMENT.to_owned()),
        from_log: config.from_log.clone(),
        ..rfc5424::HeaderSettings::default()
    };
    let encoder = syslog::Encoder::new(&syslog::EncoderSettings {
        header: HeaderFormat::Rfc5424(header),
        time_field: config.time_field.clone(),
        payload: config.payload.clone(),
        framing: config.framing,
        max_message_bytes: config.max_message,
        oversize: config.oversize,
        bom: false,
    })?;
    let client = syslog::Client::start(syslog::ClientSettings {
        sink: sink.to_owned(),
        target: config.target.clone(),
        tls: config.tls.clone(),
        connect_timeout: CONNECT_TIMEOUT.min(config.timeout),
        write_timeout: config.timeout,
        window: config.resend,
        longest_pause: delivery.retry_max,
    })?;
    Ok(Protocol::Syslog(Box::new(encoder), client))
}

/// How the pipeline serves a sink.
pub fn delivery(config: &DeliveryConfig, max_reject_ratio: f64) -> DeliverySettings {
    DeliverySettings {
        concurrency: config.in_flight,
        ordered: config.ordered,
        linger: config.linger,
        retry: RetryPolicy {
            first: config.retry_min,
            longest: config.retry_max,
            // `retry_max` says how soon a repaired sink is to be noticed.
            first_hold: RetryPolicy::default().first_hold.min(config.retry_max),
            longest_hold: RetryPolicy::default().longest_hold.min(2 * config.retry_max),
            ..RetryPolicy::default()
        },
        refusals: RejectLimit { max_ratio: max_reject_ratio, ..RejectLimit::default() },
    }
}

impl Sink for WiredSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn encode(&self, batch: &Batch, rows: &[RowIx], out: &mut Encoded) -> EncodeReport {
        let notes = match &self.protocol {
            Protocol::Hec(encoder, ..) => encoder.encode(batch, rows, out),
            Protocol::Syslog(encoder, _) => encoder.encode(batch, rows, out),
            Protocol::File(encoder, _) | Protocol::Stdout(encoder, _) => {
                encoder.encode(batch, rows, out)
            }
        };
        self.report(notes)
    }

    fn packs(&self) -> bool {
        matches!(self.protocol, Protocol::Hec(_, _, Compression::Gzip))
    }

    fn pack(&self, parts: &[Bytes]) -> Vec<Bytes> {
        match &self.protocol {
            // How many rows there are is known when the body is sent.
            Protocol::Hec(encoder, ..) => encoder.pack(parts, 0).segments().to_vec(),
            _ => parts.to_vec(),
        }
    }

    fn limits(&self) -> BodyLimits {
        let BodyLimits { max_bytes, max_rows } = self.limits;
        let learned = match &self.protocol {
            Protocol::Hec(_, client, _) => client.body_limit(),
            Protocol::Syslog(_, client) => client.body_limit(),
            Protocol::File(..) | Protocol::Stdout(..) => usize::MAX,
        };
        BodyLimits { max_bytes: max_bytes.min(learned), max_rows }
    }

    fn deliver<'a>(&'a self, parcel: &'a Parcel) -> BoxFuture<'a, Verdict> {
        let body = match self.protocol {
            Protocol::Hec(_, _, Compression::Gzip) => {
                Body::packed(parcel.body().to_vec(), parcel.rows(), parcel.bytes())
            }
            _ => Body::plain(parcel.body().to_vec(), parcel.rows()),
        };
        Box::pin(async move {
            verdict(match &self.protocol {
                Protocol::Hec(_, client, _) => client.send(&body).await,
                Protocol::Syslog(_, client) => {
                    let sent = if parcel.is_suspect() {
                        client.send_alone(&body).await
                    } else {
                        client.send(&body).await
                    };
                    match sent {
                        syslog::Sent::Decided(outcome) => outcome,
                        syslog::Sent::Accepted(proof) => {
                            let unproven = (self.unproven.clone(), parcel.rows());
                            return Verdict::Accepted(confirmation(proof, unproven));
                        }
                    }
                }
                Protocol::File(_, file) => file.send(&body).await,
                Protocol::Stdout(_, stdout) => stdout.send(&body).await,
            })
        })
    }

    fn confirm(&self) {
        if let Protocol::Syslog(_, client) = &self.protocol {
            client.confirm();
        }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Protocol::Syslog(_, client) = &self.protocol
                && client.close(FAREWELL).await == syslog::Closed::Unconfirmed
            {
                let sink = self.name.as_str();
                tracing::warn!(
                    sink,
                    address = %client.target(),
                    "the receiver did not confirm that it has read everything; no data lost: what it did not \
                     confirm is sent again after the next start"
                );
            }
        })
    }
}

/// A syslog client confirms, or ends before it could. Rows that are delivered by their age are counted.
fn confirmation(proof: syslog::Confirmation, unproven: (Counter, usize)) -> Confirmation {
    Confirmation::new(async move {
        match proof.proof().await {
            Some(Ok(syslog::Proof::Read)) => return Verdict::Delivered,
            Some(Err(cause)) => return verdict(Outcome::Divide { cause }),
            Some(Ok(syslog::Proof::Age)) => {
                let (counter, rows) = unproven;
                counter.increment(rows as u64);
                return Verdict::Delivered;
            }
            None => {}
        }
        let text = "the connection was closed before the receiver confirmed; no data lost";
        Verdict::Retry { after: None, cause: forwarder_pipeline::Cause::new("closed", text) }
    })
}

/// The one place where a receiver's last word becomes a verdict.
fn verdict(outcome: Outcome) -> Verdict {
    let said = |cause: Cause| forwarder_pipeline::Cause::new(cause.reason(), cause.to_string());
    match outcome {
        Outcome::Delivered => Verdict::Delivered,
        Outcome::Retry { after, cause } => Verdict::Retry { after, cause: said(cause) },
        Outcome::Reject { row, cause } => Verdict::Reject { rows: vec![row], cause: said(cause) },
        Outcome::Divide { cause } => Verdict::Divide { cause: said(cause) },
        Outcome::Hold { cause } => Verdict::Hold { cause: said(cause) },
    }
}

/// Says early which sinks do not answer. That stops nothing: their rows wait.
pub async fn report_who_is_down(sinks: &[Arc<WiredSink>]) {
    let probes = sinks.iter().map(async |sink| (sink, sink.reachable().await));
    for (sink, answer) in futures_util::future::join_all(probes).await {
        let (sink, delivered_means) = (sink.name(), sink.promise());
        match answer {
            Ok(()) => tracing::info!(sink, delivered_means, "sink answers"),
            Err(cause) => {
                tracing::warn!(sink, %cause, "sink does not answer yet, its logs will wait")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every outcome of a receiver keeps its meaning in the pipeline.
    #[test]
    fn outcomes_become_verdicts() {
        let cause = || Cause::new("x", "why");
        let second = Duration::from_secs(1);
        assert!(matches!(verdict(Outcome::Delivered), Verdict::Delivered));
        let retry = verdict(Outcome::Retry { after: Some(second), cause: cause() });
        assert!(matches!(retry, Verdict::Retry { after: Some(after), .. } if after == second));
        let reject = verdict(Outcome::Reject { row: 7, cause: cause() });
        assert!(matches!(reject, Verdict::Reject { rows, .. } if rows == [7]));
        assert!(matches!(verdict(Outcome::Divide { cause: cause() }), Verdict::Divide { .. }));
        let hold = verdict(Outcome::Hold { cause: cause() });
        assert!(matches!(hold, Verdict::Hold { cause } if cause.to_string() == "why"));
    }
}
