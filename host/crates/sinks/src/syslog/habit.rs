//! What a receiver does when our side of a connection is finished. Nearly all read to the end and close theirs, which
//! proves that they have read everything. Of the others nothing can be concluded.

use std::time::Duration;

use tokio::time::Instant;

/// Connections in a row that may end without a proof before the receiver counts as one that gives none. One that has
/// given one before is held to that: it breaks because of what it was sent, or is restarted again and again.
const WITHOUT_PROOF: u32 = 3;

/// A finished connection that is kept open for this long is taken for one that is never closed.
const SILENT: Duration = Duration::from_secs(60);

/// The same for a receiver that has closed one before: rather suspended or blocked than changed.
const SILENT_NOW: Duration = Duration::from_secs(300);

/// A receiver that gave no proof is asked again after a connection was lost, but not sooner than this: each time
/// may cost it [`SILENT`] and one window of repetitions.
const ASKED_AGAIN: Duration = Duration::from_secs(600);

/// What is known of one receiver since the start of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Habit {
    known: Known,
    /// Finished connections that it broke off, in a row.
    broken: u32,
    /// Connections that it ended before we did, in a row, though it took what was sent.
    early: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Known {
    #[default]
    Nothing,
    /// It has closed in order: if it does not, it has most likely not read everything.
    Closes,
    /// Its kernel's acknowledgement and the age have to do.
    GivesNoProof { since: Instant },
}

impl Habit {
    /// It has closed a finished connection in order. True if it was taken for one that does not.
    pub(super) fn closed(&mut self) -> bool {
        let is_news = self.gives_no_proof();
        *self = Self { known: Known::Closes, ..Self::default() };
        is_news
    }

    /// It broke a finished connection off. True if that shows that it gives no proof.
    pub(super) fn broke_off(&mut self) -> bool {
        self.broken += 1;
        self.broken >= WITHOUT_PROOF && self.is_unknown() && self.judge()
    }

    /// It ended a connection before we did, though it took what was sent. True if that shows that it gives no proof:
    /// it ends its side without having read to the end of ours.
    pub(super) fn ended_early(&mut self) -> bool {
        self.early += 1;
        self.early >= WITHOUT_PROOF && self.is_unknown() && self.judge()
    }

    /// It kept a finished connection open for longer than [`Habit::silence`].
    pub(super) fn kept_silent(&mut self) -> bool {
        self.judge()
    }

    /// How long a finished connection is waited for.
    pub(super) fn silence(&self) -> Duration {
        if self.known == Known::Closes { SILENT_NOW } else { SILENT }
    }

    pub(super) fn is_unknown(&self) -> bool {
        self.known == Known::Nothing
    }

    pub(super) fn gives_no_proof(&self) -> bool {
        matches!(self.known, Known::GivesNoProof { .. })
    }

    /// Whether it ends its side of connections while it takes what is sent on them.
    pub(super) fn ends_early(&self) -> bool {
        self.gives_no_proof() && self.early >= WITHOUT_PROOF
    }

    /// A connection was lost: it may be another receiver, or another configuration, by now. True if it is to be asked
    /// again.
    pub(super) fn lost(&mut self) -> bool {
        let is_over =
            matches!(self.known, Known::GivesNoProof { since } if since.elapsed() >= ASKED_AGAIN);
        if is_over {
            *self = Self::default();
        }
        is_over
    }

    fn judge(&mut self) -> bool {
        let is_news = !self.gives_no_proof();
        if is_news {
            self.known = Known::GivesNoProof { since: Instant::now() };
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_closed_in_order_is_held_to_it_for_longer() {
        let mut habit = Habit::default();
        assert_eq!([habit.broke_off(), habit.broke_off(), habit.broke_off()], [false, false, true]);
        assert!(habit.gives_no_proof() && !habit.ends_early() && !habit.kept_silent());

        assert!(habit.closed() && !habit.closed(), "news only once");
        assert_eq!(habit.silence(), SILENT_NOW);
        assert!((0..100).all(|_| !habit.ended_early() && !habit.broke_off()));
        assert!(!habit.gives_no_proof() && !habit.ends_early());
        assert!(habit.kept_silent(), "but not for so long as it keeps connections open");
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_no_proof_is_asked_again_after_a_while() {
        let mut habit = Habit::default();
        assert!(habit.kept_silent());
        assert!(!habit.lost() && habit.gives_no_proof());
        tokio::time::advance(ASKED_AGAIN).await;
        assert!(habit.lost() && habit.is_unknown());
    }
}
