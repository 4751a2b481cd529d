//! The columns of the slice in hand, fetched when first asked for and kept until the slice is done.
//!
//! Reads see the slice as it was when the call began, so a column never changes and a reference to it
//! may live as long as the slice. The cache is a chain of cells that are written once: appending needs
//! no `&mut`, and no reference handed out earlier is ever moved.

use std::cell::OnceCell;

use crate::host;

/// One value per row, in row order; `None` where the log lacks the field.
pub type Column = [Option<String>];

/// A cache over the slice of one call of `process`.
#[derive(Debug)]
pub(crate) struct Slice {
    rows: u32,
    columns: OnceCell<Box<Cached>>,
    topics: OnceCell<Vec<String>>,
    times: OnceCell<Vec<u64>>,
}

/// One column, whole or found at a path inside the JSON of a field, and the next one.
#[derive(Debug)]
struct Cached {
    key: String,
    path: Option<Vec<String>>,
    values: Vec<Option<String>>,
    next: OnceCell<Box<Self>>,
}

impl Slice {
    pub(crate) fn new(rows: u32) -> Self {
        Self { rows, columns: OnceCell::new(), topics: OnceCell::new(), times: OnceCell::new() }
    }

    pub(crate) fn rows(&self) -> u32 {
        self.rows
    }

    /// The values of a field, or of the member at `path` inside it.
    pub(crate) fn column(&self, key: &str, path: Option<&[&str]>) -> &Column {
        let mut link = &self.columns;
        while let Some(cached) = link.get() {
            if cached.is(key, path) {
                return &cached.values;
            }
            link = &cached.next;
        }
        &link.get_or_init(|| Box::new(Cached::fetch(key, path))).values
    }

    /// The same, if it was fetched before.
    pub(crate) fn cached(&self, key: &str, path: Option<&[&str]>) -> Option<&Column> {
        let mut link = &self.columns;
        while let Some(cached) = link.get() {
            if cached.is(key, path) {
                return Some(&cached.values);
            }
            link = &cached.next;
        }
        None
    }

    pub(crate) fn topics(&self) -> &[String] {
        self.topics.get_or_init(host::topics)
    }

    pub(crate) fn times(&self) -> &[u64] {
        self.times.get_or_init(host::times)
    }
}

impl Cached {
    fn fetch(key: &str, path: Option<&[&str]>) -> Self {
        Self {
            key: key.to_owned(),
            path: path.map(|steps| steps.iter().map(|&step| step.to_owned()).collect()),
            values: match path {
                None => host::column(key),
                Some(path) => host::json(key, path),
            },
            next: OnceCell::new(),
        }
    }

    fn is(&self, key: &str, path: Option<&[&str]>) -> bool {
        self.key == key
            && match (&self.path, path) {
                (None, None) => true,
                (Some(mine), Some(path)) => mine == path,
                _ => false,
            }
    }
}
