//! One call of `process`: what the guest can see during it, and what it has asked for so far.
//!
//! Everything that arrives here was chosen by a guest. Row numbers and lengths are checked, mostly by
//! [`Edits`]; and since the clock that stops guests does not reach into host functions, this file bounds how
//! much work (`work.rs`) and memory a call can cause in the host.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use forwarder_record::{BadEdit, Batch, Edits, Format, Slice, json};

use crate::fault::Fault;
use crate::limits::Limits;
use crate::work::Work;

/// Edits that one call may record, emitted rows not counted: each is applied row by row.
const MAX_EDITS: usize = 4_096;

/// Labels that one call may make up; the batch looks them up one by one.
const MAX_LABELS: usize = 256;

/// Fields of one emitted row.
const MAX_FIELDS: usize = 1_024;

/// Text of a batch that is being copied into guest memory.
///
/// wasmtime takes what a host function returns by value, without a lifetime, and copies it into the guest
/// as soon as the function has returned. Copying every cell first would cost an allocation each, and
/// cells by the thousand are what a plugin call consists of. So the lifetime is cut off here, in
/// [`Call::lend`] and nowhere else.
pub(crate) type Loan = &'static str;

/// The slice in hand.
#[derive(Debug)]
pub(crate) struct Call {
    batch: Batch,
    slice: Slice,
    edits: Edits,
    edit_count: usize,
    labels: BTreeSet<String>,
    /// Bytes of log lines.
    logged: usize,
    output_limit: usize,
    json_limit: usize,
    json_left: usize,
    /// What applying the edits will take.
    work: Work,
    cpu_limit: Duration,
    /// Strings that had to be unescaped for the last `json`; kept until they are in the guest's memory.
    unescaped: Vec<String>,
}

impl Call {
    pub(crate) fn new(batch: Batch, slice: Slice, limits: &Limits) -> Self {
        let json_limit = slice.json_budget();
        Self {
            edits: Edits::new(slice.len()),
            edit_count: 0,
            labels: BTreeSet::new(),
            logged: 0,
            output_limit: limits.output(slice.bytes()),
            json_limit,
            json_left: json_limit,
            work: Work::default(),
            cpu_limit: limits.cpu,
            unescaped: Vec::new(),
            batch,
            slice,
        }
    }

    /// The batch and the slice as they were, and the edits.
    pub(crate) fn into_parts(self) -> (Batch, Slice, Edits) {
        (self.batch, self.slice, self.edits)
    }

    /// Cuts off a lifetime.
    #[expect(unsafe_code, reason = "wasmtime cannot know how long the text lives; see `Loan`")]
    fn lend(text: &str) -> Loan {
        // SAFETY: the text belongs to the batch or to `unescaped`. Between the return of a host function and
        // the end of wasmtime's copying the only guest code that runs is the guest's allocator, which
        // may not call out of its instance (`may_leave` in the canonical ABI), so nothing takes or changes
        // this `Call`, which sits in the store that is being copied into. The batch is never changed during
        // a call: edits are recorded separately. `unescaped` is cleared by the next `json` only, and a string
        // in it may move but its bytes do not.
        unsafe { &*std::ptr::from_ref(text) }
    }

    /// One field of every row.
    pub(crate) fn column(&self, key: &str) -> Vec<Option<Loan>> {
        self.batch.column(&self.slice, key).map(|value| value.map(Self::lend)).collect()
    }

    /// One field of some rows.
    pub(crate) fn column_at(&self, key: &str, rows: &[u32]) -> Result<Vec<Option<Loan>>, Fault> {
        self.check_rows(rows)?;
        let mut column = self.batch.column(&self.slice, key);
        let mut next = 0;
        let pick = |&row: &u32| {
            let value = column.nth((row - next) as usize).flatten();
            next = row + 1;
            value.map(Self::lend)
        };
        Ok(rows.iter().map(pick).collect())
    }

    /// The values at `path` inside a column of JSON texts.
    pub(crate) fn json(
        &mut self,
        mut column: Vec<Option<Loan>>,
        path: &[Cow<'_, str>],
    ) -> Vec<Option<Loan>> {
        self.unescaped.clear();
        for cell in &mut column {
            let found = cell.and_then(|text| json::find(text, path));
            *cell = found.map(|raw| match json::text_of(raw) {
                Cow::Borrowed(text) => text,
                Cow::Owned(text) => {
                    let loan = Self::lend(&text);
                    self.unescaped.push(text);
                    loan
                }
            });
        }
        column
    }

    /// One cell.
    pub(crate) fn cell(&self, row: u32, key: &str) -> Result<Option<Loan>, Fault> {
        self.check_rows(&[row])?;
        Ok(self.batch.cell(&self.slice, row, key).map(Self::lend))
    }

    /// All cells of one row.
    pub(crate) fn row(&self, row: u32) -> Result<Vec<(Loan, Loan)>, Fault> {
        self.check_rows(&[row])?;
        let row = self.slice.rows().get(row as usize).map(|&ix| self.batch.row(ix));
        let cells = row.into_iter().flat_map(|row| row.cells());
        Ok(cells.map(|cell| (Self::lend(cell.key), Self::lend(cell.value))).collect())
    }

    /// The names of all fields.
    pub(crate) fn keys(&self) -> Vec<Loan> {
        self.batch.slice_keys(&self.slice).into_iter().map(Self::lend).collect()
    }

    /// The topic of every row's log group.
    pub(crate) fn topics(&self) -> Vec<Loan> {
        self.slice.rows().iter().map(|&ix| Self::lend(self.batch.row(ix).topic())).collect()
    }

    /// The time of every row, in nanoseconds.
    pub(crate) fn times(&self) -> Vec<u64> {
        self.slice.rows().iter().map(|&ix| self.batch.row(ix).time().as_nanos()).collect()
    }

    /// Row numbers of reads obey the rule for edits: in range, ascending, unique. That also bounds how much
    /// a guest can have copied with one list.
    fn check_rows(&self, rows: &[u32]) -> Result<(), Fault> {
        self.edits.check(rows).map_err(|error| bad(&error))
    }

    /// CPU time that applying the edits will take, at most.
    pub(crate) fn work(&self) -> Duration {
        self.work.time(self.output())
    }

    /// Bytes of edits and log lines.
    const fn output(&self) -> usize {
        self.edits.bytes().saturating_add(self.logged)
    }

    /// Records that rows get another fate.
    pub(crate) fn drop_rows(&mut self, rows: Vec<u32>) -> Result<(), Fault> {
        self.work.rows(rows.len());
        self.record(|edits| edits.drop_rows(rows))
    }

    /// Records an edit of the rows it names.
    pub(crate) fn edit(
        &mut self,
        rows: Vec<u32>,
        edit: impl FnOnce(&mut Edits, Vec<u32>) -> Result<(), BadEdit>,
    ) -> Result<(), Fault> {
        self.work.cells(&self.batch, &self.slice, Some(&rows));
        self.record(|edits| edit(edits, rows))
    }

    /// Records an edit of every row.
    pub(crate) fn edit_all(&mut self, edit: impl FnOnce(&mut Edits)) -> Result<(), Fault> {
        self.work.cells(&self.batch, &self.slice, None);
        self.record(|edits| {
            edit(edits);
            Ok(())
        })
    }

    /// Records an edit that looks up names of fields in the batch.
    pub(crate) fn edit_names(
        &mut self,
        keys: Vec<String>,
        edit: impl FnOnce(&mut Edits, Vec<String>),
    ) -> Result<(), Fault> {
        self.work.names(keys.len().saturating_add(self.batch.key_count()));
        self.edit_all(|edits| edit(edits, keys))
    }

    /// Renames a field.
    pub(crate) fn rename(&mut self, key: String, to: String) -> Result<(), Fault> {
        self.work.renamed();
        self.edit_all(|edits| edits.rename(key, to))
    }

    /// Refuses rows. The reason is kept once per row.
    pub(crate) fn reject(&mut self, rows: Vec<u32>, reason: String) -> Result<(), Fault> {
        self.work.rows(rows.len());
        self.record(|edits| edits.reject(rows, reason))
    }

    /// Labels rows.
    pub(crate) fn route(&mut self, label: String, rows: Vec<u32>) -> Result<(), Fault> {
        self.count_label(&label)?;
        self.work.rows(rows.len());
        self.record(|edits| edits.route(label, rows))
    }

    /// Adds a row.
    pub(crate) fn emit(
        &mut self,
        like: u32,
        label: Option<String>,
        fields: Vec<(String, String)>,
    ) -> Result<(), Fault> {
        if fields.len() > MAX_FIELDS {
            return Err(Fault::BadCall(format!("a log of more than {MAX_FIELDS} fields")));
        }
        if let Some(label) = &label {
            self.count_label(label)?;
        }
        self.work.emitted(fields.len());
        self.edits.emit(like, label, fields).map_err(|error| bad(&error))?;
        self.check_sums()
    }

    fn record(
        &mut self,
        edit: impl FnOnce(&mut Edits) -> Result<(), BadEdit>,
    ) -> Result<(), Fault> {
        self.count_edit()?;
        edit(&mut self.edits).map_err(|error| bad(&error))?;
        self.check_sums()
    }

    fn count_edit(&mut self) -> Result<(), Fault> {
        self.edit_count += 1;
        if self.edit_count > MAX_EDITS {
            let text = format!("more than {MAX_EDITS} edits in one call; name more rows in each");
            return Err(Fault::BadCall(text));
        }
        Ok(())
    }

    fn count_label(&mut self, label: &str) -> Result<(), Fault> {
        if !self.labels.contains(label) {
            if self.labels.len() >= MAX_LABELS {
                return Err(Fault::BadCall(format!("more than {MAX_LABELS} route labels")));
            }
            self.labels.insert(label.to_owned());
        }
        Ok(())
    }

    /// Charges for JSON that an edit will have validated or rewritten, in some rows or in all.
    pub(crate) fn charge_json(&mut self, key: &str, rows: Option<&[u32]>) -> Result<(), Fault> {
        let column = match rows {
            Some(rows) => self.column_at(key, rows)?,
            None => self.column(key),
        };
        let bytes: usize = column.iter().flatten().map(|text| text.len()).sum();
        let what = "JSON checked or rewritten";
        let limit = self.json_limit;
        self.json_left =
            self.json_left.checked_sub(bytes).ok_or(Fault::Oversized { what, limit })?;
        self.work.json(&self.slice, bytes, self.edits.bytes());
        Ok(())
    }

    /// Charges for values that a field is set to, and for the cells that this may add.
    pub(crate) fn charge_values(&mut self, key: &str, format: Format, bytes: usize) {
        self.work.grown(key);
        self.charge_json_values(format, bytes);
    }

    /// Charges for values that are to be JSON.
    pub(crate) fn charge_json_values(&mut self, format: Format, bytes: usize) {
        if format == Format::Json {
            self.work.value(bytes);
        }
    }

    /// Charges for a log line of so many bytes.
    pub(crate) fn charge_line(&mut self, bytes: usize) -> Result<(), Fault> {
        self.logged = self.logged.saturating_add(bytes);
        self.check_sums()
    }

    /// Checks the sum of output and of work.
    fn check_sums(&self) -> Result<(), Fault> {
        if self.output() > self.output_limit {
            let limit = self.output_limit;
            return Err(Fault::Oversized { what: "edits and log lines", limit });
        }
        let work = self.work();
        if work > self.cpu_limit {
            return Err(Fault::TooMuchWork { work });
        }
        Ok(())
    }
}

fn bad(error: &BadEdit) -> Fault {
    Fault::BadCall(error.to_string())
}
