//! How an answer's cursor moves, compared with the log groups that the answer accounts for.
//!
//! Without a filter these are the groups that came. With one they are those that were read, by
//! `x-log-rawdatacount`. `x-log-read-last-cursor` is a second statement of the same; by itself it proves little,
//! since an answer that belongs to another place repeats the mistake in both cursors.

use super::PullHead;

/// How an answer's cursor moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Movement {
    /// By as many log groups as the answer accounts for; or not at all.
    Sound,
    /// The headers do not say enough, or the less important one contradicts the others: only another answer can
    /// confirm it.
    Unconfirmed,
    /// Not by as many.
    Differing {
        /// How far reading may continue without skipping anything: the lower of the two positions.
        behind: u64,
        /// How many log groups were read, at most.
        read: u64,
    },
}

impl PullHead {
    /// How the cursor moves; `asked` log groups were asked for at most.
    pub(crate) fn movement(&self, asked: u32) -> Movement {
        let positions = (self.request_cursor.position(), self.next_cursor.position());
        // Where no integers can be read, nothing can be compared.
        let (Some(from), Some(next)) = positions else { return Movement::Sound };
        if from == next {
            return Movement::Sound;
        }
        let (asked, moved) = (u64::from(asked), next.saturating_sub(from));
        let read = if self.filtered { self.scanned_groups } else { Some(self.count) };
        let differing = |behind: u64, read| Movement::Differing { behind: behind.min(next), read };
        match (read, self.behind_last) {
            (Some(read), _) if read != moved => differing(from.saturating_add(read), read),
            (Some(_), Some(behind)) if behind != next => Movement::Unconfirmed,
            (Some(_), _) => Movement::Sound,
            (None, Some(behind)) if behind != next => differing(behind, asked),
            (None, _) if moved > asked => differing(from, asked),
            (None, _) => Movement::Unconfirmed,
        }
    }

    /// The position of the first of so many log groups if the last one lies right before the next cursor.
    pub(crate) fn first_of(&self, groups: u64) -> Option<u64> {
        self.next_cursor.position()?.checked_sub(groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::Cursor;
    use crate::wire::Compression;

    /// An answer to a question for logs from 100 on.
    fn head(filtered: bool, next: u64, count: u64) -> PullHead {
        PullHead {
            request_cursor: Cursor::at(100),
            filtered,
            next_cursor: Cursor::at(next),
            count,
            raw_size: count,
            compression: Compression::Plain,
            end_of_cursor: false,
            behind_last: None,
            cursor_time: None,
            scanned_groups: None,
            result_lines: None,
            failed_lines: None,
        }
    }

    #[test]
    fn a_cursor_moves_by_the_groups_that_were_read_or_is_in_doubt() {
        use Movement::{Differing, Sound, Unconfirmed};
        let differing = |behind, read| Differing { behind, read };
        for (filtered, next, count, read, last, expected) in [
            // Without a filter, the groups that came decide.
            (false, 105, 5, None, None, Sound),
            (false, 105, 5, None, Some(104), Sound),
            (false, 105, 5, None, Some(103), Unconfirmed),
            (false, 107, 5, None, None, differing(105, 5)),
            (false, 107, 5, None, Some(106), differing(105, 5)),
            (false, 100, 0, None, Some(7), Sound),
            // With one, those that were read.
            (true, 105, 1, Some(5), Some(104), Sound),
            (true, 105, 0, Some(5), None, Sound),
            (true, 105, 0, Some(5), Some(101), Unconfirmed),
            (true, 107, 1, Some(5), Some(104), differing(105, 5)),
            (true, 107, 1, Some(5), Some(106), differing(105, 5)),
            (true, 105, 1, Some(7), Some(104), differing(105, 7)),
            (true, 105, 0, Some(0), None, differing(100, 0)),
            (true, 100, 0, Some(5), None, Sound),
            // And where their number is not reported, no answer is believed alone.
            (true, 105, 1, None, Some(104), Unconfirmed),
            (true, 105, 0, None, None, Unconfirmed),
            (true, 105, 0, None, Some(102), differing(103, 10)),
            (true, 111, 0, None, Some(110), differing(100, 10)),
            (true, 100, 0, None, None, Sound),
        ] {
            let head = PullHead {
                scanned_groups: read,
                behind_last: last.map(|last: u64| last + 1),
                ..head(filtered, next, count)
            };
            assert_eq!(head.movement(10), expected, "{head:?}");
        }
    }

    #[test]
    fn what_is_no_integer_is_not_compared() {
        let opaque = Cursor::new("opaque").unwrap();
        let head = PullHead { request_cursor: opaque, ..head(true, 105, 5) };
        assert_eq!(head.movement(1), Movement::Sound);
    }
}
