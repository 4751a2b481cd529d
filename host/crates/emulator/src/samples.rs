//! Realistic logs in any number, the same ones every time.
//!
//! The shapes are those of the vendor's audit topics; addresses come from the ranges set aside for
//! documentation (RFC 5737, RFC 3849), and accounts, keys and names are invented. Everything follows
//! from the seed and the log's number, so a test knows what must arrive.

mod access;
mod actiontrail;
mod flow;
mod oss;
mod random;
mod rds;
mod slb;

use forwarder_record::encode::{Log, LogGroup};

use crate::grouping::{GroupSize, Grouping};
use crate::log_group::EncodedGroup;
use random::Random;

/// 2026-01-02T03:04:05Z, the first second of the samples.
const FIRST_SECOND: u64 = 1_767_323_045;

/// Logs of one second.
const LOGS_PER_SECOND: u64 = 50;

/// A shape of log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// ActionTrail: one field `event` with JSON of about 1.8 KB; half of the calls only read.
    ActionTrail,
    /// Access logs of object storage.
    OssAccess,
    /// SQL statements of a database.
    RdsAudit,
    /// Requests through a layer 7 load balancer.
    SlbLayer7,
    /// Flow logs of a virtual network; their field names hold hyphens.
    FlowLog,
    /// Access logs of a web server: 24 fields, about 0.75 KB.
    WebAccess,
}

impl Kind {
    const fn topic(self) -> &'static str {
        match self {
            Self::ActionTrail => "actiontrail_audit_event",
            Self::OssAccess => "oss_access_log",
            Self::RdsAudit => "rds_audit_log",
            Self::SlbLayer7 => "slb_layer7_access_log",
            Self::FlowLog => "flow_log",
            Self::WebAccess => "access_log",
        }
    }

    const fn source(self) -> &'static str {
        match self {
            Self::ActionTrail => "actiontrail_internal",
            Self::WebAccess => "192.0.2.10",
            _ => "",
        }
    }

    fn fields(self, random: &mut Random, second: u64) -> Vec<(&'static str, String)> {
        match self {
            Self::ActionTrail => vec![("event", actiontrail::event(random, second))],
            Self::OssAccess => oss::fields(random, second),
            Self::RdsAudit => rds::fields(random, second),
            Self::SlbLayer7 => slb::fields(random, second),
            Self::FlowLog => flow::fields(random, second),
            Self::WebAccess => access::fields(random, second),
        }
    }
}

/// A generator of samples.
#[derive(Debug, Clone)]
pub struct Samples {
    seed: u64,
    /// What to write, and how many parts of the whole.
    kinds: Vec<(Kind, u32)>,
    size: GroupSize,
    first: u64,
    id_key: Option<&'static str>,
    broken_every: Option<u64>,
}

impl Samples {
    /// The mixture of an audit logstore: much ActionTrail, some of everything else.
    pub fn audit(seed: u64) -> Self {
        let others = [(Kind::OssAccess, 25), (Kind::RdsAudit, 10), (Kind::SlbLayer7, 15)];
        let kinds = [(Kind::ActionTrail, 40), (Kind::FlowLog, 10)].into_iter().chain(others);
        Self { kinds: kinds.collect(), ..Self::of(Kind::ActionTrail, seed) }
    }

    /// Logs of one kind.
    pub fn of(kind: Kind, seed: u64) -> Self {
        Self {
            seed,
            kinds: vec![(kind, 1)],
            size: GroupSize::default(),
            first: 0,
            id_key: Some("seq"),
            broken_every: None,
        }
    }

    /// The most that goes into one group.
    #[must_use]
    pub fn group_size(mut self, size: GroupSize) -> Self {
        self.size = size;
        self
    }

    /// The number of the first log, to continue where an earlier run ended. 0 unless said otherwise.
    #[must_use]
    pub fn starting_at(mut self, number: u64) -> Self {
        self.first = number;
        self
    }

    /// The field that holds each log's id, [`Samples::id`] of its number; `seq` unless said otherwise,
    /// `None` for logs as the vendor writes them.
    #[must_use]
    pub fn id_key(mut self, key: Option<&'static str>) -> Self {
        self.id_key = key;
        self
    }

    /// Cuts the JSON of every so many ActionTrail logs short, as producers that truncate do.
    #[must_use]
    pub fn broken_every(mut self, logs: u64) -> Self {
        self.broken_every = Some(logs);
        self
    }

    /// The id of the log with this number.
    pub fn id(number: u64) -> String {
        format!("{number:08}")
    }

    /// The first `logs` logs, in groups of one kind each.
    pub fn groups(&self, logs: u64) -> impl Iterator<Item = EncodedGroup> + use<> {
        let generator = self.clone();
        let end = self.first.saturating_add(logs);
        let mut next = self.first;
        std::iter::from_fn(move || {
            let (group, after) = generator.group(next, end)?;
            next = after;
            Some(group)
        })
    }

    /// The group that begins with log `first`, and the number after its last log.
    fn group(&self, first: u64, end: u64) -> Option<(EncodedGroup, u64)> {
        let mut random = Random::new(self.seed, first);
        let kind = self.kind(&mut random)?;
        let receive_time = (second_of(first) + random.below(20)).to_string();
        let head = LogGroup {
            topic: kind.topic().to_owned(),
            source: kind.source().to_owned(),
            tags: vec![("__receive_time__".to_owned(), receive_time)],
            logs: Vec::new(),
        };
        let mut grouping = Grouping::new(self.size);
        for number in first..end {
            if let Some(group) = grouping.push(&head, self.log(kind, number)) {
                return Some((group, number));
            }
        }
        grouping.close().map(|group| (group, end))
    }

    fn log(&self, kind: Kind, number: u64) -> Log {
        // Seeded by the number and not by what came before: a log does not depend on its group.
        let mut random = Random::new(!self.seed, number);
        let second = second_of(number);
        let mut fields = kind.fields(&mut random, second);
        if self.broken_every.is_some_and(|every| number.is_multiple_of(every.max(1)))
            && let (Kind::ActionTrail, Some((_, event))) = (kind, fields.first_mut())
        {
            event.truncate(event.floor_char_boundary(event.len() * 3 / 5));
        }
        fields.extend(self.id_key.map(|key| (key, Self::id(number))));
        let contents = fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let nanos = matches!(kind, Kind::SlbLayer7 | Kind::WebAccess)
            .then(|| random.between(1, 999_999_999) as u32);
        Log { time: second as u32, nanos, contents }
    }

    fn kind(&self, random: &mut Random) -> Option<Kind> {
        let parts = self.kinds.iter().map(|(_, parts)| u64::from(*parts)).sum();
        let mut part = random.below(parts);
        let mine = |(_, parts): &&(Kind, u32)| {
            let inside = part < u64::from(*parts);
            part = part.saturating_sub(u64::from(*parts));
            inside
        };
        self.kinds.iter().find(mine).map(|(kind, _)| *kind)
    }
}

const fn second_of(number: u64) -> u64 {
    FIRST_SECOND + number / LOGS_PER_SECOND
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;

    fn values(groups: &[EncodedGroup], key: &str) -> Vec<String> {
        groups.iter().flat_map(|group| group.values_of(key).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn every_log_has_its_id_whatever_the_groups_look_like() {
        for logs in [1, 7, 200] {
            let samples = Samples::audit(1).group_size(GroupSize { logs, ..GroupSize::default() });
            let groups: Vec<_> = samples.starting_at(10).groups(1000).collect();
            let expected: Vec<_> = (10..1010).map(Samples::id).collect();
            assert_eq!(values(&groups, "seq"), expected);
            assert!(groups.iter().all(|group| group.log_count() <= logs));
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_logs_and_another_seed_others() {
        let all = |seed| Samples::audit(seed).groups(500).collect::<Vec<_>>();
        assert_eq!(all(7), all(7));
        assert_ne!(all(7), all(8));
    }

    #[test]
    fn all_kinds_occur_in_a_mixture() {
        let mut topics = BTreeMap::<_, usize>::new();
        for group in Samples::audit(1).groups(100_000) {
            let topic = String::from_utf8(group.metadata("__topic__").unwrap().to_vec()).unwrap();
            *topics.entry(topic).or_default() += group.log_count();
        }
        assert_eq!(topics.len(), 5, "{topics:?}");
        assert!(topics["actiontrail_audit_event"] > 30_000, "{topics:?}");
    }

    #[test]
    fn about_half_of_the_calls_only_read_and_every_event_is_json() {
        let groups: Vec<_> = Samples::of(Kind::ActionTrail, 3).groups(4000).collect();
        let events = values(&groups, "event");
        let parsed = events.iter().map(|event| serde_json::from_str::<Value>(event).unwrap());
        let reads = parsed.filter(|event| event["eventRW"] == "Read").count();
        assert!((1800..2200).contains(&reads), "{reads} of 4000");
        assert!(events.iter().any(|event| !event.is_ascii()));
        assert!(groups.iter().any(|group| !group.encoded().is_ascii()));
    }

    #[test]
    fn truncated_events_come_as_often_as_asked() {
        let groups: Vec<_> =
            Samples::of(Kind::ActionTrail, 3).broken_every(10).groups(100).collect();
        let broken = |event: &&String| serde_json::from_str::<Value>(event).is_err();
        assert_eq!(values(&groups, "event").iter().filter(broken).count(), 10);
    }

    #[test]
    fn logs_have_the_sizes_that_benchmarks_are_quoted_for() {
        for (kind, fields, bytes) in
            [(Kind::ActionTrail, 1, 1650..2000), (Kind::WebAccess, 24, 720..800)]
        {
            let groups: Vec<_> = Samples::of(kind, 5).id_key(None).groups(2000).collect();
            let raw: usize = groups.iter().map(|group| group.entry().len()).sum();
            assert!(bytes.contains(&(raw / 2000)), "{kind:?} has {} bytes", raw / 2000);
            let log = groups[0].logs().next().unwrap();
            assert_eq!(log.contents().count(), fields, "{kind:?}");
        }
    }
}
