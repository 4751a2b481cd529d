//! One request's worth of encoded rows, ready for the wire.

use bytes::Bytes;

/// What goes to a receiver in one piece: one HTTP request, or one uninterrupted run of syslog frames.
///
/// Made on a compute thread, cheap to clone, so that a retry sends the very same bytes.
#[derive(Debug, Clone)]
pub struct Body {
    segments: Vec<Bytes>,
    rows: usize,
    raw_bytes: usize,
    gzip: bool,
}

impl Body {
    /// The bytes as they are. `rows` is how many rows the segments hold together.
    pub fn plain(segments: Vec<Bytes>, rows: usize) -> Self {
        let raw_bytes = segments.iter().map(Bytes::len).sum();
        Self { segments, rows, raw_bytes, gzip: false }
    }

    /// The segments of a body that [`hec::Encoder::pack`](crate::hec::Encoder::pack) made of `raw_bytes` bytes,
    /// for callers that keep segments and rows apart until they send. Whether it was compressed is seen from
    /// the segments: events begin with `{`, gzip with its magic number (RFC 1952).
    pub fn packed(segments: Vec<Bytes>, rows: usize, raw_bytes: usize) -> Self {
        let gzip = segments.first().is_some_and(|first| first.starts_with(&[0x1f, 0x8b]));
        Self { segments, rows, raw_bytes, gzip }
    }

    /// Bytes that were compressed with gzip from `raw_bytes` bytes.
    pub(crate) fn gzip(compressed: Vec<u8>, raw_bytes: usize, rows: usize) -> Self {
        Self { segments: vec![compressed.into()], rows, raw_bytes, gzip: true }
    }

    /// The pieces, in order.
    pub fn segments(&self) -> &[Bytes] {
        &self.segments
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes before compression.
    pub fn raw_bytes(&self) -> usize {
        self.raw_bytes
    }

    /// Bytes on the wire, without headers.
    pub fn wire_bytes(&self) -> usize {
        self.segments.iter().map(Bytes::len).sum()
    }

    /// Whether the bytes are compressed with gzip.
    pub fn is_gzip(&self) -> bool {
        self.gzip
    }
}
