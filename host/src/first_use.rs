//! What `start = "end"` means across restarts: a time before the first use of the consumer group, kept in the
//! state directory. It is written before the group is created.
//!
//! A group that exists without this record counts as used since a time that is not known, so its shards without
//! a checkpoint begin at their oldest log.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use forwarder_sls::{GroupName, LogstoreName, ProjectName};
use jiff::Timestamp;

use crate::state_dir;

/// The folder in the state directory.
const FOLDER: &str = "first-use";

/// A time before any log.
const OLDEST: i64 = 0;

/// More bytes than this are not a time.
const MAX_TIME: u64 = 64;

/// The record of one consumer group.
#[derive(Debug)]
pub struct FirstUse {
    state_dir: PathBuf,
    /// Below the state directory.
    folders: [String; 3],
    name: String,
    /// What could perhaps not be written, for as long as the process lives.
    noted: Mutex<Option<i64>>,
}

impl FirstUse {
    /// The record of a group. The names are those that SLS accepts, so each can be the name of a file.
    pub fn of(
        state_dir: &Path,
        project: &ProjectName,
        logstore: &LogstoreName,
        group: &GroupName,
    ) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
            folders: [FOLDER, project.as_str(), logstore.as_str()].map(str::to_owned),
            name: group.to_string(),
            noted: Mutex::default(),
        }
    }

    /// The time on record, in seconds since the epoch. A record that is there and cannot be read stands for the
    /// oldest log: then more is read than needed, and nothing skipped.
    pub fn read(&self) -> Option<i64> {
        let noted = *self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.is_some() {
            return noted;
        }
        match self.read_file() {
            Ok(time) => Some(time.as_second()),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(
                    path = %self.shown(), %error,
                    "the time of the group's first use cannot be read; `start = \"end\"` means the oldest log"
                );
                Some(OLDEST)
            }
        }
    }

    fn read_file(&self) -> io::Result<Timestamp> {
        let path = state_dir::folder(&self.state_dir, &self.folders, false)?.join(&self.name);
        let file = state_dir::open_file(&path, File::options().read(true))?;
        let mut text = String::new();
        file.take(MAX_TIME).read_to_string(&mut text)?;
        text.trim().parse().map_err(io::Error::other)
    }

    /// Puts a time on record, unless there is one. It is known to this process also if that fails.
    ///
    /// # Errors
    /// The state directory cannot be written, or a folder in it is not ours.
    pub fn record(&self, unix: i64) -> io::Result<()> {
        if self.read().is_some() {
            return Ok(());
        }
        *self.noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(unix);
        let folder = state_dir::folder(&self.state_dir, &self.folders, true)?;
        let time = Timestamp::from_second(unix).map_err(io::Error::other)?;
        // Written to another file and moved, so that a crash leaves no half of a time.
        let draft = folder.join(format!(".{}-{}", self.name, std::process::id()));
        let mut options = File::options();
        let mut file =
            state_dir::open_file(&draft, options.write(true).create(true).truncate(true))?;
        writeln!(file, "{time}")?;
        file.sync_all()?;
        fs::rename(&draft, folder.join(&self.name))?;
        File::open(&folder)?.sync_all()
    }

    /// Forgets the time, because the group is deleted, or was there before the time was taken. Where that fails,
    /// this process takes it for the oldest log.
    ///
    /// # Errors
    /// The file is there and cannot be removed, or a folder on its path is not ours.
    pub fn forget(&self) -> io::Result<()> {
        let removed = state_dir::folder(&self.state_dir, &self.folders, false).and_then(|folder| {
            fs::remove_file(folder.join(&self.name))?;
            File::open(&folder)?.sync_all()
        });
        let removed = match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        let noted = removed.is_err().then_some(OLDEST);
        *self.noted.lock().unwrap_or_else(PoisonError::into_inner) = noted;
        removed
    }

    /// For messages; not checked.
    fn shown(&self) -> impl std::fmt::Display {
        let path = self.folders.iter().fold(self.state_dir.clone(), |path, name| path.join(name));
        path.join(&self.name).display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn of(state_dir: &Path, group: &str) -> FirstUse {
        let (project, logstore) = ("p".parse().unwrap(), "ls".parse().unwrap());
        FirstUse::of(state_dir, &project, &logstore, &group.parse().unwrap())
    }

    #[test]
    fn the_first_time_stays_until_the_group_is_deleted_and_a_damaged_one_is_the_oldest() {
        let dir = tempfile::tempdir().unwrap();
        // Each as another process would.
        let first_use = || of(dir.path(), "g");
        assert_eq!(first_use().read(), None);
        first_use().record(1_767_323_045).unwrap();
        first_use().record(1_767_323_999).unwrap();
        assert_eq!(first_use().read(), Some(1_767_323_045));
        assert_eq!(of(dir.path(), "other").read(), None);
        first_use().forget().unwrap();
        first_use().forget().unwrap();
        first_use().record(7).unwrap();
        assert_eq!(first_use().read(), Some(7));
        fs::write(dir.path().join("first-use/p/ls/g"), "tomorrow").unwrap();
        assert_eq!(first_use().read(), Some(OLDEST));
    }

    #[test]
    fn a_link_in_the_place_of_a_folder_or_file_is_neither_followed_nor_taken_for_no_record() {
        let elsewhere = tempfile::tempdir().unwrap();
        of(elsewhere.path(), "g").record(7).unwrap();
        for link in ["first-use", "first-use/p", "first-use/p/ls", "first-use/p/ls/g"] {
            let dir = tempfile::tempdir().unwrap();
            let at = dir.path().join(link);
            state_dir::create(at.parent().unwrap()).unwrap();
            symlink(elsewhere.path().join(link), &at).unwrap();
            let first_use = of(dir.path(), "g");
            assert_eq!(first_use.read(), Some(OLDEST), "{link}");
            if link != "first-use/p/ls/g" {
                assert!(first_use.forget().is_err(), "{link}");
                fs::remove_file(elsewhere.path().join("first-use/p/ls/g")).unwrap();
                assert_eq!(
                    first_use.read(),
                    Some(OLDEST),
                    "{link}: also where it leads to nothing"
                );
                of(elsewhere.path(), "g").record(7).unwrap();
            }
        }
    }

    #[test]
    fn what_cannot_be_written_is_known_as_long_as_the_process_lives() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let first_use = of(&dir.path().join("missing"), "g");
        assert!(first_use.record(7).is_err());
        assert_eq!(first_use.read(), Some(7));
    }
}
