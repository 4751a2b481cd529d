//! What an encoder left out of its bytes, or could only write with a change.

use forwarder_record::{RowIx, Time};

use crate::template::EventTime;

/// The encoder's account of the rows it was given: each is in the encoded bytes or in one of these lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "rows named here were not written and are still to be accounted for"]
pub struct Notes {
    /// Rows with nothing left to send: no field, or only the time. Not written; receivers refuse blank
    /// events. To be counted, and settled as dropped on purpose.
    pub empty: Vec<RowIx>,
    /// Rows larger than the sink may send. Not written; to be rejected.
    pub oversize: Vec<Oversize>,
    /// Rows that were written with their end cut off, as configured.
    pub truncated: usize,
    /// Rows that were written with the log's own time, since the field that should hold their time is not there.
    pub missing_times: usize,
    /// The same, since what the field holds is not a time.
    pub unreadable_times: usize,
    /// Rows that were written although a reader cannot take them apart for certain: a value holds the
    /// separator in the sample's unescaped form.
    pub ambiguous: usize,
}

impl Notes {
    /// The time to send, having noted where it comes from.
    #[inline]
    pub(crate) fn time(&mut self, time: EventTime) -> Time {
        match time {
            EventTime::Read(time) => time,
            EventTime::Missing(time) => {
                self.missing_times += 1;
                time
            }
            EventTime::Unreadable(time) => {
                self.unreadable_times += 1;
                time
            }
        }
    }
}

/// A row that is too large for its sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the message has {bytes} bytes and `max_message` is {limit}; raise it as far as the receiver allows, or set `oversize = \"truncate\"`"
)]
pub struct Oversize {
    /// The row.
    pub row: RowIx,
    /// What it would have taken.
    pub bytes: usize,
    /// What it may take.
    pub limit: usize,
}
