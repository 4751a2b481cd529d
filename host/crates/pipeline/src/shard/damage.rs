//! Blocks that cannot be read. Most were damaged in the network, and the next answer is sound: so a block is
//! pulled again at once, a few times, before its shard holds.

use std::fmt;
use std::time::Duration;

use forwarder_record::DecodeError;

use crate::position::Position;
use crate::source::Unreadable;

/// How often a block is pulled again before its shard holds.
const PULLED_AGAIN_AT_MOST: u32 = 5;

/// The wait before the second repetition; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// A block that could not be read, and how often in a row. It is handed from one run over the shard to the
/// next, since each begins from the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    at: Option<Position>,
    times: u32,
    /// How often in a row it was sound, but came to more than a block may.
    oversized: u32,
}

impl Damage {
    /// Once more at the position `at`, because of `cause`; `before` is what happened in the runs before this one.
    pub(super) fn again(before: Option<&Self>, at: Option<&Position>, cause: &Unreadable) -> Self {
        let before = before.filter(|before| before.at.as_ref() == at);
        let (times, oversized) = before.map_or((0, 0), |before| (before.times, before.oversized));
        let too_large = matches!(cause.0.downcast_ref(), Some(DecodeError::TooLarge { .. }));
        let oversized = if too_large { oversized.saturating_add(1) } else { 0 };
        Self { at: at.cloned(), times: times.saturating_add(1), oversized }
    }

    /// Whether the block was pulled again as often as makes sense.
    pub(super) fn is_lasting(&self) -> bool {
        self.times > PULLED_AGAIN_AT_MOST
    }

    /// How often in a row the block was sound, but came to more than a block may: less is to be asked for. A damaged
    /// one is asked for as it was, since damage shows less in small blocks.
    pub fn times_oversized(&self) -> u32 {
        self.oversized
    }

    /// How long to wait before the block is pulled again: not at all after the first time.
    pub fn pause(&self) -> Duration {
        match self.times.checked_sub(2) {
            Some(doublings) => FIRST_PAUSE.saturating_mul(1 << doublings.min(10)),
            None => Duration::ZERO,
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "time {} of {PULLED_AGAIN_AT_MOST}", self.times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_tried_again_at_once_then_slower_and_no_more_than_a_few_times() {
        let (here, there) = (Position::new("here"), Position::new("there"));
        let broken = Unreadable("broken".into());
        let mut damage = Damage::again(None, Some(&here), &broken);
        let mut pauses = vec![damage.pause()];
        while !damage.is_lasting() {
            damage = Damage::again(Some(&damage), Some(&here), &broken);
            pauses.push(damage.pause());
        }
        let expected = [0, 100, 200, 400, 800, 1600].map(Duration::from_millis);
        assert_eq!(pauses, expected);
        assert!(Damage::again(Some(&damage), Some(&here), &broken).is_lasting());
        assert!(!Damage::again(Some(&damage), Some(&there), &broken).is_lasting(), "another block");
    }

    #[test]
    fn only_a_block_that_is_too_much_is_asked_for_in_smaller_parts() {
        let here = Position::new("here");
        let much = Unreadable(Box::new(DecodeError::TooLarge { what: "fields", limit: 1 }));
        let once = Damage::again(None, Some(&here), &much);
        let twice = Damage::again(Some(&once), Some(&here), &much);
        assert_eq!((once.times_oversized(), twice.times_oversized()), (1, 2));
        let broken = Damage::again(Some(&twice), Some(&here), &Unreadable("broken".into()));
        assert_eq!(broken.times_oversized(), 0);
    }
}
