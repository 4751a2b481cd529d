//! From an author's function to something that can be configured and run.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, IgnoredAny};

use crate::batch::Batch;
use crate::outcome::Outcome;
use crate::row::Row;
use crate::slice::Slice;

/// A function that is a plugin.
///
/// Implemented for functions of these four shapes; `R` is `()` or a `Result` (see [`Outcome`]), and
/// `Config` any type that serde can read:
///
/// ```text
/// fn(&mut Row) -> R                 fn(&mut Batch) -> R
/// fn(&mut Row, &Config) -> R        fn(&mut Batch, &Config) -> R
/// ```
///
/// `Shape` only distinguishes them and is always inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a plugin",
    label = "not of the shape of a plugin",
    note = "a plugin is a function of `&mut Row` or `&mut Batch`, and optionally of `&Config`, that \
            returns nothing or a `Result<(), E>` whose error can be displayed"
)]
pub trait Transform<Shape>: Sized + 'static {
    /// Ties the function to its config.
    ///
    /// # Errors
    ///
    /// What is wrong with the config, for the operator.
    fn bind(self, config: &str) -> Result<Bound, String>;
}

/// A plugin with its config read, ready for slices.
pub struct Bound(Box<Process>);

type Process = dyn Fn(&mut Batch<'_>) -> Result<(), String>;

impl Bound {
    /// Runs the plugin on the slice in hand.
    ///
    /// # Errors
    ///
    /// The error of a batch function.
    pub fn process(&self, rows: u32) -> Result<(), String> {
        let slice = Slice::new(rows);
        (self.0)(&mut Batch::of(&slice))
    }
}

impl<F, R> Transform<fn(&mut Row<'_>) -> R> for F
where
    F: Fn(&mut Row<'_>) -> R + 'static,
    R: Outcome,
{
    fn bind(self, config: &str) -> Result<Bound, String> {
        no_config(config)?;
        Ok(Bound(Box::new(move |batch| {
            batch.each_row(&self);
            Ok(())
        })))
    }
}

impl<F, R, C> Transform<fn(&mut Row<'_>, &C) -> R> for F
where
    F: Fn(&mut Row<'_>, &C) -> R + 'static,
    R: Outcome,
    C: DeserializeOwned + 'static,
{
    fn bind(self, config: &str) -> Result<Bound, String> {
        let config = read_config(config)?;
        Ok(Bound(Box::new(move |batch| {
            batch.each_row(|row| self(row, &config));
            Ok(())
        })))
    }
}

impl<F, R> Transform<fn(&mut Batch<'_>) -> R> for F
where
    F: Fn(&mut Batch<'_>) -> R + 'static,
    R: Outcome,
{
    fn bind(self, config: &str) -> Result<Bound, String> {
        no_config(config)?;
        Ok(Bound(Box::new(move |batch| self(batch).into_result())))
    }
}

impl<F, R, C> Transform<fn(&mut Batch<'_>, &C) -> R> for F
where
    F: Fn(&mut Batch<'_>, &C) -> R + 'static,
    R: Outcome,
    C: DeserializeOwned + 'static,
{
    fn bind(self, config: &str) -> Result<Bound, String> {
        let config = read_config(config)?;
        Ok(Bound(Box::new(move |batch| self(batch, &config).into_result())))
    }
}

/// A config that was left out arrives as `{}`, nothing or `null`, and they mean the same.
fn or_empty(config: &str) -> &str {
    match config.trim() {
        "" | "null" => "{}",
        given => given,
    }
}

fn read_config<C: DeserializeOwned>(config: &str) -> Result<C, String> {
    // A TOML table that was converted to JSON has no lines, so a column is all that a place would add.
    serde_json::from_str(or_empty(config)).map_err(|error| {
        let text = error.to_string();
        let what = text.split(" at line ").next().unwrap_or(&text);
        format!("config: {what}")
    })
}

fn no_config(config: &str) -> Result<(), String> {
    let members: BTreeMap<String, IgnoredAny> = read_config(config)?;
    match members.keys().next() {
        None => Ok(()),
        Some(key) => Err(format!("config: unknown key `{key}`; this plugin takes no config")),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::testing::{self, Log};

    #[derive(Deserialize, Default)]
    #[serde(default, deny_unknown_fields)]
    struct Config {
        mark: String,
    }

    fn mark(row: &mut Row<'_>, config: &Config) {
        row.set("mark", config.mark.clone());
    }

    fn identity(_: &mut Batch<'_>) {}

    #[test]
    fn a_config_that_is_left_out_is_the_default() {
        for config in ["", "{}", " null "] {
            let outcome = testing::run(mark, config, [Log::new([("a", "1")])]);
            assert_eq!(outcome.sent[0].get("mark"), Some(""), "{config:?}");
        }
    }

    #[test]
    fn a_config_reaches_the_function_as_a_value() {
        let outcome = testing::run(mark, r#"{"mark":"x"}"#, [Log::new([("a", "1")])]);
        assert_eq!(outcome.sent[0].get("mark"), Some("x"));
    }

    #[test]
    fn a_mistyped_key_is_named_with_the_known_ones() {
        let error = mark.bind(r#"{"marc":"x"}"#).err();
        assert_eq!(error.as_deref(), Some("config: unknown field `marc`, expected `mark`"));
    }

    #[test]
    fn a_plugin_without_config_refuses_one() {
        let error = identity.bind(r#"{"a":1}"#).err();
        assert_eq!(error.as_deref(), Some("config: unknown key `a`; this plugin takes no config"));
        assert!(identity.bind("{}").is_ok());
    }

    #[test]
    fn an_error_of_a_row_rejects_that_row_and_no_other() {
        fn numbers(row: &mut Row<'_>) -> Result<(), std::num::ParseIntError> {
            row.get("n").unwrap_or_default().parse::<u8>()?;
            Ok(())
        }
        let outcome = testing::run(
            numbers,
            "",
            [Log::new([("n", "1")]), Log::new([("n", "x")]), Log::new([("n", "2")])],
        );
        assert_eq!(outcome.sent.iter().map(|log| log.row).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(outcome.rejected[0].row, 1);
        assert_eq!(outcome.rejected[0].reason, "invalid digit found in string");
    }

    #[test]
    fn an_error_of_a_batch_is_an_error_of_the_slice() {
        fn never(batch: &mut Batch<'_>) -> Result<(), String> {
            batch.drop(&[0]);
            Err("not today".to_owned())
        }
        let outcome = testing::try_run(never, "", [Log::new([("n", "1")])]);
        assert_eq!(outcome.err(), Some(testing::Failure::Process("not today".to_owned())));
    }
}
