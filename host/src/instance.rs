//! Which of several forwarders on this host we are: the lowest number that is free.
//!
//! The number is held by a locked file in the state directory, so the kernel gives it back however the
//! process ends, and a restart gets the same one. The consumer's name, the dead-letter file and the
//! admin port follow from it: `forwarder … &` three times gives three consumers, and a restarted one
//! takes over its own shards at once instead of waiting for its former self to time out.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::state_dir::{self, StateDirError};

/// More forwarders than this on one host are a mistake.
const MAX_INSTANCES: u32 = 1_000;

/// Why we could not become an instance.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InstanceError {
    /// The state directory cannot be used, or is not ours alone.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// A lock file cannot be used.
    #[error("cannot use the lock file `{}`: {cause}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// Every number is taken.
    #[error("{MAX_INSTANCES} forwarders already share the state directory `{}`", .0.display())]
    TooMany(PathBuf),
    /// The consumer's name was chosen, and a living process on this host has it.
    #[error("another forwarder on this host is the consumer `{0}`")]
    NameTaken(String),
}

impl InstanceError {
    /// What the operator can do.
    pub fn help(&self) -> String {
        match self {
            Self::StateDir(cause) => cause.help(),
            Self::Unusable { path, .. } => format!(
                "remove `{}`, or set `state_dir` to a folder this user may write",
                path.display()
            ),
            _ => "set `state_dir` to a folder this user may write".to_owned(),
        }
    }
}

/// Our place among the forwarders of this host. Dropping it gives the place up.
#[derive(Debug)]
pub struct Instance {
    number: u32,
    state_dir: PathBuf,
    _lock: File,
}

impl Instance {
    /// Takes the lowest free number in a state directory, which is created if it is missing.
    ///
    /// # Errors
    /// The directory cannot be used, or all numbers are taken.
    pub fn claim(state_dir: &Path) -> Result<Self, InstanceError> {
        let state_dir = &state_dir::claim(state_dir)?;
        for number in 1..=MAX_INSTANCES {
            if let Some(lock) = lock(&state_dir.join(format!("instance-{number}.lock")))? {
                return Ok(Self { number, state_dir: state_dir.to_owned(), _lock: lock });
            }
        }
        Err(InstanceError::TooMany(state_dir.to_owned()))
    }

    /// The number, from 1.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Where we keep what has to survive a restart.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// The default name of this consumer, made of what SLS accepts in names.
    pub fn consumer_name(&self, host: &str) -> String {
        let allowed = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
        let host: String = host.chars().take(100).map(allowed).collect();
        let host = if host.is_empty() { "forwarder" } else { &host };
        format!("{host}-{}", self.number)
    }

    /// Makes sure that no other process here has a name that was chosen by hand: SLS would give both the
    /// same shards, and neither would notice.
    ///
    /// # Errors
    /// A living process holds the name, or the lock cannot be made.
    pub fn reserve_consumer(&self, group: &str, consumer: &str) -> Result<File, InstanceError> {
        let path = self.state_dir.join(format!("consumer-{group}-{consumer}.lock"));
        lock(&path)?.ok_or_else(|| InstanceError::NameTaken(consumer.to_owned()))
    }

    /// The file of this instance: the first one uses `path` as it stands, the others put their number
    /// before its extension.
    pub fn own_file(&self, path: &Path) -> PathBuf {
        if self.number == 1 {
            return path.to_owned();
        }
        let mut name = path.file_stem().unwrap_or_default().to_owned();
        name.push(format!("-{}", self.number));
        if let Some(extension) = path.extension() {
            name.push(".");
            name.push(extension);
        }
        path.with_file_name(name)
    }
}

/// The name of this host.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The lock on a file, or `None` if another process has it.
fn lock(path: &Path) -> Result<Option<File>, InstanceError> {
    let unusable = |cause| InstanceError::Unusable { path: path.to_owned(), cause };
    let mut options = OpenOptions::new();
    let options = options.create(true).truncate(false).write(true);
    let file = state_dir::open_file(path, options).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(cause)) => Err(unusable(cause)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_number_is_ours_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let first = Instance::claim(dir.path()).unwrap();
        let second = Instance::claim(dir.path()).unwrap();
        let third = Instance::claim(dir.path()).unwrap();
        assert_eq!([first.number(), second.number(), third.number()], [1, 2, 3]);
        drop(second);
        assert_eq!(Instance::claim(dir.path()).unwrap().number(), 2);
    }

    #[test]
    fn names_are_what_sls_accepts() {
        let dir = tempfile::tempdir().unwrap();
        let instance = Instance::claim(dir.path()).unwrap();
        assert_eq!(instance.consumer_name("db.example.org"), "db-example-org-1");
        assert_eq!(instance.consumer_name(""), "forwarder-1");
    }

    #[test]
    fn a_chosen_name_belongs_to_one_process() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) =
            (Instance::claim(dir.path()).unwrap(), Instance::claim(dir.path()).unwrap());
        let held = one.reserve_consumer("siem", "a").unwrap();
        assert!(matches!(two.reserve_consumer("siem", "a"), Err(InstanceError::NameTaken(_))));
        drop(held);
        assert!(two.reserve_consumer("siem", "a").is_ok());
    }

    #[test]
    fn the_second_instance_has_files_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) =
            (Instance::claim(dir.path()).unwrap(), Instance::claim(dir.path()).unwrap());
        let path = Path::new("/var/dead.jsonl");
        assert_eq!(one.own_file(path), path);
        assert_eq!(two.own_file(path), Path::new("/var/dead-2.jsonl"));
        assert_eq!(two.own_file(Path::new("dead")), Path::new("dead-2"));
    }
}
