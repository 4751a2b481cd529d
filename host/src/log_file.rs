//! The log file: rotated by size, a fixed number kept, the process id in the name, so that several
//! forwarders never write into one file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::state_dir;

/// A file that is renamed to `NAME.1` when it is full, `NAME.1` to `NAME.2` and so on.
#[derive(Debug)]
pub struct RotatingFile {
    path: PathBuf,
    file: File,
    size: u64,
    max_size: u64,
    max_files: usize,
}

impl RotatingFile {
    /// Opens `PATH` with the process id before its extension, to append. `max_files` counts the one
    /// being written.
    ///
    /// # Errors
    /// The file or its directory cannot be made.
    pub fn open(path: &Path, process: u32, max_size: u64, max_files: usize) -> io::Result<Self> {
        let path = with_process(path, process);
        if let Some(dir) = path.parent() {
            state_dir::create(dir)?;
        }
        let file = append(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, file, size, max_size, max_files })
    }
}

/// `forwarder.log` of process 17 is `forwarder.17.log`.
fn with_process(path: &Path, process: u32) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!(".{process}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

fn append(path: &Path) -> io::Result<File> {
    state_dir::open_file(path, OpenOptions::new().create(true).append(true))
}

impl RotatingFile {
    fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        if self.size > 0 && self.size + length > self.max_size {
            // A rotation that fails must not cost the line: the file grows beyond its size instead.
            let _ = self.rotate();
        }
        self.file.write_all(line)?;
        self.size += length;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        for older in (1..self.max_files).rev() {
            let from = if older == 1 { self.path.clone() } else { self.numbered(older - 1) };
            if from.exists() {
                fs::rename(from, self.numbered(older))?;
            }
        }
        if self.max_files <= 1 {
            fs::remove_file(&self.path)?;
        }
        self.file = append(&self.path)?;
        self.size = 0;
        Ok(())
    }

    fn numbered(&self, number: usize) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{number}"));
        self.path.with_file_name(name)
    }
}

/// Takes whole lines, one at a time.
impl Write for RotatingFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.write_line(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_rotated_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = RotatingFile::open(&dir.path().join("f.log"), 17, 10, 3).unwrap();
        for line in ["one-----\n", "two-----\n", "three---\n", "four----\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).ok();
        assert_eq!(read("f.17.log").unwrap(), "four----\n");
        assert_eq!(read("f.17.log.1").unwrap(), "three---\n");
        assert_eq!(read("f.17.log.2").unwrap(), "two-----\n");
        assert_eq!(read("f.17.log.3"), None);
    }

    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("other"), "theirs").unwrap();
        std::os::unix::fs::symlink(dir.path().join("other"), dir.path().join("f.17.log")).unwrap();
        RotatingFile::open(&dir.path().join("f.log"), 17, 10, 3).unwrap_err();
        assert_eq!(fs::read(dir.path().join("other")).unwrap(), b"theirs");
    }

    #[test]
    fn a_line_larger_than_the_file_is_still_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = RotatingFile::open(&dir.path().join("f.log"), 1, 4, 2).unwrap();
        log.write_all(b"longer than four\n").unwrap();
        assert_eq!(fs::read(dir.path().join("f.1.log")).unwrap(), b"longer than four\n");
    }
}
