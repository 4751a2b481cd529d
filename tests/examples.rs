//! The documents against the program they describe: every example is accepted, and no setting or metric
//! is missing from the reference or left in it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test should stop where it fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use forwarder_tests::Forwarder;
use tempfile::TempDir;

/// Far from every key, so that the program lists those it knows instead of guessing which was meant.
const UNKNOWN: &str = "zzzz_no_such_key_zzzz";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()))
}

/// Names and texts of `docs/examples/*.toml`.
fn examples() -> BTreeMap<String, String> {
    let files =
        fs::read_dir(root().join("docs/examples")).unwrap().map(|entry| entry.unwrap().path());
    let examples: BTreeMap<_, _> = files
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path))
        .map(|(name, path)| (name, fs::read_to_string(path).unwrap()))
        .collect();
    assert!(!examples.is_empty());
    examples
}

/// What `forwarder check` says of a config: exit code, standard output, standard error.
async fn check(folder: &TempDir, config: &str) -> (Option<i32>, String, String) {
    fs::write(folder.path().join("forwarder.toml"), config).unwrap();
    let output = Forwarder::command(folder.path())
        .args(["check", "--config", "forwarder.toml", "--state-dir", "state"])
        .envs([("SLS_AK_ID", "id"), ("SLS_AK_KEY", "key"), ("SPLUNK_HEC_TOKEN", "token")])
        .output()
        .await
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Config and plugins are checked before any request is sent; what is asked then is on this
/// machine and not there.
#[tokio::test]
async fn every_example_is_accepted() {
    const NO_SINK_ANSWERS: i32 = 5;
    for (name, text) in examples() {
        let folder = tempfile::tempdir().unwrap();
        let plugins = Forwarder::plugin("audit").parent().unwrap().to_owned();
        std::os::unix::fs::symlink(plugins, folder.path().join("plugins")).unwrap();
        let config = text
            .replace("cn-hangzhou.log.aliyuncs.com", "127.0.0.1:1")
            .replace("splunk.example.org:8088", "127.0.0.1:1")
            .replace("siem.example.org:6514", "127.0.0.1:1")
            .replace("splunk.example.org", "127.0.0.1")
            .replace("siem.example.org", "127.0.0.1")
            .replace("/var/log/forwarder", folder.path().to_str().unwrap());
        let (code, said, complaints) = check(&folder, &config).await;
        assert_eq!(code, Some(NO_SINK_ANSWERS), "{name}\n{said}\n{complaints}");
        assert!(said.contains("config: ok\nplugins: ok"), "{name}\n{said}\n{complaints}");
    }
}

#[test]
fn the_readme_shows_the_examples_as_they_are() {
    let readme = read("README.md");
    let shown: Vec<_> = readme.split("```toml\n").skip(1).collect();
    assert!(!shown.is_empty());
    for block in shown {
        let (block, _) = block.split_once("```").unwrap();
        assert!(
            examples().values().any(|text| text.contains(block)),
            "not in an example:\n{block}"
        );
    }
}

/// Documents that link to each other and to files.
const LINKED: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "plugins/README.md",
    "guest-sdk/rust/README.md",
    "docs/compatibility.md",
    "docs/configuration.md",
    "docs/delivery.md",
    "docs/limits.md",
    "docs/metrics.md",
    "docs/moving-over.md",
    "docs/operating.md",
    "docs/permissions.md",
    "docs/sizing.md",
];

#[test]
fn every_link_leads_to_a_file_and_to_a_heading_in_it() {
    let mut wrong = Vec::new();
    for document in LINKED {
        let folder = Path::new(document).parent().unwrap();
        for target in read(document).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { PathBuf::from(document) } else { folder.join(file) };
            let leads_there = root().join(&path).exists()
                && (heading.is_empty() || anchors(path.to_str().unwrap()).contains(heading));
            if !leads_there {
                wrong.push(format!("{document}: {target}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The names by which the headings of a document are linked to: lower case, hyphens for spaces, no punctuation.
fn anchors(document: &str) -> BTreeSet<String> {
    let name = |heading: &str| -> String {
        let kept = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    read(document).lines().filter(|line| line.starts_with('#')).map(name).collect()
}

#[test]
fn every_document_is_reached_from_the_readme() {
    let readme = read("README.md");
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.ends_with(".md") || readme.contains(&format!("docs/{name}")), "{name}");
        assert!(!name.ends_with(".md") || LINKED.contains(&&*format!("docs/{name}")), "{name}");
    }
}

/// A config that is right but for one unknown key in each table.
const ONE_MISTAKE_PER_TABLE: &str = r#"
UNKNOWN = 1
[[source]]
name = "s"
endpoint = "https://127.0.0.1"
project = "p"
logstore = "ls"
consumer_group = "g"
start = "begin"
UNKNOWN = 1
[source.credentials]
access_key_id = "a"
access_key_secret = "b"
UNKNOWN = 1
[[transform]]
plugin = "t"
limits = { UNKNOWN = 1 }
when = { topic = "x", UNKNOWN = 1 }
UNKNOWN = 1
[[sink]]
name = "h"
type = "hec"
url = "https://127.0.0.1"
token = "t"
tls = { UNKNOWN = 1 }
UNKNOWN = 1
[[sink]]
name = "y"
type = "syslog"
address = "tls://127.0.0.1"
UNKNOWN = 1
[[sink]]
name = "f"
type = "file"
path = "x"
UNKNOWN = 1
[[sink]]
name = "o"
type = "stdout"
UNKNOWN = 1
[[route]]
to = ["h", "y", "f", "o"]
UNKNOWN = 1
[admin]
UNKNOWN = 1
[log]
UNKNOWN = 1
[dead_letters]
UNKNOWN = 1
"#;

/// Tables as the program calls them, and the headings under which their keys are documented.
const DOCUMENTED: &[(&str, &[&str])] = &[
    ("", &["## Top of the file"]),
    ("source.s", &["## `[[source]]`"]),
    ("source.s.credentials", &["### `[source.credentials]`"]),
    ("transform[1]", &["## `[[transform]]`"]),
    ("transform[1].limits", &["## `[[transform]]`"]),
    ("transform[1].when", &["## Conditions"]),
    ("sink.h", &["## `[[sink]]`", "### `type = \"hec\"`"]),
    ("sink.h.tls", &["### `tls`"]),
    ("sink.y", &["## `[[sink]]`", "### `type = \"syslog\"`"]),
    ("sink.f", &["## `[[sink]]`", "### `type = \"file\"`"]),
    ("sink.o", &["## `[[sink]]`"]),
    ("route[1]", &["## `[[route]]`"]),
    ("admin", &["## `[admin]`"]),
    ("log", &["## `[log]`"]),
    ("dead_letters", &["## `[dead_letters]`"]),
];

/// Keys that the program knows, by table: it lists them where it meets one that it does not know.
async fn known_keys() -> BTreeMap<String, BTreeSet<String>> {
    let folder = tempfile::tempdir().unwrap();
    let config = ONE_MISTAKE_PER_TABLE.replace("UNKNOWN", UNKNOWN);
    let (_, _, complaints) = check(&folder, &config).await;
    let mut known = BTreeMap::new();
    let mut lines = complaints.lines();
    while let Some(line) = lines.next() {
        let Some((_, place)) = line.split_once("--> ").and_then(|(_, at)| at.split_once(", "))
        else {
            continue;
        };
        let table = place.strip_suffix(UNKNOWN).unwrap_or_else(|| panic!("{complaints}"));
        let help = lines.next().unwrap();
        let keys = help.split_once("known here: ").unwrap_or_else(|| panic!("{help}")).1;
        known.insert(table.trim_end_matches('.').to_owned(), quoted(keys));
    }
    let tables: BTreeSet<_> = DOCUMENTED.iter().map(|(table, _)| (*table).to_owned()).collect();
    assert!(known.keys().eq(&tables), "{complaints}");
    known
}

/// Whatever stands between backticks.
fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// What stands below a heading, up to the next one.
fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let start = document.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let body = document.get(start + heading.len() + 2..).unwrap();
    body.split("\n#").next().unwrap()
}

#[tokio::test]
async fn every_setting_is_in_the_reference() {
    let known = known_keys().await;
    let document = read("docs/configuration.md");
    for (table, headings) in DOCUMENTED {
        let text: String = headings.iter().map(|heading| section(&document, heading)).collect();
        let missing: Vec<_> = known[*table].difference(&quoted(&text)).cloned().collect();
        assert!(missing.is_empty(), "docs/configuration.md lacks {missing:?} of `{table}`");
    }
}

#[tokio::test]
async fn every_setting_of_the_reference_exists() {
    let known = known_keys().await;
    let document = read("docs/configuration.md");
    let headings: BTreeSet<_> = DOCUMENTED.iter().flat_map(|(_, headings)| *headings).collect();
    for heading in headings {
        let here = DOCUMENTED.iter().filter(|(_, headings)| headings.contains(heading));
        let known: BTreeSet<_> = here.flat_map(|(table, _)| known[*table].clone()).collect();
        let rows = section(&document, heading).lines().filter(|line| line.starts_with("| `"));
        let documented: BTreeSet<_> =
            rows.flat_map(|row| quoted(row.split('|').nth(1).unwrap())).collect();
        let strange: Vec<_> = documented.difference(&known).collect();
        assert!(strange.is_empty(), "{heading} names {strange:?}, which the program does not know");
    }
}

/// Words of a text that begin like the name of a metric.
fn metrics(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let mut found = BTreeSet::new();
    for (start, _) in text.match_indices("forwarder_") {
        found.insert(text.get(start..).unwrap().chars().take_while(|c| is_name(*c)).collect());
    }
    found
}

/// Every metric is a constant in one of a few files.
#[test]
fn every_metric_is_in_the_reference() {
    let files = [
        "host/crates/pipeline/src/metrics.rs",
        "host/crates/sinks/src/metrics.rs",
        "host/crates/plugin/src/metrics.rs",
        "host/crates/sls/src/metrics.rs",
        "host/src/log_queue.rs",
        "host/src/telemetry.rs",
    ];
    let mut named = BTreeSet::new();
    for file in files {
        let text = read(file);
        let literals = text.split('"').skip(1).step_by(2);
        named.extend(literals.filter(|text| text.starts_with("forwarder_")).map(str::to_owned));
    }
    let documented = metrics(&read("docs/metrics.md"));
    assert!(!named.is_empty());
    let missing: Vec<_> = named.difference(&documented).collect();
    let strange: Vec<_> = documented.difference(&named).collect();
    assert!(missing.is_empty(), "docs/metrics.md lacks {missing:?}");
    assert!(strange.is_empty(), "docs/metrics.md names {strange:?}, which nothing counts");
}
