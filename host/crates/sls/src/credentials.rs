//! Access keys: given once, replaced by their owner, read from files that are rotated, or those of a RAM role.
//!
//! Every attempt of every request takes one snapshot, so that id, secret and token always belong
//! together and a retry picks up a rotated key. Nothing here prints a secret.

pub(crate) mod error;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Semaphore;
use tokio::time::timeout;

pub use self::error::CredentialsError;
use self::error::READ_TIME;
use crate::access_key::AccessKey;
use crate::ram_role::RamRole;

/// The key in force, shared by everyone who signs. Cloning shares; it does not copy the key.
#[derive(Clone)]
pub struct Credentials {
    shared: Arc<CurrentKey>,
}

struct CurrentKey {
    key: RwLock<Arc<AccessKey>>,
    source: KeySource,
    /// One at a time looks for a newer key, so that a file system that hangs holds one thread.
    turn: Arc<Semaphore>,
}

/// Where a newer key would be found.
enum KeySource {
    Nowhere,
    Json(PathBuf),
    Parts { id: Part, secret: Part, token: Option<Part> },
    Role(RamRole),
}

/// One part of a key: its id, its secret or its token.
pub enum Part {
    /// The part itself.
    Fixed(String),
    /// A file that holds nothing else but a line break.
    File(PathBuf),
}

impl Part {
    fn read(&self) -> Result<String, CredentialsError> {
        let path = match self {
            Self::Fixed(value) => return Ok(value.clone()),
            Self::File(path) => path,
        };
        let unreadable = |source| CredentialsError::Unreadable { path: path.clone(), source };
        let bytes = forwarder_keyfile::read(path).map_err(unreadable)?;
        let text = String::from_utf8(bytes).map_err(|cause| {
            unreadable(io::Error::new(io::ErrorKind::InvalidData, cause.utf8_error()))
        })?;
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err(CredentialsError::Empty { path: path.clone() }),
            value => Ok(value.to_owned()),
        }
    }
}

impl KeySource {
    /// The key in the files. `None` if it is in none. Blocks.
    fn read(&self) -> Result<Option<AccessKey>, CredentialsError> {
        Ok(match self {
            Self::Nowhere | Self::Role(_) => None,
            Self::Json(path) => Some(read(path)?),
            Self::Parts { id, secret, token } => Some(of_parts(id, secret, token.as_ref())?),
        })
    }
}

impl Credentials {
    /// A key that stays until [`replace`](Self::replace) is called.
    pub fn fixed(key: AccessKey) -> Self {
        Self::new(key, KeySource::Nowhere)
    }

    /// A key kept in a JSON file of the form that the instance metadata service and STS answer with.
    /// The file is read again whenever the service refuses the key.
    ///
    /// # Errors
    ///
    /// The file is missing, unreadable, or holds no key.
    pub async fn from_file(path: impl Into<PathBuf>) -> Result<Self, CredentialsError> {
        let path = path.into();
        blocking(move || Ok(Self::new(read(&path)?, KeySource::Json(path)))).await
    }

    /// A key whose parts may be kept in files. They are read again whenever the service refuses the key.
    ///
    /// # Errors
    ///
    /// A file is missing, unreadable, or empty.
    pub async fn from_parts(
        id: Part,
        secret: Part,
        token: Option<Part>,
    ) -> Result<Self, CredentialsError> {
        blocking(move || {
            let key = of_parts(&id, &secret, token.as_ref())?;
            Ok(Self::new(key, KeySource::Parts { id, secret, token }))
        })
        .await
    }

    /// The temporary key of a RAM role. The metadata service is asked again whenever the key is refused, as it is
    /// once it has expired.
    ///
    /// # Errors
    ///
    /// The metadata service is out of reach or knows no such role.
    pub async fn from_role(role: RamRole) -> Result<Self, CredentialsError> {
        let key = role.key().await?;
        Ok(Self::new(key, KeySource::Role(role)))
    }

    fn new(key: AccessKey, source: KeySource) -> Self {
        let (key, turn) = (RwLock::new(Arc::new(key)), Arc::new(Semaphore::new(1)));
        Self { shared: Arc::new(CurrentKey { key, source, turn }) }
    }

    /// Puts a new key in force for everyone who shares this handle.
    pub fn replace(&self, key: AccessKey) {
        *self.shared.key.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
    }

    /// The key in force.
    pub fn current(&self) -> Arc<AccessKey> {
        Arc::clone(&self.shared.key.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks for a newer key than `refused`; true if there is one, so that asking again makes sense.
    ///
    /// # Errors
    ///
    /// The key file exists no more, holds no key, or is not read in time; the old key stays in force.
    pub async fn renew(&self, refused: &AccessKey) -> Result<bool, CredentialsError> {
        let looking = timeout(READ_TIME, self.clone().look(refused.clone()));
        looking.await.map_err(|_elapsed| CredentialsError::Late)??;
        Ok(*self.current() != *refused)
    }

    async fn look(self, refused: AccessKey) -> Result<(), CredentialsError> {
        // Never closed.
        let Ok(turn) = Arc::clone(&self.shared.turn).acquire_owned().await else { return Ok(()) };
        if *self.current() != refused {
            return Ok(());
        }
        if let KeySource::Role(role) = &self.shared.source {
            self.replace(role.key().await?);
            return Ok(());
        }
        // Continues after the wait for it has ended: what is read late counts too.
        blocking(move || {
            let _turn = turn;
            if let Some(key) = self.shared.source.read()? {
                self.replace(key);
            }
            Ok(())
        })
        .await
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({:?})", self.current())
    }
}

/// Does this on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CredentialsError> + Send + 'static,
) -> Result<T, CredentialsError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(CredentialsError::Late))
}

fn of_parts(id: &Part, secret: &Part, token: Option<&Part>) -> Result<AccessKey, CredentialsError> {
    let key = AccessKey::new(id.read()?, secret.read()?);
    Ok(match token {
        Some(token) => key.with_token(token.read()?),
        None => key,
    })
}

fn read(path: &Path) -> Result<AccessKey, CredentialsError> {
    let text = forwarder_keyfile::read(path)
        .map_err(|source| CredentialsError::Unreadable { path: path.into(), source })?;
    AccessKey::from_json(&text).ok_or_else(|| CredentialsError::Malformed { path: path.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_printed() {
        let key = AccessKey::new("LTAI1", "s3cret").with_token("t0ken");
        let shown = format!("{key:?} {:?}", Credentials::fixed(key.clone()));
        assert!(shown.contains("LTAI1"));
        assert!(!shown.contains("s3cret") && !shown.contains("t0ken"), "{shown}");
        assert_eq!(key.scrub("x-acs-security-token:t0ken s3cret"), "x-acs-security-token:*** ***");
    }

    #[tokio::test]
    async fn a_part_in_a_file_is_read_again_when_the_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "1\n").unwrap();
        let (id, secret) = (Part::Fixed("a".to_owned()), Part::File(path.clone()));
        let credentials = Credentials::from_parts(id, secret, None).await.unwrap();
        let old = credentials.current();
        assert_eq!(old.secret(), "1");
        std::fs::write(&path, "2\n").unwrap();
        assert!(credentials.renew(&old).await.unwrap());
        assert_eq!(credentials.current().secret(), "2");
        std::fs::write(&path, "").unwrap();
        assert!(credentials.renew(&old).await.unwrap(), "there is another one than that");
        assert!(credentials.renew(&credentials.current()).await.is_err());
        assert_eq!(credentials.current().secret(), "2");
    }

    #[tokio::test]
    async fn a_rotated_file_is_picked_up_when_the_old_key_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, r#"{"AccessKeyId":"a","AccessKeySecret":"1"}"#).unwrap();
        let credentials = Credentials::from_file(file.path()).await.unwrap();
        let old = credentials.current();
        assert!(!credentials.renew(&old).await.unwrap());

        let rotated =
            r#"{"AccessKeyId":"a","AccessKeySecret":"2","SecurityToken":"t","Code":"Success"}"#;
        std::fs::write(&file, rotated).unwrap();
        assert!(credentials.renew(&old).await.unwrap());
        assert_eq!(credentials.current().token(), Some("t"));

        std::fs::write(&file, "not json: 2").unwrap();
        let error = credentials.renew(&credentials.current()).await.unwrap_err().to_string();
        assert!(error.contains("AccessKeySecret") && !error.contains("not json"), "{error}");
    }
}
