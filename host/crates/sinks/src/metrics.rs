//! Every metric of this crate. Names are an interface.

use std::sync::atomic::{AtomicBool, Ordering};

use forwarder_connector::{Cause, EncodeReport};
use metrics::{Counter, counter, describe_counter};

use crate::notes::Notes;

const TRUNCATED_RECORDS: &str = "forwarder_truncated_records_total";
const AMBIGUOUS_RECORDS: &str = "forwarder_ambiguous_records_total";
const UNPROVEN_RECORDS: &str = "forwarder_unproven_records_total";
const OWN_TIME_RECORDS: &str = "forwarder_own_time_records_total";

/// Registers the help texts. Once per process.
pub fn describe() {
    describe_counter!(TRUNCATED_RECORDS, "rows whose end was cut off to fit a sink's limit");
    describe_counter!(AMBIGUOUS_RECORDS, "rows a reader of the sink cannot take apart for certain");
    describe_counter!(
        UNPROVEN_RECORDS,
        "rows that count as delivered by their age, since the receiver does not show what it has read"
    );
    describe_counter!(
        OWN_TIME_RECORDS,
        "rows sent with the log's own time, since `time_field` holds none"
    );
}

/// Counts rows that count as delivered without a proof, by sink.
pub(crate) fn unproven(sink: &str) -> Counter {
    counter!(UNPROVEN_RECORDS, "sink" => sink.to_owned())
}

/// Counts what a sink's encoder notes.
pub(crate) struct NoteMeters {
    sink: String,
    truncated: Counter,
    ambiguous: Counter,
    missing_times: Counter,
    unreadable_times: Counter,
    is_own_time_logged: AtomicBool,
}

impl NoteMeters {
    pub(crate) fn new(sink: &str) -> Self {
        let own_time =
            |reason| counter!(OWN_TIME_RECORDS, "sink" => sink.to_owned(), "reason" => reason);
        Self {
            sink: sink.to_owned(),
            truncated: counter!(TRUNCATED_RECORDS, "sink" => sink.to_owned()),
            ambiguous: counter!(AMBIGUOUS_RECORDS, "sink" => sink.to_owned()),
            missing_times: own_time("missing"),
            unreadable_times: own_time("unreadable"),
            is_own_time_logged: AtomicBool::new(false),
        }
    }

    /// Counts the notes, and returns what the core has to know of them.
    pub(crate) fn report(&self, notes: Notes) -> EncodeReport {
        self.truncated.increment(notes.truncated as u64);
        self.ambiguous.increment(notes.ambiguous as u64);
        self.count_own_times(&notes);
        let rejected = notes
            .oversize
            .into_iter()
            .map(|oversize| (oversize.row, Cause::new("oversize", oversize.to_string())));
        EncodeReport { rejected: rejected.collect(), blank: notes.empty.len() }
    }

    fn count_own_times(&self, notes: &Notes) {
        let Notes { missing_times: missing, unreadable_times: unreadable, .. } = *notes;
        if missing + unreadable == 0 {
            return;
        }
        self.missing_times.increment(missing as u64);
        self.unreadable_times.increment(unreadable as u64);
        if !self.is_own_time_logged.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                sink = %self.sink,
                missing,
                unreadable,
                "logs without a readable time in `time_field` are sent with the time at which SLS has them; \
                 reported once, counted in {OWN_TIME_RECORDS}"
            );
        }
    }
}
