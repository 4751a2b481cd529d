//! Logs by number: the same number always gives the same log.

use std::collections::BTreeMap;
use std::ops::Range;

use forwarder_emulator::log_group::EncodedGroup;
use forwarder_record::encode::{Log, LogGroup};

/// Topic of the logs of the tests, unless a test wants another.
pub const TOPIC: &str = "access";
const SOURCE: &str = "192.0.2.7";
const HOST: &str = "web-1";

/// A range of log numbers.
#[derive(Debug, Clone)]
pub struct Logs(pub Range<u64>);

impl Logs {
    /// Log groups of at most `per_group` logs each.
    pub fn groups(&self, per_group: u64) -> impl Iterator<Item = EncodedGroup> {
        self.groups_about(TOPIC, per_group)
    }

    /// The same with another topic.
    pub fn groups_about(&self, topic: &str, per_group: u64) -> impl Iterator<Item = EncodedGroup> {
        let end = self.0.end;
        self.0.clone().step_by(per_group.max(1) as usize).map(move |first| {
            let numbers = first..(first + per_group).min(end);
            let group = LogGroup {
                topic: topic.into(),
                source: SOURCE.into(),
                tags: vec![("__hostname__".into(), HOST.into())],
                logs: numbers.map(log).collect(),
            };
            EncodedGroup::from_encoded(&group.encode()).expect("a group we encoded is well formed")
        })
    }

    /// What a receiver must have seen: one fingerprint per log.
    pub fn fingerprints(&self) -> impl Iterator<Item = String> {
        self.fingerprints_about(TOPIC)
    }

    /// The same with another topic.
    pub fn fingerprints_about(&self, topic: &str) -> impl Iterator<Item = String> {
        self.0.clone().map(move |number| Fingerprint::of(fields(number, topic)).text(number))
    }
}

fn log(number: u64) -> Log {
    Log { time: time(number), nanos: None, contents: contents(number) }
}

const fn time(number: u64) -> u32 {
    1_767_323_045 + (number % 100_000) as u32
}

/// Short fields, long ones, quotes, other scripts: something of everything.
fn contents(number: u64) -> Vec<(String, String)> {
    let status = if number.is_multiple_of(7) { "404" } else { "200" };
    [
        ("number", number.to_string()),
        ("status", status.to_owned()),
        ("request_uri", format!("/items/{}?q=\"{}\"&\\", number % 997, number)),
        ("user_agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36".to_owned()),
        ("user", format!("张三 {}", number % 13)),
        ("body", "lorem ipsum ".repeat((number % 20) as usize)),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// A log as it is once flattened.
fn fields(number: u64, topic: &str) -> Vec<(String, String)> {
    let metadata = [
        ("__topic__".to_owned(), topic.to_owned()),
        ("__source__".to_owned(), SOURCE.to_owned()),
        ("__tag__:__hostname__".to_owned(), HOST.to_owned()),
    ];
    contents(number).into_iter().chain(metadata).collect()
}

/// A number that changes when any field of a log does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Of fields in any order.
    pub fn of(fields: impl IntoIterator<Item = (String, String)>) -> Self {
        let sorted: BTreeMap<String, String> = fields.into_iter().collect();
        // FNV-1a: the same in every process and version.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for (key, value) in &sorted {
            for byte in key.bytes().chain([0]).chain(value.bytes()).chain([1]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        Self(hash)
    }

    /// Number and fingerprint, as the receivers record them.
    pub fn text(self, number: u64) -> String {
        format!("{number}:{:016x}", self.0)
    }

    /// The fingerprint of what a receiver got: the fields of a log and its time. `None` if it has no number.
    pub fn of_received(
        seconds: u64,
        fields: impl IntoIterator<Item = (String, String)>,
    ) -> Option<String> {
        let fields: Vec<(String, String)> = fields.into_iter().collect();
        let number = fields.iter().find(|(key, _)| key == "number")?.1.parse().ok()?;
        if seconds != u64::from(time(number)) {
            return Some(format!("{number}:wrong time {seconds}"));
        }
        Some(Self::of(fields).text(number))
    }
}
