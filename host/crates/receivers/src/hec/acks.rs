//! Indexer acknowledgement: which requests of which channel have been indexed.
//!
//! Ids count up from 0 per channel and belong to requests, not events. `true` is said once; after that
//! the id is forgotten, and asking again says `false`, as does asking about an unknown id or channel.

use std::collections::{BTreeMap, HashMap};

/// Splunk's own cap of unanswered acknowledgements in one channel.
const MAX_PENDING: usize = 1_000_000;

/// When a request counts as indexed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AckPolicy {
    /// As soon as it is asked about.
    #[default]
    Prompt,
    /// Only after this many questions about it were answered `false`.
    AfterPolls(u32),
    /// Never, for as long as this policy stands.
    Never,
}

/// The channels of one token.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    pub(crate) policy: AckPolicy,
    by_guid: HashMap<String, Channel>,
}

#[derive(Debug, Default)]
struct Channel {
    next_id: u64,
    pending: HashMap<u64, Pending>,
}

#[derive(Debug)]
struct Pending {
    lost: bool,
    polls: u32,
}

impl Channels {
    /// The ack id of a request just accepted; `None` if the channel is full. The events of a `lost`
    /// request never reach the index, so its id is never true.
    pub(crate) fn issue(&mut self, channel: &str, lost: bool) -> Option<u64> {
        let channel = self.by_guid.entry(channel.to_owned()).or_default();
        if channel.pending.len() >= MAX_PENDING {
            return None;
        }
        let id = channel.next_id;
        channel.next_id += 1;
        channel.pending.insert(id, Pending { lost, polls: 0 });
        Some(id)
    }

    /// Answers a question about `ids`.
    pub(crate) fn poll(&mut self, channel: &str, ids: &[u64]) -> BTreeMap<u64, bool> {
        let policy = self.policy;
        let mut channel = self.by_guid.get_mut(channel);
        ids.iter()
            .map(|&id| {
                let indexed = channel.as_mut().is_some_and(|channel| channel.indexed(id, policy));
                (id, indexed)
            })
            .collect()
    }

    /// Forgets every channel, as the clean-up of idle channels does; ids start again at 0.
    pub(crate) fn expire(&mut self) {
        self.by_guid.clear();
    }
}

impl Channel {
    fn indexed(&mut self, id: u64, policy: AckPolicy) -> bool {
        let Some(pending) = self.pending.get_mut(&id) else { return false };
        pending.polls = pending.polls.saturating_add(1);
        let indexed = !pending.lost
            && match policy {
                AckPolicy::Prompt => true,
                AckPolicy::AfterPolls(polls) => pending.polls > polls,
                AckPolicy::Never => false,
            };
        if indexed {
            self.pending.remove(&id);
        }
        indexed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_true_once_and_then_forgotten() {
        let mut channels = Channels::default();
        assert_eq!(channels.issue("a", false), Some(0));
        assert_eq!(channels.issue("a", false), Some(1));
        assert_eq!(channels.issue("b", false), Some(0), "ids count per channel");

        assert_eq!(channels.poll("a", &[0, 7]), BTreeMap::from([(0, true), (7, false)]));
        assert_eq!(channels.poll("a", &[0, 1]), BTreeMap::from([(0, false), (1, true)]));
        assert_eq!(channels.poll("unheard of", &[0]), BTreeMap::from([(0, false)]));
    }

    #[test]
    fn a_late_ack_comes_after_the_polls_it_is_set_to_wait_for() {
        let mut channels = Channels { policy: AckPolicy::AfterPolls(2), ..Channels::default() };
        channels.issue("a", false);

        let answers = [(); 4].map(|()| channels.poll("a", &[0])[&0]);
        assert_eq!(answers, [false, false, true, false]);
    }

    #[test]
    fn a_lost_request_is_never_acknowledged_and_expiry_restarts_the_ids() {
        let mut channels = Channels::default();
        channels.issue("a", true);
        assert!(!channels.poll("a", &[0])[&0]);

        channels.issue("a", false);
        channels.expire();
        assert_eq!(channels.issue("a", false), Some(0));
    }
}
