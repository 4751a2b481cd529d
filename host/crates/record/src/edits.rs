//! What a plugin asks to have done to a slice, in the order in which it asked.
//!
//! Nothing happens until [`Batch::apply`](crate::Batch::apply): a plugin that fails half way has changed nothing. Whatever comes in
//! here comes from a guest, so row numbers and lengths are checked at once, and everything is counted, so that
//! the caller can stop a guest that asks for too much ([`Edits::bytes`]).

use std::ops::Range;

use crate::batch::Format;

/// An edit that does not fit its slice. The plugin is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadEdit {
    /// A row number at or past the number of rows of the call.
    #[error("row {row} does not exist, the call has {rows} rows")]
    NoSuchRow {
        /// The number that was given.
        row: u32,
        /// Rows of the call.
        rows: u32,
    },
    /// Row numbers that repeat or go back.
    #[error("row numbers must ascend, {after} follows {before}")]
    NotAscending {
        /// The earlier number.
        before: u32,
        /// The number that followed.
        after: u32,
    },
    /// As many values as rows were expected.
    #[error("{values} values for {rows} rows")]
    WrongLength {
        /// Values given.
        values: usize,
        /// Rows given.
        rows: usize,
    },
}

/// Texts in one buffer, so that a column of values costs two allocations rather than one per value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values {
    text: String,
    ends: Vec<usize>,
}

impl Values {
    /// Adds a text.
    pub fn push(&mut self, value: &str) {
        self.text.push_str(value);
        self.ends.push(self.text.len());
    }

    /// How many texts there are.
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all texts.
    pub const fn bytes(&self) -> usize {
        self.text.len()
    }

    /// The texts.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.range(0..self.len())
    }

    /// Some of the texts.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    #[expect(clippy::indexing_slicing, reason = "every end is one of a text that was added")]
    fn range(&self, range: Range<usize>) -> impl Iterator<Item = &str> {
        let mut start = match range.start {
            0 => 0,
            first => self.ends[first - 1],
        };
        self.ends[range].iter().map(move |&end| &self.text[std::mem::replace(&mut start, end)..end])
    }
}

impl<'a> FromIterator<&'a str> for Values {
    fn from_iter<I: IntoIterator<Item = &'a str>>(texts: I) -> Self {
        let mut values = Self::default();
        texts.into_iter().for_each(|text| values.push(text));
        values
    }
}

/// One edit. Rows are those of the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Edit {
    Drop { rows: Vec<u32> },
    Keep { keys: Vec<String> },
    Remove { keys: Vec<String> },
    RemoveAt { key: String, rows: Vec<u32> },
    Rename { key: String, to: String },
    Nest { key: String },
    NestAt { key: String, rows: Vec<u32> },
    Set { key: String, format: Format, rows: Vec<u32>, values: Values },
    SetAll { key: String, format: Format, value: String },
    JsonSet { key: String, path: Vec<String>, format: Format, rows: Vec<u32>, values: Values },
    JsonRemove { key: String, path: Vec<String>, rows: Vec<u32> },
    Route { label: String, rows: Vec<u32> },
    Reject { rows: Vec<u32>, reason: String },
}

/// A log to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Emission {
    like: u32,
    label: Option<Box<str>>,
    fields: usize,
}

/// A log to be added, with its fields.
pub(crate) struct Emitted<'a, F> {
    pub(crate) like: u32,
    pub(crate) label: Option<&'a str>,
    /// Names and values in turn.
    pub(crate) fields: F,
}

/// Edits to one slice, not yet applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edits {
    rows: u32,
    edits: Vec<Edit>,
    /// Logs to be added, which can be many and small.
    emissions: Vec<Emission>,
    /// Names and values of all their fields, in turn.
    emitted: Values,
    bytes: usize,
}

/// What an edit counts besides its texts and row numbers: what it occupies here.
const EDIT_BYTES: usize = size_of::<Edit>();

/// The same for a log to be added.
const EMISSION_BYTES: usize = size_of::<Emission>();

/// What a row number counts.
const ROW_BYTES: usize = size_of::<u32>();

/// What a cell that an edit makes counts besides its texts: about what it takes in the table.
const CELL_BYTES: usize = 16;

impl Edits {
    /// No edits yet, to a slice of `rows` rows.
    pub fn new(rows: usize) -> Self {
        Self { rows: u32::try_from(rows).unwrap_or(u32::MAX), ..Self::default() }
    }

    /// Output so far in bytes: texts as often as they will be written (names of fields too, which a sink
    /// writes once per row, and reasons), a number for each row concerned, and a fixed amount for each edit and for
    /// each cell it makes.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing was asked for.
    pub const fn is_empty(&self) -> bool {
        self.edits.is_empty() && self.emissions.is_empty()
    }

    /// Discard rows.
    pub fn drop_rows(&mut self, rows: Vec<u32>) -> Result<(), BadEdit> {
        self.check(&rows)?;
        self.push(rows.len() * ROW_BYTES, Edit::Drop { rows });
        Ok(())
    }

    /// Prune every row to these fields.
    pub fn keep(&mut self, keys: Vec<String>) {
        self.push(self.each_row() + total(&keys), Edit::Keep { keys });
    }

    /// Discard these fields in every row.
    pub fn remove(&mut self, keys: Vec<String>) {
        self.push(self.each_row() + total(&keys), Edit::Remove { keys });
    }

    /// Discard one field in some rows.
    pub fn remove_at(&mut self, key: String, rows: Vec<u32>) -> Result<(), BadEdit> {
        self.check(&rows)?;
        self.push(key.len() + rows.len() * ROW_BYTES, Edit::RemoveAt { key, rows });
        Ok(())
    }

    /// Rename a field in every row that has it; a field that had the new name is replaced there.
    pub fn rename(&mut self, key: String, to: String) {
        let names = to.len().saturating_mul(self.rows as usize);
        let bytes = names.saturating_add(self.each_row() + key.len());
        self.push(bytes, Edit::Rename { key, to });
    }

    /// Ship a field whose text is JSON as JSON.
    pub fn nest(&mut self, key: String) {
        self.push(self.each_row() + key.len(), Edit::Nest { key });
    }

    /// The same for some rows only.
    pub fn nest_at(&mut self, key: String, rows: Vec<u32>) -> Result<(), BadEdit> {
        self.check(&rows)?;
        self.push(key.len() + rows.len() * ROW_BYTES, Edit::NestAt { key, rows });
        Ok(())
    }

    /// Set a field in some rows.
    pub fn set(
        &mut self,
        key: String,
        format: Format,
        rows: Vec<u32>,
        values: Values,
    ) -> Result<(), BadEdit> {
        self.check_values(&rows, &values)?;
        let cells = (key.len() + CELL_BYTES).saturating_mul(rows.len());
        let bytes = cells.saturating_add(values.text.len() + rows.len() * ROW_BYTES);
        self.push(bytes, Edit::Set { key, format, rows, values });
        Ok(())
    }

    /// Set a field in every row to one value.
    pub fn set_all(&mut self, key: String, format: Format, value: String) {
        let cell = key.len().saturating_add(value.len()).saturating_add(CELL_BYTES);
        let bytes = cell.saturating_mul(self.rows as usize).saturating_add(self.each_row());
        self.push(bytes, Edit::SetAll { key, format, value });
    }

    /// Set a member inside a field that holds JSON.
    pub fn json_set(
        &mut self,
        key: String,
        path: Vec<String>,
        format: Format,
        rows: Vec<u32>,
        values: Values,
    ) -> Result<(), BadEdit> {
        self.check_values(&rows, &values)?;
        let per_row = total(&path) + ROW_BYTES + CELL_BYTES;
        let bytes = key.len() + values.text.len() + rows.len().saturating_mul(per_row);
        self.push(bytes, Edit::JsonSet { key, path, format, rows, values });
        Ok(())
    }

    /// Remove a member inside a field that holds JSON.
    pub fn json_remove(
        &mut self,
        key: String,
        path: Vec<String>,
        rows: Vec<u32>,
    ) -> Result<(), BadEdit> {
        self.check(&rows)?;
        let per_row = total(&path) + ROW_BYTES + CELL_BYTES;
        let bytes = rows.len().saturating_mul(per_row).saturating_add(key.len());
        self.push(bytes, Edit::JsonRemove { key, path, rows });
        Ok(())
    }

    /// Give rows a route label.
    pub fn route(&mut self, label: String, rows: Vec<u32>) -> Result<(), BadEdit> {
        self.check(&rows)?;
        self.push(label.len() + rows.len() * ROW_BYTES, Edit::Route { label, rows });
        Ok(())
    }

    /// Add a log like row `like`.
    pub fn emit(
        &mut self,
        like: u32,
        label: Option<String>,
        fields: Vec<(String, String)>,
    ) -> Result<(), BadEdit> {
        self.check(&[like])?;
        let text: usize =
            fields.iter().map(|(key, value)| key.len() + value.len() + CELL_BYTES).sum();
        let label = label.map(String::into_boxed_str);
        let bytes = text + label.as_ref().map_or(0, |label| label.len()) + EMISSION_BYTES;
        self.bytes = self.bytes.saturating_add(bytes);
        self.emissions.push(Emission { like, label, fields: fields.len() });
        for (key, value) in &fields {
            self.emitted.push(key);
            self.emitted.push(value);
        }
        Ok(())
    }

    /// Send rows to the dead letters.
    pub fn reject(&mut self, rows: Vec<u32>, reason: String) -> Result<(), BadEdit> {
        self.check(&rows)?;
        let per_row = reason.len() + ROW_BYTES;
        self.push(rows.len().saturating_mul(per_row), Edit::Reject { rows, reason });
        Ok(())
    }

    /// All but the logs to be added.
    pub(crate) fn in_order(&self) -> &[Edit] {
        &self.edits
    }

    /// The logs to be added, in order.
    pub(crate) fn emitted(&self) -> impl Iterator<Item = Emitted<'_, impl Iterator<Item = &str>>> {
        let mut first = 0;
        self.emissions.iter().map(move |Emission { like, label, fields }| {
            let from = first;
            first += 2 * fields;
            let fields = self.emitted.range(from..first);
            Emitted { like: *like, label: label.as_deref(), fields }
        })
    }

    fn push(&mut self, bytes: usize, edit: Edit) {
        self.bytes = self.bytes.saturating_add(bytes).saturating_add(EDIT_BYTES);
        self.edits.push(edit);
    }

    /// What an edit of every row counts: as if it named them, since that is the work it makes.
    const fn each_row(&self) -> usize {
        self.rows as usize * ROW_BYTES
    }

    /// Checks row numbers: in range, ascending, unique.
    ///
    /// # Errors
    ///
    /// The first that is not.
    pub fn check(&self, rows: &[u32]) -> Result<(), BadEdit> {
        if let Some(pair) = rows.array_windows().find(|[before, after]| before >= after) {
            let [before, after] = *pair;
            return Err(BadEdit::NotAscending { before, after });
        }
        match rows.last() {
            Some(&row) if row >= self.rows => Err(BadEdit::NoSuchRow { row, rows: self.rows }),
            _ => Ok(()),
        }
    }

    fn check_values(&self, rows: &[u32], values: &Values) -> Result<(), BadEdit> {
        if rows.len() != values.len() {
            return Err(BadEdit::WrongLength { values: values.len(), rows: rows.len() });
        }
        self.check(rows)
    }
}

fn total(texts: &[String]) -> usize {
    texts.iter().map(|text| text.len() + size_of::<String>()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_must_exist_and_ascend() {
        let mut edits = Edits::new(3);
        assert_eq!(edits.drop_rows(vec![0, 3]), Err(BadEdit::NoSuchRow { row: 3, rows: 3 }));
        let unsorted = Err(BadEdit::NotAscending { before: 1, after: 1 });
        assert_eq!(edits.reject(vec![1, 1], String::new()), unsorted);
        let short = edits.set("k".into(), Format::Text, vec![0, 1], Values::from_iter(["a"]));
        assert_eq!(short, Err(BadEdit::WrongLength { values: 1, rows: 2 }));
        assert!(edits.is_empty(), "a bad edit is not recorded");
    }

    #[test]
    fn a_value_for_every_row_counts_for_every_row() {
        let mut edits = Edits::new(1000);
        edits.set_all("k".into(), Format::Text, "x".repeat(100));
        assert!(edits.bytes() >= 100_000);
    }

    #[test]
    fn a_name_counts_for_every_row_it_is_written_to() {
        let counted = |ask: &dyn Fn(&mut Edits)| {
            let mut edits = Edits::new(1000);
            ask(&mut edits);
            edits.bytes()
        };
        let name = || "n".repeat(100);
        let rows = || (0..1000).collect::<Vec<u32>>();
        let values = || Values::from_iter([""; 1000]);
        assert!(counted(&|edits| edits.rename("a".into(), name())) >= 100_000);
        assert!(counted(&|edits| edits.set_all(name(), Format::Text, String::new())) >= 116_000);
        let set = |edits: &mut Edits| edits.set(name(), Format::Text, rows(), values()).unwrap();
        assert!(counted(&set) >= 116_000);
        let remove =
            |edits: &mut Edits| edits.json_remove("a".into(), vec![name()], rows()).unwrap();
        assert!(counted(&remove) >= 100_000, "and so does a path that is followed in every row");
    }
}
