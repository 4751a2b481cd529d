//! What the WASI stubs remember for one instance: unfinished lines of the standard streams, a clock and a random
//! number generator that are the same in every instance.

use crate::fault::Fault;
use crate::guest_log::{GuestLog, LineBuffer, Severity};

/// Bytes that one call for random numbers may ask for.
const MAX_RANDOM_BYTES: usize = 64 << 10;
/// Where random numbers begin.
pub(crate) const SEED: u64 = 0x666f_7277_6172_6465;

/// What the stubs remember for one instance.
#[derive(Debug)]
pub(crate) struct WasiState {
    stdout: LineBuffer,
    stderr: LineBuffer,
    pub(crate) handles: u32,
    monotonic: u64,
    random: u64,
}

impl Default for WasiState {
    fn default() -> Self {
        Self {
            stdout: LineBuffer::default(),
            stderr: LineBuffer::default(),
            handles: 0,
            monotonic: 1,
            random: SEED,
        }
    }
}

impl WasiState {
    /// Hands unfinished lines to the log, at the end of a call.
    pub(crate) fn flush(&mut self, log: &GuestLog) {
        self.stdout.flush(|line| log.line(Severity::Info, line));
        self.stderr.flush(|line| log.line(Severity::Warn, line));
    }

    /// Takes what the guest writes to a standard stream.
    pub(crate) fn write(&mut self, is_error: bool, bytes: &[u8], log: &GuestLog) {
        let left_out = if is_error {
            self.stderr.write(bytes, |line| log.line(Severity::Warn, line))
        } else {
            self.stdout.write(bytes, |line| log.line(Severity::Info, line))
        };
        log.left_out(left_out);
    }

    /// Go takes zero for a broken clock, and waits for time to pass: so it does, a microsecond per look.
    pub(crate) fn tick(&mut self) -> u64 {
        self.monotonic += 1_000;
        self.monotonic
    }

    /// SplitMix64: <https://prng.di.unimi.it/splitmix64.c>.
    pub(crate) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn random_bytes(&mut self, asked: u64) -> Result<Vec<u8>, Fault> {
        let Some(len) = usize::try_from(asked).ok().filter(|len| *len <= MAX_RANDOM_BYTES) else {
            let asked = format!("{asked} random bytes at once; {MAX_RANDOM_BYTES} is the most");
            return Err(Fault::BadCall(asked));
        };
        let mut bytes: Vec<u8> = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend(self.random().to_le_bytes());
        }
        bytes.truncate(len);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_repeats_itself_in_every_instance() {
        let bytes = |len| WasiState::default().random_bytes(len).unwrap();
        assert_eq!(bytes(11), bytes(11));
        assert_eq!(bytes(11).len(), 11);
        assert_ne!(bytes(8), vec![0; 8]);
        assert!(WasiState::default().random_bytes(MAX_RANDOM_BYTES as u64 + 1).is_err());
    }
}
