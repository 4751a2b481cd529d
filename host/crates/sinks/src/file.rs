//! JSON lines to a file or to standard output, for archives, trials and debugging.
//!
//! *Delivered* means: for a file, that the lines are on the disk; for standard output, that the pipe or terminal has
//! taken them.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forwarder_connector::{Answer, Body, BodyLimits, Cause, EncodeReport, Sink, Verdict};
use forwarder_record::{Batch, Encoded, RowIx};
use futures_util::future::BoxFuture;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::MAX_ROWS;
use crate::message::chain;
use crate::metrics::NoteMeters;
use crate::notes::Notes;
use crate::object::{EventCells, Lines, Objects};

/// Writes rows as lines, each one JSON object with every field of the row, the time included. Rows without any field
/// are left out and named.
pub fn encode(batch: &Batch, rows: &[RowIx], out: &mut Encoded) -> Notes {
    let mut objects = Objects::new(batch, EventCells::all(), Lines::Single);
    let mut notes = Notes::default();
    for &ix in rows {
        if objects.push(&mut out.bytes, &batch.row(ix)) {
            out.bytes.push(b'\n');
            out.end_row(ix);
        } else {
            notes.empty.push(ix);
        }
    }
    notes
}

/// Appends to a file. Follows a rotation: when the path no longer leads to the file that is open, it is
/// opened, and made, again. The file is locked while it is open: a second writer would take back lines of the
/// first when a write of its own fails.
pub struct FileSink {
    name: String,
    max_body: usize,
    meters: NoteMeters,
    shared: Arc<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    open: Mutex<Option<File>>,
}

impl FileSink {
    /// A sink for one file, with bodies of at most `max_body` bytes; opens nothing yet.
    pub fn new(name: &str, max_body: usize, path: impl Into<PathBuf>) -> Self {
        let shared = OpenFile { path: path.into(), open: Mutex::new(None) };
        let (name, meters) = (name.to_owned(), NoteMeters::new(name));
        Self { name, max_body, meters, shared: Arc::new(shared) }
    }

    /// Appends a body, all of it or nothing. Once begun, it is completed even if this is dropped.
    async fn append(&self, body: &Body) -> Verdict {
        let (shared, body) = (Arc::clone(&self.shared), body.clone());
        let place = self.shared.path.display().to_string();
        on_blocking_thread(&place, move || shared.append(&body)).await
    }
}

impl Sink for FileSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn delivered_means(&self) -> &'static str {
        "it is on the disk"
    }

    fn encode(&self, batch: &Batch, rows: &[RowIx], out: &mut Encoded) -> EncodeReport {
        self.meters.report(encode(batch, rows, out))
    }

    fn limits(&self) -> BodyLimits {
        BodyLimits { max_bytes: self.max_body, max_rows: MAX_ROWS }
    }

    fn deliver<'a>(&'a self, body: &'a Body) -> BoxFuture<'a, Answer> {
        Box::pin(async { self.append(body).await.into() })
    }

    /// Makes sure that the file can be opened for writing, and makes it if there is none.
    fn probe(&self) -> BoxFuture<'_, Result<Vec<String>, Cause>> {
        let shared = Arc::clone(&self.shared);
        let place = self.shared.path.display().to_string();
        let open = move || open_for_append(&shared.path).map(drop);
        Box::pin(async move {
            let opened = on_blocking_thread(&place, open).await;
            opened.cause().map_or(Ok(Vec::new()), |cause| Err(cause.clone()))
        })
    }
}

impl OpenFile {
    fn append(&self, body: &Body) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_some_and(|file| !is_at(file, &self.path)) {
            *open = None;
        }
        let file = match &mut *open {
            Some(file) => file,
            slot => {
                let mut file = open_for_append(&self.path)?;
                lock(&file, &self.path)?;
                end_torn_line(&mut file)?;
                sync_name(&file, &self.path)?;
                slot.insert(file)
            }
        };
        let before = file.metadata()?.len();
        let written = write_all(file, body).and_then(|()| sync_lines(file));
        if written.is_err() {
            // Half a body would be sent again as a whole, after half a line. What cannot be taken back (a terminal)
            // is at least not written to again.
            if let Err(error) = file.set_len(before) {
                tracing::warn!(path = %self.path.display(), %error, "cannot take back a partial write");
            }
            *open = None;
        }
        written
    }
}

fn open_for_append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).read(true).append(true);
    // Audit logs are not for everyone on the machine.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    refuse_pipe(&file)?;
    Ok(file)
}

/// What is in a pipe is lost with its reader, or with us if it has none, though it was written.
#[cfg(unix)]
fn refuse_pipe(file: &File) -> io::Result<()> {
    let kind = file.metadata()?.file_type();
    if std::os::unix::fs::FileTypeExt::is_fifo(&kind) {
        return Err(io::Error::new(ErrorKind::NotSeekable, "it is a pipe, which keeps nothing"));
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_pipe(_file: &File) -> io::Result<()> {
    Ok(())
}

/// Takes the file for ourselves, for as long as it is open. What is no file (a terminal) has no lines that a second
/// writer could take back.
fn lock(file: &File, path: &Path) -> io::Result<()> {
    if !file.metadata()?.is_file() {
        return Ok(());
    }
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(ErrorKind::ResourceBusy.into()),
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
            tracing::warn!(path = %path.display(), "this file system has no locks; see that no other process writes to the file");
            Ok(())
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Makes the lines survive a loss of power. A terminal has no disk: there they are delivered once written.
fn sync_lines(file: &File) -> io::Result<()> {
    if file.metadata()?.is_file() { file.sync_data() } else { Ok(()) }
}

/// Makes the name of a new file survive a loss of power as well as its lines. An empty one may be new, whatever
/// made it.
fn sync_name(file: &File, path: &Path) -> io::Result<()> {
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > 0 {
        return Ok(());
    }
    let path = path.canonicalize()?;
    let folder = path.parent().unwrap_or(&path);
    File::open(folder)?.sync_all()
}

/// Ends the half line that a crash may have left at the end of a file, so that what follows is not glued to it.
///
/// # Errors
///
/// The file, opened for reading and appending, does not let itself be read or written.
pub fn end_torn_line(file: &mut File) -> io::Result<()> {
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Ok(());
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last != *b"\n" { file.write_all(b"\n") } else { Ok(()) }
}

/// Whether the path still leads to this file.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_at(_file: &File, path: &Path) -> bool {
    path.exists()
}

/// Writes to standard output. Lines of one body stand together; the handle is locked while they are written.
pub struct StdoutSink {
    name: String,
    max_body: usize,
    meters: NoteMeters,
    reader_left: watch::Sender<bool>,
}

impl StdoutSink {
    /// A sink with bodies of at most `max_body` bytes.
    pub fn new(name: &str, max_body: usize) -> Self {
        let (name, meters) = (name.to_owned(), NoteMeters::new(name));
        Self { name, max_body, meters, reader_left: watch::Sender::new(false) }
    }

    /// Writes a body and flushes. Once begun, it is completed even if this is dropped.
    async fn write(&self, body: &Body) -> Verdict {
        let body = body.clone();
        let verdict = on_blocking_thread("standard output", move || {
            let mut out = Patient(io::stdout().lock());
            write_all(&mut out, &body)?;
            out.flush()
        })
        .await;
        if verdict.cause().is_some_and(|cause| cause.reason() == READER_LEFT) {
            self.reader_left.send_replace(true);
        }
        verdict
    }
}

impl Sink for StdoutSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn delivered_means(&self) -> &'static str {
        "it is in the pipe"
    }

    fn encode(&self, batch: &Batch, rows: &[RowIx], out: &mut Encoded) -> EncodeReport {
        self.meters.report(encode(batch, rows, out))
    }

    fn limits(&self) -> BodyLimits {
        BodyLimits { max_bytes: self.max_body, max_rows: MAX_ROWS }
    }

    fn deliver<'a>(&'a self, body: &'a Body) -> BoxFuture<'a, Answer> {
        Box::pin(async { self.write(body).await.into() })
    }

    fn probe(&self) -> BoxFuture<'_, Result<Vec<String>, Cause>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Resolves once the reader of standard output has left, which a write shows, or, while there is nothing to
    /// write, a look now and then.
    fn receiver_left(&self) -> BoxFuture<'_, ()> {
        let mut left = self.reader_left.subscribe();
        Box::pin(async move {
            // The sender is ours, so waiting cannot fail.
            while timeout(LOOK, left.wait_for(|left| *left)).await.is_err() {
                if has_no_reader() {
                    self.reader_left.send_replace(true);
                }
            }
        })
    }
}

/// How often standard output is looked at while nothing is written to it.
const LOOK: Duration = Duration::from_millis(500);

/// Whether standard output is a pipe or terminal with no process at its other end.
fn has_no_reader() -> bool {
    let stdout = io::stdout();
    let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
    // An error says nothing about the reader; a write will.
    let ready = poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0);
    ready && polled.iter().any(|fd| fd.revents().intersects(PollFlags::ERR | PollFlags::HUP))
}

/// Reason of the verdict when what read our output has left.
const READER_LEFT: &str = "broken_pipe";

/// How long to wait before a descriptor that is not ready is tried again.
const NOT_READY: Duration = Duration::from_millis(10);

/// A writer that waits where the parent process has made the pipe non-blocking: half a body must not be
/// repeated as a whole.
struct Patient<W>(W);

impl<W: Write> Patient<W> {
    fn wait<T>(&mut self, mut attempt: impl FnMut(&mut W) -> io::Result<T>) -> io::Result<T> {
        loop {
            match attempt(&mut self.0) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::sleep(NOT_READY);
                }
                done => return done,
            }
        }
    }
}

impl<W: Write> Write for Patient<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait(|out| out.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.wait(Write::flush)
    }
}

fn write_all(out: &mut impl Write, body: &Body) -> io::Result<()> {
    body.segments().iter().try_for_each(|segment| out.write_all(segment))
}

/// Disks and pipes may keep a writer waiting, which the network's threads must not.
async fn on_blocking_thread(
    place: &str,
    write: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Verdict {
    let written = tokio::task::spawn_blocking(write).await;
    match written.unwrap_or_else(|stopped| Err(io::Error::other(stopped))) {
        Ok(()) => Verdict::Delivered,
        Err(error) => refused(place, &error),
    }
}

fn refused(place: &str, error: &io::Error) -> Verdict {
    let (reason, help) = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => ("disk_full", "make room"),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            ("not_permitted", "grant write permission to the user that runs the forwarder")
        }
        ErrorKind::ResourceBusy => {
            ("in_use", "another process has locked it; stop that process or set another `path`")
        }
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
            ("no_such_place", "the folder must exist and the path must name a file")
        }
        ErrorKind::NotSeekable => ("is_pipe", "name a file, or use a `stdout` sink"),
        ErrorKind::BrokenPipe => {
            (READER_LEFT, "its reader has closed it; restart the reader and this program")
        }
        _ => {
            let text = format!("cannot write to {place}: {}", chain(error));
            let cause =
                Cause::new("write_failed", text).with_fate("nothing was lost, will try again");
            return Verdict::Retry { after: None, cause };
        }
    };
    let text = format!("cannot write to {place}: {}; {help}", chain(error));
    let cause = Cause::new(reason, text).with_fate("nothing was lost, the records are held");
    Verdict::Hold { cause }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn sink(path: impl Into<PathBuf>) -> FileSink {
        FileSink::new("archive", 1_000_000, path)
    }

    fn body(text: &'static str) -> Body {
        Body::plain(vec![Bytes::from_static(text.as_bytes())], 1)
    }

    #[tokio::test]
    async fn bodies_are_appended_and_survive_a_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let sink = sink(&path);
        assert_eq!(sink.probe().await, Ok(Vec::new()));
        assert_eq!(sink.append(&body("1\n")).await, Verdict::Delivered);
        assert_eq!(sink.append(&body("2\n")).await, Verdict::Delivered);
        let rotated = folder.path().join("out.jsonl.1");
        std::fs::rename(&path, &rotated).unwrap();
        assert_eq!(sink.append(&body("3\n")).await, Verdict::Delivered);
        assert_eq!(std::fs::read_to_string(&rotated).unwrap(), "1\n2\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "3\n");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_pipe_keeps_nothing_and_is_refused_also_when_it_takes_the_place_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let sink = sink(&path);
        assert_eq!(sink.append(&body("1\n")).await, Verdict::Delivered);
        std::fs::remove_file(&path).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
        let refused = sink.append(&body("2\n")).await;
        let cause = refused.cause().unwrap();
        assert_eq!((refused.label(), cause.reason()), ("hold", "is_pipe"));
        assert_eq!(sink.probe().await.unwrap_err().reason(), "is_pipe");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(sink.append(&body("2\n")).await, Verdict::Delivered);
    }

    #[tokio::test]
    async fn a_second_writer_is_refused_until_the_first_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let first = sink(&path);
        let second = sink(&path);
        assert_eq!(first.append(&body("1\n")).await, Verdict::Delivered);
        assert_eq!(second.probe().await, Ok(Vec::new()), "to look is allowed");
        let refused = second.append(&body("2\n")).await;
        let cause = refused.cause().unwrap();
        assert_eq!((refused.label(), cause.reason()), ("hold", "in_use"));
        assert!(cause.to_string().contains("out.jsonl"), "{cause}");
        drop(first);
        assert_eq!(second.append(&body("2\n")).await, Verdict::Delivered);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n2\n");
    }

    #[tokio::test]
    async fn a_missing_folder_is_held_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let sink = sink(folder.path().join("no/out"));
        let verdict = sink.append(&body("1\n")).await;
        assert_eq!(verdict.label(), "hold");
        let text = verdict.cause().unwrap().to_string();
        assert!(text.contains("no/out") && text.contains("nothing was lost"), "{text}");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_full_disk_is_held() {
        let sink = sink("/dev/full");
        let verdict = sink.append(&body("1\n")).await;
        assert_eq!(verdict.cause().map(Cause::reason), Some("disk_full"), "{verdict:?}");
    }
}
