//! From messages without their framing to what is recorded of them.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::faults::{Ending, Faults};
use super::format_error::FormatError;
use super::framing::FramingError;
use super::message::{Message, Parsed};
use super::rfc3164::rfc3164;
use super::rfc5424::rfc5424;
use crate::ids::Ids;
use crate::register::{Entries, Register, Tally};

/// Broken messages and streams kept for inspection; the rest is only counted.
const KEPT_COMPLAINTS: usize = 100;

/// What a server remembers of the messages it accepts.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Mode {
    /// Everything: for tests of some thousands of messages.
    Messages,
    /// One id per message and how often it came: for millions. Messages are still parsed in full.
    Ids(IdFrom),
    /// Totals only, for measuring a sender: messages are cut out of the stream but not parsed, so none
    /// is malformed.
    Counts,
}

/// Where the id of a message is found.
#[derive(Clone)]
#[non_exhaustive]
pub enum IdFrom {
    /// A parameter of structured data.
    Param {
        /// SD-ID, for instance `sls@32473`.
        sd_id: String,
        /// PARAM-NAME.
        name: String,
    },
    /// Whatever this makes of the message.
    With(Arc<Extract>),
}

/// Makes an id of a message; see [`IdFrom::With`].
pub type Extract = dyn Fn(&Parsed<'_>) -> Option<String> + Send + Sync;

impl fmt::Debug for IdFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Param { sd_id, name } => {
                f.debug_struct("Param").field("sd_id", sd_id).field("name", name).finish()
            }
            Self::With(_) => f.write_str("With(..)"),
        }
    }
}

impl IdFrom {
    fn id_of<'a>(&self, message: &Parsed<'a>) -> Option<Cow<'a, str>> {
        match self {
            Self::Param { sd_id, name } => message.param(sd_id, name),
            Self::With(extract) => extract(message).map(Cow::Owned),
        }
    }
}

/// What messages must look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// RFC 5424 and nothing else.
    #[default]
    Rfc5424,
    /// RFC 3164 and nothing else.
    Rfc3164,
}

/// A message that broke the format.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Malformed {
    /// The first thing wrong with it.
    pub flaw: FormatError,
    /// The message as it came, without its framing.
    pub bytes: Vec<u8>,
}

/// Everything a server has accepted, at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Received {
    /// Totals.
    pub tally: Tally,
    /// The messages in order of arrival; empty unless the mode is [`Mode::Messages`].
    pub messages: Arc<Vec<Message>>,
    /// The ids; empty unless the mode is [`Mode::Ids`].
    pub ids: Arc<Ids>,
    /// The first hundred messages that broke the format.
    pub malformed: Vec<Malformed>,
    /// Why streams were given up; the first hundred.
    pub broken_streams: Vec<FramingError>,
}

/// Records what all connections and sockets of one server bring.
pub(crate) struct Intake {
    mode: Mode,
    format: Format,
    faults: Faults,
    register: Register<Message>,
    format_errors: Mutex<FormatErrors>,
}

#[derive(Default)]
struct FormatErrors {
    malformed: Vec<Malformed>,
    broken_streams: Vec<FramingError>,
}

/// Messages between one read and the register.
pub(crate) struct MessageBatch<'a> {
    entries: Entries<'a, Message>,
    bytes: u64,
    malformed: u64,
}

impl Intake {
    pub(crate) fn new(mode: Mode, format: Format, faults: Faults) -> Self {
        let register = Register::default();
        Self { mode, format, faults, register, format_errors: Mutex::default() }
    }

    pub(crate) fn register(&self) -> &Register<Message> {
        &self.register
    }

    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    pub(crate) fn received(&self) -> Received {
        let snapshot = self.register.snapshot();
        let format_errors = self.format_errors();
        Received {
            tally: snapshot.tally,
            messages: snapshot.items,
            ids: snapshot.ids,
            malformed: format_errors.malformed.clone(),
            broken_streams: format_errors.broken_streams.clone(),
        }
    }

    pub(crate) fn empty_batch<'a>(&self) -> MessageBatch<'a> {
        let entries = match self.mode {
            Mode::Messages => Entries::Items(Vec::new()),
            Mode::Ids(_) => Entries::Ids(Vec::new()),
            Mode::Counts => Entries::Count(0),
        };
        MessageBatch { entries, bytes: 0, malformed: 0 }
    }

    /// Adds one message to a batch.
    pub(crate) fn take<'a>(&self, bytes: &'a [u8], batch: &mut MessageBatch<'a>) {
        batch.bytes += bytes.len() as u64;
        if let Entries::Count(count) = &mut batch.entries {
            *count += 1;
            return;
        }
        let parsed = match self.format {
            Format::Rfc5424 => rfc5424(bytes),
            Format::Rfc3164 => rfc3164(bytes),
        };
        match (parsed, &mut batch.entries, &self.mode) {
            (Ok(message), Entries::Items(items), _) => items.push(message.to_message()),
            (Ok(message), Entries::Ids(ids), Mode::Ids(from)) => ids.push(from.id_of(&message)),
            (Ok(_), _, _) => {}
            (Err(flaw), _, _) => {
                batch.malformed += 1;
                let mut format_errors = self.format_errors();
                if format_errors.malformed.len() < KEPT_COMPLAINTS {
                    format_errors.malformed.push(Malformed { flaw, bytes: bytes.to_vec() });
                }
            }
        }
    }

    /// Records a batch, and says whether its connection is to end.
    pub(crate) fn enter(&self, mut batch: MessageBatch<'_>, wire_bytes: u64) -> Option<Ending> {
        let disposition = self.faults.judge(batch.entries.len());
        batch.entries.truncate(disposition.kept);
        self.register.enter(batch.entries, |tally| {
            tally.wire_bytes += wire_bytes;
            tally.bytes += batch.bytes;
            tally.malformed += batch.malformed;
            tally.discarded += disposition.discarded;
        });
        disposition.ending
    }

    /// Notes a stream that had to be given up.
    pub(crate) fn give_up(&self, flaw: FramingError) {
        let mut format_errors = self.format_errors();
        if format_errors.broken_streams.len() < KEPT_COMPLAINTS {
            format_errors.broken_streams.push(flaw);
        }
        drop(format_errors);
        self.register.note(|tally| tally.broken_streams += 1);
    }

    fn format_errors(&self) -> MutexGuard<'_, FormatErrors> {
        self.format_errors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
