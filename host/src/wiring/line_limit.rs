//! Lines of the log that many shards of one source would write at once: the first few are written, the others
//! counted. Otherwise a logstore that is gone, or a heartbeat that grants thousands of shards, buries all else.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines per window.
const MOST: u32 = 16;

/// A window; shards are tried again every ten seconds.
const WINDOW: Duration = Duration::from_secs(60);

/// The lines of one source.
#[derive(Debug)]
pub(super) struct LineLimit(Mutex<Window>);

#[derive(Debug)]
struct Window {
    since: Instant,
    written: u32,
    left_out: u32,
}

impl LineLimit {
    /// None so far.
    pub(super) fn new() -> Self {
        Self(Mutex::new(Window { since: Instant::now(), written: 0, left_out: 0 }))
    }

    /// Whether one more is to be written; if so, how many were left out since the last one.
    pub(super) fn admit(&self) -> Option<u32> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Option<u32> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(window.since) >= WINDOW {
            window.since = now;
            window.written = 0;
        }
        if window.written >= MOST {
            window.left_out = window.left_out.saturating_add(1);
            return None;
        }
        window.written += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted_in_the_next_window() {
        let (limit, now) = (LineLimit::new(), Instant::now());
        let written = (0..4_000).filter_map(|_| limit.admit_at(now)).collect::<Vec<_>>();
        assert_eq!(written, [0; MOST as usize]);
        let later = now + WINDOW;
        assert_eq!(limit.admit_at(later), Some(4_000 - MOST));
        assert_eq!(limit.admit_at(later), Some(0));
    }
}
