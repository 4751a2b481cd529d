//! `forwarder check` asks a collector what delivery asks it, stores nothing, and says what it cannot know.

use std::path::Path;

use forwarder_receivers::hec::Builder;
use forwarder_tests::{Forwarder, World, receivers};

/// The exit code of `check`, and all that it printed.
async fn check(world: &World, config: &Path) -> (Option<i32>, String) {
    let mut command = Forwarder::command(world.folder());
    command.args(["check", "--config", config.to_str().unwrap()]);
    let output = command.output().await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

async fn checked(hec: Builder, more: &str) -> (World, Option<i32>, String) {
    let world = World::of(World::sls(1), hec).await;
    let config = world.settings().hec("splunk", &world.hec.url(), more).write("forwarder.toml");
    let (code, text) = check(&world, &config).await;
    assert_eq!(world.hec.tally().accepted_requests, 0, "no event was stored");
    (world, code, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn token_acknowledgement_and_index_have_different_errors() {
    let (_, code, text) = checked(receivers::hec(), "").await;
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains("warning"), "{text}");

    let (_, code, text) = checked(receivers::hec().token("another"), "").await;
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains("put a token that exists in Splunk"), "{text}");

    let (_, code, text) = checked(receivers::hec().acks(true), "").await;
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains("indexer acknowledgement"), "{text}");

    let (world, code, text) = checked(receivers::hec(), "index = \"audit\"").await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("warning: the collector did not say whether"), "{text}");
    let no_data = r#"{"text":"No data","code":5}"#;
    world.hec.faults().answer_for(1, 400, no_data);
    world.hec.faults().answer_for(1, 400, r#"{"text":"Incorrect index","code":7}"#);
    let (code, text) = check(&world, &world.folder().join("forwarder.toml")).await;
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains("create the index in Splunk"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_page_that_is_not_forwarded_is_a_warning() {
    for status in [404, 503, 403] {
        let world = World::new(1).await;
        world.hec.faults().hide_health(status);
        let config = world.config("forwarder.toml", "");
        let (code, text) = check(&world, &config).await;
        assert_eq!(code, Some(0), "{text}");
        let warning = format!("warning: there is no HEC health page (HTTP {status})");
        assert!(text.contains(&warning), "{text}");
        // A run does not complain of it either.
        let mut forwarder = world.start(&config, &[]);
        forwarder.says("sink answers").await;
        assert!(!forwarder.log().contains("does not answer"), "{}", forwarder.log());
        assert_eq!(forwarder.terminate().await, Some(0));
    }
}
