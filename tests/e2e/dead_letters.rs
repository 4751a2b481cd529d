//! What can never be delivered: durable, complete, bounded, and never a way to lose a logstore.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;

use forwarder_receivers::hec::BadEvent;
use forwarder_tests::{Forwarder, LOGSTORE, Logs, PROJECT, World, assert_exactly};

/// A plugin that does `poison` to the row with this number.
fn poisoned(poison: &str, number: &str) -> String {
    format!("[transform.config]\npoison = \"{poison}\"\nfield = \"number\"\nvalue = \"{number}\"")
}

/// Lets the collector call one event in `step` invalid, of the first ten thousand; returns their numbers.
fn refuse_every(world: &World, step: usize) -> Vec<String> {
    let bad: Vec<String> = (0..10_000_u64).step_by(step).map(|number| number.to_string()).collect();
    let marks: HashSet<String> = bad.iter().cloned().collect();
    world.hec.faults().refuse_events(BadEvent::Named, move |event| {
        let number =
            event.json.split("\"number\":\"").nth(1).and_then(|rest| rest.split('"').next());
        number.is_some_and(|number| marks.contains(number))
    });
    bad
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_says_who_refused_why_and_what_it_was_and_only_the_owner_may_read_it() {
    let world = World::new(1).await;
    world.put(&Logs(0..1_000), 100);
    let is_bad = |json: &str| json.contains("\"number\":\"42\"");
    world.hec.faults().refuse_events(BadEvent::Named, move |event| is_bad(event.json));
    let misbehave = Forwarder::plugin("misbehave");
    let config = world
        .settings()
        .plugin(&misbehave, "name = \"marker\"\nconfig = { mark = \"marked\" }")
        .plugin(&misbehave, &poisoned("trap", "777"))
        .hec("splunk", &world.hec.url(), "")
        .write("forwarder.toml");
    let mut forwarder = world.start(&config, &[]);
    world.settled().await;
    forwarder.says("rows refused by the plugin, writing dead letters").await;
    forwarder.says("rows refused by the receiver, writing dead letters").await;

    let letters = world.dead_letters();
    assert_eq!(letters.len(), 2, "{letters:?}");
    let letter = |number: &str| {
        letters.iter().find(|letter| letter["fields"]["number"] == number).unwrap().clone()
    };
    let (by_plugin, by_sink) = (letter("777"), letter("42"));
    assert_eq!(by_plugin["refused_by"]["plugin"], "misbehave");
    assert!(by_plugin["reason"].as_str().unwrap().contains("trapped"), "{by_plugin}");
    assert!(by_plugin["fields"].get("marked").is_none(), "a plugin's letter holds the original");
    assert_eq!(by_sink["refused_by"]["sink"], "splunk");
    assert!(by_sink["reason"].as_str().unwrap().contains("Invalid data format"), "{by_sink}");
    assert_eq!(by_sink["fields"]["marked"], "seen", "a sink's letter holds what it was to get");

    let ids = world.event_ids();
    for (letter, number) in [(&by_plugin, 777), (&by_sink, 42)] {
        let id = ids.iter().find(|(_, of)| *of == number).unwrap().0.as_str();
        assert_eq!(letter["id"], id, "project, logstore, shard, cursor and row");
        assert_eq!(letter["project"], PROJECT);
        assert_eq!(letter["logstore"], LOGSTORE);
        assert_eq!(letter["shard"], 0);
        assert_eq!(letter["topic"], "access");
        assert_eq!(letter["log_source"], "192.0.2.7");
        assert_eq!(letter["time"], 1_767_323_045 + number);
    }
    let metrics = forwarder.metrics().await;
    let by = |label| metrics.sum("forwarder_dead_letter_records_total", &[label]);
    assert_eq!((by(("plugin", "misbehave")), by(("sink", "splunk"))), (1.0, 1.0));
    let file = world.folder().join("state/dead-letters.jsonl");
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.hec.tally().received, 998);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_file_holds_what_does_not_fit_and_deletes_nothing() {
    let world = World::new(1).await;
    world.put(&Logs(0..10_000), 100);
    // Few enough to be believed, and more than a small file holds.
    let bad = refuse_every(&world, 250);
    let settings = world.settings().process("shutdown_grace", "1s");
    let settings = settings.hec("splunk", &world.hec.url(), "");
    let small = settings.clone().more("[dead_letters]\nmax_size = \"16KiB\"\n").write("small.toml");
    let mut forwarder = world.start(&small, &[]);
    forwarder.until_metric("forwarder_dead_letter_holding", &[], |holding| holding == 1.0).await;
    forwarder.says("is full (16384 bytes); move it away or raise `dead_letters.max_size`").await;
    assert_eq!(forwarder.ask("GET", "/readyz").await.status, 200);
    let kept = world.dead_letters();
    assert!(!kept.is_empty() && kept.len() < bad.len(), "{} letters", kept.len());
    assert!(world.backlog() > 0, "the checkpoint waits for the letters");
    forwarder.stop().await;

    // Room is made by the person in charge.
    let roomy = settings.write("roomy.toml");
    let forwarder = world.start(&roomy, &[]);
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    let letters = world.dead_letters();
    assert_eq!(letters[..kept.len()], kept, "what was written stays");
    let mut numbers: Vec<String> =
        letters.iter().map(|letter| letter["fields"]["number"].as_str().unwrap().into()).collect();
    numbers.sort();
    numbers.dedup();
    let mut expected = bad.clone();
    expected.sort();
    assert_eq!(numbers, expected);
    let good = |id: &String| !bad.iter().any(|bad| id.split(':').next() == Some(bad));
    let expected = Logs(0..10_000).fingerprints().filter(good);
    assert_exactly(&world.hec.received().ids, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_plugin_does_not_turn_a_logstore_into_dead_letters() {
    let world = World::new(2).await;
    let logs = Logs(0..5_000);
    world.put(&logs, 100);
    // Every row is refused, without a single fault that would convict the plugin otherwise.
    let broken = "config = { poison = \"bad_json\", field = \"number\" }";
    let settings = world.settings().process("shutdown_grace", "1s");
    let config = settings
        .plugin(&Forwarder::plugin("misbehave"), broken)
        .hec("splunk", &world.hec.url(), "")
        .write("broken.toml");
    let mut forwarder = world.start(&config, &[]);
    forwarder.until_metric("forwarder_shard_holding", &[], |shards| shards == 2.0).await;
    forwarder.says("more than max_reject_ratio (5 %) allows").await;
    forwarder.stop().await;
    assert!(world.dead_letters().is_empty(), "none of it was lettered away");
    assert_eq!(world.backlog(), 50, "and none of it was settled");

    let config = world.config("fixed.toml", "");
    let forwarder = world.start(&config, &[]);
    world.received(5_000, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.assert_received(&logs), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_refuses_everything_is_doubted_and_the_limit_can_be_raised() {
    let world = World::new(1).await;
    world.put(&Logs(0..500), 100);
    world.hec.faults().refuse_events(BadEvent::Named, |_| true);
    let settings = world.settings().process("shutdown_grace", "1s");
    let strict = settings.clone().hec("splunk", &world.hec.url(), "").write("strict.toml");
    let mut forwarder = world.start(&strict, &[]);
    forwarder.until_metric("forwarder_sink_holding", &[], |holding| holding == 1.0).await;
    forwarder.says("the receiver refuses every row").await;
    forwarder.says("x invalid_format (POST ").await;
    forwarder.stop().await;
    assert!(
        world.dead_letters().is_empty(),
        "nothing was accepted that they could be compared with"
    );
    assert!(world.backlog() > 0);

    let trusting = settings.process("max_reject_ratio", "1.0");
    let trusting = trusting.hec("splunk", &world.hec.url(), "").write("trusting.toml");
    let forwarder = world.start(&trusting, &[]);
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    let mut numbers: Vec<String> = world
        .dead_letters()
        .iter()
        .map(|letter| letter["fields"]["number"].as_str().unwrap().to_owned())
        .collect();
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), 500, "every log is somewhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_file_that_is_moved_away_makes_room_without_a_restart() {
    let world = World::new(1).await;
    let logs = Logs(0..10_000);
    world.put(&logs, 100);
    let bad = refuse_every(&world, 400);
    let settings = world.settings().hec("splunk", &world.hec.url(), "");
    let small = settings.more("[dead_letters]\nmax_size = \"16KiB\"\n").write("small.toml");
    let mut forwarder = world.start(&small, &[]);
    forwarder.until_metric("forwarder_dead_letter_holding", &[], |holding| holding == 1.0).await;
    let moved = world.dead_letters();
    let file = world.folder().join("state/dead-letters.jsonl");
    std::fs::rename(&file, world.folder().join("read-by-a-person.jsonl")).unwrap();
    forwarder.until_metric("forwarder_dead_letter_holding", &[], |holding| holding == 0.0).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(moved.len() + world.dead_letters().len(), bad.len());
    let good = |id: &String| !bad.iter().any(|bad| id.split(':').next() == Some(bad));
    let received = world.hec.received();
    assert_eq!(assert_exactly(&received.ids, logs.fingerprints().filter(good)), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_part_refused_is_believed_however_it_falls_into_requests() {
    let world = World::new(1).await;
    let logs = Logs(0..10_000);
    world.put(&logs, 100);
    // 1.4 %, in each of the requests that are under way at once, one name a reply.
    let bad = refuse_every(&world, 70);
    let forwarder = world.start(&world.config("forwarder.toml", ""), &[]);
    world.received(10_000 - bad.len() as u64, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.dead_letters().len(), bad.len());
    let good = |id: &String| !bad.iter().any(|bad| id.split(':').next() == Some(bad));
    assert_eq!(assert_exactly(&world.hec.received().ids, logs.fingerprints().filter(good)), 0);
}
