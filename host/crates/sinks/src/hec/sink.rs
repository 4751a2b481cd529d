//! A collector as a sink.

use bytes::Bytes;
use forwarder_connector::{Answer, Body, BodyLimits, Cause, EncodeReport, Sink};
use forwarder_record::{Batch, Encoded, RowIx};
use futures_util::future::BoxFuture;

use super::client::Client;
use super::event::{Encoder, EncoderSettings};
use super::settings::{BadClient, ClientSettings};
use crate::MAX_ROWS;
use crate::metrics::NoteMeters;
use crate::template::Template;

/// What is sent to a collector, and how it is reached.
#[derive(Debug, Clone)]
pub struct HecSettings {
    /// How events are to look.
    pub events: EncoderSettings,
    /// How the collector is reached.
    pub collector: ClientSettings,
}

/// Sends rows as events to one collector.
pub struct HecSink {
    name: String,
    max_body: usize,
    /// The index that events are for.
    index: Template,
    encoder: Encoder,
    client: Client,
    meters: NoteMeters,
}

impl HecSink {
    /// A sink with bodies of at most `max_body` bytes before compression. Connects to nothing yet; blocks on reading
    /// certificates.
    ///
    /// # Errors
    ///
    /// [`BadClient`] when the TLS settings cannot work.
    pub fn new(name: &str, max_body: usize, settings: HecSettings) -> Result<Self, BadClient> {
        let HecSettings { events, collector } = settings;
        Ok(Self {
            name: name.to_owned(),
            max_body,
            index: events.index.clone(),
            encoder: Encoder::new(&events),
            client: Client::new(collector)?,
            meters: NoteMeters::new(name),
        })
    }
}

impl Sink for HecSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn delivered_means(&self) -> &'static str {
        "Splunk has answered with code 0"
    }

    fn encode(&self, batch: &Batch, rows: &[RowIx], out: &mut Encoded) -> EncodeReport {
        self.meters.report(self.encoder.encode(batch, rows, out))
    }

    fn packs(&self) -> bool {
        self.encoder.compresses()
    }

    fn pack(&self, segments: Vec<Bytes>, rows: usize) -> Body {
        self.encoder.pack(segments, rows)
    }

    fn limits(&self) -> BodyLimits {
        BodyLimits { max_bytes: self.max_body.min(self.client.body_limit()), max_rows: MAX_ROWS }
    }

    fn deliver<'a>(&'a self, body: &'a Body) -> BoxFuture<'a, Answer> {
        Box::pin(async { self.client.send(body).await.into() })
    }

    fn reachable(&self) -> BoxFuture<'_, Result<(), Cause>> {
        Box::pin(self.client.reachable())
    }

    fn probe(&self) -> BoxFuture<'_, Result<Vec<String>, Cause>> {
        Box::pin(async {
            let fixed = self.index.as_fixed();
            let mut unknown = self.client.probe(fixed.filter(|index| !index.is_empty())).await?;
            if fixed.is_none() {
                unknown
                    .push("whether the indexes that logs choose by `index` are allowed".to_owned());
            }
            Ok(unknown)
        })
    }
}
