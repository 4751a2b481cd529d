//! Where a log came from, and the name that stays with it for life.

use std::fmt;
use std::sync::Arc;

/// The place in SLS that a batch was pulled from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// Name of the source in the configuration.
    pub source: Arc<str>,
    /// SLS project.
    pub project: Arc<str>,
    /// SLS logstore.
    pub logstore: Arc<str>,
    /// Shard number.
    pub shard: u32,
    /// Cursor integer of the block's first log group; consecutive groups have consecutive integers.
    /// `None` where a query regroups the logs on the server, so that no stable number exists.
    pub first_cursor: Option<u64>,
}

/// The stable name of one event: project, logstore, shard, cursor of the log group, row in the group and, for
/// events that a plugin added, the ordinal below the row they are like.
///
/// The same log has the same id however often it is pulled, so a receiver can distinguish a repetition from a new log.
/// Written as `project/logstore/shard/cursor/row` with `.n` appended per emission.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventId(String);

impl EventId {
    pub(crate) const fn new(id: String) -> Self {
        Self(id)
    }

    /// Without the formatting machinery, which costs several times as much.
    pub(crate) fn write<'o>(
        id: &mut String,
        origin: &Origin,
        cursor: u64,
        row: u32,
        ordinals: impl Iterator<Item = &'o u32>,
    ) {
        let mut number = itoa::Buffer::new();
        for name in [&origin.project, &origin.logstore] {
            id.push_str(name);
            id.push('/');
        }
        id.push_str(number.format(origin.shard));
        id.push('/');
        id.push_str(number.format(cursor));
        id.push('/');
        id.push_str(number.format(row));
        for &ordinal in ordinals {
            id.push('.');
            id.push_str(number.format(ordinal));
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The time of an event: seconds since the Unix epoch and nanoseconds below one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time {
    /// Whole seconds since 1970-01-01T00:00:00Z, at most [`Time::MAX_SECONDS`].
    pub seconds: u64,
    /// 0 to 999,999,999.
    pub nanos: u32,
}

impl Time {
    /// 9999-12-31T23:59:59Z, the last second that RFC 3339 can write.
    pub const MAX_SECONDS: u64 = 253_402_300_799;

    /// Nanoseconds since the epoch; times after the year 2554 saturate.
    pub const fn as_nanos(self) -> u64 {
        self.seconds.saturating_mul(1_000_000_000).saturating_add(self.nanos as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_the_place_and_the_emission() {
        let origin =
            Origin { project: "p".into(), logstore: "l".into(), shard: 3, ..Origin::default() };
        for (ordinals, expected) in [(vec![], "p/l/3/7/2"), (vec![0, 4], "p/l/3/7/2.0.4")] {
            let mut id = String::new();
            EventId::write(&mut id, &origin, 7, 2, ordinals.iter());
            assert_eq!(id, expected);
        }
    }
}
