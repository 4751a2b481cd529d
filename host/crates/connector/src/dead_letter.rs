//! Rows that can never be delivered.

use std::error::Error;
use std::sync::Arc;

use forwarder_record::{Batch, EventId, Format, Origin, RowIx, Time};
use futures_util::future::BoxFuture;

/// An error of the other side of an interface: to be shown to a person, never to be looked into.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A row that was refused, with what a person or a replay needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Who refused the row. Also says what `fields` are.
    pub refused_by: RefusedBy,
    /// Why, for a person.
    pub reason: String,
    /// Stable name of the event, unless the source cannot give one.
    pub id: Option<EventId>,
    /// Project, logstore and shard.
    pub origin: Origin,
    /// Time of the event.
    pub time: Time,
    /// Topic of the log group.
    pub topic: String,
    /// Source of the log group.
    pub source: String,
    /// The fields: as the sink was to get them if a sink refused, as they were pulled if a plugin did.
    pub fields: Vec<(String, String, Format)>,
}

/// Who refused a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RefusedBy {
    /// A plugin; a replay runs the chain again.
    Plugin(Arc<str>),
    /// A sink; a replay sends to it.
    Sink(Arc<str>),
}

impl DeadLetter {
    /// Of a row that a sink refused: as it is after the chain.
    pub fn from_sink(sink: &Arc<str>, batch: &Batch, row: RowIx, reason: String) -> Self {
        let cells = batch.row(row).cells();
        let fields = cells.map(|cell| (cell.key.to_owned(), cell.value.to_owned(), cell.format));
        Self::new(RefusedBy::Sink(Arc::clone(sink)), batch, row, reason, fields.collect())
    }

    /// Of a row that a plugin refused: as it was before the chain.
    pub fn from_plugin(plugin: &Arc<str>, batch: &Batch, row: RowIx, reason: String) -> Self {
        let original = batch.row(row).original().into_iter();
        let fields = original.map(|(key, value)| (key, value, Format::Text)).collect();
        Self::new(RefusedBy::Plugin(Arc::clone(plugin)), batch, row, reason, fields)
    }

    /// Memory it takes, approximately.
    pub fn held_bytes(&self) -> usize {
        let field = |(key, value, _): &(String, String, Format)| {
            size_of::<(String, String, Format)>() + key.capacity() + value.capacity()
        };
        size_of::<Self>() + self.reason.len() + self.fields.iter().map(field).sum::<usize>()
    }

    fn new(
        refused_by: RefusedBy,
        batch: &Batch,
        row: RowIx,
        reason: String,
        fields: Vec<(String, String, Format)>,
    ) -> Self {
        let row = batch.row(row);
        Self {
            refused_by,
            reason,
            id: row.id(),
            origin: row.origin().clone(),
            time: row.time(),
            topic: row.topic().to_owned(),
            source: row.source().to_owned(),
            fields,
        }
    }
}

/// Keeps dead letters.
pub trait DeadLetters: Send + Sync {
    /// Writes the letters; `Ok` means that they survive a loss of power. Written twice is better than not: after an
    /// error all of them are offered again.
    fn write<'a>(&'a self, letters: &'a [DeadLetter]) -> BoxFuture<'a, Result<(), BoxError>>;
}
