//! Notices a condition, a plugin or a route that matches nothing, which is mostly a mistake in the configuration
//! that nothing else shows: every log passes, and none is changed or lands where it should.
//!
//! Judged once, on the first [`TRIAL_ROWS`] rows. What was judged, or has matched, costs one look at a flag from then on.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use metrics::Gauge;
use tracing::{info, warn};

use crate::metrics as meters;

/// Rows after which something that has matched none of them is reported.
pub const TRIAL_ROWS: u64 = 10_000;

/// Topics that the report names, at most.
const MAX_TOPICS: usize = 10;
/// Characters of a topic that it shows.
const MAX_TOPIC_CHARS: usize = 100;

/// What it is that may match nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matcher {
    /// `when` of a transform.
    When,
    /// A plugin, which matches a row by changing it in any way.
    Plugin,
    /// A route with a condition or a label, by its number.
    Route,
}

impl Matcher {
    const fn kind(self) -> &'static str {
        match self {
            Self::When => "when",
            Self::Plugin => "plugin",
            Self::Route => "route",
        }
    }
}

/// Watches over one of them. Shared by all threads.
#[derive(Debug)]
pub struct MatchWatch {
    matcher: Matcher,
    name: String,
    stage: AtomicU8,
    seen: Mutex<Seen>,
    gauge: Gauge,
}

/// Rows are being counted.
const COUNTING: u8 = 0;
/// Nothing matched, which was reported.
const REPORTED: u8 = 1;
/// Something matched.
const MATCHED: u8 = 2;

#[derive(Debug, Default)]
struct Seen {
    rows: u64,
    topics: Vec<String>,
    more_topics: bool,
}

impl MatchWatch {
    /// A watch over the matcher of this name.
    pub fn new(matcher: Matcher, name: impl Into<String>) -> Self {
        let name = name.into();
        let gauge = meters::unmatched(matcher.kind(), &name);
        let (stage, seen) = (AtomicU8::new(COUNTING), Mutex::default());
        Self { matcher, name, stage, seen, gauge }
    }

    /// Whether topics are still of interest.
    pub fn is_counting(&self) -> bool {
        self.stage.load(Ordering::Relaxed) == COUNTING
    }

    /// Notes that rows with these topics were offered, and whether any of them matched. The topics are looked at
    /// only while nothing has matched yet.
    pub fn note<'a>(&self, any_matched: bool, topics: impl Iterator<Item = &'a str>) {
        let stage = self.stage.load(Ordering::Relaxed);
        if any_matched {
            if stage != MATCHED && self.stage.swap(MATCHED, Ordering::Relaxed) == REPORTED {
                self.gauge.set(0.0);
                info!(
                    kind = self.matcher.kind(),
                    name = self.name,
                    "matches by now, which was reported missing before"
                );
            }
        } else if stage == COUNTING {
            self.count(topics);
        }
    }

    fn count<'a>(&self, topics: impl Iterator<Item = &'a str>) {
        // Nothing panics while the lock is held.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last = None;
        for topic in topics {
            seen.rows += 1;
            // Rows of a log group follow one another.
            if last != Some(topic) {
                seen.note(topic);
                last = Some(topic);
            }
        }
        let relaxed = Ordering::Relaxed;
        if seen.rows >= TRIAL_ROWS
            && self.stage.compare_exchange(COUNTING, REPORTED, relaxed, relaxed).is_ok()
        {
            self.gauge.set(1.0);
            self.report(&std::mem::take(&mut *seen));
        }
    }

    fn report(&self, seen: &Seen) {
        let (rows, topics) = (seen.rows, seen.listed());
        let name = self.name.as_str();
        match self.matcher {
            Matcher::When => warn!(
                plugin = name,
                rows,
                topics,
                "`when` of this transform matched none of the first logs, so the plugin was not called; compare it with the \
                 topics seen, or remove the transform; logs pass unchanged, no data lost"
            ),
            Matcher::Plugin => warn!(
                plugin = name,
                rows,
                topics,
                "plugin changed none of the first logs that it was given; compare its `config` (topics, field names) with the \
                 topics seen, or remove it; logs pass unchanged, no data lost"
            ),
            Matcher::Route => warn!(
                route = name,
                rows,
                topics,
                "route matched none of the first logs; compare its `when` or `label` with the topics seen and with the routes \
                 before it; logs take later routes, no data lost"
            ),
        }
    }
}

impl Seen {
    fn note(&mut self, topic: &str) {
        let mut shown: String = topic.chars().take(MAX_TOPIC_CHARS).collect();
        if shown.len() < topic.len() {
            shown.push('…');
        }
        // Topics come from those who write logs: control characters and the like are spelled out.
        let shown = format!("{shown:?}");
        if self.topics.contains(&shown) {
            return;
        }
        if self.topics.len() < MAX_TOPICS {
            self.topics.push(shown);
        } else {
            self.more_topics = true;
        }
    }

    fn listed(&self) -> String {
        let more = if self.more_topics { " and more" } else { "" };
        self.topics.join(", ") + more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(watch: &MatchWatch) -> u8 {
        watch.stage.load(Ordering::Relaxed)
    }

    #[test]
    fn what_matches_nothing_in_its_first_rows_is_reported_once_and_may_still_match() {
        let watch = MatchWatch::new(Matcher::Plugin, "audit");
        watch.note(false, vec!["a"; 9_999].into_iter());
        assert_eq!(stage(&watch), COUNTING);
        watch.note(false, ["b"].into_iter());
        assert_eq!(stage(&watch), REPORTED);
        watch.note(true, ["c"].into_iter());
        assert_eq!(stage(&watch), MATCHED);
    }

    #[test]
    fn one_match_is_enough() {
        let watch = MatchWatch::new(Matcher::Route, "1");
        watch.note(true, ["a"].into_iter());
        watch.note(false, vec!["a"; 20_000].into_iter());
        assert_eq!(stage(&watch), MATCHED);
    }

    #[test]
    fn topics_are_named_once_without_control_characters_and_not_without_end() {
        let mut seen = Seen::default();
        for topic in ["a", "b", "a", "\u{1b}[2J\u{202e}\u{9b}x", &"t".repeat(500)] {
            seen.note(topic);
        }
        let long = format!("\"{}…\"", "t".repeat(MAX_TOPIC_CHARS));
        assert_eq!(seen.listed(), format!(r#""a", "b", "\u{{1b}}[2J\u{{202e}}\u{{9b}}x", {long}"#));
        (0..50).for_each(|n| seen.note(&n.to_string()));
        assert!(seen.topics.len() == MAX_TOPICS && seen.listed().ends_with(" and more"));
    }
}
