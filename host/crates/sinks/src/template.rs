//! Settings whose value comes from the log: `"{account|unknown}"`.
//!
//! Read once, when the sink is set up. What cannot be read is refused then, and a brace never reaches a receiver
//! as a part of such a setting unless it was written doubled.

use std::borrow::Cow;

use forwarder_record::{Format, Row, Time, json};

/// Longest value that is written into an envelope or a header, in bytes. Hosts, indexes and source types are names.
const MAX_VALUE: usize = 1_024;

/// A field of the log, a value inside its JSON, or what Log Service keeps with it.
///
/// `account` is a field; `event.userIdentity.accountId` the field of that name or else the value at that path
/// in the JSON of the field `event`; `__topic__`, `__source__`, `__project__`, `__logstore__` and `__shard__` are
/// where the log came from, which contents cannot forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPath {
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Topic,
    Source,
    Project,
    Logstore,
    Shard,
    Field { name: String, first: String, rest: Vec<String> },
}

/// A setting that cannot be read as a template or path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadTemplate {
    /// A brace that opens or closes nothing.
    #[error(
        "`{0}` has a single brace; write `{{name}}` for the value of a field, `{{{{` or `}}}}` for a brace"
    )]
    SingleBrace(String),
    /// Doubled braces around a name, as other programs write it.
    #[error(
        "`{{{{{0}}}}}` would be sent as it stands; write `{{{0}}}` for the value of that field"
    )]
    Doubled(String),
    /// Nothing between the braces, or something that no field is called.
    #[error(
        "`{{{0}}}` names no field; write `{{name}}`, `{{field.member}}` for a value inside JSON, or `{{name|default}}`"
    )]
    Name(String),
}

impl FieldPath {
    /// Reads `field` or `field.member.0`.
    ///
    /// # Errors
    ///
    /// [`BadTemplate::Name`] for an empty step, white space around it, or braces.
    pub fn parse(text: &str) -> Result<Self, BadTemplate> {
        let place = match text {
            "__topic__" => Place::Topic,
            "__source__" => Place::Source,
            "__project__" => Place::Project,
            "__logstore__" => Place::Logstore,
            "__shard__" => Place::Shard,
            _ => {
                let mut steps = text.split('.').map(str::to_owned);
                let first = steps.next().unwrap_or_default();
                let rest: Vec<_> = steps.collect();
                let is_bad = |step: &String| step.is_empty() || step.trim() != step;
                let is_empty = is_bad(&first) || rest.iter().any(is_bad);
                if is_empty || text.contains(['{', '}', '|']) {
                    return Err(BadTemplate::Name(text.to_owned()));
                }
                Place::Field { name: text.to_owned(), first, rest }
            }
        };
        Ok(Self { place })
    }

    /// The value of a row; `None` if it is not there, empty, or JSON's `null`.
    pub fn get<'a>(&self, row: &Row<'a>) -> Option<Cow<'a, str>> {
        let origin = row.origin();
        let value = match &self.place {
            Place::Topic => Cow::Borrowed(row.topic()),
            Place::Source => Cow::Borrowed(row.source()),
            Place::Project => Cow::Borrowed(&*origin.project),
            Place::Logstore => Cow::Borrowed(&*origin.logstore),
            Place::Shard => Cow::Owned(origin.shard.to_string()),
            Place::Field { name, first, rest } => match row.get(name) {
                Some(cell) if cell.format == Format::Text => Cow::Borrowed(cell.value),
                Some(cell) => json::text_of(cell.value),
                None if rest.is_empty() => return None,
                None => {
                    let found = json::find(row.get(first)?.value, rest)?;
                    json::text_of(found)
                }
            },
        };
        (!value.is_empty() && value != "null").then_some(value)
    }
}

/// Text with values of the log in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Value { path: FieldPath, default: String },
}

impl Template {
    /// Text that is the same for every log, braces included.
    pub fn fixed(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { parts: if text.is_empty() { Vec::new() } else { vec![Part::Text(text)] } }
    }

    /// Reads text in which `{name}` or `{name|default}` stands for a value and a doubled brace for a brace.
    ///
    /// # Errors
    ///
    /// [`BadTemplate`] for any other brace, and for what is not a name.
    pub fn parse(text: &str) -> Result<Self, BadTemplate> {
        let single = || BadTemplate::SingleBrace(text.to_owned());
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some((run, tail)) = rest.find(['{', '}']).and_then(|at| rest.split_at_checked(at))
        {
            literal.push_str(run);
            rest = if let Some(after) = tail.strip_prefix("{{") {
                refuse_doubled(after)?;
                literal.push('{');
                after
            } else if let Some(after) = tail.strip_prefix("}}") {
                literal.push('}');
                after
            } else {
                let inside = tail.strip_prefix('{').ok_or_else(single)?;
                let (inside, after) = inside.split_once('}').ok_or_else(single)?;
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(value(inside)?);
                after
            };
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self { parts })
    }

    /// The text, if it is the same for every log.
    pub fn as_fixed(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text for a log without any of the fields.
    pub fn without_fields(&self) -> String {
        let parts = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Value { default, .. } => default.as_str(),
        });
        parts.collect()
    }

    /// Writes the text for a row to `out`, which is cleared first. What is longer than any name is cut.
    pub fn render(&self, row: &Row<'_>, out: &mut String) {
        out.clear();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Value { path, default } => match path.get(row) {
                    Some(value) => out.push_str(at_most(&value, MAX_VALUE)),
                    None => out.push_str(default),
                },
            }
        }
        let keep = at_most(out, MAX_VALUE).len();
        out.truncate(keep);
    }
}

fn value(inside: &str) -> Result<Part, BadTemplate> {
    let (name, default) = inside.split_once('|').unwrap_or((inside, ""));
    let path = FieldPath::parse(name).map_err(|_| BadTemplate::Name(inside.to_owned()))?;
    if default.contains('{') {
        return Err(BadTemplate::Name(inside.to_owned()));
    }
    Ok(Part::Value { path, default: default.to_owned() })
}

/// `{{ name }}` is how many other programs write a value: people who write it do not mean braces.
fn refuse_doubled(after: &str) -> Result<(), BadTemplate> {
    let Some((inside, _)) = after.split_once("}}") else { return Ok(()) };
    let name = inside.trim();
    let is_name = !name.is_empty()
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | ':' | '|'));
    if is_name { Err(BadTemplate::Doubled(name.to_owned())) } else { Ok(()) }
}

/// The beginning of a text, cut between two characters.
fn at_most(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Seconds by which an event may be later than its log, because of clocks that differ. What lies further ahead, the
/// year 9999 for "never" say, would stand at the top of every search for years.
const AHEAD: u64 = 24 * 60 * 60;

/// No event is older than 2000-01-01T00:00:00Z: Log Service is younger, and what is read as an earlier time is a number
/// that is not a time (0 for "none", a count, a duration), or a clock that was never set.
const EARLIEST: u64 = 946_684_800;

/// The time that a row is sent with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventTime {
    /// As it should be.
    Read(Time),
    /// The log's own, since the field is not there.
    Missing(Time),
    /// The log's own, since what the field holds is not a time, or one that an event cannot have.
    Unreadable(Time),
}

impl EventTime {
    /// The time in a field of the row; without a field that is the log's.
    #[inline]
    pub(crate) fn of(row: &Row<'_>, field: Option<&FieldPath>) -> Self {
        let Some(field) = field else { return Self::Read(row.time()) };
        match field.get(row) {
            None => Self::Missing(row.time()),
            Some(text) => match Time::parse(&text) {
                Some(time)
                    if time.seconds >= EARLIEST
                        && time.seconds <= row.time().seconds.saturating_add(AHEAD) =>
                {
                    Self::Read(time)
                }
                _ => Self::Unreadable(row.time()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use forwarder_record::encode::{Log, LogGroup, log_group_list};
    use forwarder_record::{Batch, Limits, Origin};

    use super::*;

    fn batch() -> Batch {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let event =
            r#"{"userIdentity":{"accountId":"123","mfa":true},"none":null,"list":["a"],"long":""}"#;
        let contents = vec![
            pair("account", "acme"),
            pair("never", "9999-12-31T23:59:59Z"),
            pair("zero", "0"),
            pair("early", "1999-12-31T23:59:59Z"),
            pair("first", "2000-01-01T00:00:00Z"),
            pair("empty", ""),
            pair("a.b", "dotted"),
            pair("event", event),
            pair("__topic__", "forged"),
            pair("long", &"杭".repeat(1_000)),
        ];
        let group = LogGroup {
            topic: "topic".into(),
            source: "10.0.0.1".into(),
            logs: vec![Log { time: 1_700_000_000, nanos: None, contents }],
            ..LogGroup::default()
        };
        let block = Bytes::from(log_group_list([group.encode().as_slice()]));
        let origin = Origin {
            project: "project".into(),
            logstore: "logstore".into(),
            shard: 7,
            ..Origin::default()
        };
        Batch::decode(block, origin, &Limits::default()).unwrap()
    }

    #[test]
    fn values_come_from_fields_json_and_metadata_or_are_the_default() {
        let batch = batch();
        let row = batch.rows().next().unwrap();
        for (template, text) in [
            ("plain", "plain"),
            ("", ""),
            ("{account}", "acme"),
            ("aliyun:{account}-{__shard__}", "aliyun:acme-7"),
            ("{event.userIdentity.accountId}", "123"),
            ("{event.userIdentity.mfa}", "true"),
            ("{event.list.0}", "a"),
            ("{event.none|unknown}", "unknown"),
            ("{event.absent|}", ""),
            ("{a.b}", "dotted"),
            ("{empty|none}", "none"),
            ("{missing}", ""),
            ("{missing|un known}", "un known"),
            ("{__topic__}/{__source__}", "topic/10.0.0.1"),
            ("{__project__}/{__logstore__}", "project/logstore"),
            ("{{{account}}}", "{acme}"),
            ("a{{b}}c d", "a{b}c d"),
        ] {
            let Ok(parsed) = Template::parse(template) else {
                assert_eq!(template, "a{{b}}c d", "a name in doubled braces is refused");
                continue;
            };
            let mut out = "left over".to_owned();
            parsed.render(&row, &mut out);
            assert_eq!(out, text, "{template}");
        }
        let mut out = String::new();
        Template::parse("{long}").unwrap().render(&row, &mut out);
        assert_eq!(out.chars().count(), MAX_VALUE / 3);
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_what_to_write() {
        for (text, hint) in [
            ("{", "`{{`"),
            ("a}b", "`}}`"),
            ("{account", "`{name}`"),
            ("{}", "`{name}`"),
            ("{ account }", "`{name}`"),
            ("{a..b}", "`{field.member}`"),
            ("{|x}", "`{name|default}`"),
            ("{{ account }}", "`{account}`"),
            ("{{account}}", "`{account}`"),
        ] {
            let message = Template::parse(text).unwrap_err().to_string();
            assert!(message.contains(hint), "{text}: {message}");
        }
        assert_eq!(Template::parse("a{{ b c").unwrap().as_fixed(), Some("a{ b c"));
        assert_eq!(Template::parse("{a|x}:{b}").unwrap().without_fields(), "x:");
    }

    #[test]
    fn a_time_is_read_or_the_logs_own_is_kept() {
        let batch = batch();
        let row = batch.rows().next().unwrap();
        let of = |path: &str| EventTime::of(&row, Some(&FieldPath::parse(path).unwrap()));
        let own = row.time();
        assert_eq!(of("first"), EventTime::Read(Time { seconds: EARLIEST, nanos: 0 }));
        for before in ["zero", "early", "event.userIdentity.accountId"] {
            assert_eq!(of(before), EventTime::Unreadable(own), "{before}");
        }
        assert_eq!(of("account"), EventTime::Unreadable(own));
        assert_eq!(of("never"), EventTime::Unreadable(own), "in the year 9999");
        assert_eq!(of("event.none"), EventTime::Missing(own));
        assert_eq!(EventTime::of(&row, None), EventTime::Read(own));
    }
}
