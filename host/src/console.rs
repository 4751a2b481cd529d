//! Standard error without the standard library's lock: a writer that a stuck reader keeps waiting must not
//! keep others waiting for a lock as well.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::time::Duration;

/// How long to wait before a descriptor that is not ready is tried again.
const NOT_READY: Duration = Duration::from_millis(10);

/// A descriptor of our own for standard error.
#[derive(Debug)]
pub struct Console(File);

impl Console {
    /// Duplicates the descriptor of standard error.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn stderr() -> io::Result<Self> {
        Ok(Self(File::from(io::stderr().as_fd().try_clone_to_owned()?)))
    }
}

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                // A parent process may have made the pipe non-blocking, which counts for us as well.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::sleep(NOT_READY);
                }
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
