//! Tools that the project needs in addition to the compiler. All but Python end up under `target/` and nowhere else.

use std::path::PathBuf;
use std::process::{Command, Stdio};

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

/// Whether there is a Python that can make the environment of the interoperability tests. Debian ships half of
/// what that takes as a package of its own.
pub(crate) fn has_python() -> bool {
    let mut python = Command::new("python3");
    python.args(["-c", "import ensurepip, venv"]).stderr(Stdio::null());
    python.status().is_ok_and(|status| status.success())
}

/// Installs Python on this system; needs root and `apt-get`.
pub(crate) fn install_python() -> Result<()> {
    require_apt("python3 with venv")?;
    shell::run("update the package lists", Command::new("apt-get").args(["--quiet", "update"]))?;
    let mut install = Command::new("apt-get");
    install.args(["--quiet", "--yes", "install", "--no-install-recommends", "python3-venv"]);
    shell::run("install python3-venv", &mut install)
}

/// `apt-get`, or who needs it.
pub(crate) fn require_apt(missing: &str) -> Result<()> {
    if !shell::has("apt-get") {
        bail!("{missing} is missing, and there is no apt-get to fetch it with");
    }
    Ok(())
}
