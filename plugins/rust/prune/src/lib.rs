//! Filters rows and keeps or removes columns, by config.
//!
//! Works column by column: only the fields that a condition names cross into the sandbox, and after the
//! first condition only for the rows that are still in question.
//!
//! ```toml
//! [[transform]]
//! plugin = "prune.wasm"
//! [transform.config]
//! keep_if = [{ field = "status", at_least = 400 }]
//! drop_if = [{ field = "request_uri", prefix = "/health" }, { field = "agent", in = ["probe", "-"] }]
//! remove  = ["http_cookie", "http_user_agent"]
//! ```
//!
//! | key | meaning |
//! |---|---|
//! | `keep_if` | conditions that a row must all meet; the others are dropped |
//! | `drop_if` | conditions of which a row must meet none |
//! | `keep` | the only fields to send; must not be empty |
//! | `remove` | fields not to send |
//!
//! Rows are filtered first, by the fields as they came; then `keep` and `remove` prune what is left. A
//! condition is a `field` and at least one test, all of which the field must pass:
//!
//! | test | passes if the value |
//! |---|---|
//! | `equals = "x"` | is `x` (a number or boolean is compared by its text) |
//! | `in = ["x", "y"]` | is one of these |
//! | `prefix`, `suffix`, `contains` | begins with, ends with, contains the text |
//! | `at_least`, `at_most` | is a number not below, not above |
//! | `exists = true` / `false` | is there / is missing |
//!
//! A missing field passes no test but `exists = false`. Unknown keys are refused.

mod condition;

use forwarder_guest::{Batch, plugin};
use serde::Deserialize;

use condition::Condition;

/// What to filter and what to prune; by default nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "RawConfig")]
pub struct Config {
    keep_if: Vec<Condition>,
    drop_if: Vec<Condition>,
    keep: Option<Vec<String>>,
    remove: Vec<String>,
}

/// The config as it is written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawConfig {
    keep_if: Vec<Condition>,
    drop_if: Vec<Condition>,
    keep: Option<Vec<String>>,
    remove: Vec<String>,
}

impl TryFrom<RawConfig> for Config {
    type Error = String;

    fn try_from(raw: RawConfig) -> Result<Self, Self::Error> {
        let RawConfig { keep_if, drop_if, keep, remove } = raw;
        if keep.as_ref().is_some_and(Vec::is_empty) {
            return Err(
                "`keep` names no field, so that nothing would be sent; leave it out to keep \
                        every field, or drop the rows instead"
                    .to_owned(),
            );
        }
        Ok(Self { keep_if, drop_if, keep, remove })
    }
}

/// Filters the rows of a slice, then prunes those that stay.
pub fn prune(batch: &mut Batch<'_>, config: &Config) {
    let mut staying = None;
    for condition in &config.keep_if {
        filter(batch, &mut staying, condition, true);
    }
    for condition in &config.drop_if {
        filter(batch, &mut staying, condition, false);
    }
    if let Some(staying) = staying {
        batch.drop(&all_but(&staying, batch.rows()));
        if staying.is_empty() {
            return;
        }
    }
    if let Some(keep) = &config.keep {
        batch.keep(&texts(keep));
    }
    batch.remove(&texts(&config.remove));
}

/// Leaves the rows that meet a condition, or those that do not. `None` stands for all rows.
fn filter(batch: &Batch<'_>, staying: &mut Option<Vec<u32>>, condition: &Condition, meets: bool) {
    let test = |value: Option<&str>| condition.is_met_by(value) == meets;
    *staying = Some(match staying {
        None => batch.select(condition.field(), test),
        Some(rows) => batch.select_at(condition.field(), rows, test),
    });
}

/// The rows below `count` that are not in `rows`, which ascend.
fn all_but(rows: &[u32], count: u32) -> Vec<u32> {
    let mut rows = rows.iter().peekable();
    (0..count).filter(|row| rows.next_if_eq(&row).is_none()).collect()
}

fn texts(owned: &[String]) -> Vec<&str> {
    owned.iter().map(String::as_str).collect()
}

plugin!(prune);

#[cfg(test)]
mod tests {
    use forwarder_guest::testing::{self, Failure, Log, Outcome};

    use super::prune;

    fn logs() -> [Log; 4] {
        [
            Log::new([("status", "200"), ("uri", "/health"), ("agent", "probe")]),
            Log::new([("status", "404"), ("uri", "/a"), ("agent", "curl")]),
            Log::new([("status", "503"), ("uri", "/health/deep"), ("agent", "curl")]),
            Log::new([("uri", "/b")]),
        ]
    }

    fn run(config: &str) -> Outcome {
        testing::run(prune, config, logs())
    }

    fn rows(outcome: &Outcome) -> Vec<u32> {
        outcome.sent.iter().map(|sent| sent.row).collect()
    }

    fn refused(config: &str) -> String {
        match testing::try_run(prune, config, logs()) {
            Err(Failure::Configure(why)) => why,
            other => panic!("expected a refusal of {config}, got {other:?}"),
        }
    }

    #[test]
    fn without_config_everything_passes() {
        let outcome = run("{}");
        assert_eq!(rows(&outcome), [0, 1, 2, 3]);
        assert!(outcome.calls.is_empty());
    }

    #[test]
    fn a_row_must_meet_every_keep_if_and_no_drop_if() {
        let config = r#"{
            "keep_if": [{"field": "status", "at_least": 300}, {"field": "agent", "exists": true}],
            "drop_if": [{"field": "uri", "prefix": "/health"}]
        }"#;
        let outcome = run(config);
        assert_eq!(rows(&outcome), [1]);
        assert_eq!(outcome.dropped, [0, 2, 3]);
        assert_eq!(outcome.calls, ["column", "column-at", "column-at", "drop"]);
    }

    #[test]
    fn each_test_selects_what_it_says() {
        for (test, passing) in [
            (r#""field": "status", "equals": "404""#, vec![1]),
            (r#""field": "status", "equals": 404"#, vec![1]),
            (r#""field": "agent", "in": ["probe", "wget"]"#, vec![0]),
            (r#""field": "uri", "prefix": "/health""#, vec![0, 2]),
            (r#""field": "uri", "suffix": "p""#, vec![2]),
            (r#""field": "uri", "contains": "th/""#, vec![2]),
            (r#""field": "status", "at_least": 404, "at_most": 499.5"#, vec![1]),
            (r#""field": "uri", "at_least": 0"#, vec![]),
            (r#""field": "status", "exists": false"#, vec![3]),
            (r#""field": "nowhere", "equals": """#, vec![]),
        ] {
            let kept = run(&format!(r#"{{"keep_if": [{{{test}}}]}}"#));
            assert_eq!(rows(&kept), passing, "{test}");
            let dropped = run(&format!(r#"{{"drop_if": [{{{test}}}]}}"#));
            assert_eq!(dropped.dropped, passing, "{test}");
        }
    }

    #[test]
    fn columns_are_pruned_in_the_rows_that_stay() {
        let config = r#"{
            "drop_if": [{"field": "agent", "equals": "probe"}],
            "keep": ["status", "uri"], "remove": ["uri"]
        }"#;
        let outcome = run(config);
        assert_eq!(rows(&outcome), [1, 2, 3]);
        assert_eq!(outcome.sent[0].event(), serde_json::json!({"status": "404"}));
        assert_eq!(outcome.sent[2].event(), serde_json::json!({}));
    }

    #[test]
    fn where_no_row_stays_nothing_is_pruned() {
        let outcome = run(r#"{"keep_if": [{"field": "uri", "equals": "x"},
                                          {"field": "status", "equals": "x"}], "remove": ["a"]}"#);
        assert_eq!(outcome.calls, ["column", "drop"]);
        assert_eq!(outcome.dropped, [0, 1, 2, 3]);
    }

    #[test]
    fn mistakes_in_the_config_are_named() {
        for (config, why) in [
            (r#"{"drop": []}"#, "unknown field `drop`, expected one of `keep_if`, `drop_if`"),
            (r#"{"keep": []}"#, "`keep` names no field"),
            (r#"{"keep_if": [{"field": "a"}]}"#, "the condition on `a` tests nothing"),
            (r#"{"keep_if": [{"equals": "a"}]}"#, "missing field `field`"),
            (r#"{"keep_if": [{"field": "a", "eq": "b"}]}"#, "unknown field `eq`, expected one of"),
        ] {
            let error = refused(config);
            assert!(error.contains(why), "{config}: {error}");
        }
    }
}
