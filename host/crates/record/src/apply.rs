//! Edits taking effect.
//!
//! In call order, except that `reject` beats `drop` beats everything else, wherever they were called: a row
//! that goes is not worth editing. Emitted rows are made last; the ones like a rejected row are not made,
//! since a replay of the rejected log emits them again.

use crate::batch::{Batch, CellData, Format, Label, RowData, RowIx, RowState};
use crate::edits::{Edit, Edits, Emitted, Values};
use crate::json;
use crate::keys::KeyId;
use crate::origin::Time;
use crate::slice::Slice;
use crate::text::{Span, TextFull};

/// What edits came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// Rows discarded on purpose.
    pub dropped: usize,
    /// Rows refused, each with the reason.
    pub rejected: Vec<(RowIx, String)>,
    /// Rows added; they join the order at [`Batch::end_pass`].
    pub emitted: usize,
    /// Values that were to be treated as JSON and are not; they stayed as they were.
    pub not_json: usize,
    /// Whether any row was changed, labelled, added or taken out.
    pub changed: bool,
}

/// The least room left behind a row that had to move because a field was added to it. More for long rows:
/// growing by a share keeps the moves of a row that gets field after field in proportion to its fields.
const LEAST_SPARE_CELLS: usize = 4;

impl Batch {
    /// Applies edits to the slice they were made for.
    ///
    /// # Errors
    ///
    /// The batch holds more added text than it can address. Some edits may have been applied; the batch
    /// is to be held.
    pub fn apply(&mut self, slice: &Slice, edits: &Edits) -> Result<Applied, TextFull> {
        if edits.is_empty() {
            return Ok(Applied::default());
        }
        let mut application = Application {
            time_key: self.key_id("__time__"),
            outcome: vec![RowOutcome::Stays; slice.len()],
            applied: Applied::default(),
            json_left: slice.json_budget(),
            slice,
            batch: self,
        };
        application.decide(edits);
        for edit in edits.in_order() {
            application.apply(edit)?;
        }
        application.emit(edits)?;
        Ok(application.finish())
    }

    /// Sets the state of a row that is at fault, for the policy of a plugin's operator.
    pub fn set_state(&mut self, ix: RowIx, state: RowState) {
        self.row_data_mut(ix).state = state;
    }

    fn position(&self, ix: RowIx, key: KeyId) -> Option<usize> {
        let row = self.row_data(ix);
        let at = self.row_cells(ix).iter().position(|cell| cell.key() == key)?;
        Some(row.first_cell as usize + at)
    }

    fn cell_data(&self, ix: RowIx, key: KeyId) -> Option<CellData> {
        self.row_cells(ix).iter().find(|cell| cell.key() == key).copied()
    }

    /// Replaces the cell with the same key, or appends.
    #[expect(clippy::indexing_slicing, reason = "room was made for the cell")]
    fn put_cell(&mut self, ix: RowIx, cell: CellData) {
        if let Some(there) = self.position(ix, cell.key()) {
            self.cells[there] = cell;
            return;
        }
        self.make_room(ix);
        let row = self.row_data_mut(ix);
        let end = (row.first_cell + row.cell_count) as usize;
        row.cell_count += 1;
        self.cells[end] = cell;
    }

    #[expect(clippy::indexing_slicing, reason = "a position of a cell")]
    fn rename_cell(&mut self, ix: RowIx, from: KeyId, to: KeyId) {
        if let Some(at) = self.position(ix, from) {
            self.cells[at] = self.cells[at].with_key(to);
        }
    }

    /// Moves a row that has no free cell to the end of the table, where it gets some.
    fn make_room(&mut self, ix: RowIx) {
        let row = self.row_data(ix);
        if row.cell_count < row.cell_room {
            return;
        }
        let (from, count) = (row.cells(), row.cell_count as usize);
        let (first, room) = (self.cells.len(), count + LEAST_SPARE_CELLS.max(count / 2));
        self.cells.extend_from_within(from);
        self.cells.resize(first + room, CellData::new(KeyId(0), Span::EMPTY));
        let row = self.row_data_mut(ix);
        row.first_cell = first as u32;
        row.cell_room = room as u32;
    }

    /// Keeps some cells of a row; false if that is all of them.
    #[expect(clippy::indexing_slicing, reason = "a row's cells are where it says")]
    fn retain_cells(&mut self, ix: RowIx, keep: impl Fn(KeyId) -> bool) -> bool {
        let range = self.row_data(ix).cells();
        let cells = &mut self.cells[range];
        let mut kept = 0;
        for at in 0..cells.len() {
            if keep(cells[at].key()) {
                cells[kept] = cells[at];
                kept += 1;
            }
        }
        let all = cells.len();
        self.row_data_mut(ix).cell_count = kept as u32;
        kept < all
    }

    fn intern(&mut self, key: &str) -> Result<KeyId, TextFull> {
        if let Some(id) = self.key_id(key) {
            return Ok(id);
        }
        let span = self.text.add(key)?;
        Ok(self.keys.intern(&self.text, span))
    }

    fn label(&mut self, label: &str) -> Label {
        if let Some(&number) = self.label_numbers.get(label) {
            return Label(number);
        }
        self.labels.push(label.into());
        let number = self.labels.len() as u32;
        self.label_numbers.insert(label.into(), number);
        Label(number)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RowOutcome {
    Stays,
    Dropped,
    Rejected,
}

struct Application<'a> {
    batch: &'a mut Batch,
    slice: &'a Slice,
    outcome: Vec<RowOutcome>,
    applied: Applied,
    time_key: Option<KeyId>,
    /// Bytes of JSON that may still be read or written.
    json_left: usize,
}

impl Application<'_> {
    /// Which rows go, before anything is done to the others.
    fn decide(&mut self, edits: &Edits) {
        for edit in edits.in_order() {
            match edit {
                Edit::Drop { rows } => {
                    for &row in rows {
                        if *self.outcome(row) == RowOutcome::Stays {
                            *self.outcome(row) = RowOutcome::Dropped;
                        }
                    }
                }
                Edit::Reject { rows, reason } => {
                    rows.iter().for_each(|&row| self.reject(row, reason));
                }
                _ => {}
            }
        }
    }

    fn apply(&mut self, edit: &Edit) -> Result<(), TextFull> {
        match edit {
            Edit::Drop { .. } | Edit::Reject { .. } => {}
            Edit::Keep { keys } => self.retain(keys, true),
            Edit::Remove { keys } => self.retain(keys, false),
            Edit::RemoveAt { key, rows } => self.remove_at(key, rows),
            Edit::Rename { key, to } => self.rename(key, to)?,
            Edit::Nest { key } => self.nest(key, 0..self.slice.len() as u32),
            Edit::NestAt { key, rows } => self.nest(key, rows.iter().copied()),
            Edit::Set { key, format, rows, values } => self.set(key, *format, rows, values)?,
            Edit::SetAll { key, format, value } => self.set_all(key, *format, value)?,
            Edit::JsonSet { key, path, format, rows, values } => {
                self.json_set(key, path, *format, rows, values)?;
            }
            Edit::JsonRemove { key, path, rows } => self.json_remove(key, path, rows)?,
            Edit::Route { label, rows } => self.route(label, rows),
        }
        Ok(())
    }

    /// The batch's number of a row of the call.
    #[expect(
        clippy::indexing_slicing,
        reason = "row numbers were checked when the edits were recorded"
    )]
    fn ix(&self, row: u32) -> RowIx {
        self.slice.rows()[row as usize]
    }

    #[expect(clippy::indexing_slicing, reason = "as for `ix`; there is an outcome for each row")]
    fn outcome(&mut self, row: u32) -> &mut RowOutcome {
        &mut self.outcome[row as usize]
    }

    /// The batch's number of a row of the call, while it stays.
    fn staying(&mut self, row: u32) -> Option<RowIx> {
        (*self.outcome(row) == RowOutcome::Stays).then(|| self.ix(row))
    }

    fn reject(&mut self, row: u32, reason: &str) {
        if std::mem::replace(self.outcome(row), RowOutcome::Rejected) != RowOutcome::Rejected {
            self.applied.rejected.push((self.ix(row), reason.to_owned()));
        }
    }

    #[expect(clippy::indexing_slicing, reason = "every key of the batch is listed")]
    fn retain(&mut self, keys: &[String], listed_stay: bool) {
        let mut listed = vec![false; self.batch.key_count()];
        for id in keys.iter().filter_map(|key| self.batch.key_id(key)) {
            listed[id.index()] = true;
        }
        let keep = |id: KeyId| listed[id.index()] == listed_stay;
        for row in 0..self.slice.len() as u32 {
            if let Some(ix) = self.staying(row) {
                self.applied.changed |= self.batch.retain_cells(ix, keep);
            }
        }
    }

    fn remove_at(&mut self, key: &str, rows: &[u32]) {
        let Some(key) = self.batch.key_id(key) else { return };
        for &row in rows {
            if let Some(ix) = self.staying(row) {
                self.applied.changed |= self.batch.retain_cells(ix, |id| id != key);
            }
        }
    }

    fn rename(&mut self, key: &str, to: &str) -> Result<(), TextFull> {
        let Some(from) = self.batch.key_id(key).filter(|_| key != to) else { return Ok(()) };
        let to = self.batch.intern(to)?;
        for row in 0..self.slice.len() as u32 {
            let Some(ix) = self.staying(row) else { continue };
            if self.batch.cell_data(ix, from).is_none() {
                continue;
            }
            self.batch.retain_cells(ix, |id| id != to);
            self.applied.changed = true;
            self.batch.rename_cell(ix, from, to);
            self.note_added(ix, to, 0);
            self.note_time(row, ix, to);
        }
        Ok(())
    }

    fn nest(&mut self, key: &str, rows: impl Iterator<Item = u32>) {
        let Some(key) = self.batch.key_id(key) else { return };
        for row in rows {
            let Some(ix) = self.staying(row) else { continue };
            let Some(cell) = self.batch.cell_data(ix, key) else { continue };
            if cell.format() == Format::Json || !self.afford(row, cell.value.len() as usize) {
                continue;
            }
            if json::is_valid(self.batch.text.get(cell.value)) {
                self.batch.put_cell(ix, cell.with_format(Format::Json));
                self.applied.changed = true;
            } else {
                self.applied.not_json += 1;
            }
        }
    }

    fn set(
        &mut self,
        key: &str,
        format: Format,
        rows: &[u32],
        values: &Values,
    ) -> Result<(), TextFull> {
        let key = self.batch.intern(key)?;
        for (&row, value) in rows.iter().zip(values.iter()) {
            let Some(ix) = self.staying(row) else { continue };
            if format == Format::Json && !json::is_valid(value) {
                self.reject(row, "the plugin set a value as JSON that is not JSON");
                continue;
            }
            let span = self.batch.text.add(value)?;
            self.put(row, ix, CellData::new(key, span).with_format(format));
        }
        Ok(())
    }

    fn set_all(&mut self, key: &str, format: Format, value: &str) -> Result<(), TextFull> {
        let key = self.batch.intern(key)?;
        let valid = format == Format::Text || json::is_valid(value);
        let cell = CellData::new(key, self.batch.text.add(value)?).with_format(format);
        for row in 0..self.slice.len() as u32 {
            match self.staying(row) {
                Some(ix) if valid => self.put(row, ix, cell),
                Some(_) => self.reject(row, "the plugin set a value as JSON that is not JSON"),
                None => {}
            }
        }
        Ok(())
    }

    fn put(&mut self, row: u32, ix: RowIx, cell: CellData) {
        self.batch.put_cell(ix, cell);
        self.applied.changed = true;
        self.note_added(ix, cell.key(), cell.value.len());
        self.note_time(row, ix, cell.key());
    }

    /// Counts the text that a row is longer by when it is written out.
    fn note_added(&mut self, ix: RowIx, key: KeyId, value: u32) {
        let key = self.batch.key(key).len() as u32;
        let row = self.batch.row_data_mut(ix);
        row.added_bytes = row.added_bytes.saturating_add(key).saturating_add(value);
    }

    /// A plugin that writes `__time__` sets the event's time.
    fn note_time(&mut self, row: u32, ix: RowIx, key: KeyId) {
        if self.time_key != Some(key) {
            return;
        }
        let value = self.batch.cell_data(ix, key).map(|cell| self.batch.text.get(cell.value));
        match value.and_then(Time::parse) {
            Some(time) => self.batch.row_data_mut(ix).time = time,
            None => self.reject(row, "the plugin set `__time__` to something that is not a time"),
        }
    }

    fn json_set(
        &mut self,
        key: &str,
        path: &[String],
        format: Format,
        rows: &[u32],
        values: &Values,
    ) -> Result<(), TextFull> {
        let Some(key) = self.batch.key_id(key) else { return Ok(()) };
        let mut value = String::new();
        for (&row, text) in rows.iter().zip(values.iter()) {
            let Some(ix) = self.staying(row) else { continue };
            if self.batch.cell_data(ix, key).is_none() {
                continue;
            }
            value.clear();
            match format {
                Format::Text => json::push_string(&mut value, text),
                Format::Json if json::is_valid(text) => value.push_str(text),
                Format::Json => {
                    self.reject(row, "the plugin set a JSON member to something that is not JSON");
                    continue;
                }
            }
            self.splice(row, ix, key, |held| json::set(held, path, &value))?;
        }
        Ok(())
    }

    fn json_remove(&mut self, key: &str, path: &[String], rows: &[u32]) -> Result<(), TextFull> {
        let Some(key) = self.batch.key_id(key) else { return Ok(()) };
        for &row in rows {
            if let Some(ix) = self.staying(row) {
                self.splice(row, ix, key, |held| json::remove(held, path))?;
            }
        }
        Ok(())
    }

    /// Rewrites a value that holds JSON; what is not JSON stays and is counted.
    ///
    /// A value that is marked as JSON was checked before; one that is text is checked here.
    fn splice(
        &mut self,
        row: u32,
        ix: RowIx,
        key: KeyId,
        rewrite: impl Fn(&str) -> Result<Option<String>, json::JsonPathError>,
    ) -> Result<(), TextFull> {
        let Some(cell) = self.batch.cell_data(ix, key) else { return Ok(()) };
        if !self.afford(row, cell.value.len() as usize) {
            return Ok(());
        }
        let held = self.batch.text.get(cell.value);
        let is_json = cell.format() == Format::Json || json::is_valid(held);
        match if is_json { rewrite(held) } else { Err(json::JsonPathError) } {
            // What was put in, or the path to it, may nest the whole too deep.
            Ok(Some(text)) if json::is_too_deep(&text) => self.applied.not_json += 1,
            Ok(Some(text)) => {
                if self.afford(row, text.len()) {
                    let span = self.batch.text.add(&text)?;
                    self.put(row, ix, CellData::new(key, span).with_format(cell.format()));
                }
            }
            Ok(None) => {}
            Err(json::JsonPathError) => self.applied.not_json += 1,
        }
        Ok(())
    }

    /// Takes the reading or writing of so much JSON from the budget; a row it does not suffice for is rejected.
    fn afford(&mut self, row: u32, bytes: usize) -> bool {
        let left = self.json_left.checked_sub(bytes);
        match left {
            Some(left) => self.json_left = left,
            None => self.reject(row, "the plugin had too much JSON checked or rewritten"),
        }
        left.is_some()
    }

    fn route(&mut self, label: &str, rows: &[u32]) {
        let label = self.batch.label(label);
        for &row in rows {
            if let Some(ix) = self.staying(row) {
                self.batch.row_data_mut(ix).label = label;
                self.applied.changed = true;
            }
        }
    }

    fn emit(&mut self, edits: &Edits) -> Result<(), TextFull> {
        for Emitted { like, label, fields } in edits.emitted() {
            if *self.outcome(like) != RowOutcome::Rejected {
                self.add_row(self.ix(like), label, fields)?;
            }
        }
        Ok(())
    }

    fn add_row<'e>(
        &mut self,
        like: RowIx,
        label: Option<&str>,
        fields: impl Iterator<Item = &'e str>,
    ) -> Result<(), TextFull> {
        let batch = &mut *self.batch;
        let label = label.map(|label| batch.label(label));
        let model = batch.row_data_mut(like);
        let ordinal = model.emissions;
        model.emissions += 1;
        let model = model.clone();
        let mut row = RowData {
            first_cell: batch.cells.len() as u32,
            cell_count: 0,
            cell_room: 0,
            added_bytes: 0,
            parent: Some(like),
            ordinal,
            emissions: 0,
            state: RowState::Live,
            ..model
        };
        row.label = label.unwrap_or(row.label);
        let ix = RowIx(batch.rows.len() as u32);
        batch.rows.push(row);
        batch.emitted.push((like, ix));
        self.applied.emitted += 1;
        self.fill_row(ix, fields)
    }

    fn fill_row<'e>(
        &mut self,
        ix: RowIx,
        mut fields: impl Iterator<Item = &'e str>,
    ) -> Result<(), TextFull> {
        let batch = &mut *self.batch;
        while let (Some(key), Some(value)) = (fields.next(), fields.next()) {
            let cell = CellData::new(batch.intern(key)?, batch.text.add(value)?);
            batch.put_cell(ix, cell);
            let row = batch.row_data_mut(ix);
            row.added_bytes = row.added_bytes.saturating_add((key.len() + value.len()) as u32);
        }
        // Only now: of fields with the same name the last one counts.
        let Some(cell) = self.time_key.and_then(|key| batch.cell_data(ix, key)) else {
            return Ok(());
        };
        let time = Time::parse(batch.text.get(cell.value));
        match time {
            Some(time) => batch.row_data_mut(ix).time = time,
            None => {
                batch.set_state(ix, RowState::Rejected);
                let reason = "the plugin emitted a log whose `__time__` is not a time";
                self.applied.rejected.push((ix, reason.to_owned()));
            }
        }
        Ok(())
    }

    /// Writes the fates into the batch.
    fn finish(mut self) -> Applied {
        for (&ix, outcome) in self.slice.rows().iter().zip(&self.outcome) {
            let state = match outcome {
                RowOutcome::Stays => continue,
                RowOutcome::Dropped => RowState::Dropped,
                RowOutcome::Rejected => RowState::Rejected,
            };
            self.applied.dropped += usize::from(*outcome == RowOutcome::Dropped);
            self.batch.set_state(ix, state);
            self.applied.changed = true;
        }
        self.applied.changed |= self.applied.emitted > 0;
        self.applied
    }
}
