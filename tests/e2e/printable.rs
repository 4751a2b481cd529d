//! Foreign text reaches no terminal and no log as it stands: what moves a cursor or turns the direction of text is shown
//! as an escape.

use forwarder_emulator::log_group::EncodedGroup;
use forwarder_emulator::state::logstore::Placement;
use forwarder_receivers::hec::Mode;
use forwarder_receivers::syslog::{self, SyslogReceiver};
use forwarder_record::encode::{Log, LogGroup};
use forwarder_record::json::is_unseen;
use forwarder_tests::{Forwarder, LOGSTORE, PATIENCE, PROJECT, World};

/// Clears a screen three ways, turns the text, hides and breaks it.
const HOSTILE: &str = "a\u{1b}[2Jb\u{9b}2Jc\u{7f}d\u{202e}e\u{2066}f\u{2028}g\u{200b}h\u{85}i\r\nj\u{feff}k 杭州 “é” 👍";

/// A log whose topic, field names, values and inner JSON are hostile.
fn put(world: &World) {
    let pair = |key: &str, value: String| (key.to_owned(), value);
    // Raw inside a JSON string: all but the C0 controls, which JSON forbids.
    let raw: String = HOSTILE.chars().filter(|c| *c >= ' ').collect();
    let event = format!("{{\"eventName\": \"{raw}\"}}");
    let contents = vec![pair(HOSTILE, HOSTILE.to_owned()), pair("event", event)];
    let group = LogGroup {
        topic: HOSTILE.into(),
        source: HOSTILE.into(),
        tags: vec![pair(HOSTILE, HOSTILE.to_owned())],
        logs: vec![Log { time: 1_788_308_100, nanos: None, contents }],
    };
    let group = EncodedGroup::from_encoded(&group.encode()).unwrap();
    world.sls.put(PROJECT, LOGSTORE, Placement::Balanced, [group]).unwrap();
}

fn assert_seen(what: &str, text: &str) {
    let unseen = text.chars().find(|&c| c != '\n' && is_unseen(c));
    assert_eq!(unseen, None, "{what}: {text:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_not_seen_is_written_raw_anywhere() {
    let world = World::with_mode(1, Mode::Events).await;
    put(&world);
    let receiver = || SyslogReceiver::builder().mode(syslog::Mode::Messages).start();
    let (siem, pairs) = (receiver().await.unwrap(), receiver().await.unwrap());
    let archive = world.folder().join("archive.jsonl");
    let config = world
        .settings()
        .log("format", "json")
        .log("level", "info,forwarder=debug,forwarder_pipeline=debug")
        .plugin(&Forwarder::plugin("audit"), "config = { topics = [\"*\"] }")
        .hec("splunk", &world.hec.url(), "")
        .syslog("siem", &siem.url(), "hostname = \"{__topic__}\"")
        .syslog("pairs", &pairs.url(), "payload = \"kv\"\ntag = \"{__topic__}\"")
        .sink("archive", "file", &format!("path = \"{}\"", archive.display()))
        .more("[[sink]]\nname = \"out\"\ntype = \"stdout\"\n")
        .write("forwarder.toml");
    let forwarder = world.start(&config, &[]);
    world.hec.wait_for(1, PATIENCE).await.unwrap();
    siem.wait_for(1, PATIENCE).await.unwrap();
    pairs.wait_for(1, PATIENCE).await.unwrap();
    world.settled().await;

    let events = world.hec.received().events;
    assert_eq!(events[0].event[HOSTILE], HOSTILE, "escaped, and not changed");
    let inner: String = HOSTILE.chars().filter(|c| *c >= ' ').collect();
    assert_eq!(events[0].event["event"]["eventName"], inner.as_str());
    assert_seen("hec", &events[0].event_json);
    for receiver in [&siem, &pairs] {
        let message = &receiver.received().messages[0];
        let text = message.text();
        assert_seen("syslog", &text);
        let names = [&message.hostname, &message.app_name];
        names.into_iter().flatten().for_each(|name| assert_seen("header", name));
        assert!(text.contains("d\\u202ee\\u2066f\\u2028g\\u200b"), "{text}");
    }
    assert_seen("file", &std::fs::read_to_string(&archive).unwrap());
    assert_seen("stdout", &forwarder.output());
    assert_seen("log", &forwarder.log());
    assert_eq!(forwarder.terminate().await, Some(0));
}
