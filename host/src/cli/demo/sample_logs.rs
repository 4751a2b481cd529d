//! A few logs, as they are in SLS and as they arrive: one of each kind, picked before the start.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use forwarder_emulator::samples::Samples;
use forwarder_receivers::{hec, syslog};
use forwarder_record::encode::log_group_list;
use forwarder_record::{Batch, Limits, Origin};

/// The field that numbers the samples; it is the last one of each log.
const ID_KEY: &str = "\"seq\":\"";

/// Kinds of logs to show.
const TOPICS: [&str; 2] = ["actiontrail_audit_event", "oss_access_log"];

/// Logs among which one of each kind is found.
const AMONG: u64 = 5_000;

/// One log in flight.
#[derive(Debug, Clone, Default)]
pub(super) struct SampleLog {
    pub(super) topic: String,
    /// The log as SLS has it, as JSON.
    pub(super) before: String,
    /// The envelope that the HEC receiver took.
    pub(super) hec: Option<String>,
    /// The text of the message that the syslog receiver took.
    pub(super) syslog: Option<String>,
}

/// The picked logs by their ids.
#[derive(Debug, Clone, Default)]
pub(super) struct SampleLogs {
    by_id: Arc<Mutex<BTreeMap<String, SampleLog>>>,
}

impl SampleLogs {
    /// Picks one log of each kind from the samples that follow from `seed`.
    pub(super) fn pick(seed: u64) -> Self {
        let mut by_id = BTreeMap::new();
        let mut wanted = TOPICS.to_vec();
        for group in Samples::audit(seed).groups(AMONG) {
            let block = log_group_list([group.encoded()]).into();
            let batch = Batch::decode(block, Origin::default(), &Limits::default());
            let Ok(batch) = batch else { continue };
            let Some(row) = batch.rows().next() else { continue };
            let (Some(id), Some(nth)) =
                (row.get("seq"), wanted.iter().position(|topic| *topic == row.topic()))
            else {
                continue;
            };
            let fields = row.original().into_iter().map(|(key, value)| (key, value.into()));
            let before = serde_json::Value::Object(fields.collect()).to_string();
            let topic = wanted.remove(nth).to_owned();
            by_id.insert(id.value.to_owned(), SampleLog { topic, before, ..SampleLog::default() });
        }
        Self { by_id: Arc::new(Mutex::new(by_id)) }
    }

    /// What has been seen of them.
    pub(super) fn all(&self) -> Vec<SampleLog> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Gives the HEC receiver the id of an envelope, and keeps those that were picked.
    pub(super) fn hec_extract(&self) -> Arc<hec::Extract> {
        let sample_logs = self.clone();
        Arc::new(move |envelope: &str| {
            let id = id_of(envelope)?;
            sample_logs.keep(id, |sample_log| sample_log.hec = Some(envelope.to_owned()));
            Some(id.to_owned())
        })
    }

    /// The same for the syslog receiver.
    pub(super) fn syslog_extract(&self) -> Arc<syslog::Extract> {
        let sample_logs = self.clone();
        Arc::new(move |message: &syslog::Parsed<'_>| {
            let text = std::str::from_utf8(message.msg).ok()?;
            let id = id_of(text)?;
            sample_logs.keep(id, |sample_log| sample_log.syslog = Some(text.to_owned()));
            Some(id.to_owned())
        })
    }

    fn keep(&self, id: &str, note: impl FnOnce(&mut SampleLog)) {
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sample_log) = by_id.get_mut(id) {
            note(sample_log);
        }
    }
}

/// The value of the last `seq`: an earlier one would be inside the JSON of a log.
fn id_of(json: &str) -> Option<&str> {
    let (_, after) = json.rsplit_once(ID_KEY)?;
    after.split('"').next()
}
