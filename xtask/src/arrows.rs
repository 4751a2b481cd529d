//! Which crate may import which, checked against what cargo resolves.
//!
//! Data flows one way and the edges do not know each other; a dependency that points elsewhere is refused here
//! before a reviewer has to notice it. Which crate may touch a heavy dependency is in `deny.toml`.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::shell;

/// Our crates and which of ours each may depend on, outside its tests. A crate that is not listed may not exist.
const ARROWS: &[(&str, &[&str])] = &[
    ("forwarder-backoff", &[]),
    ("forwarder-keyfile", &[]),
    ("forwarder-listener", &[]),
    ("forwarder-record", &[]),
    ("forwarder-connector", &["forwarder-record"]),
    ("forwarder-sls", &["forwarder-backoff", "forwarder-connector", "forwarder-keyfile"]),
    ("forwarder-plugin", &["forwarder-record"]),
    (
        "forwarder-sinks",
        &["forwarder-backoff", "forwarder-connector", "forwarder-keyfile", "forwarder-record"],
    ),
    ("forwarder-pipeline", &["forwarder-backoff", "forwarder-connector", "forwarder-record"]),
    ("forwarder-emulator", &["forwarder-listener", "forwarder-record", "forwarder-sls"]),
    ("forwarder-receivers", &["forwarder-listener"]),
    (
        "forwarder",
        &[
            "forwarder-backoff",
            "forwarder-connector",
            "forwarder-keyfile",
            "forwarder-listener",
            "forwarder-record",
            "forwarder-sls",
            "forwarder-plugin",
            "forwarder-sinks",
            "forwarder-pipeline",
            "forwarder-emulator",
            "forwarder-receivers",
        ],
    ),
    ("forwarder-guest", &[]),
    ("identity", &["forwarder-guest"]),
    ("prune", &["forwarder-guest"]),
    ("audit", &["forwarder-guest"]),
    (
        "forwarder-tests",
        &["forwarder-emulator", "forwarder-receivers", "forwarder-record", "forwarder-sls"],
    ),
    ("xtask", &[]),
];

/// Outside dependencies that only these of our crates may name.
const DOORS: &[(&str, &[&str])] = &[
    ("wasmtime", &["forwarder-plugin"]),
    ("reqwest", &["forwarder-sls", "forwarder-sinks"]),
    (
        "tokio",
        &[
            "forwarder-sls",
            "forwarder-sinks",
            "forwarder-pipeline",
            "forwarder-emulator",
            "forwarder-listener",
            "forwarder-receivers",
            "forwarder",
            "forwarder-tests",
        ],
    ),
    ("wit-bindgen", &["forwarder-guest"]),
    ("clap", &["forwarder", "xtask"]),
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

/// Reads the workspace's manifests and refuses every arrow that is not drawn above.
pub(crate) fn check() -> Result<()> {
    println!("==> which crate may import which");
    let output = shell::cargo()
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .output()
        .context("cannot run cargo metadata")?;
    let metadata: Metadata = serde_json::from_slice(&output.stdout)?;
    let wrong = violations(&metadata);
    if !wrong.is_empty() {
        bail!("forbidden imports:\n  {}", wrong.join("\n  "));
    }
    println!("    {} crates, every arrow as drawn", metadata.packages.len());
    Ok(())
}

fn violations(metadata: &Metadata) -> Vec<String> {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let Some(may_import) = allowed.get(package.name.as_str()) else {
            wrong.push(format!("{} is not in the list of crates", package.name));
            continue;
        };
        let normal = package.dependencies.iter().filter(|d| d.kind.as_deref() != Some("dev"));
        for dependency in normal {
            let name = dependency.name.as_str();
            let ours = allowed.contains_key(name);
            let door = DOORS.iter().find(|(heavy, _)| *heavy == name);
            let shut = door.is_some_and(|(_, keepers)| !keepers.contains(&package.name.as_str()));
            if (ours && !may_import.contains(&name)) || shut {
                wrong.push(format!("{} may not import {name}", package.name));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, imports: &[&str]) -> Package {
        let dependency = |name: &&str| Dependency { name: (*name).to_owned(), kind: None };
        Package { name: name.into(), dependencies: imports.iter().map(dependency).collect() }
    }

    #[test]
    fn an_arrow_that_is_not_drawn_is_refused() {
        let packages = vec![
            package("forwarder-pipeline", &["forwarder-sls", "forwarder-record"]),
            package("forwarder-sinks", &["wasmtime", "reqwest"]),
            package("forwarder-utils", &[]),
        ];
        assert_eq!(
            violations(&Metadata { packages }),
            [
                "forwarder-pipeline may not import forwarder-sls",
                "forwarder-sinks may not import wasmtime",
                "forwarder-utils is not in the list of crates",
            ]
        );
    }
}
