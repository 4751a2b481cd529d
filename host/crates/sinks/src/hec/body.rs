//! A request body: compressed once, or streamed from the encoders' buffers as it is.

use std::convert::Infallible;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use forwarder_connector::Body;
use http_body::{Frame, SizeHint};

/// Compresses the segments with gzip, level 1: the cheapest level, which already shrinks audit logs five
/// to ten times, and the network is seldom worth more CPU than that.
///
/// # Errors
///
/// None in practice: the compressor writes to memory. The type is what the encoder's interface gives.
pub(super) fn gzip(segments: &[Bytes], rows: usize) -> io::Result<Body> {
    let raw_bytes: usize = segments.iter().map(Bytes::len).sum();
    let room = Vec::with_capacity(raw_bytes / 6 + 1024);
    let mut encoder = GzEncoder::new(room, Compression::fast());
    for segment in segments {
        encoder.write_all(segment)?;
    }
    Ok(Body::gzip(encoder.finish()?, raw_bytes, rows))
}

/// Streams segments without copying them, under a `content-length` known beforehand: several proxies
/// before Splunk refuse chunked requests or buffer them whole.
pub(super) struct Segments {
    next: std::vec::IntoIter<Bytes>,
}

impl Segments {
    pub(super) fn of(body: &Body) -> Self {
        Self { next: body.segments().to_vec().into_iter() }
    }
}

impl http_body::Body for Segments {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.next.next().map(|segment| Ok(Frame::data(segment))))
    }

    fn is_end_stream(&self) -> bool {
        self.next.len() == 0
    }

    fn size_hint(&self) -> SizeHint {
        let left: usize = self.next.as_slice().iter().map(Bytes::len).sum();
        SizeHint::with_exact(left as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use forwarder_connector::Encoding;

    use super::*;

    #[test]
    fn a_compressed_body_unpacks_to_its_segments() {
        let segments = [Bytes::from_static(b"{\"a\":1}"), Bytes::from_static(b"{\"a\":2}")];
        let body = gzip(&segments, 2).unwrap();
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(&body.segments()[0][..])
            .read_to_string(&mut unpacked)
            .unwrap();
        assert_eq!(unpacked, "{\"a\":1}{\"a\":2}");
        assert_eq!((body.rows(), body.raw_bytes()), (2, 14));
        assert_eq!(body.encoding(), Encoding::Gzip);
    }
}
