//! Field names of a batch, each stored once and spoken of by number.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use crate::text::{Span, Text};

/// The number of a field name within one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub(crate) u32);

impl KeyId {
    /// Dense index, from zero, for per-key tables of a sink.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// All field names that were ever seen in a batch.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    spans: Vec<Span>,
    by_text: HashTable<u32>,
    // Keyed per process: names come from the writers of logs and must not be able to pile up in one bucket.
    hasher: RandomState,
}

impl Keys {
    pub(crate) const fn len(&self) -> usize {
        self.spans.len()
    }

    /// The number of `key`, if the batch has ever seen it.
    pub(crate) fn find(&self, text: &Text, key: &str) -> Option<KeyId> {
        let hash = self.hasher.hash_one(key);
        let same = |&id: &u32| self.text_of(text, KeyId(id)) == key;
        self.by_text.find(hash, same).map(|&id| KeyId(id))
    }

    /// The number of the key that `span` holds, new if need be.
    #[expect(clippy::indexing_slicing, reason = "each number stands for a span of this table")]
    pub(crate) fn intern(&mut self, text: &Text, span: Span) -> KeyId {
        let key = text.get(span);
        if let Some(id) = self.find(text, key) {
            return id;
        }
        let id = self.spans.len() as u32;
        self.spans.push(span);
        let Self { spans, by_text, hasher } = self;
        let rehash = |&id: &u32| hasher.hash_one(text.get(spans[id as usize]));
        by_text.insert_unique(hasher.hash_one(key), id, rehash);
        KeyId(id)
    }

    /// The name behind a number.
    #[inline]
    #[expect(
        clippy::indexing_slicing,
        reason = "a number is of the table that gave it, and a field without its name would be lost"
    )]
    pub(crate) fn text_of<'t>(&self, text: &'t Text, id: KeyId) -> &'t str {
        text.get(self.spans[id.index()])
    }
}
