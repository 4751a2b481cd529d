//! Reads files of keys, tokens and certificates, which are read again while the program works: so a file must be one
//! that can be read twice, is small, and does not make its reader wait.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};

/// The largest file, in bytes; bundles of all public authorities have a quarter of a megabyte.
pub const MAX_BYTES: u64 = 4 << 20;

/// Reads a whole file. Blocks for as long as its file system does.
///
/// # Errors
///
/// It is missing or may not be read, has more than [`MAX_BYTES`], or is no regular file: a pipe can be read only once,
/// and one without a writer would make its reader wait without limit.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Without the second flag, opening a pipe waits for its writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        let text = "it is a pipe or a device, but must be a file, since it is read more than once";
        return Err(io::Error::new(ErrorKind::InvalidInput, text));
    }
    let mut contents = Vec::new();
    let read = file.take(MAX_BYTES + 1).read_to_end(&mut contents)?;
    if read as u64 > MAX_BYTES {
        let text = format!("it is larger than {} MiB", MAX_BYTES >> 20);
        return Err(io::Error::new(ErrorKind::FileTooLarge, text));
    }
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(path: &Path) -> ErrorKind {
        read(path).unwrap_err().kind()
    }

    #[test]
    fn a_file_is_read_whole_and_through_links() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("token"), folder.path().join("link"));
        std::fs::write(&path, "secret\n").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(
            (read(&path).unwrap(), read(&link).unwrap()),
            (b"secret\n".into(), b"secret\n".into())
        );
    }

    #[test]
    fn what_would_make_its_reader_wait_or_never_ends_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).unwrap();
        assert_eq!(refusal(&pipe), ErrorKind::InvalidInput);
        assert_eq!(refusal(Path::new("/dev/zero")), ErrorKind::InvalidInput);
        assert_eq!(refusal(folder.path()), ErrorKind::IsADirectory);
        assert_eq!(refusal(&folder.path().join("none")), ErrorKind::NotFound);
        let large = folder.path().join("large");
        File::create(&large).unwrap().set_len(MAX_BYTES + 1).unwrap();
        assert_eq!(refusal(&large), ErrorKind::FileTooLarge);
    }
}
