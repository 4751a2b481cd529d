//! What the operator may say, checked.

use std::cell::Cell;
use std::collections::BTreeMap;

use serde::Deserialize;

/// The config of the plugin; its module documentation has the keys.
#[derive(Debug, Deserialize)]
#[serde(try_from = "RawConfig")]
pub struct Config {
    pub(crate) topics: Vec<String>,
    /// Never empty.
    pub(crate) fields: Vec<String>,
    /// The first of `fields`, in which inner values are looked up.
    pub(crate) main_field: String,
    pub(crate) drop_events: Vec<EventName>,
    pub(crate) drop_read_only: bool,
    pub(crate) lift: BTreeMap<String, Path>,
    /// Whether events without a name were reported. A cache of one bit: a new instance may
    /// say it once more.
    reported: Cell<bool>,
}

impl Config {
    pub(crate) fn every_topic(&self) -> bool {
        self.topics.iter().any(|topic| topic == "*")
    }

    /// True once.
    pub(crate) fn first_nameless(&self) -> bool {
        !self.reported.replace(true)
    }
}

/// The name of an event, or the beginning of one.
#[derive(Debug)]
pub(crate) enum EventName {
    Exactly(String),
    Beginning(String),
}

impl EventName {
    pub(crate) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exactly(listed) => name == listed,
            Self::Beginning(prefix) => name.starts_with(prefix.as_str()),
        }
    }

    fn parse(text: String) -> Result<Self, String> {
        let name = match text.strip_suffix('*') {
            Some(prefix) => Self::Beginning(prefix.to_owned()),
            None => Self::Exactly(text.clone()),
        };
        let (Self::Exactly(literal) | Self::Beginning(literal)) = &name;
        if literal.contains('*') {
            return Err(format!("`drop_events`: `{text}` has a `*` that is not at its end"));
        }
        if text.is_empty() {
            return Err("`drop_events`: an event name is empty".to_owned());
        }
        Ok(name)
    }
}

/// Where a value is, inside a JSON field.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a path is text with dots between its steps, or a list of steps")]
pub(crate) enum Path {
    Dotted(String),
    Steps(Vec<String>),
}

impl Path {
    pub(crate) fn steps(&self) -> impl Iterator<Item = &str> {
        let (dotted, steps) = match self {
            Self::Dotted(text) => (Some(text.split('.')), [].as_slice()),
            Self::Steps(steps) => (None, steps.as_slice()),
        };
        dotted.into_iter().flatten().chain(steps.iter().map(String::as_str))
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Dotted(text) => text.is_empty(),
            Self::Steps(steps) => steps.is_empty(),
        }
    }
}

/// Both topics that the vendor documents for ActionTrail logs: that of trails, and that of the Log Audit Service.
const TOPICS: [&str; 2] = ["actiontrail_audit_event", "actiontrail_event"];

/// The config as it is written.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawConfig {
    topics: Vec<String>,
    fields: Vec<String>,
    drop_events: Vec<String>,
    drop_read_only: bool,
    lift: BTreeMap<String, Path>,
}

impl Default for RawConfig {
    fn default() -> Self {
        Self {
            topics: TOPICS.map(str::to_owned).to_vec(),
            fields: vec!["event".to_owned()],
            drop_events: Vec::new(),
            drop_read_only: false,
            lift: BTreeMap::new(),
        }
    }
}

impl TryFrom<RawConfig> for Config {
    type Error = String;

    fn try_from(raw: RawConfig) -> Result<Self, Self::Error> {
        let RawConfig { topics, fields, drop_events, drop_read_only, lift } = raw;
        if topics.is_empty() {
            return Err(
                "`topics` is empty, so that nothing would be done; write [\"*\"] for every \
                        log"
                .to_owned(),
            );
        }
        let Some(main_field) = fields.first().cloned() else {
            return Err("`fields` is empty; name the fields that hold JSON".to_owned());
        };
        if let Some((name, _)) = lift.iter().find(|(_, path)| path.is_empty()) {
            return Err(format!("`lift.{name}`: the path is empty"));
        }
        let drop_events =
            drop_events.into_iter().map(EventName::parse).collect::<Result<_, _>>()?;
        let reported = Cell::new(false);
        Ok(Self { topics, fields, main_field, drop_events, drop_read_only, lift, reported })
    }
}
