//! From a request body to what is recorded of it: the rules an event must meet, and what is kept.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::envelope::{Candidate, Envelope, Envelopes, RawEnvelope};
use super::fields::{check_fields, member_of};
use super::reply::{Code, Reply};
use super::request::Metadata;
use crate::register::Entries;

/// Body bytes examined between two chances for other tasks to run, about a fifth of a millisecond.
const STRIDE: usize = 128 * 1024;

/// What a collector remembers of the events it accepts.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Mode {
    /// Everything: for tests of some thousands of events.
    Events,
    /// One id per event and how often it came: for millions. Events are still checked in full.
    Ids(IdFrom),
    /// Bytes and requests only: for measuring a sender. Bodies are neither decompressed nor parsed, so
    /// nothing in them is refused and no events are counted.
    Counts,
}

/// Where the id of an event is found.
#[derive(Clone)]
#[non_exhaustive]
pub enum IdFrom {
    /// A key of the envelope's `fields`.
    Field(String),
    /// A member of the event: of the object, or of the object inside a string event.
    Member(String),
    /// Whatever this makes of the whole envelope's JSON text (raw endpoint: of the line).
    With(Arc<Extract>),
}

/// Makes an id of an envelope's JSON text; see [`IdFrom::With`].
pub type Extract = dyn Fn(&str) -> Option<String> + Send + Sync;

impl fmt::Debug for IdFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => f.debug_tuple("Field").field(name).finish(),
            Self::Member(name) => f.debug_tuple("Member").field(name).finish(),
            Self::With(_) => f.write_str("With(..)"),
        }
    }
}

/// What was said at start about every event.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) mode: Mode,
    /// Allowed indexes; empty allows any.
    pub(crate) indexes: Vec<String>,
    pub(crate) max_event_bytes: usize,
}

/// Whether a refusal says which event of the request it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadEvent {
    /// With `invalid-event-number`.
    Named,
    /// Without it: the sender has to find the event by itself.
    Unnamed,
}

/// A predicate that makes events invalid, and whether the reply says which one it was.
pub(crate) struct Poison {
    pub(crate) naming: BadEvent,
    pub(crate) is_bad: Box<dyn Fn(&Candidate<'_>) -> bool + Send + Sync>,
}

/// What became of a body: the events up to the first bad one, and the refusal if there was one.
pub(crate) struct BodyEvents<'a> {
    pub(crate) entries: Entries<'a, Envelope>,
    pub(crate) refusal: Option<Reply>,
}

impl Rules {
    /// Whether `index` may be written to.
    pub(crate) fn allows_index(&self, index: Option<&str>) -> bool {
        index.is_none_or(|index| {
            self.indexes.is_empty() || self.indexes.iter().any(|allowed| allowed == index)
        })
    }

    /// Reads concatenated envelopes.
    pub(crate) async fn read_events<'a>(
        &self,
        body: &'a str,
        channel: Option<&str>,
        poison: Option<&Poison>,
    ) -> BodyEvents<'a> {
        let mut entries = self.no_entries();
        let mut envelopes = Envelopes::new(body);
        let mut pause_at = STRIDE;
        let mut index = 0;
        while let Some(read) = envelopes.next() {
            let refusal = match read {
                Err(code) => Some(Reply::event(code, index)),
                Ok((json, sent)) => {
                    let candidate = Candidate { index, json };
                    self.admit(candidate, &sent, channel, poison, &mut entries).err()
                }
            };
            if refusal.is_some() {
                return BodyEvents { entries, refusal };
            }
            index += 1;
            if envelopes.offset() >= pause_at {
                pause_at = envelopes.offset() + STRIDE;
                tokio::task::yield_now().await;
            }
        }
        let refusal = (index == 0).then(|| Reply::code(Code::NoData));
        BodyEvents { entries, refusal }
    }

    /// Reads lines of text, each an event of its own.
    pub(crate) fn read_lines<'a>(
        &self,
        body: &'a str,
        metadata: &Metadata,
        poison: Option<&Poison>,
    ) -> BodyEvents<'a> {
        let mut entries = self.no_entries();
        let lines = body.lines().filter(|line| !line.trim().is_empty());
        for (index, line) in lines.enumerate() {
            if let Some(refusal) = refused_by(poison, &Candidate { index, json: line }) {
                return BodyEvents { entries, refusal: Some(refusal) };
            }
            match &mut entries {
                Entries::Items(items) => items.push(metadata.envelope(line)),
                Entries::Ids(ids) => ids.push(match &self.mode {
                    Mode::Ids(IdFrom::With(extract)) => extract(line).map(Cow::Owned),
                    _ => None,
                }),
                Entries::Count(count) => *count += 1,
            }
        }
        let refusal = (entries.len() == 0).then(|| Reply::code(Code::NoData));
        BodyEvents { entries, refusal }
    }

    fn admit<'a>(
        &self,
        candidate: Candidate<'a>,
        sent: &RawEnvelope<'a>,
        channel: Option<&str>,
        poison: Option<&Poison>,
        entries: &mut Entries<'a, Envelope>,
    ) -> Result<(), Reply> {
        let refused = |code| Reply::event(code, candidate.index);
        if candidate.json.len() > self.max_event_bytes {
            return Err(refused(Code::InvalidFormat));
        }
        sent.check().map_err(refused)?;
        if !self.allows_index(sent.index.as_ref().map(|index| &*index.0)) {
            return Err(refused(Code::IncorrectIndex));
        }
        let wanted = match &self.mode {
            Mode::Ids(IdFrom::Field(name)) => Some(name.as_str()),
            _ => None,
        };
        let field = match sent.fields {
            Some(fields) => {
                check_fields(fields, wanted).map_err(|_| refused(Code::IndexedFields))?
            }
            None => None,
        };
        if let Some(refusal) = refused_by(poison, &candidate) {
            return Err(refusal);
        }
        match entries {
            Entries::Items(items) => {
                let envelope = sent.to_envelope(channel);
                items.push(envelope.map_err(|_| refused(Code::InvalidFormat))?);
            }
            Entries::Ids(ids) => ids.push(match &self.mode {
                Mode::Ids(IdFrom::Member(name)) => {
                    sent.event.and_then(|event| member_of(event, name))
                }
                Mode::Ids(IdFrom::With(extract)) => extract(candidate.json).map(Cow::Owned),
                _ => field,
            }),
            Entries::Count(count) => *count += 1,
        }
        Ok(())
    }

    fn no_entries<'a>(&self) -> Entries<'a, Envelope> {
        match self.mode {
            Mode::Events => Entries::Items(Vec::new()),
            Mode::Ids(_) => Entries::Ids(Vec::new()),
            Mode::Counts => Entries::Count(0),
        }
    }
}

fn refused_by(poison: Option<&Poison>, candidate: &Candidate<'_>) -> Option<Reply> {
    let poison = poison.filter(|poison| (poison.is_bad)(candidate))?;
    Some(match poison.naming {
        BadEvent::Named => Reply::event(Code::InvalidFormat, candidate.index),
        BadEvent::Unnamed => Reply::code(Code::InvalidFormat),
    })
}
