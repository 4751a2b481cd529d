//! A syslog receiver as a sink.

use std::time::Duration;

use forwarder_connector::{
    Answer, Body, BodyLimits, Cause, Confirmation, EncodeReport, Sink, Verdict,
};
use forwarder_record::{Batch, Encoded, RowIx};
use futures_util::future::BoxFuture;
use metrics::Counter;

use super::client::{Client, ClientSettings};
use super::encoder::{BadSettings, Encoder, EncoderSettings};
use super::proof::{PendingProof, Proof, Sent};
use super::request::Closed;
use crate::MAX_ROWS;
use crate::metrics::{self as meters, NoteMeters};
use crate::tls::TlsError;

/// How long a receiver may take to show that it has read everything, when the sink is closed.
const CLOSING_TIME: Duration = Duration::from_secs(3);

/// What is sent to a receiver, and how it is reached.
#[derive(Debug, Clone)]
pub struct SyslogSettings {
    /// How messages are to look.
    pub messages: EncoderSettings,
    /// How the receiver is reached.
    pub receiver: ClientSettings,
}

/// Sends rows as messages to one receiver.
pub struct SyslogSink {
    name: String,
    max_body: usize,
    encoder: Encoder,
    client: Client,
    meters: NoteMeters,
    unproven: Counter,
}

/// Settings from which no syslog sink can be made.
#[derive(Debug, thiserror::Error)]
pub enum BadSink {
    /// No receiver would understand its messages.
    #[error(transparent)]
    Messages(#[from] BadSettings),
    /// Trust roots or client certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl SyslogSink {
    /// A sink with bodies of at most `max_body` bytes. Connects to nothing yet; must be called on a tokio runtime,
    /// and blocks on reading certificates.
    ///
    /// # Errors
    ///
    /// See [`BadSink`].
    pub fn new(name: &str, max_body: usize, settings: SyslogSettings) -> Result<Self, BadSink> {
        let SyslogSettings { messages, receiver } = settings;
        Ok(Self {
            name: name.to_owned(),
            max_body,
            encoder: Encoder::new(&messages)?,
            client: Client::start(name, receiver)?,
            meters: NoteMeters::new(name),
            unproven: meters::unproven(name),
        })
    }

    /// The client confirms, or ends before it could. Rows that are delivered by their age are counted.
    fn confirmation(&self, pending: PendingProof, rows: usize) -> Confirmation {
        let unproven = self.unproven.clone();
        Confirmation::new(async move {
            match pending.proof().await {
                Some(Ok(Proof::Read)) => Verdict::Delivered,
                Some(Ok(Proof::Age)) => {
                    unproven.increment(rows as u64);
                    Verdict::Delivered
                }
                Some(Err(cause)) => Verdict::Divide { cause },
                None => {
                    let text =
                        "the connection was closed before the receiver confirmed; no data lost";
                    Verdict::Retry { after: None, cause: Cause::new("closed", text) }
                }
            }
        })
    }
}

impl Sink for SyslogSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn delivered_means(&self) -> &'static str {
        if self.client.waits_for_proof() {
            "the receiver has read it, as its orderly end of a connection shows"
        } else {
            "the receiver's kernel has acknowledged it"
        }
    }

    fn encode(&self, batch: &Batch, rows: &[RowIx], out: &mut Encoded) -> EncodeReport {
        self.meters.report(self.encoder.encode(batch, rows, out))
    }

    fn limits(&self) -> BodyLimits {
        BodyLimits { max_bytes: self.max_body.min(self.client.body_limit()), max_rows: MAX_ROWS }
    }

    fn deliver<'a>(&'a self, body: &'a Body) -> BoxFuture<'a, Answer> {
        Box::pin(async {
            match self.client.send(body).await {
                Sent::Decided(verdict) => verdict.into(),
                Sent::Accepted(pending) => {
                    Answer::Accepted(self.confirmation(pending, body.rows()))
                }
            }
        })
    }

    fn confirm(&self) {
        self.client.confirm();
    }

    fn probe(&self) -> BoxFuture<'_, Result<Vec<String>, Cause>> {
        Box::pin(async { self.client.probe().await.map(|()| Vec::new()) })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if self.client.close(CLOSING_TIME).await == Closed::Unconfirmed {
                tracing::warn!(
                    sink = %self.name,
                    address = %self.client.target(),
                    "the receiver did not confirm that it has read everything; no data lost: what it did not \
                     confirm is sent again after the next start"
                );
            }
        })
    }
}
