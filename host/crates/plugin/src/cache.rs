//! Compiled code on disk, so that a start costs milliseconds instead of seconds.
//!
//! Loading compiled code means running it: a user who can change the cache can run code as us. So the directory
//! must belong to this user and be writable by no other user, and is refused otherwise. It is opened once, and
//! every file is opened in it, without following links, and read whole; owner and mode are those of that open
//! file. What is run are the bytes in memory, after their digest, made with a key that only this user can read,
//! was found right. Any other file is as good as none: the plugin is compiled again.
//!
//! A file is named after everything it depends on, the component's digest and all settings of the compiler;
//! it is written under a draft name, made durable, and renamed, so that a name never stands for half a file.

use std::fs::{self, DirBuilder, File, Permissions};
use std::hash::{Hash as _, Hasher};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use hmac::{Hmac, KeyInit as _, Mac as _};
use rustix::fs::{AtFlags, Dir, Mode, OFlags, linkat, openat, renameat, unlinkat};
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;

use crate::package::Digest;

/// Files kept; the ones that were written longest ago go first.
const MAX_FILES: usize = 64;
/// Largest file read. The native code of the largest component that is accepted is smaller.
const MAX_FILE_BYTES: u64 = 512 << 20;
/// In the name of every file but the key.
const EXTENSION: &str = "cwasm";
/// The name of the key, and its length in bytes.
const KEY: &str = "key";
const KEY_BYTES: usize = 64;
/// Length of the keyed digest before the code.
const SEAL_BYTES: usize = 32;

/// A directory of compiled components that only this user can write to.
pub(crate) struct Cache {
    path: PathBuf,
    dir: OwnedFd,
    key: [u8; KEY_BYTES],
}

/// The directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    #[error("cannot use `{dir}`: {source}")]
    Io { dir: PathBuf, source: io::Error },
    #[error(
        "others can write to `{dir}` or own it, and compiled code is trusted; make it yours alone (chmod 700)"
    )]
    NotPrivate { dir: PathBuf },
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Cache {
    /// Makes the directory if it does not exist, and checks whose it is.
    pub(crate) fn open(path: &Path) -> Result<Self, CacheError> {
        let io = |source| CacheError::Io { dir: path.to_owned(), source };
        make_private(path).map_err(io)?;
        let found = fs::symlink_metadata(path).map_err(io)?;
        if !found.is_dir() || !is_ours(&found) {
            return Err(CacheError::NotPrivate { dir: path.to_owned() });
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir =
            File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(|no| io(no.into()))?);
        // Asked again: between the two, another process may have put another directory there.
        if !is_ours(&dir.metadata().map_err(io)?) {
            return Err(CacheError::NotPrivate { dir: path.to_owned() });
        }
        let dir = OwnedFd::from(dir);
        let key = key(&dir).map_err(io)?;
        Ok(Self { path: path.to_owned(), dir, key })
    }

    /// The compiled form of a component for this engine, exactly as [`Self::store`] was given it.
    pub(crate) fn load(&self, engine: &Engine, digest: Digest) -> Option<Vec<u8>> {
        let name = name(engine, digest);
        let unusable = match read_private(&self.dir, &name, MAX_FILE_BYTES) {
            Ok(file) => match self.unsealed(&name, file) {
                Some(code) => return Some(code),
                None => "it was damaged, or not written by this user here".to_owned(),
            },
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return None,
            Err(cause) => cause.to_string(),
        };
        let path = self.path.join(&name);
        tracing::warn!(path = %path.display(), reason = unusable, "cached code is not used; compiling again");
        None
    }

    /// Keeps a compiled component. Failing to is not worth failing for.
    pub(crate) fn store(&self, engine: &Engine, digest: Digest, code: &[u8]) {
        let name = name(engine, digest);
        let written = write_private(&self.dir, &name, &[&self.seal(&name, code), code])
            .and_then(|draft| self.put_in_place(&draft, &name))
            .and_then(|()| Ok(rustix::fs::fsync(&self.dir)?))
            .and_then(|()| self.prune());
        if let Err(error) = written {
            tracing::warn!(%error, path = %self.path.display(), "compiled plugin is not cached");
        }
    }

    /// Deletes the compiled form of a component.
    pub(crate) fn remove(&self, engine: &Engine, digest: Digest) {
        // Where there is none, there is nothing to delete.
        let _ = unlinkat(&self.dir, name(engine, digest), AtFlags::empty());
    }

    fn put_in_place(&self, draft: &str, name: &str) -> io::Result<()> {
        renameat(&self.dir, draft, &self.dir, name).map_err(|error| {
            // A folder has the name, say. The rename's own failure is what gets reported.
            let _ = unlinkat(&self.dir, draft, AtFlags::empty());
            error.into()
        })
    }

    fn mac(&self, name: &str, code: &[u8]) -> Hmac<Sha256> {
        // The length of a key is never wrong: HMAC takes any.
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        mac.update(name.as_bytes());
        mac.update(&[0]);
        mac.update(code);
        mac
    }

    /// What vouches for `code` under this name.
    fn seal(&self, name: &str, code: &[u8]) -> [u8; SEAL_BYTES] {
        self.mac(name, code).finalize().into_bytes().into()
    }

    fn unsealed(&self, name: &str, mut file: Vec<u8>) -> Option<Vec<u8>> {
        let (seal, code) = file.split_at_checked(SEAL_BYTES)?;
        self.mac(name, code).verify_slice(seal).ok()?;
        file.drain(..SEAL_BYTES);
        Some(file)
    }

    /// Deletes the oldest files beyond [`MAX_FILES`]: upgrades of plugins and of ourselves leave them behind.
    fn prune(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in Dir::read_from(&self.dir)? {
            let name = entry?.file_name().to_owned();
            let is_code =
                name.to_bytes().windows(EXTENSION.len()).any(|part| part == EXTENSION.as_bytes());
            if is_code {
                let found = rustix::fs::statat(&self.dir, &name, AtFlags::SYMLINK_NOFOLLOW)?;
                files.push(((found.st_mtime, found.st_mtime_nsec), name));
            }
        }
        files.sort();
        let surplus = files.len().saturating_sub(MAX_FILES);
        for (_, name) in files.iter().take(surplus) {
            unlinkat(&self.dir, name, AtFlags::empty())?;
        }
        Ok(())
    }
}

/// The name under which the code of a component for an engine is kept.
fn name(engine: &Engine, digest: Digest) -> String {
    let mut settings = Settings(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut settings);
    let settings = Digest::of(&settings.0.finalize()).to_string();
    let short = settings.get(..16).unwrap_or_default();
    format!("{digest}-{short}.{EXTENSION}")
}

/// Creates a directory for this user alone, whatever the umask. One that exists is left as it is.
fn make_private(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o700))
}

/// Owned by this user and writable by no other user.
fn is_ours(metadata: &fs::Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o022 == 0
}

/// The key of the directory, made if it is missing or not one.
fn key(dir: &OwnedFd) -> io::Result<[u8; KEY_BYTES]> {
    let existing = || read_private(dir, KEY, KEY_BYTES as u64).ok()?.try_into().ok();
    if let Some(key) = existing() {
        return Ok(key);
    }
    let mut fresh = [0; KEY_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut fresh)?;
    let draft = write_private(dir, KEY, &[&fresh])?;
    // A link is made only where there is no file, so that two processes that start at once agree on one key.
    let mut linked = linkat(dir, &draft, dir, KEY, AtFlags::empty());
    let theirs = linked.is_err().then(existing).flatten();
    if linked.is_err() && theirs.is_none() {
        // What is there is not our key, and nothing it has sealed is used.
        linked = renameat(dir, &draft, dir, KEY);
    }
    // After a rename there is no draft any more.
    let _ = unlinkat(dir, &draft, AtFlags::empty());
    match theirs {
        Some(key) => Ok(key),
        None => Ok(linked.map(|()| fresh)?),
    }
}

/// Reads a file that only this user can read or write; never through a link.
fn read_private(dir: &OwnedFd, name: &str, most: u64) -> io::Result<Vec<u8>> {
    // Without NONBLOCK, opening a pipe would wait for its other end.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let other = |what: &str| Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    let file = match openat(dir, name, flags, Mode::empty()) {
        Err(rustix::io::Errno::LOOP) => return other("it is a symbolic link"),
        opened => File::from(opened?),
    };
    let found = file.metadata()?;
    if !found.is_file() || !is_ours(&found) || found.mode() & 0o077 != 0 {
        return other("it is not a file that only this user can read and write");
    }
    if found.len() > most {
        return other("it is larger than anything that was written here");
    }
    let mut bytes = Vec::with_capacity(usize::try_from(found.len()).unwrap_or_default());
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes `parts` to a new file next to `name` and makes them durable. Returns the draft's name.
fn write_private(dir: &OwnedFd, name: &str, parts: &[&[u8]]) -> io::Result<String> {
    // Two processes or threads may store the same component at once; each writes a file of its own.
    static DRAFTS: AtomicU64 = AtomicU64::new(0);
    let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
    let draft = format!("{name}.{EXTENSION}.{}.{number}", std::process::id());
    let result = (|| {
        // A leftover of a process with our number that was killed.
        let _ = unlinkat(dir, &draft, AtFlags::empty());
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(dir, &draft, flags, Mode::RUSR | Mode::WUSR)?);
        parts.iter().try_for_each(|part| file.write_all(part))?;
        file.sync_all()
    })();
    if let Err(error) = result {
        // The write's own failure is what gets reported.
        let _ = unlinkat(dir, &draft, AtFlags::empty());
        return Err(error);
    }
    Ok(draft)
}

/// Feeds what wasmtime hashes into SHA-256: `DefaultHasher` may change between Rust versions, and its 64 bits
/// are few for something that is trusted.
struct Settings(Sha256);

impl Hasher for Settings {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0 // never asked: the digest is taken whole
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const CODE: &[u8] = b"code";

    struct Setup {
        dir: tempfile::TempDir,
        engine: Engine,
        digest: Digest,
    }

    impl Setup {
        fn new() -> Self {
            let (engine, digest) = (Engine::default(), Digest::of(b"component"));
            Self { dir: tempfile::tempdir().unwrap(), engine, digest }
        }

        fn folder(&self) -> PathBuf {
            self.dir.path().join("code")
        }

        fn cache(&self) -> Cache {
            Cache::open(&self.folder()).unwrap()
        }

        fn file(&self) -> PathBuf {
            self.folder().join(name(&self.engine, self.digest))
        }

        fn store(&self) {
            self.cache().store(&self.engine, self.digest, CODE);
        }

        /// What a process that starts now finds.
        fn found(&self) -> Option<Vec<u8>> {
            self.cache().load(&self.engine, self.digest)
        }
    }

    #[test]
    fn code_comes_back_for_the_same_engine_and_component_only() {
        let setup = Setup::new();
        assert_eq!(setup.found(), None);
        setup.store();
        assert_eq!(setup.found().unwrap(), CODE);
        assert!(setup.cache().load(&setup.engine, Digest::of(b"another")).is_none());

        let mut other = wasmtime::Config::new();
        other.epoch_interruption(true);
        assert!(setup.cache().load(&Engine::new(&other).unwrap(), setup.digest).is_none());
    }

    #[test]
    fn what_cannot_be_put_in_place_leaves_no_draft() {
        let setup = Setup::new();
        setup.store();
        fs::remove_file(setup.file()).unwrap();
        fs::create_dir(setup.file()).unwrap();
        setup.store();
        assert_eq!(fs::read_dir(setup.folder()).unwrap().count(), 2, "the key and the folder");
    }

    #[test]
    fn a_file_that_differs_in_one_byte_is_not_used_and_replaced() {
        let setup = Setup::new();
        setup.store();
        let whole = fs::read(setup.file()).unwrap();
        for at in [0, SEAL_BYTES, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(setup.file(), damaged).unwrap();
            assert_eq!(setup.found(), None, "byte {at}");
        }
        for length in [0, SEAL_BYTES - 1, SEAL_BYTES, whole.len() - 1] {
            fs::write(setup.file(), &whole[..length]).unwrap();
            assert_eq!(setup.found(), None, "{length} bytes");
        }
        setup.store();
        assert_eq!(setup.found().unwrap(), CODE);
    }

    #[test]
    fn code_of_one_component_does_not_pass_for_that_of_another() {
        let setup = Setup::new();
        setup.store();
        let other = Digest::of(b"another");
        fs::copy(setup.file(), setup.folder().join(name(&setup.engine, other))).unwrap();
        assert!(setup.cache().load(&setup.engine, other).is_none());
    }

    #[test]
    fn code_that_another_key_vouches_for_is_not_used() {
        let (setup, foreign) = (Setup::new(), Setup::new());
        setup.store();
        foreign.store();
        fs::copy(foreign.file(), setup.file()).unwrap();
        assert_eq!(setup.found(), None);
    }

    #[test]
    fn a_key_that_is_none_is_made_again_and_stays() {
        let setup = Setup::new();
        let key = || fs::read(setup.folder().join(KEY)).unwrap();
        setup.store();
        let first = key();
        assert_eq!((first.len(), setup.found().unwrap()), (KEY_BYTES, CODE.to_vec()));
        assert_eq!(key(), first);
        fs::write(setup.folder().join(KEY), b"short").unwrap();
        assert_eq!(setup.found(), None, "what the lost key sealed is as good as none");
        assert_ne!(key(), first);
        setup.store();
        // A key that others can read vouches for nothing.
        fs::set_permissions(setup.folder().join(KEY), Permissions::from_mode(0o640)).unwrap();
        assert_eq!(setup.found(), None);
        let names = fs::read_dir(setup.folder()).unwrap().count();
        assert_eq!(names, 2, "the key, the code, and no drafts");
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let shared = dir.path().join("shared");
        fs::create_dir(&shared).unwrap();
        for open in [0o777, 0o1777, 0o770] {
            fs::set_permissions(&shared, Permissions::from_mode(open)).unwrap();
            assert!(matches!(Cache::open(&shared), Err(CacheError::NotPrivate { .. })));
        }
        let link = dir.path().join("link");
        symlink(dir.path(), &link).unwrap();
        assert!(matches!(Cache::open(&link), Err(CacheError::NotPrivate { .. })));
    }

    #[test]
    fn a_file_that_is_not_ours_alone_is_not_used() {
        let setup = Setup::new();
        setup.store();
        assert_eq!(fs::metadata(setup.file()).unwrap().mode() & 0o777, 0o600);
        for open in [0o666, 0o640, 0o604] {
            fs::set_permissions(setup.file(), Permissions::from_mode(open)).unwrap();
            assert_eq!(setup.found(), None, "{open:o}");
        }
        fs::set_permissions(setup.file(), Permissions::from_mode(0o600)).unwrap();
        let aside = setup.dir.path().join("aside");
        fs::rename(setup.file(), &aside).unwrap();
        symlink(&aside, setup.file()).unwrap();
        assert_eq!(setup.found(), None, "a link, even to the right file");
    }

    #[test]
    fn old_files_make_room() {
        let setup = Setup::new();
        let cache = setup.cache();
        for n in 0..MAX_FILES + 3 {
            fs::write(setup.folder().join(format!("{n}.{EXTENSION}")), b"").unwrap();
        }
        cache.prune().unwrap();
        assert_eq!(fs::read_dir(setup.folder()).unwrap().count(), MAX_FILES + 1, "and the key");
    }
}
