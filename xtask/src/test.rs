//! `cargo xtask test`: all tests of all runners, and a list of what was not run.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::check::Advisories;
use crate::daemons::{DAEMONS, Daemon};
use crate::{arrows, check, circles, daemons, guests, shell, tools, words};

/// Options of the test run.
#[derive(Args)]
pub(crate) struct Options {
    /// Install what is missing, run everything, and fail if anything was not run.
    #[arg(long)]
    all: bool,
}

/// What came of all runners together.
#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    /// What was not run, with the reason.
    not_run: Vec<String>,
}

impl Tally {
    /// Counts a step that is one check.
    fn step(&mut self, what: &str, outcome: Result<()>) {
        match outcome {
            Ok(()) => self.passed += 1,
            Err(error) => {
                self.failed += 1;
                println!("FAILED {what}: {error:#}");
            }
        }
    }

    /// Counts what `cargo test` says at the end of each test binary. An ignored test was not run.
    fn cargo_test(&mut self, what: &str, arguments: &[&str]) -> Result<()> {
        let mut cargo = shell::cargo();
        cargo.args(["test", "--locked", "--release", "--no-fail-fast"]).args(arguments);
        let (success, lines) = shell::run_and_read(what, &mut cargo)?;
        let before = (self.passed, self.failed);
        for (passed, failed, ignored) in lines.iter().filter_map(|line| summary(line)) {
            self.passed += passed;
            self.failed += failed;
            if ignored > 0 {
                self.not_run.push(format!("{ignored} ignored tests of `{what}`"));
            }
        }
        if (self.passed, self.failed) == before {
            self.failed += 1;
            println!("FAILED {what}: no test was run");
        } else if !success && self.failed == before.1 {
            self.failed += 1;
            println!("FAILED {what}: it did not build");
        }
        Ok(())
    }
}

/// Passed, failed and ignored of a line `test result: …`.
fn summary(line: &str) -> Option<(u64, u64, u64)> {
    let counts = line.strip_prefix("test result: ")?;
    let count = |what: &str| {
        let words: Vec<&str> =
            counts.split([' ', ';', '.']).filter(|word| !word.is_empty()).collect();
        let at = words.iter().position(|word| *word == what)?;
        words.get(at.checked_sub(1)?)?.parse().ok()
    };
    Some((count("passed")?, count("failed")?, count("ignored")?))
}

/// Runs the tests. Exit code 0 only if none failed and, with `--all`, everything was run.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut tally = Tally::default();
    tally.step("guests", guests::build());
    tally.step("arrows", arrows::check());
    tally.step("circles", circles::check());
    tally.step("words", words::check());
    if options.all {
        tally.step("format and lints", check::format_and_lints());
        dependencies(&mut tally);
    } else {
        tally.not_run.push("format, lints and dependencies: `cargo xtask check`".into());
    }
    tally.cargo_test("tests of the workspace", &["--workspace"])?;
    interop(&mut tally, options.all)?;
    report(&tally, options.all)
}

fn dependencies(tally: &mut Tally) {
    match check::dependencies() {
        Ok(Advisories::Checked) => tally.step("dependencies", Ok(())),
        // Out of reach is not a choice of ours, so it is said but does not fail the run.
        Ok(Advisories::Unreachable) => {
            tally.step("dependencies", Ok(()));
            println!("    advisories were NOT checked: the database is out of reach");
        }
        Err(error) => tally.step("dependencies", Err(error)),
    }
}

/// Foreign software against ours.
fn interop(tally: &mut Tally, all: bool) -> Result<()> {
    python_sdk(tally, all)?;
    syslog_daemons(tally, all)
}

/// The official Python SDK against the emulator.
fn python_sdk(tally: &mut Tally, all: bool) -> Result<()> {
    if all && !tools::has_python() {
        tally.step("Python", tools::install_python());
    }
    if !tools::has_python() {
        tally.not_run.push("the official Python SDK: there is no python3 with venv".into());
        return Ok(());
    }
    tally.cargo_test("the official Python SDK against the emulator", &interop_test("interop"))
}

/// The program against real receivers.
fn syslog_daemons(tally: &mut Tally, all: bool) -> Result<()> {
    let missing: Vec<&Daemon> = DAEMONS.iter().filter(|daemon| !daemon.is_here()).collect();
    if all && !missing.is_empty() {
        tally.step("syslog daemons", daemons::fetch(&missing));
    }
    for daemon in &DAEMONS {
        let Daemon { name, tests, .. } = daemon;
        if daemon.is_here() {
            let arguments = [&interop_test("syslog"), &["--", *tests] as &[&str]].concat();
            tally.cargo_test(&format!("the program and {name}"), &arguments)?;
        } else {
            let advice = "not here; `cargo xtask test --all` fetches it from Debian";
            tally.not_run.push(format!("{name}: {advice}"));
        }
    }
    Ok(())
}

/// What `cargo test` needs to know to run one of the interoperability tests.
fn interop_test(name: &str) -> [&str; 5] {
    ["--workspace", "--features", "forwarder-tests/interop", "--test", name]
}

fn report(tally: &Tally, all: bool) -> Result<ExitCode> {
    println!("\nnot run:");
    if tally.not_run.is_empty() {
        println!("  (nothing)");
    }
    tally.not_run.iter().for_each(|what| println!("  - {what}"));
    println!("\n{} passed, {} failed", tally.passed, tally.failed);
    let incomplete = all && !tally.not_run.is_empty();
    if incomplete {
        println!("FAILED: with --all nothing may be left out");
    }
    Ok(if tally.failed > 0 || incomplete { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_of_a_test_binary_is_read() {
        let line = "test result: ok. 25 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(summary(line), Some((25, 1, 2)));
        assert_eq!(summary("test edits ... ok"), None);
    }
}
