//! A plain HTTP client that says what came back.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use forwarder_receivers::hec::HecReceiver;
use reqwest::Client;
use serde_json::Value;

pub(crate) const CHANNEL: &str = "0aeeac95-ac74-4aa9-b30d-6c4c0ac581ba";

/// Long enough for a busy machine; only a failing test waits this long.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) struct Splunk {
    client: Client,
    url: String,
    token: String,
}

impl Splunk {
    pub(crate) fn of(receiver: &HecReceiver) -> Self {
        // A second installation is refused, and changes nothing.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let redirects = reqwest::redirect::Policy::none();
        let client = Client::builder().no_proxy().redirect(redirects).build().unwrap();
        Self { client, url: receiver.url(), token: receiver.token() }
    }

    pub(crate) fn post(
        &self,
        path: &str,
        body: impl Into<reqwest::Body>,
    ) -> reqwest::RequestBuilder {
        self.client
            .post(format!("{}{path}", self.url))
            .header("authorization", format!("Splunk {}", self.token))
            .body(body)
    }

    /// A request without a token.
    pub(crate) fn anonymous(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.post(format!("{}{path}", self.url)).body(event("x"))
    }

    pub(crate) fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(format!("{}{path}", self.url))
    }

    /// Sends envelopes; what came back as status and JSON body.
    pub(crate) async fn send(&self, body: impl Into<reqwest::Body>) -> (u16, Value) {
        said(self.post("/services/collector/event", body)).await
    }

    /// Sends envelopes in the test's channel.
    pub(crate) async fn send_in_channel(&self, body: String) -> (u16, Value) {
        let request = self.post("/services/collector/event", body);
        said(request.header("x-splunk-request-channel", CHANNEL)).await
    }

    /// Asks about acknowledgements in the test's channel.
    pub(crate) async fn ask(&self, query: &'static str) -> (u16, Value) {
        said(self.post(&format!("/services/collector/ack?channel={CHANNEL}"), query)).await
    }

    /// Sends envelopes, and reports whether any reply came.
    pub(crate) async fn is_answered(&self, body: String) -> bool {
        self.post("/services/collector/event", body).send().await.is_ok()
    }
}

/// Status and JSON body of a reply; a body that is not JSON is `null`.
pub(crate) async fn said(request: reqwest::RequestBuilder) -> (u16, Value) {
    let reply = request.send().await.expect("a reply");
    let status = reply.status().as_u16();
    let body = reply.bytes().await.expect("a whole reply");
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

pub(crate) fn event(id: &str) -> String {
    format!(r#"{{"event":{{"id":"{id}"}},"fields":{{"event_id":"{id}"}}}}"#)
}

pub(crate) fn events<'a>(ids: impl IntoIterator<Item = &'a str>) -> String {
    ids.into_iter().map(event).collect()
}

pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}
