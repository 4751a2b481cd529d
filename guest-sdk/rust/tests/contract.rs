//! A released contract is never edited, and `wit/plugin.wit` says what was released until it carries a
//! newer version.

#![expect(clippy::unwrap_used, reason = "a file that cannot be read fails the test")]

use std::fs;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

fn wit() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../wit")
}

/// The recorded digests: (hex, path below `wit/released`).
fn recorded() -> Vec<(String, String)> {
    let list = fs::read_to_string(wit().join("released/SHA256SUMS")).unwrap();
    let pairs = list.lines().map(|line| line.split_once("  ").unwrap());
    pairs.map(|(digest, path)| (digest.to_owned(), path.to_owned())).collect()
}

/// The contract without comments and layout.
fn meaning(text: &str) -> String {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

#[test]
fn released_contracts_are_as_they_were_released() {
    for (digest, path) in recorded() {
        let bytes = fs::read(wit().join("released").join(&path)).unwrap();
        let actual: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(actual, digest, "wit/released/{path} was edited; release a new version instead");
    }
}

#[test]
fn every_released_contract_is_recorded() {
    let versions = fs::read_dir(wit().join("released")).unwrap().map(Result::unwrap);
    let folders = versions.filter(|entry| entry.file_type().unwrap().is_dir());
    let mut found: Vec<String> = folders
        .map(|entry| format!("{}/plugin.wit", entry.file_name().into_string().unwrap()))
        .collect();
    found.sort();
    let mut paths: Vec<String> = recorded().into_iter().map(|(_, path)| path).collect();
    paths.sort();
    assert_eq!(found, paths);
}

#[test]
fn the_newest_contract_differs_from_its_release_in_comments_only() {
    let newest = meaning(&fs::read_to_string(wit().join("plugin.wit")).unwrap());
    let version = newest.split(['@', ';']).nth(1).unwrap();
    let released = wit().join("released").join(version).join("plugin.wit");
    if let Ok(released) = fs::read_to_string(released) {
        assert_eq!(newest, meaning(&released), "give the contract a new version");
    }
}
