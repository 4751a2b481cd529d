//! Compiled code on disk, so that a start costs milliseconds instead of seconds.
//!
//! Loading compiled code means running it: whoever can write to the cache can run code as us. So the
//! directory must belong to this user and be writable by nobody else, and is refused otherwise. A file is
//! named after everything it depends on, the component's digest and all that the compiler was told; it is
//! written beside its name, made durable, and renamed, so that a name never stands for half a file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{Hash as _, Hasher};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::package::Digest;

/// Files kept; the ones that were written longest ago go first.
const MAX_FILES: usize = 64;
const EXTENSION: &str = "cwasm";

/// A directory of compiled components that only this user can write to.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
}

/// The directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    #[error("cannot use `{dir}`: {source}")]
    Io { dir: PathBuf, source: io::Error },
    #[error(
        "others can write to `{dir}`, and compiled code is trusted; make it yours alone (chmod 700)"
    )]
    NotPrivate { dir: PathBuf },
}

impl Cache {
    /// Makes the directory if it does not exist, and checks whose it is.
    pub(crate) fn open(dir: &Path) -> Result<Self, CacheError> {
        let io = |source| CacheError::Io { dir: dir.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)?;
        if !is_ours(&fs::symlink_metadata(dir).map_err(io)?) {
            return Err(CacheError::NotPrivate { dir: dir.to_owned() });
        }
        Ok(Self { dir: dir.to_owned() })
    }

    /// The compiled form of a component, if this engine can use what is stored.
    pub(crate) fn load(&self, engine: &Engine, digest: Digest) -> Option<Component> {
        let path = self.path(engine, digest);
        if !is_ours(&fs::symlink_metadata(&path).ok()?) {
            return None;
        }
        #[expect(unsafe_code, reason = "compiled code can only be loaded by trusting it")]
        // SAFETY: the file was written by `store` of this user, as `open` and the check above have seen:
        // nobody else can have put or changed anything there. It was complete before it got its name, its
        // name tells apart component, wasmtime version, settings and CPU features, and wasmtime itself
        // compares the latter three with what it finds inside.
        let loaded = unsafe { Component::deserialize_file(engine, &path) };
        match loaded {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::debug!(%error, path = %path.display(), "cached code is of no use");
                None
            }
        }
    }

    /// Keeps a compiled component. Failing to is not worth failing for.
    pub(crate) fn store(&self, engine: &Engine, digest: Digest, component: &Component) {
        let path = self.path(engine, digest);
        let written = component
            .serialize()
            .map_err(|error| io::Error::other(format!("{error:#}")))
            .and_then(|code| self.write(&path, &code))
            .and_then(|()| self.prune());
        if let Err(error) = written {
            tracing::warn!(%error, path = %path.display(), "compiled plugin is not cached");
        }
    }

    fn path(&self, engine: &Engine, digest: Digest) -> PathBuf {
        let mut settings = Settings(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut settings);
        let settings = Digest::of(&settings.0.finalize());
        let settings = settings.to_string();
        let short = settings.get(..16).unwrap_or_default();
        self.dir.join(format!("{digest}-{short}.{EXTENSION}"))
    }

    fn write(&self, path: &Path, code: &[u8]) -> io::Result<()> {
        // Two processes or threads may store the same component at once; each writes a file of its own.
        static DRAFTS: AtomicU64 = AtomicU64::new(0);
        let mut draft = path.as_os_str().to_owned();
        draft.push(format!(".{}.{}", std::process::id(), DRAFTS.fetch_add(1, Ordering::Relaxed)));
        let draft = PathBuf::from(draft);
        let result = (|| {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&draft)?;
            file.write_all(code)?;
            file.sync_all()?;
            fs::rename(&draft, path)?;
            File::open(&self.dir)?.sync_all()
        })();
        if result.is_err() {
            // The write's own failure is what gets reported.
            fs::remove_file(&draft).ok();
        }
        result
    }

    /// Deletes the oldest files beyond [`MAX_FILES`]: upgrades of plugins and of ourselves leave them behind.
    fn prune(&self) -> io::Result<()> {
        let mut files: Vec<_> = fs::read_dir(&self.dir)?
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let modified = entry.metadata().ok()?.modified().ok()?;
                Some((modified, entry.path()))
            })
            .collect();
        files.sort();
        let surplus = files.len().saturating_sub(MAX_FILES);
        for (_, path) in files.iter().take(surplus) {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

/// Owned by this user, writable by nobody else, and no link to something that may not be.
fn is_ours(metadata: &fs::Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw()
        && metadata.mode() & 0o022 == 0
        && !metadata.file_type().is_symlink()
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
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const EMPTY: &str = "(component)";

    fn compiled(engine: &Engine) -> (Digest, Component) {
        let bytes = wat::parse_str(EMPTY).unwrap();
        (Digest::of(&bytes), Component::new(engine, &bytes).unwrap())
    }

    #[test]
    fn code_comes_back_for_the_same_engine_and_component_only() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("code")).unwrap();
        let engine = Engine::default();
        let (digest, component) = compiled(&engine);
        assert!(cache.load(&engine, digest).is_none());
        cache.store(&engine, digest, &component);
        assert!(cache.load(&engine, digest).is_some());
        assert!(cache.load(&engine, Digest::of(b"another")).is_none());

        let mut other = wasmtime::Config::new();
        other.epoch_interruption(true);
        assert!(cache.load(&Engine::new(&other).unwrap(), digest).is_none());
    }

    #[test]
    fn a_damaged_file_is_not_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("code")).unwrap();
        let engine = Engine::default();
        let (digest, component) = compiled(&engine);
        cache.store(&engine, digest, &component);
        let path = cache.path(&engine, digest);
        fs::write(&path, b"\x7fELF, but no more").unwrap();
        assert!(cache.load(&engine, digest).is_none());
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let shared = dir.path().join("shared");
        fs::create_dir(&shared).unwrap();
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(Cache::open(&shared), Err(CacheError::NotPrivate { .. })));

        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        assert!(matches!(Cache::open(&link), Err(CacheError::NotPrivate { .. })));
    }

    #[test]
    fn a_file_that_others_can_write_to_is_not_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("code")).unwrap();
        let engine = Engine::default();
        let (digest, component) = compiled(&engine);
        cache.store(&engine, digest, &component);
        let path = cache.path(&engine, digest);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(cache.load(&engine, digest).is_none());
    }

    #[test]
    fn old_files_make_room() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("code")).unwrap();
        for n in 0..MAX_FILES + 3 {
            fs::write(cache.dir.join(format!("{n}.{EXTENSION}")), b"").unwrap();
        }
        cache.prune().unwrap();
        assert_eq!(fs::read_dir(&cache.dir).unwrap().count(), MAX_FILES);
    }
}
