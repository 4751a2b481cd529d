//! The known word nearest to a misspelt one.

/// The candidate that takes the fewest typing slips to reach, if they are few enough to be slips.
pub(super) fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .iter()
        .map(|candidate| (slips(word, candidate), *candidate))
        .filter(|(slips, _)| *slips <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment).
fn slips(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    let mut previous = None;
    for (row, have) in from.chars().enumerate() {
        let mut current = vec![row + 1];
        for (column, want) in to.iter().enumerate() {
            let at =
                |line: &[usize], column: usize| line.get(column).copied().unwrap_or(usize::MAX / 2);
            let mut cost = at(&last, column) + usize::from(have != *want);
            cost = cost.min(at(&last, column + 1) + 1).min(at(&current, column) + 1);
            let swapped =
                column > 0 && to.get(column - 1) == Some(&have) && previous == Some(*want);
            if swapped {
                cost = cost.min(at(&before_last, column - 1) + 1);
            }
            current.push(cost);
        }
        before_last = std::mem::replace(&mut last, current);
        previous = Some(have);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_forgiven_and_a_stranger_is_not() {
        let known = ["token", "timeout", "url", "consumer_group"];
        assert_eq!(nearest("tokne", &known), Some("token"));
        assert_eq!(nearest("consumergroup", &known), Some("consumer_group"));
        assert_eq!(nearest("time_out", &known), Some("timeout"));
        assert_eq!(nearest("ulr", &known), Some("url"));
        assert_eq!(nearest("colour", &known), None);
    }

    #[test]
    fn slips_are_counted() {
        for (from, to, count) in
            [("", "", 0), ("", "ab", 2), ("ab", "ba", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(slips(from, to), count, "{from} {to}");
        }
    }
}
