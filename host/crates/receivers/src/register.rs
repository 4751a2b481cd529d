//! What a receiver has accepted so far, and a way to wait for more.
//!
//! Items and ids sit behind `Arc`s that are copied only when someone still holds an earlier view:
//! looking at a million ids costs a pointer. Totals are published on a watch channel, which is what
//! waiting waits on.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::ids::Ids;

/// Totals since the receiver was started; they survive `down` and `up`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Events (HEC) or messages (syslog) accepted and recorded, repetitions included.
    pub received: u64,
    /// Different ids among them. Only where ids are recorded.
    pub distinct_ids: u64,
    /// Accepted items in which no id was found. Only where ids are recorded.
    pub without_id: u64,
    /// Items accepted and then dropped because a test asked for it.
    pub discarded: u64,
    /// Messages that break the format (syslog). They are not in `received`.
    pub malformed: u64,
    /// Streams given up because the framing made no sense (syslog over TCP or TLS).
    pub broken_streams: u64,
    /// Streams that ended in the middle of a message (syslog over TCP or TLS).
    pub cut_short: u64,
    /// Requests to the event and raw endpoints, whatever the answer (HEC).
    pub requests: u64,
    /// Those of them that were accepted (HEC), also where the answer was lost on purpose.
    pub accepted_requests: u64,
    /// Those of them whose body was compressed (HEC).
    pub gzip_requests: u64,
    /// Payload bytes read from the network: request bodies as sent, or syslog streams with framing.
    pub wire_bytes: u64,
    /// Bytes of accepted request bodies after decompression (HEC), or of messages (syslog). Where
    /// bodies are only counted, compressed ones add nothing.
    pub bytes: u64,
    /// Connections accepted.
    pub connections: u64,
    /// TLS handshakes that failed.
    pub failed_handshakes: u64,
}

/// The condition did not come true in time.
#[derive(Debug, thiserror::Error)]
#[error("still waiting after {waited:?}; so far {tally:?}")]
pub struct TimedOut {
    /// How long the wait lasted.
    pub waited: Duration,
    /// What had arrived by then.
    pub tally: Tally,
}

/// What one request or one read from a stream contributes.
pub(crate) enum Entries<'a, T> {
    Items(Vec<T>),
    Ids(Vec<Option<Cow<'a, str>>>),
    Count(u64),
}

impl<T> Entries<'_, T> {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Items(items) => items.len() as u64,
            Self::Ids(ids) => ids.len() as u64,
            Self::Count(count) => *count,
        }
    }

    /// Forgets all but the first `length` entries.
    pub(crate) fn truncate(&mut self, length: u64) {
        // A length beyond what memory can hold cuts nothing off.
        let kept = usize::try_from(length).unwrap_or(usize::MAX);
        match self {
            Self::Items(items) => items.truncate(kept),
            Self::Ids(ids) => ids.truncate(kept),
            Self::Count(count) => *count = length.min(*count),
        }
    }
}

/// A consistent view of the register at one moment.
pub(crate) struct Snapshot<T> {
    pub(crate) tally: Tally,
    pub(crate) items: Arc<Vec<T>>,
    pub(crate) ids: Arc<Ids>,
}

pub(crate) struct Register<T> {
    recorded: Mutex<Recorded<T>>,
    tally: watch::Sender<Tally>,
}

struct Recorded<T> {
    items: Arc<Vec<T>>,
    ids: Arc<Ids>,
}

impl<T> Default for Register<T> {
    fn default() -> Self {
        let recorded = Recorded { items: Arc::default(), ids: Arc::default() };
        Self { recorded: Mutex::new(recorded), tally: watch::Sender::new(Tally::default()) }
    }
}

impl<T: Clone> Register<T> {
    /// Records `entries` and whatever else `note` adds, as one step for everyone who waits.
    pub(crate) fn enter(&self, entries: Entries<'_, T>, note: impl FnOnce(&mut Tally)) {
        let mut recorded = self.recorded();
        let received = entries.len();
        let mut without_id = 0;
        match entries {
            Entries::Items(items) => Arc::make_mut(&mut recorded.items).extend(items),
            Entries::Ids(found) => {
                let ids = Arc::make_mut(&mut recorded.ids);
                for id in found {
                    match id {
                        Some(id) => ids.insert(&id),
                        None => without_id += 1,
                    }
                }
            }
            Entries::Count(_) => {}
        }
        let distinct_ids = recorded.ids.distinct();
        self.tally.send_modify(|tally| {
            tally.received += received;
            tally.without_id += without_id;
            tally.distinct_ids = distinct_ids;
            note(tally);
        });
    }

    pub(crate) fn snapshot(&self) -> Snapshot<T> {
        let recorded = self.recorded();
        Snapshot {
            tally: self.tally(),
            items: Arc::clone(&recorded.items),
            ids: Arc::clone(&recorded.ids),
        }
    }
}

impl<T> Register<T> {
    /// Changes totals only.
    pub(crate) fn note(&self, note: impl FnOnce(&mut Tally)) {
        self.tally.send_modify(note);
    }

    pub(crate) fn tally(&self) -> Tally {
        *self.tally.borrow()
    }

    /// Waits until `condition` holds, looking again whenever something arrives.
    pub(crate) async fn wait_until(
        &self,
        limit: Duration,
        condition: impl FnMut(&Tally) -> bool,
    ) -> Result<Tally, TimedOut> {
        let mut watch = self.tally.subscribe();
        // The channel cannot close while `self` is borrowed, so the only other outcome is time.
        match tokio::time::timeout(limit, watch.wait_for(condition)).await {
            Ok(Ok(tally)) => Ok(*tally),
            Ok(Err(_)) | Err(_) => Err(TimedOut { waited: limit, tally: self.tally() }),
        }
    }

    fn recorded(&self) -> MutexGuard<'_, Recorded<T>> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_ends_when_the_condition_comes_true() {
        let register = Arc::new(Register::<u32>::default());
        let waiting = register.wait_until(Duration::from_secs(5), |tally| tally.received >= 3);
        let arriving = async {
            register.enter(Entries::Items(vec![1]), |_| {});
            tokio::task::yield_now().await;
            register.enter(Entries::Items(vec![2, 3]), |_| {});
        };

        let (tally, ()) = tokio::join!(waiting, arriving);
        assert_eq!(tally.unwrap().received, 3);
    }

    #[tokio::test]
    async fn waiting_in_vain_says_what_had_arrived() {
        let register = Register::<u32>::default();
        register.enter(Entries::Count(2), |tally| tally.bytes += 10);

        let gave_up =
            register.wait_until(Duration::from_millis(1), |tally| tally.received >= 3).await;
        assert_eq!(gave_up.unwrap_err().tally.received, 2);
    }

    #[test]
    fn an_earlier_view_does_not_change() {
        let register = Register::default();
        register.enter(Entries::Items(vec!["a"]), |_| {});
        let before = register.snapshot();
        register.enter(Entries::Items(vec!["b"]), |_| {});

        assert_eq!(*before.items, ["a"]);
        assert_eq!(before.tally.received, 1);
        assert_eq!(*register.snapshot().items, ["a", "b"]);
    }
}
