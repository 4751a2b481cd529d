//! A condition on one field: one or more tests, all of which its value must pass.

use serde::Deserialize;

/// A field and what its value must be like.
#[derive(Debug, Deserialize)]
#[serde(try_from = "RawCondition")]
pub(crate) struct Condition {
    field: String,
    /// Never empty.
    tests: Vec<Test>,
}

#[derive(Debug)]
enum Test {
    Equals(String),
    In(Vec<String>),
    Prefix(String),
    Suffix(String),
    Contains(String),
    AtLeast(f64),
    AtMost(f64),
    Exists(bool),
}

impl Condition {
    pub(crate) fn field(&self) -> &str {
        &self.field
    }

    pub(crate) fn is_met_by(&self, value: Option<&str>) -> bool {
        self.tests.iter().all(|test| test.passes(value))
    }
}

impl Test {
    fn passes(&self, value: Option<&str>) -> bool {
        let Some(value) = value else { return matches!(self, Self::Exists(false)) };
        match self {
            Self::Equals(text) => value == text,
            Self::In(texts) => texts.iter().any(|text| value == text),
            Self::Prefix(text) => value.starts_with(text.as_str()),
            Self::Suffix(text) => value.ends_with(text.as_str()),
            Self::Contains(text) => value.contains(text.as_str()),
            Self::AtLeast(least) => value.parse::<f64>().is_ok_and(|number| number >= *least),
            Self::AtMost(most) => value.parse::<f64>().is_ok_and(|number| number <= *most),
            Self::Exists(exists) => *exists,
        }
    }
}

/// A condition as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCondition {
    field: String,
    equals: Option<Scalar>,
    r#in: Option<Vec<Scalar>>,
    prefix: Option<String>,
    suffix: Option<String>,
    contains: Option<String>,
    at_least: Option<f64>,
    at_most: Option<f64>,
    exists: Option<bool>,
}

/// Text, or what a person may write in its place: every value of a log is text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Integer(i64),
    Boolean(bool),
}

impl From<Scalar> for String {
    fn from(scalar: Scalar) -> Self {
        match scalar {
            Scalar::Text(text) => text,
            Scalar::Integer(number) => number.to_string(),
            Scalar::Boolean(truth) => truth.to_string(),
        }
    }
}

impl TryFrom<RawCondition> for Condition {
    type Error = String;

    fn try_from(raw: RawCondition) -> Result<Self, Self::Error> {
        let tests: Vec<Test> = [
            raw.equals.map(|text| Test::Equals(text.into())),
            raw.r#in.map(|texts| Test::In(texts.into_iter().map(String::from).collect())),
            raw.prefix.map(Test::Prefix),
            raw.suffix.map(Test::Suffix),
            raw.contains.map(Test::Contains),
            raw.at_least.map(Test::AtLeast),
            raw.at_most.map(Test::AtMost),
            raw.exists.map(Test::Exists),
        ]
        .into_iter()
        .flatten()
        .collect();
        if tests.is_empty() {
            return Err(format!(
                "the condition on `{}` tests nothing; add `equals`, `in`, `prefix`, `suffix`, \
                 `contains`, `at_least`, `at_most` or `exists`",
                raw.field
            ));
        }
        Ok(Self { field: raw.field, tests })
    }
}
