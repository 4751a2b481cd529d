//! How many log groups to ask for: it follows the size of those seen, so that a block comes out near its target.

use crate::api::MAX_COUNT;

/// How many log groups to ask for before their size is known.
const FIRST_COUNT: u32 = 100;

/// Blocks that are read well after one that was not, before more log groups are asked for again.
const SOUND_BEFORE_MORE: u32 = 32;

/// The number of log groups to ask for.
#[derive(Debug)]
pub(crate) struct PullCount {
    target_bytes: u64,
    current: u32,
    /// Below [`MAX_COUNT`] after blocks that could not be read.
    most: u32,
    /// Blocks since `most` was last changed.
    sound: u32,
}

impl PullCount {
    pub(crate) fn new(target_bytes: u64) -> Self {
        Self { target_bytes, current: FIRST_COUNT, most: MAX_COUNT, sound: 0 }
    }

    /// The log groups of a block came to too much together, `times` times in a row at the same position. The third
    /// time, one group is asked for.
    pub(crate) fn after_oversized(&mut self, times: u32) {
        let divided = FIRST_COUNT.checked_shr(times.saturating_mul(2)).unwrap_or(0);
        self.most = divided.max(1);
        self.current = self.current.min(self.most);
    }

    pub(crate) fn get(&self) -> u32 {
        self.current
    }

    /// Learns from an answer with `groups` log groups of `bytes` in all.
    pub(crate) fn learn(&mut self, groups: u64, bytes: u64) {
        let Some(each) = bytes.checked_div(groups) else { return };
        let fitting = u32::try_from(self.target_bytes / each.max(1)).unwrap_or(MAX_COUNT);
        self.sound += 1;
        if self.sound >= SOUND_BEFORE_MORE {
            self.sound = 0;
            self.most = self.most.saturating_mul(2).min(MAX_COUNT);
        }
        // Down at once, up by steps: one small answer promises nothing.
        self.current = fitting.min(self.current.saturating_mul(4)).clamp(1, self.most);
    }

    /// Answers come damaged: perhaps something on the path does not let such long ones through.
    pub(crate) fn halve(&mut self) {
        self.current = (self.current / 2).max(1);
    }

    /// An answer was too large to take; false if it cannot be any smaller.
    pub(crate) fn shrink(&mut self, bytes: u64, limit: u64) -> bool {
        if self.current == 1 {
            return false;
        }
        let fitting = u128::from(self.current) * u128::from(limit) / u128::from(bytes.max(1)) / 2;
        self.current = u32::try_from(fitting).unwrap_or(1).clamp(1, self.current - 1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_settles_where_blocks_meet_the_target() {
        let mut count = PullCount::new(1 << 20);
        for _ in 0..5 {
            let groups = u64::from(count.get());
            count.learn(groups, groups * 10_000);
        }
        assert_eq!(count.get(), 104);
        let mut count = PullCount::new(10 << 20);
        for _ in 0..5 {
            let groups = u64::from(count.get());
            count.learn(groups, groups * 10_000);
        }
        assert_eq!(count.get(), MAX_COUNT);
    }

    #[test]
    fn a_block_beyond_the_limit_is_asked_for_in_smaller_parts_down_to_one() {
        let mut count = PullCount::new(1 << 20);
        let mut steps = 0;
        while count.shrink(100 << 20, 64 << 20) {
            steps += 1;
        }
        assert_eq!(count.get(), 1);
        assert!(steps < 10);
    }

    #[test]
    fn a_block_that_is_too_much_is_asked_for_group_by_group_and_more_only_after_many_good_ones() {
        let mut count = PullCount::new(1 << 20);
        let counts: Vec<u32> = (1..=5)
            .map(|times| {
                count.after_oversized(times);
                count.get()
            })
            .collect();
        assert_eq!(counts, [25, 6, 1, 1, 1]);
        for _ in 0..SOUND_BEFORE_MORE - 1 {
            count.learn(1, 100);
            assert_eq!(count.get(), 1);
        }
        count.learn(1, 100);
        assert_eq!(count.get(), 2);
    }

    #[test]
    fn an_empty_answer_teaches_nothing() {
        let mut count = PullCount::new(1 << 20);
        count.learn(0, 0);
        assert_eq!(count.get(), FIRST_COUNT);
    }
}
