//! The other direction: log groups to protobuf, for the emulator, for tests and for `PutLogs`.
//!
//! Field numbers are those that `decode.rs` lists.

/// A log group under construction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogGroup {
    /// Topic of all logs of the group.
    pub topic: String,
    /// Source of all logs of the group, usually an address.
    pub source: String,
    /// Tags of all logs of the group: name without `__tag__:`, value.
    pub tags: Vec<(String, String)>,
    /// The logs.
    pub logs: Vec<Log>,
}

/// One log under construction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// Seconds since the Unix epoch.
    pub time: u32,
    /// Nanoseconds below one second, if known.
    pub nanos: Option<u32>,
    /// Fields in order.
    pub contents: Vec<(String, String)>,
}

impl LogGroup {
    /// The group as a protobuf `LogGroup`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for log in &self.logs {
            put_bytes(&mut out, 1, &log.encode());
        }
        put_bytes(&mut out, 3, self.topic.as_bytes());
        put_bytes(&mut out, 4, self.source.as_bytes());
        for (key, value) in &self.tags {
            put_bytes(&mut out, 6, &encode_pair(key, value));
        }
        out
    }
}

impl Log {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![0x08];
        put_varint(&mut out, u64::from(self.time));
        for (key, value) in &self.contents {
            put_bytes(&mut out, 2, &encode_pair(key, value));
        }
        if let Some(nanos) = self.nanos {
            out.push(0x25);
            out.extend_from_slice(&nanos.to_le_bytes());
        }
        out
    }
}

/// A `LogGroupList` of groups that are encoded already, as `PullLogs` answers it.
pub fn log_group_list<'a>(groups: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for group in groups {
        put_bytes(&mut out, 1, group);
    }
    out
}

fn encode_pair(key: &str, value: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + value.len() + 8);
    put_bytes(&mut out, 1, key.as_bytes());
    put_bytes(&mut out, 2, value.as_bytes());
    out
}

/// A length-delimited field.
fn put_bytes(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
