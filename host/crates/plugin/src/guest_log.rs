//! The voice of a plugin in the forwarder's log: tagged with its name, one line per line, short, and not too
//! often. What is too much is counted and said in a summary, never an error of the plugin.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::fault::shortened;
use crate::metrics;

/// Longest line in bytes; the rest is cut.
const MAX_LINE: usize = 1024;
/// Lines of one write that are looked at: more than may come at once. A guest can write millions.
const MAX_LINES_PER_WRITE: usize = 256;
/// Lines that may come at once …
const BURST: f64 = 100.0;
/// … and lines per second after that.
const LINES_PER_SECOND: f64 = 10.0;

/// How urgent a plugin says a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    Debug,
    Info,
    Warn,
    Error,
}

/// Shared by all instances of one plugin, so that more threads do not mean more noise.
#[derive(Debug)]
pub(crate) struct GuestLog {
    plugin: String,
    budget: Mutex<LineBudget>,
}

#[derive(Debug)]
struct LineBudget {
    lines: f64,
    refilled: Instant,
    suppressed: u64,
}

impl GuestLog {
    pub(crate) fn new(plugin: &str) -> Self {
        let budget = LineBudget { lines: BURST, refilled: Instant::now(), suppressed: 0 };
        Self { plugin: plugin.to_owned(), budget: Mutex::new(budget) }
    }

    /// Writes a line, or counts it.
    pub(crate) fn line(&self, severity: Severity, text: &str) {
        let Some(suppressed) = self.admit(Instant::now()) else {
            metrics::log_lines_suppressed(&self.plugin, 1);
            return;
        };
        let plugin = self.plugin.as_str();
        if suppressed > 0 {
            tracing::warn!(target: "plugin", plugin, suppressed, "lines of this plugin were left out");
        }
        let text = shortened(text, MAX_LINE);
        match severity {
            Severity::Debug => tracing::debug!(target: "plugin", plugin, "{text}"),
            Severity::Info => tracing::info!(target: "plugin", plugin, "{text}"),
            Severity::Warn => tracing::warn!(target: "plugin", plugin, "{text}"),
            Severity::Error => tracing::error!(target: "plugin", plugin, "{text}"),
        }
    }

    /// Counts lines that were left out without being looked at.
    pub(crate) fn left_out(&self, lines: u64) {
        if lines > 0 {
            self.budget.lock().unwrap_or_else(PoisonError::into_inner).suppressed += lines;
            metrics::log_lines_suppressed(&self.plugin, lines);
        }
    }

    /// Whether a line may be written now; if so, how many were not since the last one that was.
    fn admit(&self, now: Instant) -> Option<u64> {
        // A panic while the lock was held cannot have left anything worse than a wrong count.
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = now.saturating_duration_since(budget.refilled).as_secs_f64();
        budget.lines = (budget.lines + elapsed * LINES_PER_SECOND).min(BURST);
        budget.refilled = now;
        if budget.lines < 1.0 {
            budget.suppressed += 1;
            return None;
        }
        budget.lines -= 1.0;
        Some(std::mem::take(&mut budget.suppressed))
    }
}

/// Cuts what a guest writes to a standard stream into lines. Holds one unfinished line at most.
#[derive(Debug, Default)]
pub(crate) struct LineBuffer {
    line: Vec<u8>,
}

impl LineBuffer {
    /// Takes bytes and hands out the lines they complete; returns how many lines were left out because there were too
    /// many. Bytes past [`MAX_LINE`] of a line are discarded.
    pub(crate) fn write(&mut self, mut bytes: &[u8], mut emit: impl FnMut(&str)) -> u64 {
        let newline = |byte: &u8| *byte == b'\n';
        for _ in 0..MAX_LINES_PER_WRITE {
            let Some(end) = bytes.iter().position(newline) else {
                self.extend(bytes);
                return 0;
            };
            let (head, tail) = bytes.split_at(end);
            self.extend(head);
            self.flush(&mut emit);
            bytes = tail.get(1..).unwrap_or_default();
        }
        if let Some(last) = bytes.iter().rposition(newline) {
            self.extend(bytes.get(last + 1..).unwrap_or_default());
            return bytes.iter().filter(|byte| newline(byte)).count() as u64;
        }
        self.extend(bytes);
        0
    }

    /// Hands out the unfinished line, if there is one.
    pub(crate) fn flush(&mut self, mut emit: impl FnMut(&str)) {
        if !self.line.is_empty() {
            emit(&String::from_utf8_lossy(&self.line));
            self.line.clear();
        }
    }

    fn extend(&mut self, bytes: &[u8]) {
        // One byte more than fits, so that the line is seen to have been cut.
        let room = (MAX_LINE + 1).saturating_sub(self.line.len());
        self.line.extend(bytes.iter().take(room));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_then_a_trickle_and_what_was_left_out_is_counted() {
        let log = GuestLog::new("chatty");
        let start = Instant::now();
        let at_once = (0..500).filter(|_| log.admit(start).is_some()).count();
        assert_eq!(at_once, BURST as usize);
        assert_eq!(log.admit(start + Duration::from_secs(1)), Some(400));
        assert_eq!(log.admit(start + Duration::from_secs(1)), Some(0));
    }

    #[test]
    fn streams_become_lines_of_bounded_length() {
        let mut buffer = LineBuffer::default();
        let mut lines = Vec::new();
        assert_eq!(buffer.write(b"one\ntw", |line| lines.push(line.to_owned())), 0);
        assert_eq!(buffer.write(b"o\n\nthree", |line| lines.push(line.to_owned())), 0);
        buffer.flush(|line| lines.push(line.to_owned()));
        assert_eq!(lines, ["one", "two", "three"]);

        assert_eq!(buffer.write(&[b'x'; 10 * MAX_LINE], |_| ()), 0);
        assert_eq!(buffer.line.len(), MAX_LINE + 1);
    }

    #[test]
    fn of_a_million_lines_most_are_counted_without_being_looked_at() {
        let (mut buffer, mut lines) = (LineBuffer::default(), 0);
        let text = "x\n".repeat(1_000_000) + "rest";
        let left_out = buffer.write(text.as_bytes(), |_| lines += 1);
        assert_eq!((lines, left_out), (MAX_LINES_PER_WRITE, 1_000_000 - lines as u64));
        buffer.flush(|line| assert_eq!(line, "rest"));
    }
}
