//! Gives the program the commit that it is built from: what `FORWARDER_COMMIT` says, or git, or `unknown` in a source
//! archive.

use std::path::Path;
use std::process::Command;

const COMMIT: &str = "FORWARDER_COMMIT";

#[expect(clippy::disallowed_methods, reason = "a build has no configuration but variables")]
fn main() {
    println!("cargo::rerun-if-env-changed={COMMIT}");
    let commit = match std::env::var(COMMIT) {
        Ok(commit) => commit,
        Err(_) => of_git().unwrap_or_else(|| "unknown".to_owned()),
    };
    println!("cargo::rustc-env={COMMIT}={commit}");
}

/// The commit that is checked out here, if this is a clone of our repository and not a copy inside another one.
fn of_git() -> Option<String> {
    let top = git(&["rev-parse", "--show-toplevel"])?;
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    if Path::new(&top).canonicalize().ok()? != ours.canonicalize().ok()? {
        return None;
    }
    // Written at every commit and every change of branch.
    println!("cargo::rerun-if-changed={}", git(&["rev-parse", "--git-path", "logs/HEAD"])?);
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
