//! How a receiver finds where one message ends and the next begins (RFC 6587, RFC 5425).

use crate::stamp::push_decimal;

/// How messages are separated in a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Framing {
    /// `LEN SP MSG`: the length in bytes comes first. Any text travels unharmed, and TLS receivers insist on
    /// it.
    #[default]
    OctetCounting,
    /// A line feed ends the message, so none may stand inside it.
    LineFeed,
}

/// Writes frames around messages that are written in place.
#[derive(Debug)]
pub(super) struct Framer {
    framing: Framing,
    /// Bytes set aside for `LEN SP`: what the last message needed, since neighbours are about as long. A wrong
    /// guess costs moving one message.
    reserved: usize,
}

impl Framer {
    pub(super) fn new(framing: Framing) -> Self {
        Self { framing, reserved: 4 }
    }

    /// Prepares for a message; returns where it starts.
    pub(super) fn open(&self, out: &mut Vec<u8>) -> usize {
        if self.framing == Framing::OctetCounting {
            out.resize(out.len() + self.reserved, b' ');
        }
        out.len()
    }

    /// Completes the frame of the message that started at `start` and goes to the end of `out`.
    pub(super) fn close(&mut self, out: &mut Vec<u8>, start: usize) {
        match self.framing {
            Framing::LineFeed => out.push(b'\n'),
            Framing::OctetCounting => {
                let mut prefix = Vec::with_capacity(8);
                push_decimal(&mut prefix, (out.len() - start) as u64);
                prefix.push(b' ');
                let frame = start - self.reserved;
                if prefix.len() == self.reserved
                    && let Some(place) = out.get_mut(frame..start)
                {
                    place.copy_from_slice(&prefix);
                } else {
                    self.reserved = prefix.len();
                    out.splice(frame..start, prefix);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_bytes_and_frames_touch() {
        let mut framer = Framer::new(Framing::OctetCounting);
        let mut out = Vec::new();
        let long = "x".repeat(12_345);
        for message in ["é", "four", &long, "0123456789", ""] {
            let start = framer.open(&mut out);
            out.extend_from_slice(message.as_bytes());
            framer.close(&mut out, start);
        }
        let expected = format!("2 é4 four12345 {long}10 01234567890 ");
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn frames_are_those_of_the_vectors() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/vectors/syslog.json");
        let file = std::fs::read_to_string(path).unwrap();
        let file: serde_json::Value = serde_json::from_str(&file).unwrap();
        let vectors = file["vectors"].as_array().unwrap().iter();
        let framings = vectors.filter(|vector| vector["format"] == "framing").map(|vector| {
            let framing = match vector["input"]["framing"].as_str().unwrap() {
                "octet" => Framing::OctetCounting,
                _ => Framing::LineFeed,
            };
            let mut framer = Framer::new(framing);
            let mut out = Vec::new();
            for message in vector["input"]["frames"].as_array().unwrap() {
                let start = framer.open(&mut out);
                out.extend_from_slice(message.as_str().unwrap().as_bytes());
                framer.close(&mut out, start);
            }
            assert_eq!(String::from_utf8(out).unwrap(), vector["expected"], "{}", vector["name"]);
            framing
        });
        assert!(framings.eq([Framing::OctetCounting, Framing::LineFeed]));
    }
}
