//! The exit codes, which scripts and service managers may rely on, and the error that carries one.

use std::fmt;
use std::process::ExitCode;

use crate::problem::Problem;

/// Why the program ended. The numbers are an interface: they are never reused for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// All went well; when stopped by a signal, everything in flight was delivered first.
    Success = 0,
    /// Something unforeseen: please report it.
    Internal = 1,
    /// The command line could not be read (the number `clap` uses).
    Usage = 2,
    /// The configuration is wrong; every problem was printed.
    Config = 3,
    /// A plugin could not be found, loaded or configured.
    Plugin = 4,
    /// A sink did not answer or refused us.
    Sink = 5,
    /// SLS did not answer or refused us.
    Source = 6,
    /// The grace period ended before everything in flight was delivered. Nothing is lost: the
    /// checkpoint stayed behind and the logs are re-read.
    DrainTimedOut = 7,
    /// The demo did not account for every log.
    Unaccounted = 8,
    /// The reader of standard output closed it. No data is lost: the checkpoint stayed before what was not
    /// delivered, and those logs are read again.
    ReaderLeft = 9,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The table of exit codes as `--help` shows it.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  success; after SIGTERM or SIGINT: everything in flight was delivered
  1  something unforeseen
  2  the command line is wrong
  3  the configuration is wrong
  4  a plugin could not be loaded
  5  a sink did not answer or refused us
  6  SLS did not answer or refused us
  7  the grace period ended first; no data lost, the logs will be re-read
  8  demo: not every log was accounted for
  9  the reader of standard output closed it; no data lost, undelivered logs will be re-read";

/// An end that is not a success: which one, and all that a person should read about it.
#[derive(Debug)]
pub struct Failure {
    /// What the process answers.
    pub exit: Exit,
    /// What is printed, in this order.
    pub problems: Vec<Problem>,
}

impl Failure {
    /// A failure with one problem.
    pub fn new(exit: Exit, problem: Problem) -> Self {
        Self { exit, problems: vec![problem] }
    }

    /// A failure of the machine rather than of the user, such as a port that cannot be bound.
    pub fn internal(what: &str, cause: impl fmt::Display) -> Self {
        Self::new(Exit::Internal, Problem::new(format!("{what}: {cause}")))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "error: {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}
