//! What a receiver does when our side of a connection is finished: nearly all read to the end and close theirs,
//! which proves that they have read everything.

/// Endings in a row that a receiver may break off before it counts as one that never closes in order. One that
/// has closed in order before is given any number.
const BROKEN_ENDINGS: u32 = 3;

/// What is known of one receiver since the start of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Habit {
    /// Nothing yet, but how many endings were broken off in a row.
    Unknown { broken: u32 },
    /// It has closed in order: if it does not, it has not read everything.
    Closes,
    /// It never does, so nothing can be concluded from it.
    NeverCloses,
}

impl Default for Habit {
    fn default() -> Self {
        Self::Unknown { broken: 0 }
    }
}

impl Habit {
    /// It has closed its side in order.
    pub(super) fn closed(&mut self) {
        *self = Self::Closes;
    }

    /// It broke a finished connection off. True if that shows that it never closes.
    pub(super) fn broke_off(&mut self) -> bool {
        let Self::Unknown { broken } = self else { return false };
        *broken += 1;
        *broken >= BROKEN_ENDINGS && self.kept_silent()
    }

    /// It kept a finished connection open for so long that it never seems to close. True if that is news.
    pub(super) fn kept_silent(&mut self) -> bool {
        let is_news = matches!(self, Self::Unknown { .. });
        if is_news {
            *self = Self::NeverCloses;
        }
        is_news
    }

    pub(super) fn is_unknown(self) -> bool {
        matches!(self, Self::Unknown { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_closed_in_order_once_is_held_to_it() {
        let mut habit = Habit::default();
        assert!(!habit.broke_off());
        habit.closed();
        assert!(!(0..10).any(|_| habit.broke_off()) && !habit.kept_silent());
        assert_eq!(habit, Habit::Closes);

        let mut habit = Habit::default();
        assert_eq!([habit.broke_off(), habit.broke_off(), habit.broke_off()], [false, false, true]);
        assert_eq!(habit, Habit::NeverCloses);
    }
}
