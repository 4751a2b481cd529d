//! Who gets what: by typed topic, by a field, by the label that a plugin gave.

use forwarder_receivers::hec::{HecReceiver, IdFrom, Mode};
use forwarder_tests::{Forwarder, Logs, PATIENCE, TOKEN, World, assert_exactly, receivers};

const TABLE: &str = r#"
[[route]]
when = { topic = "audit*" }
to = ["splunk", "archive"]
[[route]]
when = { topic = "noise" }
to = []
[[route]]
when = { field = { status = "404" } }
to = ["archive"]
[[route]]
to = ["splunk"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn rows_go_where_the_first_rule_that_fits_sends_them() {
    let world = World::new(2).await;
    let archive = receivers::hec().start().await.unwrap();
    let (audit, noise, access) = (Logs(0..1_000), Logs(1_000..2_000), Logs(2_000..3_000));
    world.put_about("audit_event", &audit, 100);
    world.put_about("noise", &noise, 100);
    world.put(&access, 100);
    let config = world
        .settings()
        .hec("splunk", &world.hec.url(), "")
        .hec("archive", &archive.url(), "")
        .more(TABLE)
        .write("forwarder.toml");
    let mut forwarder = world.start(&config, &[]);
    world.settled().await;

    let routed = forwarder.metrics().await;
    let missing = access.0.clone().filter(|number| number.is_multiple_of(7)).count();
    for (rule, rows) in [("1", 1_000), ("2", 1_000), ("3", missing), ("4", 1_000 - missing)] {
        let counted = routed.sum("forwarder_routed_records_total", &[("route", rule)]);
        assert_eq!(counted, rows as f64, "rule {rule}");
    }
    assert_eq!(forwarder.terminate().await, Some(0));

    let is_missing =
        |id: &String| id.split(':').next().unwrap().parse::<u64>().unwrap().is_multiple_of(7);
    let audit: Vec<_> = audit.fingerprints_about("audit_event").collect();
    let (missing, found): (Vec<_>, Vec<_>) = access.fingerprints().partition(is_missing);
    let splunk = assert_exactly(&world.hec.received().ids, [audit.clone(), found].concat());
    let archive = assert_exactly(&archive.received().ids, [audit, missing].concat());
    assert_eq!((splunk, archive), (0, 0));
}

/// A receiver that records one field of each event, and where the event came from.
async fn recording(field: &str) -> HecReceiver {
    let mode = Mode::Ids(IdFrom::Member(field.to_owned()));
    HecReceiver::builder().token(TOKEN).mode(mode).start().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_names_labels_and_the_table_says_what_they_mean() {
    let world = World::new(2).await;
    let (missing, found, copies) =
        (recording("number").await, recording("number").await, recording("copy_of").await);
    world.put(&Logs(0..2_000), 100);
    let powers = r#"
grants = ["labels", "emit"]
[transform.config]
field = "status"
labels = { 404 = "missing", 200 = "unheard-of" }
copies = 1
copy_label = "copy"
"#;
    let config = world
        .settings()
        .plugin(&Forwarder::plugin("powers"), powers)
        .hec("missing", &missing.url(), "")
        .hec("found", &found.url(), "")
        .hec("copies", &copies.url(), "")
        .more("[[route]]\nlabel = \"missing\"\nto = [\"missing\"]\n")
        .more("[[route]]\nlabel = \"copy\"\nto = [\"copies\"]\n")
        .more("[[route]]\nto = [\"found\"]\n")
        .write("forwarder.toml");
    let mut forwarder = world.start(&config, &[]);
    world.settled().await;

    let is_missing = |number: &u64| number.is_multiple_of(7);
    let (of_missing, of_found): (Vec<u64>, Vec<u64>) = (0..2_000).partition(is_missing);
    let unknown = forwarder.metrics().await.sum("forwarder_unknown_label_records_total", &[]);
    assert_eq!(unknown, of_found.len() as f64, "a label that no rule names falls to the table");
    assert_eq!(forwarder.terminate().await, Some(0));
    let texts = |numbers: &[u64]| numbers.iter().map(u64::to_string).collect::<Vec<_>>();
    assert_eq!(assert_exactly(&missing.received().ids, texts(&of_missing)), 0);
    assert_eq!(assert_exactly(&found.received().ids, texts(&of_found)), 0);
    let all: Vec<u64> = (0..2_000).collect();
    assert_eq!(assert_exactly(&copies.received().ids, texts(&all)), 0, "each was emitted once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_added_log_is_like_its_original_and_has_an_id_of_its_own() {
    let world = World::with_mode(1, Mode::Events).await;
    world.put(&Logs(0..14), 14);
    let powers = r#"
grants = ["labels", "emit"]
config = { field = "status", labels = { 404 = "missing" }, copies = 2 }
"#;
    let config = world
        .settings()
        .plugin(&Forwarder::plugin("powers"), powers)
        .hec("splunk", &world.hec.url(), "")
        .write("forwarder.toml");
    let forwarder = world.start(&config, &[]);
    world.hec.wait_for(14 + 4, PATIENCE).await.unwrap();
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));

    let received = world.hec.received();
    let id = |event: &forwarder_receivers::hec::Envelope| {
        event.fields["event_id"].as_str().unwrap().to_owned()
    };
    let originals = received.events.iter().filter(|event| event.event["number"] == "7");
    let original = originals.collect::<Vec<_>>()[0];
    let copies = received.events.iter().filter(|event| event.event["copy_of"] == "7");
    let copies: Vec<_> = copies.map(|copy| (id(copy), copy.time.clone())).collect();
    let like = |n: u32| (format!("{}.{n}", id(original)), original.time.clone());
    assert_eq!(copies, [like(0), like(1)], "they follow it in order, with its time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_that_is_not_granted_holds_the_shard_and_names_the_grant() {
    let world = World::new(1).await;
    let logs = Logs(0..1_000);
    world.put(&logs, 100);
    let powers = |grants: &str| {
        let more =
            format!("{grants}\nconfig = {{ field = \"status\", labels = {{ 404 = \"x\" }} }}");
        world
            .settings()
            .process("shutdown_grace", "1s")
            .plugin(&Forwarder::plugin("powers"), &more)
            .hec("splunk", &world.hec.url(), "")
            .write("forwarder.toml")
    };
    let mut forwarder = world.start(&powers(""), &[]);
    forwarder.says("add \"labels\" to `grants` of its transform if it may").await;
    forwarder.says("nothing was lost").await;
    assert_eq!(forwarder.terminate().await, Some(7), "it stopped with logs in flight");
    assert_eq!(world.hec.tally().received, 0);

    let forwarder = world.start(&powers("grants = [\"labels\"]"), &[]);
    world.received(1_000, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.assert_received(&logs), 0);
}
