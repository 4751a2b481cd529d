//! Where one message ends and the next begins in a stream: RFC 6587.

use memchr::memchr;

/// Digits of the largest length worth reading; no message is ten gigabytes long.
const MAX_LENGTH_DIGITS: usize = 10;

/// How a sender marks messages off in a TCP or TLS stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Framing {
    /// Decided by the first byte of each connection, and then kept: a digit means octet counting.
    #[default]
    Detect,
    /// The length in bytes, a space, the message, and nothing between messages.
    OctetCounting,
    /// Each message ends with a line feed.
    LineFeed,
}

/// Why a stream cannot be followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FramingError {
    /// What stands in the place of a length is none.
    #[error("expected a length without leading zeros and a space, as octet counting has it")]
    Length,
    /// A message exceeds what the receiver takes.
    #[error("a message exceeds the receiver's limit of {limit} bytes")]
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The first byte starts neither a length nor a message.
    #[error("the stream begins with neither a digit nor `<`")]
    Unrecognised,
}

/// Cuts one connection's stream into messages.
#[derive(Debug)]
pub(crate) struct Deframer {
    framing: Framing,
    limit: usize,
}

impl Deframer {
    pub(crate) fn new(framing: Framing, limit: usize) -> Self {
        Self { framing, limit }
    }

    /// Splits the first whole message off `stream`; returns it and how many bytes it took with its
    /// frame. `None` until more has arrived.
    pub(crate) fn next<'s>(
        &mut self,
        stream: &'s [u8],
    ) -> Result<Option<(&'s [u8], usize)>, FramingError> {
        if self.framing == Framing::Detect {
            self.framing = match stream.first() {
                None => return Ok(None),
                Some(b'0'..=b'9') => Framing::OctetCounting,
                Some(b'<') => Framing::LineFeed,
                Some(_) => return Err(FramingError::Unrecognised),
            };
        }
        match self.framing {
            Framing::OctetCounting => self.counted(stream),
            Framing::LineFeed | Framing::Detect => self.terminated(stream),
        }
    }

    fn counted<'s>(&self, stream: &'s [u8]) -> Result<Option<(&'s [u8], usize)>, FramingError> {
        let head = stream.get(..=MAX_LENGTH_DIGITS).unwrap_or(stream);
        let digits = head.iter().take_while(|byte| byte.is_ascii_digit()).count();
        match (head.first(), head.get(digits)) {
            (None, _) => return Ok(None),
            (Some(b'1'..=b'9'), None) if digits <= MAX_LENGTH_DIGITS => return Ok(None),
            (Some(b'1'..=b'9'), Some(b' ')) => {}
            _ => return Err(FramingError::Length),
        }
        let length = head.iter().take(digits).fold(0_usize, |length, digit| {
            length.saturating_mul(10).saturating_add(usize::from(digit - b'0'))
        });
        if length > self.limit {
            return Err(FramingError::TooLong { limit: self.limit });
        }
        let end = digits + 1 + length;
        Ok(stream.get(digits + 1..end).map(|message| (message, end)))
    }

    fn terminated<'s>(&self, stream: &'s [u8]) -> Result<Option<(&'s [u8], usize)>, FramingError> {
        match memchr(b'\n', stream) {
            Some(end) if end <= self.limit => {
                Ok(stream.get(..end).map(|message| (message, end + 1)))
            }
            None if stream.len() <= self.limit => Ok(None),
            Some(_) | None => Err(FramingError::TooLong { limit: self.limit }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds a stream in pieces, as a socket would.
    fn deframe(framing: Framing, pieces: &[&[u8]]) -> Result<Vec<Vec<u8>>, FramingError> {
        let mut deframer = Deframer::new(framing, 1_000);
        let mut pending = Vec::new();
        let mut messages = Vec::new();
        for piece in pieces {
            pending.extend_from_slice(piece);
            while let Some((message, taken)) = deframer.next(&pending)? {
                messages.push(message.to_vec());
                pending.drain(..taken);
            }
        }
        Ok(messages)
    }

    #[test]
    fn either_framing_is_recognised_by_its_first_byte() {
        let counted: &[u8] = b"4 <1>a5 <1>\nb";
        assert_eq!(
            deframe(Framing::Detect, &[counted]).unwrap(),
            [b"<1>a".to_vec(), b"<1>\nb".to_vec()]
        );
        let lines: &[u8] = b"<1>a\n<1>b\n";
        assert_eq!(deframe(Framing::Detect, &[lines]).unwrap(), [b"<1>a", b"<1>b"]);
    }

    #[test]
    fn a_stream_that_makes_no_sense_is_given_up() {
        for (stream, flaw) in [
            (&b"hello"[..], FramingError::Unrecognised),
            (b"05 <1>ab", FramingError::Length),
            (b"5<1>ab", FramingError::Length),
            (b"4 <1>a\n4 <1>b", FramingError::Length),
            (b"12345678901", FramingError::Length),
            (b"1001 ", FramingError::TooLong { limit: 1_000 }),
        ] {
            assert_eq!(deframe(Framing::Detect, &[stream]), Err(flaw));
        }
        let endless = [b'<'; 1_001];
        let flaw = FramingError::TooLong { limit: 1_000 };
        assert_eq!(deframe(Framing::LineFeed, &[&endless]), Err(flaw));
    }

    proptest! {
        #[test]
        fn messages_survive_any_fragmentation(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 1..10),
            piece in 1..30_usize,
        ) {
            let counted: Vec<u8> = messages
                .iter()
                .flat_map(|message| [format!("{} ", message.len()).as_bytes(), message].concat())
                .collect();
            let pieces: Vec<_> = counted.chunks(piece).collect();
            prop_assert_eq!(&deframe(Framing::Detect, &pieces).unwrap(), &messages);

            let lines: Vec<Vec<u8>> = messages
                .iter()
                .map(|message| message.iter().filter(|byte| **byte != b'\n').copied().collect())
                .collect();
            let stream: Vec<u8> = lines.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect();
            let pieces: Vec<_> = stream.chunks(piece).collect();
            prop_assert_eq!(&deframe(Framing::LineFeed, &pieces).unwrap(), &lines);
        }
    }
}
