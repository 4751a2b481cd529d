//! What went wrong, for a person: the fact, the place, and what to do next.
//!
//! Every problem the program prints has this shape, whether it was found in the config file, in the
//! environment or while reaching a sink, so that messages can be learned once:
//!
//! ```text
//! error: unknown key `tokn`
//!    --> forwarder.toml:12, sink.splunk.tokn
//!   help: did you mean `token`?
//! ```

use std::fmt;
use std::sync::Arc;

use crate::printable::{printable, printable_lines};

/// Where a setting was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A key of the config file.
    File {
        /// The file as the user named it.
        file: Arc<str>,
        /// Line, counted from one.
        line: usize,
        /// Path to the key, such as `sink.splunk.token`; empty for the file as a whole.
        key: String,
    },
    /// An environment variable.
    Environment(String),
    /// An option of the command line.
    CommandLine(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line, key } if key.is_empty() => write!(f, "{file}:{line}"),
            Self::File { file, line, key } => write!(f, "{file}:{line}, {key}"),
            Self::Environment(name) => write!(f, "environment, {name}"),
            Self::CommandLine(option) => write!(f, "command line, {option}"),
        }
    }
}

/// One thing that a person has to know, with a hint attached where the knowledge was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    message: String,
    place: Option<Place>,
    help: Option<String>,
}

impl Problem {
    /// A problem as a lower-case fragment that may stand after "error:".
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None, help: None }
    }

    /// Says where the setting at fault was written.
    #[must_use]
    pub fn at(mut self, place: &Place) -> Self {
        self.place = Some(place.clone());
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn help(mut self, advice: impl Into<String>) -> Self {
        self.help = Some(advice.into());
        self
    }

    /// The fact alone.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Writes it to the log as a warning on one line.
    pub fn log(&self) {
        let place = self.place.as_ref().map(tracing::field::display);
        tracing::warn!(place, help = self.help, "{}", self.message);
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", printable(&self.message))?;
        if let Some(place) = &self.place {
            write!(f, "\n   --> {}", printable(&place.to_string()))?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {}", printable_lines(help).replace('\n', "\n        "))?;
        }
        Ok(())
    }
}

/// Collects problems, so that one run reports all of them; and notices, which stop nothing.
#[derive(Debug, Default)]
pub struct Problems {
    errors: Vec<Problem>,
    notices: Vec<Problem>,
}

impl Problems {
    /// Records something that keeps the program from starting.
    pub fn error(&mut self, problem: Problem) {
        self.errors.push(problem);
    }

    /// Records a choice made for the user that he may want to know of.
    pub fn notice(&mut self, notice: Problem) {
        self.notices.push(notice);
    }

    /// Whether nothing keeps the program from starting.
    pub fn is_clear(&self) -> bool {
        self.errors.is_empty()
    }

    /// The errors in the order of their places, those without one last; then the notices likewise.
    pub fn into_parts(self) -> (Vec<Problem>, Vec<Problem>) {
        let in_order = |mut problems: Vec<Problem>| {
            problems
                .sort_by(|a, b| (a.place.is_none(), &a.place).cmp(&(b.place.is_none(), &b.place)));
            problems
        };
        (in_order(self.errors), in_order(self.notices))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_what_where_and_what_next() {
        let place =
            Place::File { file: "f.toml".into(), line: 12, key: "sink.splunk.tokn".to_owned() };
        let problem = Problem::new("unknown key `tokn`").at(&place).help("did you mean `token`?");
        assert_eq!(
            problem.to_string(),
            "unknown key `tokn`\n   --> f.toml:12, sink.splunk.tokn\n  help: did you mean `token`?"
        );
    }

    #[test]
    fn problems_are_reported_in_the_order_of_the_file() {
        let at = |line| Place::File { file: "f.toml".into(), line, key: String::new() };
        let mut problems = Problems::default();
        problems.error(Problem::new("second").at(&at(9)));
        problems.error(Problem::new("first").at(&at(2)));
        let (errors, _) = problems.into_parts();
        assert_eq!(errors.iter().map(Problem::message).collect::<Vec<_>>(), ["first", "second"]);
    }
}
