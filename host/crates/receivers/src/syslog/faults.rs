//! The ways a syslog server can be made to misbehave.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// The handle to a server's misbehaviour. Clones act on the same server.
#[derive(Clone, Default)]
pub struct Faults(Arc<SharedFaults>);

#[derive(Default)]
struct SharedFaults {
    read_speed: watch::Sender<ReadSpeed>,
    keep_open: AtomicBool,
    end_early: AtomicBool,
    active: Mutex<ActiveFaults>,
}

#[derive(Default)]
struct ActiveFaults {
    discards: u64,
    cut: Option<Cut>,
    poison: Option<Vec<u8>>,
    most: Option<usize>,
}

struct Cut {
    after: u64,
    ending: Ending,
}

/// How fast connections are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ReadSpeed {
    #[default]
    Full,
    Slow {
        bytes: usize,
        pause: Duration,
    },
    Paused,
}

/// How the server ends a connection of its own accord.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Close,
    Reset,
}

/// What is to become of messages just read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Disposition {
    /// How many of them are recorded.
    pub(crate) kept: u64,
    /// How many more were accepted and vanish.
    pub(crate) discarded: u64,
    /// What happens to the connection afterwards.
    pub(crate) ending: Option<Ending>,
}

impl Faults {
    /// Leaves connections open and stops reading from them: kernel buffers fill up, then the sender
    /// cannot write any more.
    pub fn pause_reading(&self) {
        self.0.read_speed.send_replace(ReadSpeed::Paused);
    }

    /// Reads at most `bytes` from each connection, then pauses, and so on.
    pub fn read_slowly(&self, bytes: usize, pause: Duration) {
        self.0.read_speed.send_replace(ReadSpeed::Slow { bytes: bytes.max(1), pause });
    }

    /// Reads at full speed again.
    pub fn resume_reading(&self) {
        self.0.read_speed.send_replace(ReadSpeed::Full);
    }

    /// Never closes its side of a connection that the sender has finished, though it has read everything.
    pub fn keep_open(&self) {
        self.0.keep_open.store(true, Ordering::Release);
    }

    /// Ends its side of each connection as soon as it is made, and reads on, as `ncat -l < /dev/null` does.
    pub fn end_early(&self) {
        self.0.end_early.store(true, Ordering::Release);
    }

    /// Closes the connection that brings the `messages`-th message from now; what it brought beyond
    /// that is lost. Once only, and not over UDP. Orderly on the server's part, but the kernel turns
    /// it into a reset if it holds bytes that were never read.
    pub fn close_after(&self, messages: u64) {
        self.cut(messages, Ending::Close);
    }

    /// The same with a connection reset.
    pub fn reset_after(&self, messages: u64) {
        self.cut(messages, Ending::Reset);
    }

    /// Closes each connection at a message that contains this text, as a parser does that fails on it. What came before is
    /// recorded.
    pub fn close_at(&self, text: &str) {
        self.active().poison = Some(text.as_bytes().to_vec());
    }

    /// Closes each connection once it has brought more than so many bytes; the messages among these are recorded.
    pub fn close_each_after(&self, bytes: usize) {
        self.active().most = Some(bytes);
    }

    /// Drops one of the messages accepted next without a word; several calls add up.
    pub fn discard_one(&self) {
        self.active().discards += 1;
    }

    pub(crate) fn closes_at(&self, message: &[u8]) -> bool {
        let active = self.active();
        let poison = active.poison.as_ref().filter(|text| !text.is_empty());
        poison.is_some_and(|text| message.windows(text.len()).any(|part| part == text))
    }

    /// The most bytes on one connection.
    pub(crate) fn most(&self) -> usize {
        self.active().most.unwrap_or(usize::MAX)
    }

    pub(crate) fn keeps_open(&self) -> bool {
        self.0.keep_open.load(Ordering::Acquire)
    }

    pub(crate) fn ends_early(&self) -> bool {
        self.0.end_early.load(Ordering::Acquire)
    }

    pub(crate) fn read_speed(&self) -> watch::Receiver<ReadSpeed> {
        self.0.read_speed.subscribe()
    }

    /// Decides on `messages` that one connection brought.
    pub(crate) fn judge(&self, messages: u64) -> Disposition {
        let mut active = self.active();
        let (taken, ending) = match &mut active.cut {
            Some(cut) if cut.after <= messages => {
                let (after, ending) = (cut.after, cut.ending);
                active.cut = None;
                (after, Some(ending))
            }
            Some(cut) => {
                cut.after -= messages;
                (messages, None)
            }
            None => (messages, None),
        };
        let discarded = active.discards.min(taken);
        active.discards -= discarded;
        Disposition { kept: taken - discarded, discarded, ending }
    }

    fn cut(&self, after: u64, ending: Ending) {
        self.active().cut = Some(Cut { after, ending });
    }

    fn active(&self) -> MutexGuard<'_, ActiveFaults> {
        self.0.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_falls_after_the_message_it_was_announced_for() {
        let faults = Faults::default();
        faults.close_after(3);
        faults.discard_one();

        let first = Disposition { kept: 1, discarded: 1, ending: None };
        assert_eq!(faults.judge(2), first);
        let second = Disposition { kept: 1, discarded: 0, ending: Some(Ending::Close) };
        assert_eq!(faults.judge(5), second);
        assert_eq!(faults.judge(5), Disposition { kept: 5, discarded: 0, ending: None });
    }
}
