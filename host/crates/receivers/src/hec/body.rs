//! Reading a request body: gzip undone as it is read, never more memory than the limit allows.
//!
//! A body that is refused is still read to its end, so that the client has finished writing when the
//! reply comes; a client that is still writing may never see it.

use std::io::{self, Write};

use flate2::write::GzDecoder;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

/// Why there is no body to look at.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// Larger than the limit, before or after decompression.
    TooLarge { length: u64 },
    /// Declared as gzip, and is not, or stops in the middle.
    NotGzip,
    /// The client went away.
    Interrupted,
}

/// A body in memory.
#[derive(Debug)]
pub(crate) struct ReceivedBody {
    pub(crate) bytes: Vec<u8>,
    pub(crate) wire_bytes: u64,
}

/// Reads a body into memory, at most `limit` bytes of it.
pub(crate) async fn take(
    mut body: Incoming,
    gzip: bool,
    limit: u64,
) -> Result<ReceivedBody, BodyError> {
    let announced = body.size_hint().exact().unwrap_or(0);
    let mut buffer = BodyBuffer::new(gzip, announced.min(limit), limit);
    let mut failed = (announced > limit).then_some(BodyError::TooLarge { length: announced });
    let mut wire_bytes = 0;
    while let Some(chunk) = next_chunk(&mut body).await? {
        wire_bytes += chunk.len() as u64;
        if failed.is_none() {
            failed = buffer.write(&chunk).err().map(|_| buffer.blame());
        }
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(ReceivedBody { bytes: buffer.finish()?, wire_bytes }),
    }
}

/// Reads a body to its end and forgets it; returns its length.
pub(crate) async fn drain(mut body: Incoming) -> Result<u64, BodyError> {
    let mut length = 0;
    while let Some(chunk) = next_chunk(&mut body).await? {
        length += chunk.len() as u64;
    }
    Ok(length)
}

/// Reads the beginning of a body.
pub(crate) async fn begin(mut body: Incoming) -> Result<(), BodyError> {
    next_chunk(&mut body).await.map(|_| ())
}

async fn next_chunk(body: &mut Incoming) -> Result<Option<bytes::Bytes>, BodyError> {
    match body.frame().await {
        None => Ok(None),
        // Trailers carry nothing the collector wants.
        Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
        Some(Err(_)) => Err(BodyError::Interrupted),
    }
}

enum BodyBuffer {
    Plain(CappedBuffer),
    Gzip(Box<GzDecoder<CappedBuffer>>),
}

impl BodyBuffer {
    fn new(gzip: bool, announced: u64, limit: u64) -> Self {
        let capacity = usize::try_from(announced).unwrap_or(0);
        let capped = CappedBuffer { bytes: Vec::with_capacity(capacity), limit, attempted: 0 };
        if gzip { Self::Gzip(Box::new(GzDecoder::new(capped))) } else { Self::Plain(capped) }
    }

    fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(capped) => capped.write_all(chunk),
            Self::Gzip(decoder) => decoder.write_all(chunk),
        }
    }

    /// Why the last write or the end of the stream was refused.
    fn blame(&self) -> BodyError {
        let capped = match self {
            Self::Plain(capped) => capped,
            Self::Gzip(decoder) => decoder.get_ref(),
        };
        if capped.attempted > capped.limit {
            BodyError::TooLarge { length: capped.attempted }
        } else {
            BodyError::NotGzip
        }
    }

    fn finish(self) -> Result<Vec<u8>, BodyError> {
        match self {
            Self::Plain(capped) => Ok(capped.bytes),
            Self::Gzip(mut decoder) => match decoder.try_finish() {
                Ok(()) => Ok(std::mem::take(&mut decoder.get_mut().bytes)),
                Err(_) => Err(Self::Gzip(decoder).blame()),
            },
        }
    }
}

/// Memory that refuses to grow beyond a limit: a gzip bomb stops here.
struct CappedBuffer {
    bytes: Vec<u8>,
    limit: u64,
    /// What the length would have been with the write that was refused.
    attempted: u64,
}

impl Write for CappedBuffer {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        self.attempted = (self.bytes.len() + chunk.len()) as u64;
        if self.attempted > self.limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(chunk);
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
