//! Which rows go to which sinks: an ordered table in which the first match wins and the last rule matches
//! everything, so that no row can fall through it.

use std::sync::Arc;

use forwarder_record::{Batch, Condition, Row, RowIx};
use thiserror::Error;

use crate::metrics::RouteMeters;
use crate::unmatched::{MatchWatch, Matcher};

/// A rule as the configuration states it. Without label and condition it matches every row.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    /// Matches rows to which a plugin gave this label.
    pub label: Option<String>,
    /// Matches rows that fulfil this condition.
    pub when: Option<Condition>,
    /// Names of the sinks. None at all drops the row, on purpose.
    pub to: Vec<String>,
}

impl Rule {
    const fn is_unconditional(&self) -> bool {
        self.label.is_none() && self.when.is_none()
    }
}

/// The routing table, with sinks as their numbers.
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
    /// Reads the rules of a configuration with these sinks, in file order. With no rules at all, every sink
    /// gets every row.
    ///
    /// # Errors
    ///
    /// There is no sink, a rule names one that does not exist, the last rule has a condition, or an earlier
    /// one has none.
    pub(crate) fn new(sinks: &[Arc<str>], rules: Vec<Rule>) -> Result<Self, RouteError> {
        if sinks.is_empty() {
            return Err(RouteError::NoSinks);
        }
        let meters = RouteMeters::new(rules.len().max(1));
        let mut rules: Vec<_> =
            rules.into_iter().enumerate().map(|(n, rule)| (n + 1, rule)).collect();
        let otherwise = match rules.pop() {
            None => (0..sinks.len()).collect(),
            Some((number, last)) if last.is_unconditional() => numbers(sinks, number, &last.to)?,
            Some((number, _)) => return Err(RouteError::NotTotal { number }),
        };
        let mut table = Vec::with_capacity(rules.len());
        for (number, rule) in rules {
            if rule.is_unconditional() {
                return Err(RouteError::Shadows { number });
            }
            let to = numbers(sinks, number, &rule.to)?;
            let watch = MatchWatch::new(Matcher::Route, number.to_string());
            table.push(Conditional { label: rule.label, when: rule.when, to, watch });
        }
        Ok(Self { sinks: sinks.len(), rules: table, otherwise, meters })
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

fn numbers(sinks: &[Arc<str>], number: usize, to: &[String]) -> Result<Vec<usize>, RouteError> {
    let mut found = Vec::with_capacity(to.len());
    for name in to {
        let Some(sink) = sinks.iter().position(|sink| **sink == **name) else {
            let known = sinks.iter().map(|sink| format!("`{sink}`")).collect::<Vec<_>>().join(", ");
            return Err(RouteError::UnknownSink { number, name: name.clone(), known });
        };
        // A sink that is named twice still gets the row once.
        if !found.contains(&sink) {
            found.push(sink);
        }
    }
    Ok(found)
}

/// The rows of a batch by destination.
#[derive(Debug)]
pub(crate) struct Assignment {
    /// Per sink, its rows in order: as many entries as there are sinks.
    pub(crate) per_sink: Vec<Vec<RowIx>>,
    /// Rows that a rule drops on purpose.
    pub(crate) nowhere: usize,
}

/// A routing table that cannot be. Rules are counted from 1, in file order.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteError {
    /// Without a sink every row would be dropped.
    #[error("there is no sink (add one with [[sink]] or --sink)")]
    NoSinks,
    /// No sink has this name.
    #[error("route {number} names `{name}`, which is not a sink (there are: {known})")]
    UnknownSink {
        /// Which rule.
        number: usize,
        /// What it says.
        name: String,
        /// What it could say.
        known: String,
    },
    /// Rows could fall through the table.
    #[error(
        "route {number} is the last and has a condition, so some rows would go nowhere \
         (add a last route with `to` alone; `to = []` drops on purpose)"
    )]
    NotTotal {
        /// Which rule.
        number: usize,
    },
    /// The rules after this one can never match.
    #[error(
        "route {number} matches every row, so the ones after it never match (move it to the end)"
    )]
    Shadows {
        /// Which rule.
        number: usize,
    },
}

#[cfg(test)]
mod tests {
    use forwarder_record::Pattern;
    use proptest::prelude::*;

    use super::*;
    use crate::fixture;

    fn sinks(count: usize) -> Vec<Arc<str>> {
        (0..count).map(|n| Arc::from(format!("sink-{n}"))).collect()
    }

    fn rule(label: Option<&str>, topic: Option<&str>, to: &[&str]) -> Rule {
        let when = topic
            .map(|topic| Condition { topic: vec![Pattern::new(topic)], ..Condition::default() });
        Rule {
            label: label.map(str::to_owned),
            when,
            to: to.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    fn rows_of(routes: &Routes, batch: &Batch) -> Vec<Vec<usize>> {
        let assigned = routes.assign(batch);
        let index = |rows: Vec<RowIx>| rows.into_iter().map(RowIx::index).collect();
        assigned.per_sink.into_iter().map(index).collect()
    }

    #[test]
    fn without_rules_every_sink_gets_every_row() {
        let routes = Routes::new(&sinks(2), Vec::new()).unwrap();
        let batch = fixture::batch(&["a", "b", "c"]);
        assert_eq!(rows_of(&routes, &batch), [[0, 1, 2], [0, 1, 2]]);
    }

    #[test]
    fn the_first_match_wins_and_an_unknown_label_falls_through() {
        let mut batch = fixture::batch(&["audit", "flow", "audit", "flow"]);
        fixture::label(&mut batch, "noise", &[1, 2]);
        fixture::label(&mut batch, "unheard-of", &[3]);
        let rules = vec![
            rule(None, Some("aud*"), &["sink-0", "sink-1"]),
            rule(Some("noise"), None, &[]),
            rule(None, None, &["sink-1", "sink-1"]),
        ];
        let routes = Routes::new(&sinks(2), rules).unwrap();
        assert_eq!(rows_of(&routes, &batch), [vec![0, 2], vec![0, 2, 3]]);
        assert_eq!(routes.assign(&batch).nowhere, 1, "row 1 is noise, dropped on purpose");
    }

    #[test]
    fn a_table_that_could_lose_rows_is_refused() {
        let refused = |rules| Routes::new(&sinks(2), rules).unwrap_err().to_string();
        let all = || rule(None, None, &["sink-0"]);
        let some = || rule(Some("high"), None, &["sink-0"]);
        assert!(refused(vec![all(), some()]).starts_with("route 2 is the last"));
        assert!(refused(vec![all(), all()]).starts_with("route 1 matches every row"));
        assert_eq!(Routes::new(&[], Vec::new()).unwrap_err(), RouteError::NoSinks);
        let typo = refused(vec![rule(None, None, &["sink-3"])]);
        assert_eq!(
            typo,
            "route 1 names `sink-3`, which is not a sink (there are: `sink-0`, `sink-1`)"
        );
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
            let to = |sinks: &std::collections::BTreeSet<usize>| {
                sinks.iter().map(|n| format!("sink-{n}")).collect::<Vec<_>>()
            };
            let mut rules: Vec<_> = table
                .iter()
                .map(|(topic, sinks)| Rule { to: to(sinks), ..rule(None, Some(&name(*topic)), &[]) })
                .collect();
            rules.push(Rule { to: to(&last), ..Rule::default() });
            let routes = Routes::new(&sinks(3), rules).unwrap();
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
