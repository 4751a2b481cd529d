//! Running other programs: announced, timed, with their output shown or kept.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map_or(manifest.clone(), PathBuf::from)
}

/// The build folder: `CARGO_TARGET_DIR`, else `target/`.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // What `cargo run` says of this package. To the build script of `ring` it would be a change, and cargo called
    // without us would compile all that is above it again.
    let is_ours =
        |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|it| name.starts_with(it));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_ours) {
            command.env_remove(name);
        }
    }
    command
}

/// Paths of the files of the project that match one of these patterns, from the root.
///
/// # Errors
///
/// This is no clone: only git knows which files are ours.
pub(crate) fn tracked(patterns: &[&str]) -> Result<Vec<String>> {
    let mut git = Command::new("git");
    let output = git.current_dir(root()).arg("ls-files").args(patterns).output();
    let output = output.context("cannot start git")?;
    if !output.status.success() {
        bail!("git does not list the files: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

/// Whether a program answers `--version`.
pub(crate) fn has(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs a program to its end, or says what failed.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<()> {
    let status = announce(what, command, |command| {
        command.status().with_context(|| format!("cannot start {}", name(command)))
    })?;
    if !status.success() {
        bail!("{what}: {} ended with {status}", name(command));
    }
    Ok(())
}

/// Runs a program, shows its standard output line by line and keeps it. Whether it succeeded is for the
/// caller to judge.
pub(crate) fn run_and_read(what: &str, command: &mut Command) -> Result<(bool, Vec<String>)> {
    announce(what, command, |command| {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", name(command)))?;
        let output = child.stdout.take().context("no standard output")?;
        let mut lines = Vec::new();
        for line in BufReader::new(output).lines() {
            let line = line?;
            println!("{line}");
            lines.push(line);
        }
        Ok((child.wait()?.success(), lines))
    })
}

fn announce<T>(
    what: &str,
    command: &mut Command,
    act: impl FnOnce(&mut Command) -> Result<T>,
) -> Result<T> {
    println!("==> {what}");
    let start = Instant::now();
    let result = act(command);
    println!("    {what}: {:.1} min", start.elapsed().as_secs_f64() / 60.0);
    result
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}
