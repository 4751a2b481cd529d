//! The known word nearest to a misspelt one.

use strsim::osa_distance;

/// The candidate that takes the fewest insertions, deletions, replacements and swaps of neighbours to reach, if they
/// are few enough to be typing errors.
pub(super) fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .iter()
        .map(|candidate| (osa_distance(word, candidate), *candidate))
        .filter(|(slips, _)| *slips <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
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
}
