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
    encoding: Encoding,
    is_suspect: bool,
}

/// What was done to the bytes of a body, in the words of HTTP's `Content-Encoding` (RFC 9110 §8.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Nothing.
    Identity,
    /// Compressed with gzip (RFC 1952).
    Gzip,
}

impl Body {
    /// The bytes as they are. `rows` is how many rows the segments hold together.
    pub fn plain(segments: Vec<Bytes>, rows: usize) -> Self {
        let raw_bytes = segments.iter().map(Bytes::len).sum();
        Self { segments, rows, raw_bytes, encoding: Encoding::Identity, is_suspect: false }
    }

    /// Bytes that were compressed with gzip from `raw_bytes` bytes.
    pub fn gzip(compressed: Vec<u8>, raw_bytes: usize, rows: usize) -> Self {
        let segments = vec![compressed.into()];
        Self { segments, rows, raw_bytes, encoding: Encoding::Gzip, is_suspect: false }
    }

    /// The receiver has refused something that held these rows: its answer must be about them alone.
    #[must_use]
    pub fn as_suspect(self) -> Self {
        Self { is_suspect: true, ..self }
    }

    /// The pieces, in order.
    pub fn segments(&self) -> &[Bytes] {
        &self.segments
    }

    /// How many rows.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes before compression.
    pub const fn raw_bytes(&self) -> usize {
        self.raw_bytes
    }

    /// Bytes on the wire, without headers.
    pub fn wire_bytes(&self) -> usize {
        self.segments.iter().map(Bytes::len).sum()
    }

    /// How the bytes are encoded.
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Whether the answer must be about these rows alone, and not about others that are sent at the same time.
    pub const fn is_suspect(&self) -> bool {
        self.is_suspect
    }
}

/// The most that may go into one body, before compression. A single row that exceeds it is sent alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// Encoded bytes.
    pub max_bytes: usize,
    /// Rows.
    pub max_rows: usize,
}
