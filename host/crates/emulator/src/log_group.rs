//! Log groups as the service stores them: encoded, and framed for a LogGroupList.
//!
//! A pull then only joins stored bytes, whatever they hold: unknown fields, invalid UTF-8 and odd
//! encodings come back exactly as they were put. The message numbers are those of the vendor's
//! `logs.proto`: LogGroup { 1 Logs, 3 Topic, 4 Source, 6 LogTags }, Log { 1 Time, 2 Contents, 4 Time_ns },
//! Content and LogTag { 1 Key, 2 Value }.

use bytes::Bytes;
use forwarder_record::encode;

pub use forwarder_record::protobuf::Malformed;
use forwarder_record::protobuf::{Field, Value, fields};

const LOGS: u32 = 1;
const TOPIC: u32 = 3;
const SOURCE: u32 = 4;
const TAGS: u32 = 6;

/// One encoded log group. Clones share the bytes, so a corpus may be stored many times over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedGroup {
    /// The group as an element of a LogGroupList: tag, length, group.
    entry: Bytes,
    /// Where the group begins in `entry`.
    start: usize,
    logs: usize,
}

impl EncodedGroup {
    /// Takes an encoded LogGroup, as the body of PutLogs holds it.
    ///
    /// # Errors
    /// [`Malformed`] if it is not a protobuf message down to its keys and values.
    pub fn from_encoded(group: &[u8]) -> Result<Self, Malformed> {
        let mut logs = 0;
        for log in Self::logs_of(group) {
            for content in log?.contents() {
                content?;
            }
            logs += 1;
        }
        Ok(Self::framed(group, logs))
    }

    /// Frames an encoded group.
    fn framed(group: &[u8], logs: usize) -> Self {
        let entry: Bytes = encode::log_group_list([group]).into();
        Self { start: entry.len() - group.len(), entry, logs }
    }

    /// The group framed as an element of a LogGroupList.
    pub fn entry(&self) -> &Bytes {
        &self.entry
    }

    /// The encoded LogGroup.
    pub fn encoded(&self) -> &[u8] {
        self.entry.get(self.start..).unwrap_or_default()
    }

    /// How many logs it holds.
    pub fn log_count(&self) -> usize {
        self.logs
    }

    /// Its logs, in order.
    pub fn logs(&self) -> impl Iterator<Item = Log<'_>> {
        Self::logs_of(self.encoded()).filter_map(Result::ok)
    }

    /// The value of `key` in each log that has it, invalid UTF-8 replaced; for tests that compare
    /// sets of ids.
    pub fn values_of<'a>(&'a self, key: &'a str) -> impl Iterator<Item = String> + 'a {
        self.logs().filter_map(move |log| {
            let mut contents = log.contents().filter_map(Result::ok);
            let (_, value) = contents.find(|(name, _)| *name == key.as_bytes())?;
            Some(String::from_utf8_lossy(value).into_owned())
        })
    }

    /// The topic, source or tag that a query may name: `__topic__`, `__source__`, `__tag__:k`.
    pub(crate) fn metadata(&self, key: &str) -> Option<&[u8]> {
        let tag = key.strip_prefix("__tag__:");
        let mut found = None;
        let group = self.encoded();
        for (field, _) in fields(group).filter_map(Result::ok) {
            let Value::Bytes(range) = field.value else { continue };
            let bytes = range.of(group);
            match (field.number, tag) {
                (TOPIC, _) if key == "__topic__" => found = Some(bytes),
                (SOURCE, _) if key == "__source__" => found = Some(bytes),
                (TAGS, Some(tag)) => {
                    let (name, value) = pair(bytes).unwrap_or_default();
                    found = if name == tag.as_bytes() { Some(value) } else { found };
                }
                _ => {}
            }
        }
        found
    }

    /// The group with only the logs that `keep` accepts, all else word for word; `None` if none is left.
    pub(crate) fn filtered(&self, mut keep: impl FnMut(&Log<'_>) -> bool) -> Option<Self> {
        let mut parts = Vec::new();
        let mut logs = 0;
        let group = self.encoded();
        for (field, raw) in fields(group).filter_map(Result::ok) {
            match Log::of(group, field) {
                Some(log) if !keep(&log) => {}
                Some(_) => {
                    logs += 1;
                    parts.push(raw);
                }
                None => parts.push(raw),
            }
        }
        (logs > 0).then(|| Self::framed(&parts.concat(), logs))
    }

    fn logs_of(group: &[u8]) -> impl Iterator<Item = Result<Log<'_>, Malformed>> {
        fields(group).filter_map(|field| match field {
            Ok((field, _)) => Log::of(group, field).map(Ok),
            Err(malformed) => Some(Err(malformed)),
        })
    }
}

impl From<&encode::LogGroup> for EncodedGroup {
    fn from(group: &encode::LogGroup) -> Self {
        Self::framed(&group.encode(), group.logs.len())
    }
}

/// One log of a group, still encoded.
#[derive(Debug, Clone, Copy)]
pub struct Log<'a> {
    message: &'a [u8],
}

impl<'a> Log<'a> {
    /// The log that a field of a group holds, if it holds one.
    fn of(group: &'a [u8], field: Field) -> Option<Self> {
        match field {
            Field { number: LOGS, value: Value::Bytes(range) } => {
                Some(Self { message: range.of(group) })
            }
            _ => None,
        }
    }

    /// `Time`, in Unix seconds; 0 if it is missing.
    pub fn time(&self) -> u32 {
        let times = fields(self.message).filter_map(Result::ok);
        let times = times.filter_map(|(field, _)| match (field.number, field.value) {
            (1, Value::Varint(time)) => Some(time as u32),
            _ => None,
        });
        times.last().unwrap_or_default()
    }

    /// Keys and values, in wire order.
    pub fn contents(
        &self,
    ) -> impl Iterator<Item = Result<(&'a [u8], &'a [u8]), Malformed>> + use<'a> {
        let message = self.message;
        fields(message).filter_map(move |field| match field {
            Ok((Field { number: 2, value: Value::Bytes(range) }, _)) => {
                Some(pair(range.of(message)))
            }
            Ok(_) => None,
            Err(malformed) => Some(Err(malformed)),
        })
    }

    /// The last value of `key`, as flattening would choose it.
    pub(crate) fn value(&self, key: &str) -> Option<&'a [u8]> {
        let named = |(name, value): (&[u8], &'a [u8])| (name == key.as_bytes()).then_some(value);
        self.contents().filter_map(Result::ok).filter_map(named).last()
    }
}

/// Reads a Content or LogTag; a missing half is empty.
fn pair(message: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let mut pair: (&[u8], &[u8]) = (&[], &[]);
    for field in fields(message) {
        match field? {
            (Field { number: 1, value: Value::Bytes(key) }, _) => pair.0 = key.of(message),
            (Field { number: 2, value: Value::Bytes(value) }, _) => pair.1 = value.of(message),
            _ => {}
        }
    }
    Ok(pair)
}

#[cfg(test)]
mod tests {
    use forwarder_record::encode::{Log, LogGroup};

    use super::EncodedGroup;

    fn group() -> EncodedGroup {
        let text = |text: &str| text.to_owned();
        let log = |time, value| Log { time, nanos: None, contents: vec![(text("k"), text(value))] };
        EncodedGroup::from(&LogGroup {
            topic: text("t"),
            source: text("s"),
            tags: vec![(text("host"), text("a"))],
            logs: vec![log(7, "1"), log(8, "2")],
        })
    }

    #[test]
    fn what_was_encoded_reads_back() {
        let group = EncodedGroup::from_encoded(group().encoded()).unwrap();
        assert_eq!(group.log_count(), 2);
        assert_eq!(group.logs().map(|log| log.time()).collect::<Vec<_>>(), [7, 8]);
        assert_eq!(group.values_of("k").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(group.metadata("__topic__"), Some(b"t".as_slice()));
        assert_eq!(group.metadata("__tag__:host"), Some(b"a".as_slice()));
        assert_eq!(group.entry().len(), group.encoded().len() + 2);
    }

    #[test]
    fn filtering_keeps_metadata_and_the_bytes_of_the_logs_kept() {
        let kept = group().filtered(|log| log.value("k") == Some(b"1")).unwrap();
        assert_eq!(kept.log_count(), 1);
        assert_eq!(kept.metadata("__source__"), Some(b"s".as_slice()));
        assert!(group().filtered(|_| false).is_none());
    }

    #[test]
    fn bytes_that_are_no_text_are_kept_as_given() {
        let group = b"\x0a\x09\x08\x07\x12\x05\x0a\x01k\x12\x01\xff\x7a\x01?";
        assert!(EncodedGroup::from_encoded(group).is_err(), "a length is off by one");
        let group = b"\x0a\x0a\x08\x07\x12\x06\x0a\x01k\x12\x01\xff\x7a\x01?";
        assert_eq!(EncodedGroup::from_encoded(group).unwrap().encoded(), group);
    }

    #[test]
    fn a_group_cut_short_is_malformed() {
        let encoded = group().encoded().to_vec();
        assert!(EncodedGroup::from_encoded(&encoded[..encoded.len() - 1]).is_err());
        assert!(EncodedGroup::from_encoded(b"\x0a\x02\x12").is_err());
        assert!(EncodedGroup::from_encoded(b"\x0a\x04\x12\x02\x0a\x05").is_err());
    }
}
