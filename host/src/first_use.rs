//! What `start = "end"` means across restarts: a time at which the consumer group was known to be unused, kept
//! in the state directory.
//!
//! Without it, a process that was stopped before its first checkpoint would take "end" for the end as of its
//! next start, and skip what arrived in between.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::state_dir;

/// The folder in the state directory.
const FOLDER: &str = "first-use";

/// A time before any log.
const OLDEST: i64 = 0;

/// More bytes than this are no time.
const MAX_TIME: u64 = 64;

/// The record of one consumer group.
#[derive(Debug, Clone)]
pub struct FirstUse {
    folder: PathBuf,
    name: String,
}

impl FirstUse {
    /// The record of a group. The names are those that SLS accepts, so each can be the name of a file.
    pub fn of(state_dir: &Path, project: &str, logstore: &str, group: &str) -> Self {
        let folder = state_dir.join(FOLDER).join(project).join(logstore);
        Self { folder, name: group.to_owned() }
    }

    /// The time on record, in seconds since the epoch. A record that is there and cannot be read stands for the
    /// oldest log: then more is read than needed, and nothing skipped.
    pub fn read(&self) -> Option<i64> {
        let path = self.path();
        let mut text = String::new();
        let read = state_dir::open_file(&path, File::options().read(true))
            .and_then(|file| file.take(MAX_TIME).read_to_string(&mut text));
        match (read, text.trim().parse::<Timestamp>()) {
            (Ok(_), Ok(time)) => Some(time.as_second()),
            (Err(cause), _) if cause.kind() == io::ErrorKind::NotFound => None,
            _ => {
                tracing::warn!(
                    path = %path.display(),
                    "the time of the group's first use cannot be read; `start = \"end\"` means the oldest log"
                );
                Some(OLDEST)
            }
        }
    }

    /// Puts a time on record, unless there is one.
    ///
    /// # Errors
    /// The state directory cannot be written.
    pub fn record(&self, unix: i64) -> io::Result<()> {
        if self.read().is_some() {
            return Ok(());
        }
        state_dir::create(&self.folder)?;
        let time = Timestamp::from_second(unix).map_err(io::Error::other)?;
        // Written beside and moved, so that a crash leaves no half of a time.
        let draft = self.folder.join(format!(".{}-{}", self.name, std::process::id()));
        let mut options = File::options();
        let mut file =
            state_dir::open_file(&draft, options.write(true).create(true).truncate(true))?;
        writeln!(file, "{time}")?;
        file.sync_all()?;
        fs::rename(&draft, self.path())?;
        File::open(&self.folder)?.sync_all()
    }

    /// Forgets the time, because the group is deleted.
    ///
    /// # Errors
    /// The file is there and cannot be removed.
    pub fn forget(&self) -> io::Result<()> {
        match fs::remove_file(self.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_time_stays_until_the_group_is_deleted_and_a_damaged_one_is_the_oldest() {
        let dir = tempfile::tempdir().unwrap();
        let first_use = FirstUse::of(dir.path(), "p", "l", "g");
        assert_eq!(first_use.read(), None);
        first_use.record(1_767_323_045).unwrap();
        first_use.record(1_767_323_999).unwrap();
        assert_eq!(first_use.read(), Some(1_767_323_045));
        assert_eq!(FirstUse::of(dir.path(), "p", "l", "other").read(), None);
        first_use.forget().unwrap();
        first_use.forget().unwrap();
        first_use.record(7).unwrap();
        assert_eq!(first_use.read(), Some(7));
        fs::write(first_use.path(), "tomorrow").unwrap();
        assert_eq!(first_use.read(), Some(OLDEST));
    }
}
