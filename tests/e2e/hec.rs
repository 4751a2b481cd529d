//! The HEC sink against a collector that misbehaves: what cannot be delivered waits, what never can be is
//! set aside alone, and everything else arrives.

use std::time::{Duration, Instant};

use forwarder_receivers::hec::{BadEvent, Mode};
use forwarder_tests::{Authority, Forwarder, Logs, PATIENCE, TOKEN, World, receivers};

/// Everything arrives and is committed, then the program ends in order. Returns how many came twice.
async fn all_arrive(world: &World, logs: &Logs, forwarder: Forwarder) -> usize {
    world.received(logs.0.end - logs.0.start, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    world.assert_received(logs)
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_the_collector_must_be_vouched_for() {
    let authority = Authority::new();
    let world = World::of(World::sls(2), receivers::hec().tls(authority.server())).await;
    let logs = Logs(0..5_000);
    world.put(&logs, 100);
    assert!(world.hec.url().starts_with("https://"));

    // An authority that is not configured: nothing is sent, and the log says what to set.
    let settings = world.settings().process("shutdown_grace", "1s");
    let stranger = settings.hec("splunk", &world.hec.url(), "").write("stranger.toml");
    let mut forwarder = world.start(&stranger, &[]);
    forwarder.until_metric("forwarder_sink_holding", &[("sink", "splunk")], |v| v == 1.0).await;
    forwarder.says("set `ca_file` to the authority that signed it").await;
    assert_eq!(forwarder.terminate().await, Some(7), "it stopped with logs in flight");
    assert_eq!(world.hec.tally().requests, 0);

    let ca_file = authority.write_ca_file(world.folder());
    let trust = format!("tls = {{ ca_file = \"{}\" }}", ca_file.display());
    let config = world.settings().hec("splunk", &world.hec.url(), &trust).write("trusted.toml");
    assert_eq!(all_arrive(&world, &logs, world.start(&config, &[])).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_taken_as_people_have_it() {
    for (base, path) in [
        ("", "/services/collector/event"),
        ("", "/services/collector/event/1.0/?auto_extract_timestamp=true"),
        ("/splunk", "/splunk"),
        ("/a/b", "/a/b/services/collector?auto_extract_timestamp=true"),
    ] {
        let world = World::of(World::sls(1), receivers::hec().below(base)).await;
        let logs = Logs(0..100);
        world.put(&logs, 100);
        let url = format!("{}{path}", world.hec.url());
        let config = world.settings().hec("splunk", &url, "").write("forwarder.toml");
        assert_eq!(all_arrive(&world, &logs, world.start(&config, &[])).await, 0, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_compressed_unless_configured_otherwise() {
    for (setting, compressed) in [("", true), ("gzip = false", false)] {
        let world = World::new(2).await;
        let logs = Logs(0..5_000);
        world.put(&logs, 100);
        let config = world.settings().hec("splunk", &world.hec.url(), setting);
        let forwarder = world.start(&config.write("forwarder.toml"), &[]);
        assert_eq!(all_arrive(&world, &logs, forwarder).await, 0);

        let tally = world.hec.tally();
        let expected = if compressed { tally.requests } else { 0 };
        assert_eq!(tally.gzip_requests, expected, "{setting}");
        // Batches by size, connections kept alive: far fewer of either than events.
        assert!(tally.requests <= 100 && tally.connections <= 20, "{tally:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_holds_every_log_until_it_is_fixed() {
    let world = World::new(2).await;
    let logs = Logs(0..5_000);
    world.put(&logs, 100);
    world.hec.faults().rotate_token("another-token");
    let config = world.config("forwarder.toml", "");
    let mut forwarder = world.start(&config, &[]);

    let sink = [("sink", "splunk")];
    forwarder.until_metric("forwarder_sink_holding", &sink, |holding| holding == 1.0).await;
    forwarder.says("put a token that exists in Splunk into the sink's `token`").await;
    forwarder.says("nothing was lost").await;
    let ready = forwarder.ask("GET", "/readyz").await;
    assert_eq!(ready.status, 200, "a restart would not help");
    assert_eq!(world.hec.tally().accepted_requests, 0);

    world.hec.faults().rotate_token(TOKEN);
    forwarder.until_metric("forwarder_sink_holding", &sink, |holding| holding == 0.0).await;
    assert_eq!(all_arrive(&world, &logs, forwarder).await, 0);
    assert!(world.dead_letters().is_empty());
}

/// Two events that Splunk calls invalid cost no other event anything.
async fn only_the_bad_events_are_set_aside(naming: BadEvent) {
    let world = World::new(2).await;
    world.put(&Logs(0..5_000), 100);
    world.hec.faults().refuse_events(naming, |event| {
        ["\"number\":\"777\"", "\"number\":\"4242\""].iter().any(|bad| event.json.contains(bad))
    });
    let config = world.config("forwarder.toml", "");
    let forwarder = world.start(&config, &[]);
    world.received(4_998, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));

    let mut letters = world.dead_letters();
    letters.sort_by_key(|letter| letter["fields"]["number"].as_str().unwrap().len());
    let numbers: Vec<_> = letters.iter().map(|letter| &letter["fields"]["number"]).collect();
    assert_eq!(numbers, ["777", "4242"]);
    for letter in &letters {
        assert_eq!(letter["refused_by"]["sink"], "splunk");
        assert!(letter["reason"].as_str().unwrap().contains("code 6"), "{letter}");
    }
    let good = |id: &String| !id.starts_with("777:") && !id.starts_with("4242:");
    let expected = Logs(0..5_000).fingerprints().filter(good);
    let repeated = forwarder_tests::assert_exactly(&world.hec.received().ids, expected);
    assert_eq!(repeated, 0, "a refused request was not kept by half");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_splunk_names_as_invalid_is_set_aside_alone() {
    only_the_bad_events_are_set_aside(BadEvent::Named).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_splunk_does_not_name_is_found_by_halves() {
    only_the_bad_events_are_set_aside(BadEvent::Unnamed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_sent_in_halves() {
    let world = World::new(2).await;
    let logs = Logs(0..5_000);
    world.put(&logs, 100);
    world.hec.faults().limit_content(20_000);
    let config = world.settings().hec("splunk", &world.hec.url(), "gzip = false");
    let mut forwarder = world.start(&config.write("forwarder.toml"), &[]);
    world.received(5_000, &forwarder).await;
    let divided = [("sink", "splunk"), ("reason", "divide")];
    forwarder.until_metric("forwarder_delivery_retries_total", &divided, |v| v >= 1.0).await;
    assert_eq!(all_arrive(&world, &logs, forwarder).await, 0);
    assert!(world.dead_letters().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttling_proxy_is_obeyed_and_a_foreign_page_is_no_delivery() {
    let world = World::new(1).await;
    let logs = Logs(0..1_000);
    world.put(&logs, 1_000);
    // Others that may answer: a proxy that asks for a second, a gateway without a backend, Splunk's web pages.
    world.hec.faults().throttle_for(1, Some(Duration::from_secs(1)));
    world.hec.faults().answer_for(1, 502, "bad gateway");
    world.hec.faults().reset_mid_body(1);
    world.hec.faults().splunk_web_for(u32::MAX);
    let config = world.config("forwarder.toml", "");
    let started = Instant::now();
    let mut forwarder = world.start(&config, &[]);
    forwarder.says("this is not an event collector; `url` should name its host and port").await;
    assert!(started.elapsed() >= Duration::from_secs(1), "the second was waited for");
    world.hec.faults().end_script();
    world.received(1_000, &forwarder).await;
    let again = |reason| [("sink", "splunk"), ("reason", reason)];
    let metrics = forwarder.metrics().await;
    assert_eq!(metrics.sum("forwarder_delivery_retries_total", &again("retry")), 3.0);
    assert!(metrics.sum("forwarder_delivery_retries_total", &again("hold")) >= 1.0);
    assert_eq!(all_arrive(&world, &logs, forwarder).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_costs_repetitions_and_no_log() {
    let world = World::new(2).await;
    let logs = Logs(0..5_000);
    world.put(&logs, 100);
    world.hec.faults().lose_responses(2);
    let config = world.config("forwarder.toml", "");
    let repeated = all_arrive(&world, &logs, world.start(&config, &[])).await;
    assert!(repeated > 0, "Splunk had them, but that could not be known");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_carry_metadata_a_stable_id_and_the_form_that_was_asked_for() {
    let world = World::with_mode(2, Mode::Events).await;
    world.put(&Logs(0..1_000), 100);
    let settings = r#"
index = "cloud_audit"
source = "sls"
sourcetype = "aliyun:access"
event_host = "collector-1"
event_format = "json_string"
"#;
    let config = world.settings().hec("splunk", &world.hec.url(), settings);
    let forwarder = world.start(&config.write("forwarder.toml"), &[]);
    world.hec.wait_for(1_000, PATIENCE).await.unwrap();
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));

    let mut ids = Vec::new();
    for event in world.hec.received().events.iter() {
        assert_eq!(event.index.as_deref(), Some("cloud_audit"));
        assert_eq!(event.source.as_deref(), Some("sls"));
        assert_eq!(event.sourcetype.as_deref(), Some("aliyun:access"));
        assert_eq!(event.host.as_deref(), Some("collector-1"));
        // The sample's form: a string that holds the object.
        let log: serde_json::Value = serde_json::from_str(event.event.as_str().unwrap()).unwrap();
        let number = log["number"].as_str().unwrap().parse().unwrap();
        ids.push((event.fields["event_id"].as_str().unwrap().to_owned(), number));
    }
    let mut expected: Vec<(String, u64)> = world.event_ids();
    ids.sort();
    expected.sort();
    assert_eq!(ids, expected, "an id names project, logstore, shard, cursor and row");
}
