//! The dead-letter file: JSON lines, readable by its owner only, durable before it counts.
//!
//! The file is capped and nothing in it is ever deleted to make room: a full file is an error, and the
//! pipeline holds what waits for it. One thread writes; letters that arrive while it waits for the disk
//! share the next sync.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use forwarder_sinks::file::end_torn_line;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::state_dir;

/// Requests that wait for the disk. The pipeline's budget bounds their bytes.
const QUEUED: usize = 64;

/// How long the end of the process waits for the disk.
const LAST_LETTERS: Duration = Duration::from_secs(3);

/// How often it looks whether the disk has answered.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Why letters are not in the file.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum DeadLetterError {
    /// The cap is reached.
    #[error(
        "the dead-letter file `{path}` is full ({max_size} bytes); move it away or raise \
         `dead_letters.max_size`"
    )]
    Full {
        /// The file.
        path: String,
        /// The cap.
        max_size: u64,
    },
    /// The disk, or the rights to it.
    #[error("cannot write the dead-letter file `{path}`: {cause}")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        cause: String,
    },
    /// Another process writes the file.
    #[error("another process writes the dead-letter file `{path}`")]
    Taken {
        /// The file.
        path: String,
    },
    /// The writing thread is gone: the process is stopping.
    #[error("dead letters are no longer written")]
    Closed,
}

/// A file of dead letters, opened to append.
#[derive(Debug)]
pub struct DeadLetterFile {
    requests: Option<mpsc::Sender<WriteRequest>>,
    writer: Option<JoinHandle<()>>,
}

struct WriteRequest {
    lines: Vec<u8>,
    done: oneshot::Sender<Result<(), DeadLetterError>>,
}

impl DeadLetterFile {
    /// Opens or makes the file and starts the thread that writes it.
    ///
    /// # Errors
    /// The file cannot be written, or another process writes it.
    pub fn open(path: &Path, max_size: u64) -> Result<Self, DeadLetterError> {
        let file = CappedFile::open(path, max_size)?;
        let (requests, queue) = mpsc::channel(QUEUED);
        let writer = std::thread::Builder::new()
            .name("dead-letters".to_owned())
            .spawn(move || write_all(file, queue))
            .map_err(|cause| io_error(path, &cause))?;
        Ok(Self { requests: Some(requests), writer: Some(writer) })
    }

    /// Appends whole lines; `Ok` means that they survive a loss of power. May be dropped halfway: the
    /// lines are then written or not.
    ///
    /// # Errors
    /// Nothing of `lines` is in the file.
    pub async fn append(&self, lines: Vec<u8>) -> Result<(), DeadLetterError> {
        let (done, answer) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or(DeadLetterError::Closed)?;
        requests.send(WriteRequest { lines, done }).await.map_err(|_| DeadLetterError::Closed)?;
        answer.await.map_err(|_| DeadLetterError::Closed)?
    }
}

impl Drop for DeadLetterFile {
    fn drop(&mut self) {
        self.requests = None; // ends the thread's loop
        let deadline = Instant::now() + LAST_LETTERS;
        while self.writer.as_ref().is_some_and(|writer| !writer.is_finished()) {
            if Instant::now() >= deadline {
                // A disk that hangs. Nothing waits for these letters any more, their rows are pulled again.
                return;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn write_all(mut file: CappedFile, mut queue: mpsc::Receiver<WriteRequest>) {
    let mut waiting = Vec::with_capacity(QUEUED);
    while queue.blocking_recv_many(&mut waiting, QUEUED) > 0 {
        let followed = file.follow();
        // WriteRequest by request, so that one which does not fit leaves room for a smaller one.
        let write =
            |request: &WriteRequest| followed.clone().and_then(|()| file.write(&request.lines));
        let written: Vec<_> = waiting.iter().map(write).collect();
        let synced = file.sync();
        for (request, written) in waiting.drain(..).zip(written) {
            let _ = request.done.send(written.and_then(|()| synced.clone()));
        }
    }
}

/// A file that refuses to grow beyond its cap and never ends in half a line.
#[derive(Debug)]
struct CappedFile {
    path: PathBuf,
    file: File,
    size: u64,
    max_size: u64,
}

impl CappedFile {
    fn open(path: &Path, max_size: u64) -> Result<Self, DeadLetterError> {
        let failed = |cause: io::Error| io_error(path, &cause);
        if let Some(dir) = path.parent() {
            state_dir::create(dir).map_err(failed)?;
        }
        let mut options = OpenOptions::new();
        options.create(true).read(true).append(true);
        let mut file = state_dir::open_file(path, &mut options).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DeadLetterError::Taken { path: path.display().to_string() });
            }
            Err(TryLockError::Error(cause)) => return Err(failed(cause)),
        }
        end_torn_line(&mut file).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        sync_directory(path).map_err(failed)?;
        Ok(Self { path: path.to_owned(), file, size, max_size })
    }

    /// Begins a new file where the old one was moved away, which is how a person makes room.
    fn follow(&mut self) -> Result<(), DeadLetterError> {
        let identity = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino());
        let ours = self.file.metadata().map_err(|cause| io_error(&self.path, &cause))?;
        let here = fs::metadata(&self.path).ok();
        if here.is_some_and(|here| identity(&here) == identity(&ours)) {
            // Smaller where it was emptied in place.
            self.size = ours.len();
        } else {
            *self = Self::open(&self.path, self.max_size)?;
        }
        Ok(())
    }

    fn write(&mut self, lines: &[u8]) -> Result<(), DeadLetterError> {
        let size = self.size + lines.len() as u64;
        if size > self.max_size {
            let path = self.path.display().to_string();
            return Err(DeadLetterError::Full { path, max_size: self.max_size });
        }
        if let Err(cause) = self.file.write_all(lines) {
            // Take back what was written of it; the pipeline offers the letters again.
            let _ = self.file.set_len(self.size);
            return Err(io_error(&self.path, &cause));
        }
        self.size = size;
        Ok(())
    }

    fn sync(&self) -> Result<(), DeadLetterError> {
        self.file.sync_data().map_err(|cause| io_error(&self.path, &cause))
    }
}

/// Makes the name of a new file durable, not only its content.
fn sync_directory(path: &Path) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

fn io_error(path: &Path, cause: &io::Error) -> DeadLetterError {
    DeadLetterError::Io { path: path.display().to_string(), cause: cause.to_string() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[tokio::test]
    async fn letters_are_in_the_file_once_append_returns_and_only_the_owner_may_read_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/dead.jsonl");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let letters = DeadLetterFile::open(&path, 1_000).unwrap();
        letters.append(b"{\"a\":1}\n".to_vec()).await.unwrap();
        letters.append(b"{\"a\":2}\n{\"a\":3}\n".to_vec()).await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n");
        assert_eq!((mode(&path), mode(&dir.path().join("new"))), (0o600, 0o700));
    }

    #[tokio::test]
    async fn a_file_that_was_moved_away_makes_room_for_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("dead.jsonl"), dir.path().join("old.jsonl"));
        let letters = DeadLetterFile::open(&path, 8).unwrap();
        letters.append(b"12345\n".to_vec()).await.unwrap();
        fs::rename(&path, &old).unwrap();
        letters.append(b"6789\n".to_vec()).await.unwrap();
        assert_eq!(fs::read(&old).unwrap(), b"12345\n");
        assert_eq!(fs::read(&path).unwrap(), b"6789\n");
    }

    #[tokio::test]
    async fn a_full_file_refuses_and_deletes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dead.jsonl");
        let letters = DeadLetterFile::open(&path, 8).unwrap();
        letters.append(b"12345\n".to_vec()).await.unwrap();
        let error = letters.append(b"678\n".to_vec()).await.unwrap_err();
        assert!(matches!(error, DeadLetterError::Full { .. }), "{error}");
        letters.append(b"6\n".to_vec()).await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"12345\n6\n");
    }

    #[tokio::test]
    async fn a_full_file_that_is_emptied_in_place_is_written_to_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dead.jsonl");
        let letters = DeadLetterFile::open(&path, 8).unwrap();
        letters.append(b"12345\n".to_vec()).await.unwrap();
        letters.append(b"678\n".to_vec()).await.unwrap_err();
        OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
        letters.append(b"678\n".to_vec()).await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"678\n");
    }

    #[tokio::test]
    async fn after_a_crash_the_torn_line_stays_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dead.jsonl");
        fs::write(&path, b"{\"a\":1}\n{\"a\":").unwrap();
        let letters = DeadLetterFile::open(&path, 1_000).unwrap();
        letters.append(b"{\"a\":2}\n".to_vec()).await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{\"a\":1}\n{\"a\":\n{\"a\":2}\n");
    }

    #[test]
    fn what_is_not_a_file_of_ours_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("other"), "theirs").unwrap();
        symlink(at("other"), at("link")).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        fs::hard_link(at("other"), at("second-name")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RWXU).unwrap();
        for name in ["link", "dangling", "second-name", "pipe"] {
            let error = DeadLetterFile::open(&at(name), 1_000).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
        assert_eq!(fs::read(at("other")).unwrap(), b"theirs");
        assert!(!at("nowhere").exists());
        // Folders above it may be links: that is for the operator to choose.
        fs::create_dir(at("disk")).unwrap();
        symlink(at("disk"), at("folder")).unwrap();
        DeadLetterFile::open(&at("folder/dead.jsonl"), 1_000).unwrap();
        assert!(at("disk/dead.jsonl").exists());
    }

    #[test]
    fn a_file_has_one_writer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dead.jsonl");
        let _letters = DeadLetterFile::open(&path, 1_000).unwrap();
        let error = DeadLetterFile::open(&path, 1_000).unwrap_err();
        assert!(matches!(error, DeadLetterError::Taken { .. }), "{error}");
    }
}
