//! Values made from files (a token, certificates, keys) that are read again when the files change.
//!
//! Files are compared by their contents, not by their times: secrets are swapped by renames and symbolic
//! links, which keep times and sizes more often than one expects, and the files are small. They are read
//! again when a value is asked for and the last reading is older than [`INTERVAL`], and at once when the
//! receiver has refused the value. Contents that cannot be used are reported once, and the value made
//! from the earlier ones stays in use.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::message::chain;

/// How old a reading may be when the value is used.
const INTERVAL: Duration = Duration::from_secs(10);

/// How old it may be when the receiver has refused the value, or before a new connection.
const INTERVAL_REFUSED: Duration = Duration::from_secs(1);

/// How long a request waits for the files; a network file system may hang.
const READ_TIME: Duration = Duration::from_secs(5);

/// A digest of what was read, by which two readings are compared.
pub(crate) type ContentDigest = [u8; 32];

/// Where a value comes from.
pub(crate) trait ReloadSource: Send + Sync + 'static {
    /// The value.
    type Value: Send + Sync + 'static;
    /// What was read.
    type Parts;
    /// Why there is no value. Its text holds no secret.
    type Error: Error + Send + Sync + 'static;

    /// Whether there is no file, so that the value stays as it is.
    fn is_fixed(&self) -> bool;

    /// Reads the files. Blocks.
    fn read(&self) -> Result<(Self::Parts, ContentDigest), Self::Error>;

    /// Makes the value of them.
    fn make(&self, parts: Self::Parts) -> Result<Self::Value, Self::Error>;

    /// The peer, in log lines: the receiver's address.
    fn name(&self) -> &str;
}

/// A value that follows its files.
pub(crate) struct Reloaded<O: ReloadSource>(Arc<ReloadState<O>>);

struct ReloadState<O: ReloadSource> {
    source: O,
    state: Mutex<LoadedValue<O::Value>>,
}

struct LoadedValue<V> {
    value: Arc<V>,
    digest: ContentDigest,
    read_at: Instant,
    /// A thread reads the files at the moment. One that hangs is not joined by others.
    is_reading: bool,
    /// What was last reported about contents that cannot be used.
    complaint: Option<String>,
}

impl<O: ReloadSource> Reloaded<O> {
    /// Reads the files for the first time. Blocks.
    pub(crate) fn new(source: O) -> Result<Self, O::Error> {
        let (parts, digest) = source.read()?;
        let value = Arc::new(source.make(parts)?);
        let state = LoadedValue {
            value,
            digest,
            read_at: Instant::now(),
            is_reading: false,
            complaint: None,
        };
        Ok(Self(Arc::new(ReloadState { source, state: Mutex::new(state) })))
    }

    /// The value, of files that were read at most [`INTERVAL`] ago.
    pub(crate) async fn current(&self) -> Arc<O::Value> {
        self.read_if_older(INTERVAL).await
    }

    /// The value, of files that were read just now: for uses that are rare, or that follow a refusal.
    pub(crate) async fn latest(&self) -> Arc<O::Value> {
        self.read_if_older(INTERVAL_REFUSED).await
    }

    /// Whether there is another value by now than the one that the receiver has refused.
    pub(crate) async fn replaced(&self, refused: &Arc<O::Value>) -> bool {
        !Arc::ptr_eq(&self.latest().await, refused)
    }

    async fn read_if_older(&self, age: Duration) -> Arc<O::Value> {
        let due = {
            let mut state = self.0.state();
            let may_read = !self.0.source.is_fixed() && !state.is_reading;
            let due = may_read && state.read_at.elapsed() >= age;
            if due {
                // Other requests do not read the same files at the same time.
                (state.read_at, state.is_reading) = (Instant::now(), true);
            }
            due
        };
        if due {
            let shared = Arc::clone(&self.0);
            let reading = tokio::task::spawn_blocking(move || shared.read_again());
            if timeout(READ_TIME, reading).await.is_err() {
                let receiver = self.0.source.name();
                tracing::warn!(receiver, limit = ?READ_TIME, "token or TLS files cannot be read in time; continuing with their \
                     earlier contents; check the file system that they are on");
            }
        }
        Arc::clone(&self.0.state().value)
    }
}

impl<O: ReloadSource> ReloadState<O> {
    fn state(&self) -> MutexGuard<'_, LoadedValue<O::Value>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_again(&self) {
        let receiver = self.source.name();
        let made = self.source.read().and_then(|(parts, digest)| {
            let changed = self.state().digest != digest;
            let value = if changed { Some(self.source.make(parts)?) } else { None };
            Ok((value, digest))
        });
        let mut state = self.state();
        state.is_reading = false;
        match made {
            Ok((value, digest)) => {
                state.complaint = None;
                if let Some(value) = value {
                    (state.value, state.digest) = (Arc::new(value), digest);
                    tracing::info!(receiver, "token or TLS files have changed, using the new ones");
                }
            }
            Err(error) => {
                let complaint = chain(&error);
                if state.complaint.as_ref() != Some(&complaint) {
                    tracing::warn!(
                        receiver,
                        error = %complaint,
                        "token or TLS files cannot be used as they are now; continuing with their \
                         earlier contents, will read them again"
                    );
                    state.complaint = Some(complaint);
                }
            }
        }
    }
}

impl<O: ReloadSource> fmt::Debug for Reloaded<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reloaded").field(&self.0.source.name()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::mpsc;

    use super::*;

    /// A file that must hold a number.
    struct Number(PathBuf);

    #[derive(Debug, thiserror::Error)]
    #[error("not a number")]
    struct NotANumber;

    impl ReloadSource for Number {
        type Value = u32;
        type Parts = String;
        type Error = NotANumber;

        fn is_fixed(&self) -> bool {
            false
        }

        fn read(&self) -> Result<(String, ContentDigest), NotANumber> {
            let text = String::from_utf8(forwarder_keyfile::read(&self.0).map_err(|_| NotANumber)?);
            let text = text.map_err(|_| NotANumber)?;
            let mut digest = [0; 32];
            digest[..text.len()].copy_from_slice(text.as_bytes());
            Ok((text, digest))
        }

        fn make(&self, text: String) -> Result<u32, NotANumber> {
            text.parse().map_err(|_| NotANumber)
        }

        fn name(&self) -> &str {
            "test"
        }
    }

    #[tokio::test]
    async fn a_changed_file_counts_and_a_broken_or_missing_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        std::fs::write(&path, "1").unwrap();
        let number = Reloaded::new(Number(path.clone())).unwrap();
        let first = number.current().await;
        assert_eq!(*first, 1);
        assert!(!number.replaced(&first).await);
        let read_now = async || *number.read_if_older(Duration::ZERO).await;

        // Swapped by a rename, same size.
        std::fs::write(folder.path().join("new"), "2").unwrap();
        std::fs::rename(folder.path().join("new"), &path).unwrap();
        assert_eq!(*number.current().await, 1, "it was read a moment ago");
        assert_eq!(read_now().await, 2);
        assert!(number.replaced(&first).await);

        std::fs::write(&path, "three").unwrap();
        assert_eq!(read_now().await, 2);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read_now().await, 2);
        std::fs::write(&path, "3").unwrap();
        assert_eq!(read_now().await, 3);
    }

    /// A file on a file system that answers when the test says so.
    struct Slow(Mutex<mpsc::Receiver<u32>>);

    impl ReloadSource for Slow {
        type Value = u32;
        type Parts = u32;
        type Error = NotANumber;

        fn is_fixed(&self) -> bool {
            false
        }

        fn read(&self) -> Result<(u32, ContentDigest), NotANumber> {
            let number = self.0.lock().unwrap().recv().map_err(|_| NotANumber)?;
            Ok((number, [number.try_into().map_err(|_| NotANumber)?; 32]))
        }

        fn make(&self, number: u32) -> Result<u32, NotANumber> {
            Ok(number)
        }

        fn name(&self) -> &str {
            "test"
        }
    }

    #[tokio::test]
    async fn a_file_that_hangs_is_read_by_one_thread_and_counts_again_when_it_answers() {
        let (answer, answers) = mpsc::channel();
        answer.send(1).unwrap();
        let number = Reloaded::new(Slow(Mutex::new(answers))).unwrap();
        let read_now = async || *number.read_if_older(Duration::ZERO).await;

        let hung = read_now();
        tokio::pin!(hung);
        let soon = Duration::from_millis(10);
        assert!(timeout(soon, &mut hung).await.is_err(), "the first one waits for the file");
        assert_eq!(timeout(READ_TIME / 2, read_now()).await, Ok(1), "others do not");

        answer.send(2).unwrap();
        assert_eq!(hung.await, 2);
        answer.send(3).unwrap();
        assert_eq!(read_now().await, 3);
    }
}
