//! Asking a collector what it would do with our events, without sending one.
//!
//! An empty request meets the same checks of address, token and channel as a full one, and Splunk answers
//! it with code 5, "No data", once it has passed them. An envelope without an event may show whether the
//! index is allowed. Splunk stores neither. The health page is asked too, but decides nothing: balancers
//! often do not forward it.

use forwarder_connector::{Cause, Verdict};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde_json::json;

use super::client::{Client, Unreachable};
use super::reply::Reply;

/// Splunk's code for a request without an event, which has passed all other checks.
const NO_DATA: u16 = 5;
/// For an index that does not exist or that the token may not write to.
const INCORRECT_INDEX: u16 = 7;
/// For an envelope without an event.
const EVENT_REQUIRED: u16 = 12;

impl Client {
    /// Asks whether a collector answers at all. A health page that is missing or foreign is no reason to
    /// think that events are not taken.
    ///
    /// # Errors
    ///
    /// Why not, and what to do.
    pub async fn reachable(&self) -> Result<(), Cause> {
        let reply = self.health().await.map_err(|unreachable| unreachable.cause())?;
        match reply.code {
            Some(_) => self.health_refusal(&reply),
            None => Ok(()),
        }
    }

    /// Asks the address that events are posted to what it would do with them: whether the token is taken
    /// and wants no acknowledgement, and as far as it says whether `index` is allowed. Returns what could
    /// not be found out.
    ///
    /// # Errors
    ///
    /// Why events would not be taken, and what to do.
    pub async fn probe(&self, index: Option<&str>) -> Result<Vec<String>, Cause> {
        let mut unknown = Vec::new();
        let empty = self.try_post(Vec::new()).await?;
        if empty.code == Some(NO_DATA) {
            if let Some(index) = index {
                unknown.extend(self.probe_index(index).await?);
            }
        } else {
            refusal(&self.verdict(&empty))?;
            let what = if index.is_some() { "token and index" } else { "the token" };
            unknown.push(format!(
                "the collector accepts an empty request (HTTP {}), where Splunk answers code {NO_DATA}; \
                 whether it accepts {what} shows with the first events",
                empty.status
            ));
        }
        match self.health().await {
            Ok(reply) if reply.code.is_some() => unknown.extend(
                self.health_refusal(&reply)
                    .err()
                    .map(|cause| format!("events may be taken all the same, but: {cause}")),
            ),
            Ok(reply) => unknown.push(format!(
                "there is no HEC health page (HTTP {}); events may be taken all the same",
                reply.status
            )),
            Err(unreachable) => unknown.push(format!("no answer about health: {unreachable}")),
        }
        Ok(unknown)
    }

    async fn probe_index(&self, index: &str) -> Result<Option<String>, Cause> {
        let envelope = json!({ "index": index }).to_string();
        let reply = self.try_post(envelope.into_bytes()).await?;
        match reply.code {
            Some(INCORRECT_INDEX) => refusal(&self.verdict(&reply)).map(|()| None),
            Some(EVENT_REQUIRED) => Ok(Some(format!(
                "the collector did not say whether the token may write to index `{index}`; a wrong \
                 index shows with the first events"
            ))),
            _ => Ok(Some(format!(
                "whether the token may write to index `{index}` is not known: HTTP {}, {}",
                reply.status, reply.text
            ))),
        }
    }

    async fn try_post(&self, body: Vec<u8>) -> Result<Reply, Cause> {
        let access = self.access().await;
        let json = HeaderValue::from_static("application/json");
        let url = self.endpoint().event.clone();
        let call = format!("POST {url}");
        let request = |http: &reqwest::Client| http.post(url).body(body).header(CONTENT_TYPE, json);
        let answer = self.ask(&access, call, request).await;
        answer.map_err(|unreachable| unreachable.cause())
    }

    async fn health(&self) -> Result<Reply, Unreachable> {
        let access = self.access().await;
        let url = self.endpoint().health.clone();
        self.ask(&access, format!("GET {url}"), |http| http.get(url)).await
    }

    /// What an answer to an empty post means.
    fn verdict(&self, reply: &Reply) -> Verdict {
        reply.verdict(&format!("POST {}", self.endpoint().as_str()), 0, self.success())
    }

    fn health_refusal(&self, reply: &Reply) -> Result<(), Cause> {
        if reply.is_healthy() {
            return Ok(());
        }
        let call = format!("GET {}", self.endpoint().health);
        refusal(&reply.verdict(&call, 0, self.success()))
    }
}

fn refusal(verdict: &Verdict) -> Result<(), Cause> {
    verdict.cause().map_or(Ok(()), |cause| Err(cause.clone()))
}
