//! Secrets and references to the environment: `"${NAME}"` and `"file:/path"`.
//!
//! A secret has no `Display`, its `Debug` prints nothing, and no message of this crate quotes one.
//! The environment is reached through a [`Lookup`], so that tests pass a map; [`process`] is the one
//! place in the program that reads the real one.

use std::fmt;
use std::path::{Path, PathBuf};

/// Answers what an environment variable holds.
pub type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// The environment of this process. A variable that is not UTF-8 counts as not set.
#[expect(clippy::disallowed_methods, reason = "config is the only reader of the environment")]
pub fn process(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A value that must not be seen: a token, a key, a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    value: Box<str>,
    file: Option<PathBuf>,
}

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<Box<str>>) -> Self {
        Self { value: value.into(), file: None }
    }

    /// The value, for the one place that puts it on the wire.
    pub fn expose(&self) -> &str {
        &self.value
    }

    /// The file that holds it, to be read again when it has changed.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Resolves a secret as written in the config: a reference, or the value itself.
///
/// # Errors
/// A fragment that names the reference, never the value.
pub fn resolve(text: &str, env: &Lookup<'_>) -> Result<Secret, String> {
    let file = text.strip_prefix("file:");
    let value = match file {
        Some(path) => {
            let wrong = |cause: &dyn fmt::Display| format!("cannot read `{path}`: {cause}");
            let content =
                forwarder_keyfile::read(Path::new(path)).map_err(|cause| wrong(&cause))?;
            let content = String::from_utf8(content).map_err(|_| wrong(&"it is not UTF-8"))?;
            content.trim_end_matches(['\r', '\n']).to_owned()
        }
        None => expand(text, env)?,
    };
    // Header values and signatures are built from it, and a line break would end a header.
    if value.is_empty() {
        Err("it is empty".to_owned())
    } else if value.chars().any(char::is_control) {
        Err("it holds a control character, such as a line break".to_owned())
    } else {
        Ok(Secret { value: value.into(), file: file.map(PathBuf::from) })
    }
}

/// Replaces every `${NAME}` by the variable's value.
///
/// # Errors
/// A fragment that names the variable that is not set, or the reference that cannot be read.
pub fn expand(text: &str, env: &Lookup<'_>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, reference) = rest.split_at(start);
        out.push_str(before);
        let Some((name, after)) = reference.get(2..).and_then(|tail| tail.split_once('}')) else {
            return Err("a `${` is never closed".to_owned());
        };
        if !is_variable_name(name) {
            return Err("a `${…}` does not hold the name of a variable".to_owned());
        }
        let value =
            env(name).ok_or_else(|| format!("the environment variable `{name}` is not set"))?;
        out.push_str(&value);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "TOKEN" => Some("s3cret".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn a_secret_comes_from_the_environment_a_file_or_the_text_itself() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from-file\n").unwrap();
        let reference = format!("file:{}", file.path().display());
        for (text, value) in
            [("${TOKEN}", "s3cret"), ("literal", "literal"), (reference.as_str(), "from-file")]
        {
            assert_eq!(resolve(text, &env).unwrap().expose(), value);
        }
    }

    #[test]
    fn a_reference_that_leads_nowhere_is_named_and_no_value_is_shown() {
        for (text, expected) in [
            ("${NOPE}", "the environment variable `NOPE` is not set"),
            ("${TOKEN", "a `${` is never closed"),
            ("${TO KEN}", "a `${…}` does not hold the name of a variable"),
            ("${EMPTY}", "it is empty"),
            ("two\nlines", "it holds a control character, such as a line break"),
        ] {
            assert_eq!(resolve(text, &env).unwrap_err(), expected);
        }
        assert!(resolve("file:/no/such/file", &env).unwrap_err().contains("/no/such/file"));
    }

    #[test]
    fn debug_prints_nothing() {
        assert_eq!(format!("{:?}", Secret::new("s3cret")), "Secret(..)");
    }
}
