//! How single logs become log groups.

use forwarder_record::encode::{Log, LogGroup};

use crate::log_group::EncodedGroup;

/// The most that goes into one log group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupSize {
    /// Logs; at least one is taken.
    pub logs: usize,
    /// Bytes of keys and values; one log is taken whatever its size.
    pub bytes: usize,
}

impl Default for GroupSize {
    /// What collecting agents typically send.
    fn default() -> Self {
        Self { logs: 200, bytes: 512 * 1024 }
    }
}

/// Collects logs until their group is full.
#[derive(Debug)]
pub(crate) struct Grouping {
    size: GroupSize,
    /// Topic, source and tags of the group being filled, and its logs.
    open: LogGroup,
    bytes: usize,
}

impl Grouping {
    pub(crate) fn new(size: GroupSize) -> Self {
        Self { size, open: LogGroup::default(), bytes: 0 }
    }

    /// Adds a log; returns the group that had to be closed for it, because it was full or because the
    /// log has another topic, source or tags (those of `head`; its own logs are not looked at).
    pub(crate) fn push(&mut self, head: &LogGroup, log: Log) -> Option<EncodedGroup> {
        let bytes: usize = log.contents.iter().map(|(key, value)| key.len() + value.len()).sum();
        let same = self.open.topic == head.topic
            && self.open.source == head.source
            && self.open.tags == head.tags;
        let fits = self.open.logs.len() < self.size.logs && self.bytes + bytes <= self.size.bytes;
        let closed = if same && fits { None } else { self.close() };
        if self.open.logs.is_empty() {
            self.open = LogGroup { logs: Vec::new(), ..head.clone() };
        }
        self.bytes += bytes;
        self.open.logs.push(log);
        closed
    }

    /// The group filled so far, unless it is empty.
    pub(crate) fn close(&mut self) -> Option<EncodedGroup> {
        let group = std::mem::take(&mut self.open);
        self.bytes = 0;
        (!group.logs.is_empty()).then(|| EncodedGroup::from(&group))
    }
}
