//! Tools that the project needs beside the compiler, installed under `target/` and nowhere else.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::shell;

/// `cargo-deny`, pinned: it judges licences and sources, so its version is part of the judgement.
const CARGO_DENY: &str = "0.20.2";

/// The path of `cargo-deny`, installed first if need be.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    let folder = shell::target().join("tools");
    let program = folder.join("bin/cargo-deny");
    if !program.exists() {
        let mut install = shell::cargo();
        install.args(["install", "cargo-deny", "--version", CARGO_DENY, "--locked", "--root"]);
        install.arg(&folder).env("CARGO_TARGET_DIR", folder.join("build"));
        // It runs for a second and is built on every fresh machine: quick to build beats quick to run.
        install.env("CARGO_PROFILE_RELEASE_LTO", "off");
        install.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        install.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
        shell::run("install cargo-deny", &mut install)?;
    }
    Ok(program)
}

/// The Python that the interoperability tests are run with.
pub(crate) fn python() -> Option<&'static str> {
    ["python3", "python"].into_iter().find(|program| shell::has(program))
}

/// Adds a Debian package where the test run may do so (`--all`, as root, with `apt-get`).
pub(crate) fn debian_package(package: &str) -> Result<()> {
    if !shell::has("apt-get") {
        bail!("{package} is missing, and there is no apt-get to install it with");
    }
    let mut update = Command::new("apt-get");
    shell::run("update the package lists", update.args(["update", "--quiet"]))?;
    let mut install = Command::new("apt-get");
    install.args(["install", "--yes", "--quiet", "--no-install-recommends", package]);
    shell::run(&format!("install {package}"), &mut install)
}
