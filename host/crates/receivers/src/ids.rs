//! Which ids arrived, and how often: a multiset made for millions of short strings.
//!
//! All text lies in one buffer, so an id costs its own bytes plus about thirty, and cloning a million
//! of them is three large copies instead of a million small ones.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

/// The ids of everything a receiver accepted, each with the number of times it came.
#[derive(Clone, Debug, Default)]
pub struct Ids {
    text: String,
    entries: Vec<Entry>,
    /// Positions in `entries`, found by the hash of the text they stand for.
    table: HashTable<u32>,
    hasher: RandomState,
    total: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    start: usize,
    end: usize,
    count: u32,
}

impl Ids {
    /// Notes one more arrival of `id`.
    pub(crate) fn insert(&mut self, id: &str) {
        self.total += 1;
        let hash = self.hasher.hash_one(id);
        let Self { text, entries, table, hasher, .. } = self;

        let known = table.find(hash, |&at| text_of(text, entries, at) == id).copied();
        if let Some(entry) = known.and_then(|at| entries.get_mut(at as usize)) {
            entry.count = entry.count.saturating_add(1);
            return;
        }
        // Four billion different ids do not fit in memory, so the position always fits.
        let Ok(at) = u32::try_from(entries.len()) else { return };
        let start = text.len();
        text.push_str(id);
        entries.push(Entry { start, end: text.len(), count: 1 });
        table.insert_unique(hash, at, |&at| hasher.hash_one(text_of(text, entries, at)));
    }

    /// How many different ids arrived.
    #[must_use]
    pub fn distinct(&self) -> u64 {
        self.entries.len() as u64
    }

    /// How many arrivals there were, repetitions included.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How often `id` arrived; 0 if it never did.
    #[must_use]
    pub fn count(&self, id: &str) -> u32 {
        let hash = self.hasher.hash_one(id);
        self.table
            .find(hash, |&at| text_of(&self.text, &self.entries, at) == id)
            .and_then(|&at| self.entries.get(at as usize))
            .map_or(0, |entry| entry.count)
    }

    /// Whether `id` arrived at least once.
    #[must_use]
    pub fn contains(&self, id: &str) -> bool {
        self.count(id) > 0
    }

    /// Every id with its count, in the order of first arrival.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.entries
            .iter()
            .map(|entry| (self.text.get(entry.start..entry.end).unwrap_or(""), entry.count))
    }

    /// The ids that arrived more than once, with their counts.
    pub fn repeated(&self) -> impl Iterator<Item = (&str, u32)> {
        self.iter().filter(|&(_, count)| count > 1)
    }

    /// Those of `expected` that never arrived, in the order given.
    pub fn missing<'e, S: AsRef<str> + ?Sized + 'e>(
        &self,
        expected: impl IntoIterator<Item = &'e S>,
    ) -> impl Iterator<Item = &'e S> {
        expected.into_iter().filter(|id| !self.contains((*id).as_ref()))
    }
}

fn text_of<'a>(text: &'a str, entries: &[Entry], at: u32) -> &'a str {
    entries.get(at as usize).and_then(|entry| text.get(entry.start..entry.end)).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counts_what_a_plain_map_counts(arrivals in prop::collection::vec("[a-c]{0,3}", 0..200)) {
            let mut ids = Ids::default();
            let mut model: HashMap<&str, u32> = HashMap::new();
            for id in &arrivals {
                ids.insert(id);
                *model.entry(id).or_default() += 1;
            }

            prop_assert_eq!(ids.total(), arrivals.len() as u64);
            prop_assert_eq!(ids.iter().collect::<HashMap<_, _>>(), model);
            prop_assert_eq!(ids.missing(arrivals.iter()).count(), 0);
            prop_assert!(!ids.contains("never sent"));
        }
    }

    #[test]
    fn ids_come_back_in_order_of_first_arrival() {
        let mut ids = Ids::default();
        for id in ["b", "a", "b", "c"] {
            ids.insert(id);
        }

        assert_eq!(ids.iter().collect::<Vec<_>>(), [("b", 2), ("a", 1), ("c", 1)]);
        assert_eq!(ids.repeated().collect::<Vec<_>>(), [("b", 2)]);
        assert_eq!(ids.missing(["a", "d"]).collect::<Vec<_>>(), ["d"]);
    }
}
