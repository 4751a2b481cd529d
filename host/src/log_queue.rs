//! Log lines for a place that can keep a writer waiting: a pipe that is not read, a disk that
//! hangs.
//!
//! A line is put into a bounded queue, and a thread that does nothing else writes it. So logging never delays
//! the thread that logs. What does not fit is dropped, counted, and reported when lines are written again.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// Lines of our own log that were not written, by place.
pub(crate) const DROPPED_LINES: &str = "forwarder_log_lines_dropped_total";

/// The most bytes that wait to be written to one place. A single longer line is taken when nothing else waits.
pub const MAX_WAITING: usize = 1 << 20;

/// A queue of log lines in front of one place. Clones share it.
#[derive(Debug, Clone)]
pub struct LogQueue {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    place: &'static str,
    waiting: Mutex<Waiting>,
    /// A line has come.
    arrived: Condvar,
    /// Nothing waits and nothing is being written.
    idle: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    is_writing: bool,
    /// Lines dropped since this was last reported.
    dropped: u64,
}

impl LogQueue {
    /// Starts the thread that writes to `to`, which `place` names in metrics and in the log. The thread ends
    /// with the process.
    ///
    /// # Errors
    /// The system has no thread for us.
    pub fn start(place: &'static str, to: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            place,
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            idle: Condvar::new(),
        });
        let queue = Self { shared: Arc::clone(&shared) };
        std::thread::Builder::new()
            .name(format!("log-{place}"))
            .spawn(move || shared.write_all(to))?;
        Ok(queue)
    }

    /// Waits until every line is written, at most until `deadline`. Says whether it is so.
    pub fn flush(&self, deadline: Instant) -> bool {
        let mut waiting = self.shared.lock();
        while waiting.is_writing || !waiting.lines.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return false;
            }
            let woken = self.shared.idle.wait_timeout(waiting, left);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if !waiting.lines.is_empty() && waiting.bytes + line.len() > MAX_WAITING {
            waiting.dropped += 1;
            drop(waiting);
            self.count_dropped();
            return;
        }
        waiting.bytes += line.len();
        waiting.lines.push_back(line.to_vec());
        self.arrived.notify_one();
    }

    fn count_dropped(&self) {
        metrics::counter!(DROPPED_LINES, "to" => self.place).increment(1);
    }

    fn write_all(&self, mut to: impl Write) {
        loop {
            let line = self.next();
            let is_written = to.write_all(&line).is_ok();
            let (dropped, place) = (self.written(line.len(), is_written), self.place);
            if !is_written {
                self.count_dropped();
            } else if dropped > 0 {
                tracing::warn!(
                    lines = dropped,
                    place,
                    "log lines were dropped because their reader did not keep up; no data lost"
                );
            }
        }
    }

    fn next(&self) -> Vec<u8> {
        let mut waiting = self.lock();
        loop {
            if let Some(line) = waiting.lines.pop_front() {
                waiting.is_writing = true;
                return line;
            }
            waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Accounts for a line that was written or not; the dropped lines to report, if now is the time.
    fn written(&self, bytes: usize, is_written: bool) -> u64 {
        let mut waiting = self.lock();
        waiting.is_writing = false;
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
        if !is_written {
            waiting.dropped += 1;
        }
        if waiting.lines.is_empty() {
            self.idle.notify_all();
        }
        // Not before there is room: the report would be dropped as well.
        let is_time = is_written && waiting.bytes <= MAX_WAITING / 2;
        if is_time { std::mem::take(&mut waiting.dropped) } else { 0 }
    }
}

/// Takes whole lines: the formatter hands over one event at a time.
#[derive(Debug)]
pub struct Line<'a>(&'a Shared);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(&self.shared)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeWriter, Read};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn put(queue: &LogQueue, line: &[u8]) {
        queue.make_writer().write_all(line).unwrap();
    }

    /// Fills a pipe that is not read, and the queue before it.
    fn stuck() -> (LogQueue, io::PipeReader, usize) {
        let (reader, writer): (_, PipeWriter) = io::pipe().unwrap();
        let queue = LogQueue::start("stderr", writer).unwrap();
        let line = [b'x'; 1_024];
        let mut put_in = 0;
        while queue.shared.lock().dropped == 0 {
            put(&queue, &line);
            put_in += 1;
        }
        (queue, reader, put_in)
    }

    #[test]
    fn a_reader_that_does_not_read_keeps_no_task_waiting_and_costs_a_bounded_queue() {
        let (queue, _reader, _) = stuck();
        let waiting = queue.shared.lock();
        assert!(waiting.bytes <= MAX_WAITING + 1_024, "{}", waiting.bytes);
        drop(waiting);
        assert!(!queue.flush(Instant::now() + Duration::from_millis(1)), "it is not written");
    }

    #[test]
    fn what_was_taken_arrives_in_full_once_it_is_read() {
        let (queue, mut reader, put_in) = stuck();
        let dropped = queue.shared.lock().dropped;
        let expected = (put_in - usize::try_from(dropped).unwrap()) * 1_024;
        let reading = std::thread::spawn(move || {
            let mut all = vec![0; expected];
            reader.read_exact(&mut all).map(|()| all)
        });
        assert!(queue.flush(Instant::now() + PATIENCE));
        assert!(reading.join().unwrap().unwrap().iter().all(|byte| *byte == b'x'));
        assert_eq!(queue.shared.lock().dropped, 0, "they were reported");
    }

    #[test]
    fn a_reader_that_has_left_costs_lines_and_nothing_else() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let queue = LogQueue::start("stderr", writer).unwrap();
        put(&queue, b"one\n");
        put(&queue, b"two\n");
        assert!(queue.flush(Instant::now() + PATIENCE));
        assert_eq!(queue.shared.lock().dropped, 2);
    }
}
