//! The table of a part of a block, row after row.

use bytes::Bytes;

use super::limits::{DecodeError, Limits};
use super::pairs::{contents_area, pair};
use crate::batch::{Batch, CellData, GroupData, KEY_BYTES, Label, RowData, RowIx, RowState};
use crate::keys::KeyId;
use crate::origin::Time;
use crate::protobuf::{Reader, Value};
use crate::text::{AsciiArea, Range, Span, TextFull};

/// What a log of the shortest fields grows by when its text and its cells are counted together: a content of six
/// bytes on the wire has a cell of twelve.
const LOG_GROWTH: usize = 3;

/// What a row takes in addition to its cells: its entries in the table, and the text of its time.
const ROW_BYTES: usize = size_of::<RowData>() + size_of::<RowIx>() + 16;

/// A place in a block at which reading continues: behind what earlier parts of the block hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlockPosition {
    /// Offset of the next log group's field in the list.
    pub(super) group_at: u32,
    /// Number of that group in the block.
    pub(super) group: u32,
    /// Offset of the next log's field in the group; zero for its start.
    pub(super) log_at: u32,
    /// Number of that log in the group.
    pub(super) row_in_group: u32,
    /// What the parts before hold together, for the limits on the whole block.
    pub(super) rows: usize,
    pub(super) cells: usize,
    pub(super) shared_bytes: usize,
}

/// The table under construction and what makes the next log cheap.
pub(super) struct Decoder<'l> {
    pub(super) batch: Batch,
    limits: &'l Limits,
    /// Where this part of the block begins, and what the parts before it hold.
    from: BlockPosition,
    /// Logs and cells that this part may have of those that the block may have.
    max_rows: usize,
    max_cells: usize,
    /// Bytes that table and text of the next logs may come to.
    room: usize,
    time_key: KeyId,
    nanos_key: KeyId,
    topic_key: KeyId,
    source_key: KeyId,
    /// Cells that every log of the present group begins with, after its time.
    pub(super) shared: Vec<CellData>,
    /// Bytes of their names and values.
    shared_bytes: usize,
    /// What they add to each log, with their cells and its row.
    shared_growth: usize,
    /// Their bytes, summed over all logs so far, earlier parts included.
    shared_bytes_of_logs: usize,
    /// Per key, the group that had it as a tag last, and where in `shared`: finds repeated tags.
    tag_seen: Vec<Seen>,
    /// A tag's name with its prefix: scratch.
    tag_name: String,
    /// Content keys of the previous log: the next one usually has the same, in the same order.
    expected: Vec<KeyId>,
    /// Per key, where it was seen last: finds repeated keys.
    last_seen: Vec<Seen>,
    last_time: Option<(u32, Span)>,
}

/// The last log that had a key, and where.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// Number of the log plus one; zero for none.
    stamp: u32,
    /// Index of the cell; it is the cell's while contents are read, the nanoseconds move cells only then.
    cell: u32,
}

impl<'l> Decoder<'l> {
    pub(super) fn new(
        mut batch: Batch,
        limits: &'l Limits,
        from: BlockPosition,
        room: usize,
    ) -> Result<Self, DecodeError> {
        let mut known = |name: &str| -> Result<KeyId, TextFull> {
            let span = batch.text.add(name)?;
            Ok(batch.keys.intern(&batch.text, span))
        };
        let time_key = known("__time__")?;
        let topic_key = known("__topic__")?;
        let source_key = known("__source__")?;
        let nanos_key = known("__time_ns_part__")?;
        Ok(Self {
            batch,
            limits,
            from,
            max_rows: limits.max_rows.saturating_sub(from.rows),
            max_cells: limits.max_cells.saturating_sub(from.cells),
            room,
            time_key,
            nanos_key,
            topic_key,
            source_key,
            shared: Vec::new(),
            shared_bytes: 0,
            shared_growth: 0,
            shared_bytes_of_logs: from.shared_bytes,
            tag_seen: Vec::new(),
            tag_name: String::new(),
            expected: Vec::new(),
            last_seen: vec![Seen::default(); 4],
            last_time: None,
        })
    }

    /// One log group: first what its logs share, wherever that stands on the wire, then the logs. Returns where
    /// to continue if they are not all in.
    pub(super) fn group(
        &mut self,
        block: &Bytes,
        range: Range,
        place: BlockPosition,
    ) -> Result<Option<BlockPosition>, DecodeError> {
        let mut topic = Range::default();
        let mut source = Range::default();
        let mut tags = Vec::new();
        let mut has_logs = false;
        let mut fields = Reader::new(block, range);
        while let Some(field) = fields.next()? {
            match (field.number, field.value) {
                (1, Value::Bytes(_)) => has_logs = true,
                (3, Value::Bytes(range)) => topic = range,
                (4, Value::Bytes(range)) => source = range,
                (6, Value::Bytes(_)) if tags.len() >= self.limits.max_fields => {
                    return Err(self.too_large("tags in a log group", self.limits.max_fields));
                }
                (6, Value::Bytes(range)) => tags.push(pair(block, range)?),
                _ => {}
            }
        }
        if !has_logs {
            return Ok(None);
        }
        self.open_group(place.group, topic, source, &tags)?;
        self.logs(block, range, place)
    }

    fn open_group(
        &mut self,
        number: u32,
        topic: Range,
        source: Range,
        tags: &[(Range, Range)],
    ) -> Result<(), DecodeError> {
        let topic = self.batch.text.admit(topic)?;
        let source = self.batch.text.admit(source)?;
        self.shared.clear();
        self.shared.push(CellData::new(self.topic_key, topic));
        self.shared.push(CellData::new(self.source_key, source));
        let stamp = self.batch.groups.len() as u32 + 1;
        for &(key, value) in tags {
            let key = self.tag_key(key)?;
            let cell = CellData::new(key, self.batch.text.admit(value)?);
            self.put_tag(stamp, cell);
        }
        let batch = &self.batch;
        let bytes = |cell: &CellData| batch.key(cell.key()).len() + cell.value.len() as usize;
        self.shared_bytes = self.shared.iter().map(bytes).sum();
        let cells = self.shared.len() * size_of::<CellData>();
        self.shared_growth = self.shared_bytes + cells + ROW_BYTES;
        self.batch.groups.push(GroupData {
            number,
            topic,
            source,
            shared: self.shared.clone(),
            shared_bytes: self.shared_bytes,
        });
        Ok(())
    }

    /// The number of a tag's name. Groups mostly have the same tags: only a new name takes room.
    fn tag_key(&mut self, name: Range) -> Result<KeyId, DecodeError> {
        let name = self.batch.text.admit(name)?;
        self.tag_name.clear();
        self.tag_name.push_str("__tag__:");
        self.tag_name.push_str(self.batch.text.get(name));
        if let Some(id) = self.batch.keys.find(&self.batch.text, &self.tag_name) {
            return Ok(id);
        }
        self.room = self.room.saturating_sub(KEY_BYTES + self.tag_name.len());
        let span = self.batch.text.add(&self.tag_name)?;
        Ok(self.batch.keys.intern(&self.batch.text, span))
    }

    /// Adds a tag's cell, or replaces the value of the one with the same key.
    fn put_tag(&mut self, stamp: u32, cell: CellData) {
        let at = cell.key().index();
        if self.tag_seen.len() <= at {
            self.tag_seen.resize(self.batch.keys.len(), Seen::default());
        }
        let Some(seen) = self.tag_seen.get_mut(at) else { return };
        if seen.stamp == stamp {
            if let Some(earlier) = self.shared.get_mut(seen.cell as usize) {
                *earlier = cell;
            }
        } else {
            *seen = Seen { stamp, cell: self.shared.len() as u32 };
            self.shared.push(cell);
        }
    }

    fn logs(
        &mut self,
        block: &Bytes,
        group: Range,
        mut place: BlockPosition,
    ) -> Result<Option<BlockPosition>, DecodeError> {
        let number = self.batch.groups.len() as u32 - 1;
        let start = if place.log_at == 0 { group.start } else { place.log_at };
        let rest = Range { start, len: group.end().saturating_sub(start) };
        let mut fields = Reader::new(block, rest);
        loop {
            place.log_at = fields.offset();
            let Some(field) = fields.next()? else { return Ok(None) };
            if let (1, Value::Bytes(log)) = (field.number, field.value) {
                if !self.has_room_for(log) {
                    return Ok(Some(place));
                }
                self.log(block, number, place.row_in_group, log)?;
                place.row_in_group += 1;
            }
        }
    }

    /// Takes the room for one more log; there always is some for the first.
    #[inline]
    fn has_room_for(&mut self, log: Range) -> bool {
        let bytes = log.len as usize * LOG_GROWTH + self.shared_growth;
        let left = self.room.checked_sub(bytes);
        // What does not fit leaves no room for what comes after it.
        self.room = left.unwrap_or(0);
        left.is_some() || self.batch.rows.is_empty()
    }

    /// Where the next part begins, with what has been read so far.
    pub(super) fn place(&self, full: BlockPosition) -> BlockPosition {
        BlockPosition {
            rows: self.from.rows + self.batch.rows.len(),
            cells: self.from.cells + self.batch.cells.len(),
            shared_bytes: self.shared_bytes_of_logs,
            ..full
        }
    }

    /// One log: a row.
    pub(super) fn log(
        &mut self,
        block: &Bytes,
        group: u32,
        row_in_group: u32,
        log: Range,
    ) -> Result<(), DecodeError> {
        if self.batch.rows.len() >= self.max_rows {
            return Err(self.too_large("logs", self.limits.max_rows));
        }
        let mut ascii = None;
        let first = self.batch.cells.len();
        self.begin_row()?;
        let (mut seconds, mut nanos, mut nth) = (0u32, 0u32, 0usize);
        let mut fields = Reader::new(block, log);
        while let Some(field) = fields.next()? {
            match (field.number, field.value) {
                (1, Value::Varint(value)) => seconds = value as u32, // the low 32 bits, as every SDK
                (2, Value::Bytes(range)) => {
                    if nth == 0 {
                        ascii = self.batch.text.is_ascii(contents_area(block, log, range.start));
                    }
                    self.content(block, range, ascii.as_ref(), first, nth)?;
                    nth += 1;
                }
                (4, Value::Fixed32(value)) => nanos = value,
                _ => {}
            }
        }
        self.expected.truncate(nth);
        self.set_time(first, seconds, nanos)?;
        self.end_row(first, group, row_in_group, log, Time { seconds: seconds.into(), nanos })
    }

    /// Puts the shared cells in front, with room for the time, which may come last on the wire.
    fn begin_row(&mut self) -> Result<(), DecodeError> {
        self.shared_bytes_of_logs = self.shared_bytes_of_logs.saturating_add(self.shared_bytes);
        if self.shared_bytes_of_logs > self.limits.max_shared_bytes {
            let what = "bytes of topics, sources and tags, repeated in each log";
            return Err(self.too_large(what, self.limits.max_shared_bytes));
        }
        let stamp = self.batch.rows.len() as u32 + 1;
        let first = self.batch.cells.len();
        self.batch.cells.push(CellData::new(self.time_key, Span::UNSET));
        self.batch.cells.extend_from_slice(&self.shared);
        self.last_seen.resize(self.batch.keys.len(), Seen::default());
        // `first` was the end a moment ago, so it is in range.
        let row = self.batch.cells.get(first..).into_iter().flatten();
        for (at, cell) in (first as u32..).zip(row) {
            if let Some(seen) = self.last_seen.get_mut(cell.key().index()) {
                *seen = Seen { stamp, cell: at };
            }
        }
        Ok(())
    }

    #[inline]
    fn content(
        &mut self,
        block: &Bytes,
        range: Range,
        ascii: Option<&AsciiArea>,
        first: usize,
        nth: usize,
    ) -> Result<(), DecodeError> {
        let (key, value) = pair(block, range)?;
        let key = self.content_key(block, key, nth)?;
        let value = match ascii.and_then(|area| self.batch.text.admit_within(area, value)) {
            Some(span) => span,
            None => self.batch.text.admit(value)?,
        };
        let cell = CellData::new(key, value);
        let stamp = self.batch.rows.len() as u32 + 1;
        let at = self.batch.cells.len();
        if let Some(seen) = self.last_seen.get_mut(key.index()) {
            if seen.stamp == stamp {
                // The later value wins, at the first position.
                if let Some(earlier) = self.batch.cells.get_mut(seen.cell as usize) {
                    *earlier = cell;
                }
                return Ok(());
            }
            *seen = Seen { stamp, cell: at as u32 };
        }
        if at - first >= self.limits.max_fields {
            return Err(self.too_large("fields in one log", self.limits.max_fields));
        }
        self.batch.cells.push(cell);
        Ok(())
    }

    #[inline]
    fn content_key(&mut self, block: &Bytes, key: Range, nth: usize) -> Result<KeyId, DecodeError> {
        let expected = self.expected.get(nth).copied();
        if let Some(id) = expected
            && self.batch.keys.text_of(&self.batch.text, id).as_bytes() == key.of(block)
        {
            return Ok(id);
        }
        let span = self.batch.text.admit(key)?;
        let known = self.batch.keys.len();
        let id = self.batch.keys.intern(&self.batch.text, span);
        self.room = self.room.saturating_sub((self.batch.keys.len() - known) * KEY_BYTES);
        self.last_seen.resize(self.batch.keys.len(), Seen::default());
        match self.expected.get_mut(nth) {
            Some(slot) => *slot = id,
            None => self.expected.push(id),
        }
        Ok(id)
    }

    /// Writes `__time__` and `__time_ns_part__`, unless a content of that name has taken their place.
    fn set_time(&mut self, first: usize, seconds: u32, nanos: u32) -> Result<(), DecodeError> {
        let is_forged = |cell: &CellData| cell.value != Span::UNSET;
        let forged = self.batch.cells.get(first).is_some_and(is_forged);
        if !forged {
            let span = match self.last_time {
                Some((last, span)) if last == seconds => span,
                _ => self.batch.text.add(&seconds.to_string())?,
            };
            self.last_time = Some((seconds, span));
            if let Some(cell) = self.batch.cells.get_mut(first) {
                cell.value = span;
            }
        }
        if nanos != 0 {
            let mut cell = CellData::new(self.nanos_key, self.batch.text.add(&nanos.to_string())?);
            // A log begins at its first cell, so that is in range.
            let mut row = self.batch.cells.get(first..).into_iter().flatten();
            if let Some(at) = row.position(|cell| cell.key() == self.nanos_key) {
                cell = self.batch.cells.remove(first + at);
            }
            let after_source = (first + 3).min(self.batch.cells.len());
            self.batch.cells.insert(after_source, cell);
        }
        Ok(())
    }

    fn end_row(
        &mut self,
        first: usize,
        group: u32,
        row_in_group: u32,
        log: Range,
        time: Time,
    ) -> Result<(), DecodeError> {
        let count = self.batch.cells.len() - first;
        if count > self.limits.max_fields {
            return Err(self.too_large("fields in one log", self.limits.max_fields));
        }
        if self.batch.cells.len() > self.max_cells {
            return Err(self.too_large("fields", self.limits.max_cells));
        }
        self.batch.text_bytes += log.len as usize + self.shared_bytes;
        let ix = RowIx(self.batch.rows.len() as u32);
        self.batch.rows.push(RowData {
            first_cell: first as u32,
            cell_count: count as u32,
            cell_room: count as u32,
            log,
            group,
            row_in_group,
            time: Time { nanos: time.nanos.min(999_999_999), ..time },
            added_bytes: 0,
            parent: None,
            ordinal: 0,
            emissions: 0,
            label: Label::default(),
            state: RowState::Live,
        });
        self.batch.order.push(ix);
        Ok(())
    }

    /// Cells from text, for [`original`].
    pub(super) fn shared_cells(
        &mut self,
        pairs: &[(String, String)],
    ) -> Result<Vec<CellData>, DecodeError> {
        pairs
            .iter()
            .map(|(key, value)| {
                let key = self.batch.text.add(key)?;
                let key = self.batch.keys.intern(&self.batch.text, key);
                Ok(CellData::new(key, self.batch.text.add(value)?))
            })
            .collect()
    }

    const fn too_large(&self, what: &'static str, limit: usize) -> DecodeError {
        DecodeError::TooLarge { what, limit }
    }
}
