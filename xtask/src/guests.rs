//! Building guests: the plugins of `plugins/rust/` and the misbehaving ones of `tests/fixtures/`.

use anyhow::{Context as _, Result};
use std::process::Command;

use crate::shell;

const TARGET: &str = "wasm32-wasip2";

/// The SDK's JSON and text code is two to three times faster with vector instructions, and every host we
/// serve has them.
const FLAGS: &str = "-C target-feature=+simd128";

/// Plugins that are members of the workspace.
const PLUGINS: [&str; 3] = ["identity", "prune", "audit"];

/// Builds the plugins, into `target/wasm32-wasip2/plugin/`.
pub(crate) fn plugins() -> Result<()> {
    let mut add = Command::new("rustup");
    shell::run("install the WebAssembly target", add.args(["target", "add", TARGET]))
        .context("rustup is needed once, to add the target wasm32-wasip2")?;

    let mut cargo = shell::cargo();
    cargo.args(["build", "--locked", "--profile", "plugin", "--target", TARGET]);
    cargo.args(PLUGINS.iter().flat_map(|plugin| ["--package", plugin])).env("RUSTFLAGS", FLAGS);
    shell::run("build the plugins", &mut cargo)
}

/// Builds everything that runs in the sandbox: the plugins, and the guests that only tests need.
pub(crate) fn build() -> Result<()> {
    plugins()?;
    let mut cargo = shell::cargo();
    cargo.args(["build", "--locked", "--profile", "plugin", "--target", TARGET]);
    cargo.args(["--manifest-path", "tests/fixtures/Cargo.toml"]);
    cargo.env("RUSTFLAGS", FLAGS).env("CARGO_TARGET_DIR", shell::target());
    shell::run("build the misbehaving guests", &mut cargo)
}
