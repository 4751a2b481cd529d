//! The bytes of a component and what they are called by: their SHA-256.
//!
//! A file is opened and read once; what was hashed is what gets compiled. Nothing here trusts the name.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Largest component we read. The largest that a toolchain makes today is componentize-py's, at 18 MB;
/// compiling takes tens of times its size in memory.
pub(crate) const MAX_COMPONENT_BYTES: u64 = 64 << 20;

/// SHA-256 of a component: its identity, whatever file or registry it came from.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The raw digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{self}")
    }
}

/// A component, read but not yet trusted.
#[derive(Clone)]
pub struct Package {
    bytes: Vec<u8>,
    digest: Digest,
}

impl fmt::Debug for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Package")
            .field("bytes", &self.bytes.len())
            .field("digest", &self.digest)
            .finish()
    }
}

/// The file could not be read as a package.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// The file system said no.
    #[error("cannot read `{path}`: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is larger than any component should be.
    #[error("`{path}` is larger than {max} bytes; a component this large is not accepted", max = MAX_COMPONENT_BYTES)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
}

impl Package {
    /// Takes bytes that someone else has read.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { digest: Digest::of(&bytes), bytes }
    }

    /// Reads a file, once.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is larger than a component may be.
    pub fn read(path: &Path) -> Result<Self, PackageError> {
        let unreadable = |source| PackageError::Unreadable { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        let mut bytes = Vec::new();
        file.take(MAX_COMPONENT_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > MAX_COMPONENT_BYTES {
            return Err(PackageError::TooLarge { path: path.to_owned() });
        }
        Ok(Self::new(bytes))
    }

    /// The component.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its identity.
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_sha256_in_hex() {
        let package = Package::new(b"abc".to_vec());
        assert_eq!(
            package.digest().to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Package::read(Path::new("/nowhere/x.wasm")).unwrap_err();
        assert!(error.to_string().starts_with("cannot read `/nowhere/x.wasm`"), "{error}");
    }
}
