//! `cargo xtask check`: everything a reviewer should not have to look for.

use std::process::ExitCode;

use anyhow::Result;

use crate::{arrows, circles, shell, tools, words};

/// Format, lints, arrows between crates, circles of files, words, dependencies.
pub(crate) fn run() -> Result<ExitCode> {
    format_and_lints()?;
    arrows::check()?;
    circles::check()?;
    words::check()?;
    match dependencies()? {
        Advisories::Checked => {}
        Advisories::Unreachable => {
            println!("    advisories were NOT checked: the database is out of reach")
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `cargo fmt` and `cargo clippy`, which must both have nothing to say.
pub(crate) fn format_and_lints() -> Result<()> {
    let mut format = shell::cargo();
    shell::run("format", format.args(["fmt", "--all", "--check"]))?;
    let mut lints = shell::cargo();
    lints.args(["clippy", "--locked", "--release", "--workspace", "--all-targets", "--quiet"]);
    lints.args(["--features", "forwarder-tests/interop"]);
    shell::run("lints", lints.args(["--", "--deny", "warnings"]))
}

/// Whether known vulnerabilities could be looked up.
pub(crate) enum Advisories {
    /// They were, and there is none.
    Checked,
    /// The advisory database lives in a git repository that this machine cannot reach.
    Unreachable,
}

/// `cargo deny`: licences, sources, banned and duplicate crates always; advisories where their database can
/// be fetched.
pub(crate) fn dependencies() -> Result<Advisories> {
    let deny = tools::cargo_deny()?;
    let command = |arguments: &[&str]| {
        let mut command = std::process::Command::new(&deny);
        command.current_dir(shell::root()).args(["--locked"]).args(arguments);
        command
    };
    let always = &["check", "--hide-inclusion-graph", "bans", "licenses", "sources"];
    shell::run("licences, sources and bans of dependencies", &mut command(always))?;
    if shell::run("fetch the advisory database", &mut command(&["fetch", "db"])).is_err() {
        return Ok(Advisories::Unreachable);
    }
    shell::run("known vulnerabilities", &mut command(&["check", "advisories"]))?;
    Ok(Advisories::Checked)
}
