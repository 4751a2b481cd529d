//! Names checked before they travel.
//!
//! The service answers a bad consumer-group name with `405 InvalidMethod` on some *later* call, which
//! says nothing useful. So a name is checked once, here, and from then on holding one is the proof.
//! The rules are those of the official clients, which have none for a consumer's name: it follows that of a group.
//! All names are plain ASCII, and none can change the meaning of a path.

use std::fmt;
use std::str::FromStr;

/// A name the service would refuse, or misread.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not a valid {what}: use {rule}")]
pub struct NameError {
    what: &'static str,
    value: String,
    rule: &'static str,
}

impl NameError {
    /// What such a name may be.
    pub const fn rule(&self) -> &'static str {
        self.rule
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                if $valid(text) {
                    Ok(Self(text.into()))
                } else {
                    let value = text.chars().take(80).collect();
                    Err(NameError { what: $what, value, rule: $rule })
                }
            }
        }

        impl TryFrom<&str> for $name {
            type Error = NameError;

            fn try_from(text: &str) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    };
}

name! {
    /// A project: the first label of every host name we talk to.
    ProjectName, "project name", "1 to 128 letters, digits, `-` or `_`", is_word
}
name! {
    /// A logstore: where logs of one kind are kept, cut into shards.
    LogstoreName, "logstore name",
    "2 to 80 lower-case letters, digits, `-` or `_`, beginning and ending with a letter or digit",
    is_logstore
}
name! {
    /// A consumer group: consumers that share the shards of one logstore.
    GroupName, "consumer group name", "1 to 128 letters, digits, `-` or `_`", is_word
}
name! {
    /// One member of a consumer group. Two live processes must never use the same one: both would be
    /// given the same shards and neither would notice.
    ConsumerName, "consumer name", "1 to 128 letters, digits, `-` or `_`", is_word
}

fn is_word(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn is_logstore(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (2..=80).contains(&text.len())
        && text.bytes().all(|b| inner(b) || b == b'-' || b == b'_')
        && text.bytes().next().is_some_and(inner)
        && text.bytes().last().is_some_and(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_change_a_path_is_refused() {
        for bad in ["", "a/b", "a?b", "a b", "..", "é", &"x".repeat(129)] {
            assert!(GroupName::try_from(bad).is_err(), "{bad}");
            assert!(ProjectName::try_from(bad).is_err(), "{bad}");
            assert!(ConsumerName::try_from(bad).is_err(), "{bad}");
        }
        for bad in ["", "a", "-ab", "ab_", "Ab", "a.b", &"x".repeat(81)] {
            assert!(LogstoreName::try_from(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_refusal_shows_the_value_and_the_rule() {
        let error = GroupName::try_from("my group").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`my group` is not a valid consumer group name: use 1 to 128 letters, digits, `-` or `_`"
        );
    }

    #[test]
    fn ordinary_names_pass() {
        assert!(ProjectName::try_from("my-project_1").is_ok());
        assert!(LogstoreName::try_from("actiontrail_my-trail").is_ok());
        assert!(ConsumerName::try_from("host-1_4321").is_ok());
    }
}
