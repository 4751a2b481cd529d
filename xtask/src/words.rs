//! Words that the project does not use, because readers who are not native speakers stumble over them, and the plain
//! ones that stand for them.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// Words and phrases, each with what is written instead.
const INSTEAD: &[(&[&str], &str)] = &[
    (&["tell", "tells", "told", "telling"], "report, log, print"),
    (&["mend", "mends", "mended", "mending"], "fix"),
    (
        &["nobody", "somebody", "anybody", "everybody", "whoever", "whom"],
        "the thing itself: the operator, another consumer, the receiver",
    ),
    (&["on the way", "on its way", "on their way"], "in flight"),
    (
        &["come again", "comes again", "came again", "brought again"],
        "are pulled again, are sent again",
    ),
    (&["stand still", "stands still", "stood still", "standing still"], "pause"),
    (&["go on", "goes on", "went on", "going on"], "continue"),
    (&["for ever"], "indefinitely, without end"),
    (&["beside"], "in addition to, compared with, next to"),
    (&["anew"], "again"),
    (&["reckon", "reckons", "reckoned", "reckoning"], "assume"),
    (&["affair"], "owned by"),
    (&["is no number", "is no name", "is no object"], "is not a …"),
    (&["to be had"], "available"),
];

/// Files that may use them: this one, and the contract with plugins, of which released versions do not change.
const EXCEPTIONS: &[&str] = &["xtask/src/words.rs", "wit/"];

/// Kinds of files that people read.
const READ: &[&str] = &["*.md", "*.rs", "*.toml", "*.wit", "*.snap"];

/// Refuses the words in every file of the project.
///
/// # Errors
///
/// There are some, each with its place.
pub(crate) fn check() -> Result<()> {
    let root = shell::root();
    let mut found = Vec::new();
    for file in shell::tracked(READ)? {
        if EXCEPTIONS.iter().any(|exception| file.starts_with(exception)) {
            continue;
        }
        let text = fs::read_to_string(root.join(&file)).with_context(|| format!("read {file}"))?;
        found.extend(places(Path::new(&file), &text));
    }
    if found.is_empty() {
        return Ok(());
    }
    bail!("words that are hard to read:\n{}", found.join("\n"))
}

fn places(file: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (nth, line) in text.lines().enumerate() {
        let words = words_of(line);
        for (phrases, instead) in INSTEAD {
            for phrase in phrases.iter().filter(|phrase| words.contains(&format!(" {phrase} "))) {
                let (file, line) = (file.display(), nth + 1);
                found.push(format!("    {file}:{line}: `{phrase}`; write: {instead}"));
            }
        }
    }
    found
}

/// The words of a line in lower case, with one space around each.
fn words_of(line: &str) -> String {
    let words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '\'');
    let mut spaced = String::from(" ");
    for word in words.filter(|word| !word.is_empty()) {
        spaced.push_str(&word.to_ascii_lowercase());
        spaced.push(' ');
    }
    spaced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_with_their_place_and_not_inside_others() {
        let text = "Intelligence is told.\nIt goes\non; the shard `Stands Still`.\n// on_the_way";
        let found = places(Path::new("a.md"), text);
        let places: Vec<_> =
            found.iter().map(|line| line.split(';').next().unwrap().trim()).collect();
        assert_eq!(places, ["a.md:1: `told`", "a.md:3: `stands still`", "a.md:4: `on the way`"]);
    }
}
