//! The file sink: one writer per file.

use std::collections::HashMap;

use forwarder_tests::{Logs, World, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_file_waits_for_the_first_and_no_line_is_cut() {
    let world = World::new(2).await;
    world.put(&Logs(0..2_000), 100);
    let path = world.folder().join("archive.jsonl");
    let file = format!("path = \"{}\"", path.display());
    let settings = |group: &str| {
        world.settings().source("consumer_group", group).sink("archive", "file", &file)
    };
    let first = world.start(&settings("one").write("one.toml"), &[]);
    world.settled_for("one").await;

    let mut second = world.start(&settings("two").write("two.toml"), &[]);
    second.until_metric("forwarder_sink_holding", &[("sink", "archive")], |v| v == 1.0).await;
    second.says("another process has locked it").await;
    second.says("archive.jsonl").await;
    assert_eq!(lines(&path).len(), 2_000, "the second one has written nothing");

    assert_eq!(first.terminate().await, Some(0));
    until("the second one takes over", async || lines(&path).len() == 4_000).await;
    world.settled_for("two").await;
    assert_eq!(second.terminate().await, Some(0));
    let mut seen: HashMap<String, usize> = HashMap::new();
    for line in lines(&path) {
        let row: serde_json::Value = serde_json::from_str(&line).unwrap();
        *seen.entry(row["number"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert!(seen.len() == 2_000 && seen.values().all(|&times| times == 2), "once per group");
}

fn lines(path: &std::path::Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}
