//! The state directory: a folder that belongs to this user alone, and files in it that are what they seem.
//!
//! Compiled plugins in it are run as this process, locks decide which consumer we are, and dead letters hold
//! logs. Another local user who can write there could replace each of them, so such a folder is refused rather
//! than used with care. Created folders are 0700 whatever the umask.
//!
//! The folders above are not judged: volumes of containers are often writable by all users (an `emptyDir` of
//! Kubernetes has mode 0777) where there are no other users.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::geteuid;
use thiserror::Error;

/// Write permission of the group or of others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Why a folder cannot hold our state.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StateDirError {
    /// It cannot be created or read.
    #[error("cannot use the state directory `{}`: {cause}", path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        cause: io::Error,
    },
    /// Another user owns it.
    #[error(
        "the state directory `{}` belongs to user {owner}, and this program runs as user {}; nothing in it was used",
        path.display(),
        geteuid().as_raw()
    )]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
    },
    /// Other users can change what is in it.
    #[error(
        "other users can write to the state directory `{}` (mode {:04o}); nothing in it was used",
        path.display(),
        mode & 0o7777
    )]
    Writable {
        /// The folder.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

impl StateDirError {
    /// What the operator can do.
    pub fn help(&self) -> String {
        match self {
            Self::Unusable { .. } => "set `state_dir` to a folder this user may write".to_owned(),
            Self::NotOurs { .. } => {
                "set `state_dir` to a folder of its own for this user, or run as the owner"
                    .to_owned()
            }
            Self::Writable { path, .. } => format!(
                "run `chmod go-w '{}'`, or set `state_dir` to a new folder inside it, which is made for this user alone",
                path.display()
            ),
        }
    }
}

/// Makes a folder ours: creates it (and those above it) with mode 0700 where it is missing, and refuses it if
/// another user owns it or can write to it. Returns its path without links, so that what was checked is used.
///
/// # Errors
/// It cannot be created or read, or is not ours alone.
pub fn claim(path: &Path) -> Result<PathBuf, StateDirError> {
    let unusable = |cause| StateDirError::Unusable { path: path.to_owned(), cause };
    create(path).map_err(unusable)?;
    let path = fs::canonicalize(path).map_err(unusable)?;
    let found = fs::symlink_metadata(&path).map_err(unusable)?;
    if !found.is_dir() {
        return Err(unusable(io::ErrorKind::NotADirectory.into()));
    }
    if found.uid() != geteuid().as_raw() {
        return Err(StateDirError::NotOurs { path, owner: found.uid() });
    }
    if found.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(StateDirError::Writable { path, mode: found.mode() });
    }
    Ok(path)
}

/// Creates a folder and those above it, each 0700 whatever the umask. One that exists is left as it is.
///
/// # Errors
/// The system's, for the first folder that cannot be created.
pub fn create(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(0o700)),
        // Another process was faster; whose folder it is gets checked by the caller.
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(cause) => Err(cause),
    }
}

/// A folder below the state directory, by the names on its path: each is checked, and none is followed if it is a
/// link. With `create`, those that are missing are made, and are there after a loss of power.
///
/// # Errors
/// The system's (`NotFound` without `create`), or `PermissionDenied` with what is wrong with a folder.
pub fn folder(state_dir: &Path, names: &[String], create: bool) -> io::Result<PathBuf> {
    let mut path = state_dir.to_owned();
    for name in names {
        let parent = path.clone();
        path.push(name);
        if create {
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {
                    fs::set_permissions(&path, Permissions::from_mode(0o700))?;
                    File::open(parent)?.sync_all()?;
                }
                Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
                Err(cause) => return Err(cause),
            }
        }
        let found = fs::symlink_metadata(&path)?;
        let fault = if found.is_symlink() {
            "is a symbolic link".to_owned()
        } else if !found.is_dir() {
            "is not a folder".to_owned()
        } else if found.uid() != geteuid().as_raw() {
            format!("belongs to user {}", found.uid())
        } else if found.mode() & WRITABLE_BY_OTHERS != 0 {
            format!("can be written by others (mode {:04o})", found.mode() & 0o7777)
        } else {
            continue;
        };
        let fault = format!("`{}` {fault}", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, fault));
    }
    Ok(path)
}

/// Opens a file of ours: never through a link, and only a regular file that this user owns. Its mode is 0600 if
/// it is created, and loses the write permission of others if it exists: older versions followed the umask.
///
/// # Errors
/// The system's, or `PermissionDenied` with what is wrong with the file.
pub fn open_file(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    // Without NONBLOCK, opening a pipe that was put there would wait for its other end.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let refused = |what| Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    let file = match options.mode(0o600).custom_flags(flags.bits().cast_signed()).open(path) {
        // What the system says of a link that is not followed is "too many levels of symbolic links".
        Err(_) if path.is_symlink() => return refused("it is a symbolic link".to_owned()),
        // And of a pipe that is not read: "no such device or address".
        Err(_) if path.exists() && !path.is_file() => {
            return refused("it is not a regular file".to_owned());
        }
        opened => opened?,
    };
    let found = file.metadata()?;
    if !found.is_file() {
        return refused("it is not a regular file".to_owned());
    }
    if found.uid() != geteuid().as_raw() {
        return refused(format!("user {} owns it", found.uid()));
    }
    if found.nlink() > 1 {
        return refused(
            "it has a second name (a hard link), and may be a file of another program".to_owned(),
        );
    }
    if found.mode() & WRITABLE_BY_OTHERS != 0 {
        file.set_permissions(Permissions::from_mode(found.mode() & 0o7777 & !WRITABLE_BY_OTHERS))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn every_folder_that_is_made_is_ours_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let claimed = claim(&path).unwrap();
        assert_eq!(claimed, fs::canonicalize(&path).unwrap());
        assert_eq!((mode(&path), mode(&dir.path().join("a"))), (0o700, 0o700));
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused_also_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let shared = dir.path().join("shared");
        fs::create_dir(&shared).unwrap();
        for open in [0o777, 0o1777, 0o770, 0o702] {
            fs::set_permissions(&shared, Permissions::from_mode(open)).unwrap();
            let error = claim(&shared).unwrap_err();
            assert!(matches!(error, StateDirError::Writable { .. }), "{open:o}: {error}");
            assert!(error.help().contains("chmod go-w"), "{}", error.help());
        }
        let link = dir.path().join("link");
        symlink(&shared, &link).unwrap();
        assert!(matches!(claim(&link), Err(StateDirError::Writable { .. })));
        fs::set_permissions(&shared, Permissions::from_mode(0o755)).unwrap();
        assert_eq!(claim(&link).unwrap(), fs::canonicalize(&shared).unwrap());
    }

    #[test]
    fn a_file_is_no_folder() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(claim(file.path()), Err(StateDirError::Unusable { .. })));
    }

    #[test]
    fn only_regular_files_of_ours_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let append =
            |name: &str| open_file(&at(name), OpenOptions::new().append(true).create(true));
        append("new").unwrap();
        assert_eq!(mode(&at("new")), 0o600);
        append("new").unwrap();
        symlink(at("new"), at("link")).unwrap();
        assert!(append("link").is_err());
        fs::create_dir(at("folder")).unwrap();
        assert!(append("folder").is_err());
        fs::set_permissions(at("new"), Permissions::from_mode(0o666)).unwrap();
        append("new").unwrap();
        assert_eq!(mode(&at("new")), 0o644);
    }
}
