//! Which rows go to which sinks: an ordered table in which the first match wins and the last rule matches
//! everything, so that no row can fall through it.

use std::collections::BTreeSet;

use forwarder_record::{Batch, Condition, Row, RowIx};

use crate::metrics::RouteMeters;
use crate::unmatched::{MatchWatch, Matcher};

/// Where rows go, as the configuration states it. A sink is its position in [`PipelineParts::sinks`](crate::PipelineParts::sinks).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTable {
    /// Asked in this order.
    pub rules: Vec<Rule>,
    /// For rows that no rule matches; none at all drops them, on purpose.
    pub otherwise: BTreeSet<usize>,
}

/// A rule before the last one. Without label and condition it matches every row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Matches rows to which a plugin gave this label.
    pub label: Option<String>,
    /// Matches rows that fulfil this condition.
    pub when: Option<Condition>,
    /// The sinks. None at all drops the row, on purpose.
    pub to: BTreeSet<usize>,
}

/// The routing table at work.
#[derive(Debug)]
pub(crate) struct Routes {
    sinks: usize,
    rules: Vec<Conditional>,
    /// The last rule, which needs no condition: this field is why routing is total.
    otherwise: Vec<usize>,
    meters: RouteMeters,
}

#[derive(Debug)]
struct Conditional {
    label: Option<String>,
    when: Option<Condition>,
    to: Vec<usize>,
    watch: MatchWatch,
}

impl Routes {
    /// The table of so many sinks. Rules are counted from 1, in file order.
    pub(crate) fn new(sinks: usize, table: RouteTable) -> Self {
        let meters = RouteMeters::new(table.rules.len() + 1);
        let rules = table.rules.into_iter().enumerate().map(|(n, rule)| Conditional {
            label: rule.label,
            when: rule.when,
            to: rule.to.into_iter().collect(),
            watch: MatchWatch::new(Matcher::Route, (n + 1).to_string()),
        });
        let otherwise = table.otherwise.into_iter().collect();
        Self { sinks, rules: rules.collect(), otherwise, meters }
    }

    /// Sorts the live rows of a batch, in order.
    #[expect(
        clippy::indexing_slicing,
        reason = "the numbers are those of `sinks`; a row that has no place must not vanish"
    )]
    pub(crate) fn assign(&self, batch: &Batch) -> Assignment {
        let mut per_sink: Vec<Vec<RowIx>> = (0..self.sinks).map(|_| Vec::new()).collect();
        let mut matched = vec![0_u64; self.rules.len() + 1];
        let mut unknown_labels = 0;
        let mut nowhere = 0;
        for row in batch.rows() {
            let found = self.rules.iter().position(|rule| rule.matches(&row));
            unknown_labels += u64::from(row.label().is_some_and(|label| !self.knows(label)));
            let to = found.and_then(|n| self.rules.get(n)).map_or(&self.otherwise, |rule| &rule.to);
            if let Some(count) = matched.get_mut(found.unwrap_or(self.rules.len())) {
                *count += 1;
            }
            nowhere += usize::from(to.is_empty());
            for &sink in to {
                per_sink[sink].push(row.ix());
            }
        }
        for (rule, &rows) in self.rules.iter().zip(&matched) {
            rule.watch.note(rows > 0, batch.rows().map(|row| row.topic()));
        }
        self.count(&matched, unknown_labels);
        Assignment { per_sink, nowhere }
    }

    fn knows(&self, label: &str) -> bool {
        self.rules.iter().any(|rule| rule.label.as_deref() == Some(label))
    }

    fn count(&self, matched: &[u64], unknown_labels: u64) {
        for (&rows, counter) in matched.iter().zip(&self.meters.matched) {
            counter.increment(rows);
        }
        if unknown_labels > 0 {
            self.meters.unknown_label.increment(unknown_labels);
        }
    }
}

impl Conditional {
    fn matches(&self, row: &Row<'_>) -> bool {
        self.label.as_deref().is_none_or(|label| row.label() == Some(label))
            && self.when.as_ref().is_none_or(|condition| condition.matches(row))
    }
}

/// The rows of a batch by destination.
#[derive(Debug)]
pub(crate) struct Assignment {
    /// Per sink, its rows in order: as many entries as there are sinks.
    pub(crate) per_sink: Vec<Vec<RowIx>>,
    /// Rows that a rule drops on purpose.
    pub(crate) nowhere: usize,
}

#[cfg(test)]
mod tests {
    use forwarder_record::Pattern;
    use proptest::prelude::*;

    use super::*;
    use crate::fixture;

    fn rule(label: Option<&str>, topic: Option<&str>, to: &[usize]) -> Rule {
        let when = topic
            .map(|topic| Condition { topic: vec![Pattern::new(topic)], ..Condition::default() });
        Rule { label: label.map(str::to_owned), when, to: to.iter().copied().collect() }
    }

    fn rows_of(routes: &Routes, batch: &Batch) -> Vec<Vec<usize>> {
        let assigned = routes.assign(batch);
        let index = |rows: Vec<RowIx>| rows.into_iter().map(RowIx::index).collect();
        assigned.per_sink.into_iter().map(index).collect()
    }

    #[test]
    fn the_first_match_wins_and_an_unknown_label_falls_through() {
        let mut batch = fixture::batch(&["audit", "flow", "audit", "flow"]);
        fixture::label(&mut batch, "noise", &[1, 2]);
        fixture::label(&mut batch, "unheard-of", &[3]);
        let rules = vec![rule(None, Some("aud*"), &[0, 1]), rule(Some("noise"), None, &[])];
        let routes = Routes::new(2, RouteTable { rules, otherwise: [1].into() });
        assert_eq!(rows_of(&routes, &batch), [vec![0, 2], vec![0, 2, 3]]);
        assert_eq!(routes.assign(&batch).nowhere, 1, "row 1 is noise, dropped on purpose");
    }

    proptest! {
        #[test]
        fn every_row_goes_where_the_first_matching_rule_says_and_nowhere_else(
            topics in proptest::collection::vec(0..4_usize, 0..40),
            table in proptest::collection::vec((0..5_usize, proptest::collection::btree_set(0..3_usize, 0..3)), 0..5),
            last in proptest::collection::btree_set(0..3_usize, 0..3),
        ) {
            let name = |n: usize| format!("topic-{n}");
            let topics: Vec<_> = topics.into_iter().map(name).collect();
            let batch = fixture::batch(&topics.iter().map(String::as_str).collect::<Vec<_>>());
            let rules = table
                .iter()
                .map(|(topic, sinks)| Rule { to: sinks.clone(), ..rule(None, Some(&name(*topic)), &[]) })
                .collect();
            let routes = Routes::new(3, RouteTable { rules, otherwise: last.clone() });
            let assigned = routes.assign(&batch);

            let mut nowhere = 0;
            for (ix, topic) in topics.iter().enumerate() {
                let first = table.iter().find(|(wanted, _)| name(*wanted) == *topic);
                let wanted = first.map_or(&last, |(_, sinks)| sinks);
                nowhere += usize::from(wanted.is_empty());
                for (sink, rows) in assigned.per_sink.iter().enumerate() {
                    let times = rows.iter().filter(|row| row.index() == ix).count();
                    prop_assert_eq!(times, usize::from(wanted.contains(&sink)));
                }
            }
            prop_assert_eq!(assigned.nowhere, nowhere);
            for rows in &assigned.per_sink {
                prop_assert!(rows.is_sorted());
            }
        }
    }
}
