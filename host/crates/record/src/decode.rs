//! `LogGroupList` to table: the walk over the block, and flattening.
//!
//! The messages (`sls` protocol, proto2): `LogGroupList{1: LogGroup}`, `LogGroup{1: Log, 3: Topic, 4: Source,
//! 6: LogTag}`, `Log{1: Time, 2: Content, 4: Time_ns fixed32}`, `LogTag` and `Content{1: Key, 2: Value}`. Field numbers
//! as published in the official SDKs. `MachineUUID` and `Reserved` are not part of a flattened log.
//!
//! A flattened log has, in this order: `__time__`, `__topic__`, `__source__`, `__time_ns_part__` (only if not zero),
//! `__tag__:`-prefixed tags, the contents. Of equal keys the last value wins, at the first one's position.
//! Two deliberate differences from the Python SDK: the nanoseconds are a plain string, and bytes that are not
//! UTF-8 are dropped everywhere alike.

use bytes::Bytes;

use crate::batch::{Batch, CellData, GroupData, Label, RowData, RowIx, RowState};
use crate::keys::KeyId;
use crate::origin::{Origin, Time};
use crate::protobuf::{Malformed, Reader, Value};
use crate::text::{AsciiArea, MAX_TEXT_BYTES, Range, Span, Text, TextFull};

/// Hard limits on what a block may unfold to. A block of a few megabytes could otherwise claim a table of
/// many gigabytes, since the tags of a group are repeated in each of its logs.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Decompressed bytes of one block.
    pub max_block_bytes: usize,
    /// Logs in one block.
    pub max_rows: usize,
    /// Fields of one log, tags included.
    pub max_fields: usize,
    /// Fields of all logs of the block together.
    pub max_cells: usize,
    /// Bytes of topics, sources and tags of all logs of the block together, names included. A group holds
    /// them once; whatever writes its logs writes them once per log.
    pub max_shared_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_block_bytes: 64 << 20,
            max_rows: 1 << 20,
            max_fields: 1 << 14,
            max_cells: 1 << 24,
            max_shared_bytes: 512 << 20,
        }
    }
}

/// Why a block could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes are not a `LogGroupList`.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The block is valid but larger than we are prepared to hold.
    #[error(
        "the block exceeds the limit of {limit} {what}; lower the fetch count or raise the limit"
    )]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The limit that was exceeded.
        limit: usize,
    },
}

impl From<TextFull> for DecodeError {
    fn from(_: TextFull) -> Self {
        Self::TooLarge { what: "bytes of text", limit: MAX_TEXT_BYTES }
    }
}

/// See [`Batch::decode`].
pub(crate) fn decode(block: Bytes, origin: Origin, limits: &Limits) -> Result<Batch, DecodeError> {
    if block.len() > limits.max_block_bytes {
        return Err(DecodeError::TooLarge { what: "bytes", limit: limits.max_block_bytes });
    }
    let whole = Range { start: 0, len: block.len() as u32 };
    let text = Text::new(block.clone())?;
    let mut decoder = Decoder::new(Batch { origin, text, ..Batch::default() }, limits)?;
    let mut fields = Reader::new(&block, whole);
    while let Some(field) = fields.next()? {
        if let (1, Value::Bytes(group)) = (field.number, field.value) {
            decoder.group(&block, group)?;
        }
    }
    Ok(decoder.batch)
}

/// The fields of one original log again, from the block: what it was before any plugin saw it.
pub(crate) fn original(batch: &Batch, ix: RowIx) -> Vec<(String, String)> {
    let row = batch.row_data(ix);
    let Some(group) = batch.groups.get(row.group as usize) else { return Vec::new() };
    let block = batch.text.block().clone();
    let limits = Limits::default();
    let retell = || -> Result<Vec<(String, String)>, DecodeError> {
        let text = Text::new(block.clone())?;
        let mut decoder = Decoder::new(Batch { text, ..Batch::default() }, &limits)?;
        let pair = |cell: &CellData| {
            (batch.key(cell.key()).to_owned(), batch.text.get(cell.value).to_owned())
        };
        decoder.shared =
            decoder.shared_cells(&group.shared.iter().map(pair).collect::<Vec<_>>())?;
        decoder.log(&block, 0, 0, row.log)?;
        let only = decoder.batch.row(RowIx(0));
        Ok(only.cells().map(|cell| (cell.key.to_owned(), cell.value.to_owned())).collect())
    };
    // The same bytes were decoded before, so this cannot fail.
    retell().unwrap_or_default()
}

/// The table under construction and what makes the next log cheap.
struct Decoder<'l> {
    batch: Batch,
    limits: &'l Limits,
    time_key: KeyId,
    nanos_key: KeyId,
    topic_key: KeyId,
    source_key: KeyId,
    /// Cells that every log of the present group begins with, after its time.
    shared: Vec<CellData>,
    /// Bytes of their names and values.
    shared_bytes: usize,
    /// The same, summed over all logs so far.
    shared_bytes_of_logs: usize,
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
    fn new(mut batch: Batch, limits: &'l Limits) -> Result<Self, DecodeError> {
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
            time_key,
            nanos_key,
            topic_key,
            source_key,
            shared: Vec::new(),
            shared_bytes: 0,
            shared_bytes_of_logs: 0,
            expected: Vec::new(),
            last_seen: vec![Seen::default(); 4],
            last_time: None,
        })
    }

    /// One log group: first what its logs share, wherever that stands on the wire, then the logs.
    fn group(&mut self, block: &Bytes, range: Range) -> Result<(), DecodeError> {
        let mut topic = Range::default();
        let mut source = Range::default();
        let mut tags = Vec::new();
        let mut fields = Reader::new(block, range);
        while let Some(field) = fields.next()? {
            match (field.number, field.value) {
                (3, Value::Bytes(range)) => topic = range,
                (4, Value::Bytes(range)) => source = range,
                (6, Value::Bytes(_)) if tags.len() >= self.limits.max_fields => {
                    return Err(self.too_large("tags in a log group", self.limits.max_fields));
                }
                (6, Value::Bytes(range)) => tags.push(pair(block, range)?),
                _ => {}
            }
        }
        self.open_group(topic, source, &tags)?;
        self.logs(block, range)
    }

    fn open_group(
        &mut self,
        topic: Range,
        source: Range,
        tags: &[(Range, Range)],
    ) -> Result<(), DecodeError> {
        let topic = self.batch.text.admit(topic)?;
        let source = self.batch.text.admit(source)?;
        self.shared.clear();
        self.shared.push(CellData::new(self.topic_key, topic));
        self.shared.push(CellData::new(self.source_key, source));
        for &(key, value) in tags {
            let name = self.batch.text.admit(key)?;
            let name = self.batch.text.get(name).to_owned();
            let span = self.batch.text.add_parts(&["__tag__:", &name])?;
            let key = self.batch.keys.intern(&self.batch.text, span);
            let value = self.batch.text.admit(value)?;
            put(&mut self.shared, CellData::new(key, value));
        }
        let batch = &self.batch;
        let bytes = |cell: &CellData| batch.key(cell.key()).len() + cell.value.len() as usize;
        self.shared_bytes = self.shared.iter().map(bytes).sum();
        self.batch.groups.push(GroupData { topic, source, shared: self.shared.clone() });
        Ok(())
    }

    fn logs(&mut self, block: &Bytes, group: Range) -> Result<(), DecodeError> {
        let number = self.batch.groups.len() as u32 - 1;
        let mut row_in_group = 0;
        let mut fields = Reader::new(block, group);
        while let Some(field) = fields.next()? {
            if let (1, Value::Bytes(log)) = (field.number, field.value) {
                self.log(block, number, row_in_group, log)?;
                row_in_group += 1;
            }
        }
        Ok(())
    }

    /// One log: a row.
    fn log(
        &mut self,
        block: &Bytes,
        group: u32,
        row_in_group: u32,
        log: Range,
    ) -> Result<(), DecodeError> {
        if self.batch.rows.len() >= self.limits.max_rows {
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
        let row = self.batch.cells.get(first..).unwrap_or_default();
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
        let id = self.batch.keys.intern(&self.batch.text, span);
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
            let row = self.batch.cells.get(first..).unwrap_or_default();
            if let Some(at) = row.iter().position(|cell| cell.key() == self.nanos_key) {
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
        if self.batch.cells.len() > self.limits.max_cells {
            return Err(self.too_large("fields", self.limits.max_cells));
        }
        let ix = RowIx(self.batch.rows.len() as u32);
        self.batch.rows.push(RowData {
            first_cell: first as u32,
            cell_count: count as u32,
            cell_room: count as u32,
            log,
            group,
            row_in_group,
            time: Time { nanos: time.nanos.min(999_999_999), ..time },
            label: Label::default(),
            state: RowState::Live,
            ..RowData::NONE
        });
        self.batch.order.push(ix);
        Ok(())
    }

    /// Cells from text, for [`original`].
    fn shared_cells(&mut self, pairs: &[(String, String)]) -> Result<Vec<CellData>, DecodeError> {
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

/// Key and value of a `Content` or a `LogTag`; each empty when absent, the last one when repeated.
#[inline]
fn pair(block: &[u8], range: Range) -> Result<(Range, Range), Malformed> {
    match usual_pair(range.of(block), range.start) {
        Some(pair) => Ok(pair),
        None => any_pair(block, range),
    }
}

/// Apart from [`pair`], so that the usual form is read in place: handing two ranges back through memory would
/// cost more than reading them.
#[cold]
fn any_pair(block: &[u8], range: Range) -> Result<(Range, Range), Malformed> {
    let mut key = Range::default();
    let mut value = Range::default();
    let mut fields = Reader::new(block, range);
    while let Some(field) = fields.next()? {
        match (field.number, field.value) {
            (1, Value::Bytes(range)) => key = range,
            (2, Value::Bytes(range)) => value = range,
            _ => {}
        }
    }
    Ok((key, value))
}

/// The form that every writer produces: key, then value, nothing else; the key shorter than 128 bytes, the value
/// than 16 KiB.
#[inline]
fn usual_pair(bytes: &[u8], start: u32) -> Option<(Range, Range)> {
    let [0x0a, key_len @ 0..0x80, rest @ ..] = bytes else { return None };
    let key = Range { start: start + 2, len: u32::from(*key_len) };
    let (value_len, head, value) = match rest.get(usize::from(*key_len)..)? {
        [0x12, len @ 0..0x80, value @ ..] => (u32::from(*len), 2, value),
        [0x12, low, high @ 0..0x80, value @ ..] => {
            (u32::from(*low & 0x7f) | u32::from(*high) << 7, 3, value)
        }
        _ => return None,
    };
    let value_range = Range { start: key.end() + head, len: value_len };
    (value.len() == value_len as usize).then_some((key, value_range))
}

/// The part of a log that holds contents and nothing else, as writers put it: what comes before them is the
/// time, which is written in bytes above 127, and what may follow are the nanoseconds, a tag and four bytes.
fn contents_area(block: &[u8], log: Range, first_content: u32) -> Range {
    const NANOS: [u8; 5] = [0x25, 0, 0, 0, 0];
    let bytes = log.of(block);
    let tail = bytes.len().checked_sub(NANOS.len()).and_then(|at| bytes.get(at));
    let nanos = if tail == NANOS.first() { NANOS.len() as u32 } else { 0 };
    let end = log.end() - nanos;
    Range { start: first_content, len: end.saturating_sub(first_content) }
}

/// Adds a cell, or replaces the value of the one with the same key.
fn put(cells: &mut Vec<CellData>, cell: CellData) {
    match cells.iter_mut().find(|earlier| earlier.key() == cell.key()) {
        Some(earlier) => *earlier = cell,
        None => cells.push(cell),
    }
}
