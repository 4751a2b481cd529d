//! The syslog sink: both transports, both framings, all forms of text; and receivers that come and go.

use std::time::{Duration, Instant};

use forwarder_emulator::Limits;
use forwarder_receivers::syslog::{Framing, SyslogReceiver};
use forwarder_tests::receivers::Text;
use forwarder_tests::{
    Authority, Forwarder, Logs, PATIENCE, World, assert_exactly, receivers, until,
};

/// What a receiver must have recorded: the event's id and the fingerprint of the log, for each.
fn expected(world: &World) -> Vec<String> {
    let of = |(id, number): (String, u64)| {
        let fingerprint = Logs(number..number + 1).fingerprints().next().unwrap();
        format!("{id} {fingerprint}")
    };
    world.event_ids().into_iter().map(of).collect()
}

/// Waits until the receiver has all that is stored, and compares. Returns how many came more than once.
async fn has_everything(world: &World, siem: &SyslogReceiver, forwarder: &Forwarder) -> usize {
    let expected = expected(world);
    let all = expected.len() as u64;
    let seen = siem.wait_until(PATIENCE, |tally| tally.distinct_ids >= all).await;
    if let Err(error) = seen {
        panic!("{error}; the forwarder's log:\n{}", forwarder.log());
    }
    let received = siem.received();
    assert_eq!(received.tally.without_id, 0, "messages without an id or a number");
    assert!(received.malformed.is_empty(), "{:?}", received.malformed);
    assert!(received.broken_streams.is_empty(), "{:?}", received.broken_streams);
    assert_exactly(&received.ids, expected)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transport_framing_and_text_carries_every_log_unchanged() {
    let world = World::new(2).await;
    world.put(&Logs(0..5_000), 100);
    let authority = Authority::new();
    let ca_file = authority.write_ca_file(world.folder());
    let trust = format!("tls = {{ ca_file = \"{}\" }}", ca_file.display());
    let receiver = |text, framing| receivers::syslog(text).framing(framing);
    let counting = Framing::OctetCounting;
    let tcp_json = receiver(Text::Json, counting).start().await.unwrap();
    let tcp_pairs = receiver(Text::Pairs, Framing::LineFeed).start().await.unwrap();
    let tls_pairs = receiver(Text::Pairs, counting).tls(authority.server()).start().await.unwrap();
    let tls_seed =
        receiver(Text::Seed, Framing::LineFeed).tls(authority.server()).start().await.unwrap();

    // One process, four sinks, every log to each of them. JSON and octet counting are the defaults.
    let config = world
        .settings()
        .syslog("tcp-json", &tcp_json.url(), "")
        .syslog("tcp-pairs", &tcp_pairs.url(), "payload = \"kv\"\nframing = \"lf\"")
        .syslog("tls-pairs", &tls_pairs.url(), &format!("payload = \"kv\"\n{trust}"))
        .syslog(
            "tls-seed",
            &tls_seed.url(),
            &format!("payload = \"kv_seed\"\nframing = \"lf\"\n{trust}"),
        )
        .write("forwarder.toml");
    let forwarder = world.start(&config, &[]);
    for siem in [&tcp_json, &tcp_pairs, &tls_pairs, &tls_seed] {
        assert_eq!(has_everything(&world, siem, &forwarder).await, 0, "{}", siem.url());
    }
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert!(tls_seed.url().starts_with("tls://"));
    assert_eq!(tls_seed.tally().cut_short + tcp_json.tally().cut_short, 0, "an orderly goodbye");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_a_receiver_without_a_trusted_certificate_gets_nothing() {
    let world = World::new(1).await;
    world.put(&Logs(0..1_000), 100);
    let authority = Authority::new();
    let siem = receivers::syslog(Text::Json).tls(authority.server()).start().await.unwrap();
    let settings = world.settings().process("shutdown_grace", "1s");
    let stranger = settings.clone().syslog("siem", &siem.url(), "").write("stranger.toml");
    let mut forwarder = world.start(&stranger, &[]);
    forwarder.until_metric("forwarder_sink_holding", &[("sink", "siem")], |v| v == 1.0).await;
    forwarder.says("ca_file").await;
    forwarder.says("nothing was lost").await;
    forwarder.stop().await;
    assert_eq!(siem.tally().received, 0);

    let ca_file = authority.write_ca_file(world.folder());
    let trust = format!("tls = {{ ca_file = \"{}\" }}", ca_file.display());
    let config = settings.syslog("siem", &siem.url(), &trust).write("trusted.toml");
    let forwarder = world.start(&config, &[]);
    assert_eq!(has_everything(&world, &siem, &forwarder).await, 0);
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_says_what_the_configuration_says() {
    let world = World::new(1).await;
    world.put(&Logs(0..10), 10);
    let siem = SyslogReceiver::builder().start().await.unwrap();
    // The names of the vendor's sample are understood.
    let header = "facility = \"FAC_LOCAL3\"\nseverity = \"SEV_NOTICE\"\nhostname = \"collector-1\"\n\
                  tag = \"audit\"\nevent_id = false";
    let config = world.settings().syslog("siem", &siem.url(), header).write("forwarder.toml");
    let forwarder = world.start(&config, &[]);
    siem.wait_for(10, PATIENCE).await.unwrap();
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    for message in siem.received().messages.iter() {
        assert_eq!((message.facility(), message.severity()), (19, 5));
        assert_eq!(message.hostname.as_deref(), Some("collector-1"));
        assert_eq!(message.app_name.as_deref(), Some("audit"));
        assert!(message.structured_data.is_empty(), "no id was asked for");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_goes_away_and_comes_back_has_everything_in_the_end() {
    let world = World::new(2).await;
    let siem = receivers::syslog(Text::Json).start().await.unwrap();
    let config = world.settings().syslog("siem", &siem.url(), "").write("forwarder.toml");
    let mut forwarder = world.start(&config, &[]);
    world.put(&Logs(0..3_000), 50);
    siem.wait_until(PATIENCE, |tally| tally.distinct_ids >= 1_000).await.unwrap();

    // Everything that the kernel had taken and the receiver had not read is lost to the sender's knowledge.
    siem.down().await;
    world.put(&Logs(3_000..6_000), 50);
    forwarder.says("nothing was lost").await;
    siem.up().await.unwrap();
    let repeated = has_everything(&world, &siem, &forwarder).await;
    assert!(repeated > 0, "the window was sent again, since it could not be known");

    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_in_the_middle_lose_nothing() {
    let world = World::new(2).await;
    let siem = receivers::syslog(Text::Pairs).start().await.unwrap();
    let config = world.settings().syslog("siem", &siem.url(), "payload = \"kv\"");
    let forwarder = world.start(&config.write("forwarder.toml"), &[]);
    let mut end = 0;
    for cut in [1u64, 700] {
        siem.faults().reset_after(cut);
        world.put(&Logs(end..end + 2_000), 50);
        end += 2_000;
        has_everything(&world, &siem, &forwarder).await;
        siem.faults().close_after(cut);
        world.put(&Logs(end..end + 2_000), 50);
        end += 2_000;
        has_everything(&world, &siem, &forwarder).await;
    }
    let connections = siem.tally().connections;
    assert!(connections >= 5, "four were cut, but there were only {connections}");
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_message_at_which_the_receiver_breaks_connections_stops_no_other() {
    for (window, tls) in [("", false), ("resend_window = \"0B\"\n", false), ("", true)] {
        let world = World::new(2).await;
        let authority = Authority::new();
        let ca_file = authority.write_ca_file(world.folder());
        let receiver = receivers::syslog(Text::Json);
        let (receiver, trust) = if tls {
            let trust = format!("tls = {{ ca_file = \"{}\" }}\n", ca_file.display());
            (receiver.tls(authority.server()), trust)
        } else {
            (receiver, String::new())
        };
        let siem = receiver.start().await.unwrap();
        siem.faults().close_at("\"number\":\"777\"");
        world.put(&Logs(0..2_000), 100);
        let settings = world.settings().syslog("siem", &siem.url(), &format!("{window}{trust}"));
        let mut forwarder = world.start(&settings.write("forwarder.toml"), &[]);
        world.settled().await;
        if window.is_empty() {
            assert_eq!(siem.tally().distinct_ids, 1_999);
            let letters = world.dead_letters();
            assert_eq!(letters.len(), 1, "{letters:?}");
            assert_eq!(letters[0]["fields"]["number"], "777");
            let reason = letters[0]["reason"].as_str().unwrap();
            assert!(reason.contains("nothing but this row on the connection"), "{reason}");
            forwarder.says("rows refused by the receiver, writing dead letters").await;
        }
        assert_eq!(forwarder.terminate().await, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_takes_little_on_each_connection_has_everything_in_the_end() {
    for window in ["", "resend_window = \"0B\"\n"] {
        let world = World::new(2).await;
        let siem = receivers::syslog(Text::Json).start().await.unwrap();
        siem.faults().close_each_after(20_000);
        world.put(&Logs(0..1_000), 100);
        let config = world.settings().syslog("siem", &siem.url(), window).write("forwarder.toml");
        let forwarder = world.start(&config, &[]);
        if window.is_empty() {
            has_everything(&world, &siem, &forwarder).await;
        }
        world.settled().await;
        assert_eq!(forwarder.terminate().await, Some(0));
        assert!(world.dead_letters().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_stops_reading_is_waited_for() {
    let world = World::new(2).await;
    let siem = receivers::syslog(Text::Json).receive_buffer(4_096).start().await.unwrap();
    siem.faults().pause_reading();
    let config = world.settings().process("memory_budget", "1MiB").syslog("siem", &siem.url(), "");
    let mut forwarder = world.start(&config.write("forwarder.toml"), &[]);
    world.put(&Logs(0..30_000), 100);
    // Loopback takes megabytes; then nothing moves any more, and pulling stops.
    forwarder.until_metric("forwarder_in_flight_bytes", &[], |bytes| bytes >= 500_000.0).await;
    let behind = world.backlog();
    assert!(behind > 0, "what was not read is not behind a checkpoint");

    siem.faults().resume_reading();
    assert_eq!(has_everything(&world, &siem, &forwarder).await, 0);
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
}

/// How many logs the receiver's kernel has and nothing proves to be read.
const UNCONFIRMED: &str = "forwarder_unconfirmed_records";

/// A receiver whose kernel takes all of what it does not read.
async fn deep_receiver() -> SyslogReceiver {
    receivers::syslog(Text::Json).receive_buffer(200_000).start().await.unwrap()
}

/// Brings the world to where all of `frozen` is in the receiver's kernel and none of it was read, for longer than
/// `resend_age`; `read` was read and settled before.
async fn freeze(world: &World, siem: &SyslogReceiver, forwarder: &mut Forwarder) {
    let (read, frozen) = (Logs(0..1_000), Logs(1_000..1_100));
    world.put(&read, 100);
    world.settled().await;
    siem.faults().pause_reading();
    world.put(&frozen, 10);
    forwarder.until_metric(UNCONFIRMED, &[], |rows| rows == 100.0).await;
    // It has been asked, and does not answer for as long as `timeout`.
    forwarder.says("the receiver does not confirm").await;
    assert_eq!(world.backlog(), 10, "the checkpoint waits for what was not read");
}

/// Loses everything that the receiver has not read, and takes up work again.
async fn crash(siem: &SyslogReceiver) {
    siem.down().await;
    assert_eq!(siem.tally().distinct_ids, 1_000, "nothing was read since it was frozen");
    siem.faults().resume_reading();
    siem.up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_freezes_for_longer_than_the_age_and_dies_loses_nothing() {
    let world = World::new(2).await;
    let siem = deep_receiver().await;
    let config = world.settings().syslog("siem", &siem.url(), "timeout = \"1s\"");
    let mut forwarder = world.start(&config.write("forwarder.toml"), &[]);
    freeze(&world, &siem, &mut forwarder).await;
    crash(&siem).await;
    assert_eq!(has_everything(&world, &siem, &forwarder).await, 0);
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_freezes_and_thaws_gets_nothing_twice() {
    let world = World::new(2).await;
    let siem = deep_receiver().await;
    let config = world.settings().syslog("siem", &siem.url(), "timeout = \"1s\"");
    let mut forwarder = world.start(&config.write("forwarder.toml"), &[]);
    freeze(&world, &siem, &mut forwarder).await;
    siem.faults().resume_reading();
    assert_eq!(has_everything(&world, &siem, &forwarder).await, 0);
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarder_and_receiver_that_die_together_lose_nothing() {
    let world = World::new(2).await;
    let siem = deep_receiver().await;
    let settings = world.settings().process("shutdown_grace", "1s");
    let config = settings.syslog("siem", &siem.url(), "timeout = \"1s\"").write("forwarder.toml");

    let mut forwarder = world.start(&config, &[]);
    freeze(&world, &siem, &mut forwarder).await;
    forwarder.kill().await;
    crash(&siem).await;
    let forwarder = world.start(&config, &[]);
    assert_eq!(has_everything(&world, &siem, &forwarder).await, 0);
    world.settled().await;

    // The same by a stop in order, which waits for the receiver as long as it may and then says what it left.
    siem.faults().pause_reading();
    world.put(&Logs(1_100..1_200), 10);
    let mut forwarder = forwarder;
    forwarder.until_metric(UNCONFIRMED, &[], |rows| rows == 100.0).await;
    let begun = Instant::now();
    let ended = forwarder.stop().await;
    assert_eq!(ended.code, Some(7), "{}", ended.log);
    assert!(begun.elapsed() < Duration::from_secs(4), "the grace is 1 s");
    assert_eq!(world.backlog(), 10, "what was not confirmed is not settled");
    siem.down().await;
    siem.faults().resume_reading();
    siem.up().await.unwrap();
    let forwarder = world.start(&config, &[]);
    assert_eq!(has_everything(&world, &siem, &forwarder).await, 0);
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_confirmation_does_not_wait_for_the_age() {
    let limits = Limits { max_pull_bytes: 200_000, ..Limits::default() };
    let world = World::of(World::sls(2).limits(limits), receivers::hec()).await;
    let siem = receivers::syslog(Text::Json).start().await.unwrap();
    // A budget that is used up many times over, then a stop: neither takes an hour.
    let settings = world.settings().process("memory_budget", "1MiB");
    let config = settings.syslog("siem", &siem.url(), "resend_age = \"1h\"");
    world.put(&Logs(0..20_000), 100);
    let forwarder = world.start(&config.write("forwarder.toml"), &[]);
    assert_eq!(has_everything(&world, &siem, &forwarder).await, 0);
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.backlog(), 0, "the stop had the rest confirmed");
    assert!(siem.tally().connections > 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_ends_its_side_and_reads_on_is_served_and_named() {
    let world = World::new(2).await;
    let siem = receivers::syslog(Text::Json).start().await.unwrap();
    siem.faults().end_early();
    let config = world.settings().syslog("siem", &siem.url(), "").write("forwarder.toml");
    let mut forwarder = world.start(&config, &[]);
    world.put(&Logs(0..1_000), 100);
    has_everything(&world, &siem, &forwarder).await;
    forwarder.says("nothing shows what it has read").await;
    world.settled().await;
    let connections = siem.tally().connections;
    assert!(connections < 8, "{connections} connections");
    world.put(&Logs(1_000..2_000), 100);
    has_everything(&world, &siem, &forwarder).await;
    forwarder.until_metric("forwarder_unproven_records_total", &[], |rows| rows == 2_000.0).await;
    assert_eq!(siem.tally().connections, connections, "one is kept");
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_keeps_connections_open_does_not_delay_the_first_logs() {
    let world = World::new(2).await;
    let siem = receivers::syslog(Text::Json).start().await.unwrap();
    siem.faults().keep_open();
    let config = world.settings().syslog("siem", &siem.url(), "").write("forwarder.toml");
    let forwarder = world.start(&config, &[]);
    let begun = Instant::now();
    // One after the other, over more time than `resend_age`.
    for first in 0..40 {
        world.put(&Logs(first * 100..first * 100 + 100), 100);
        let repeated = has_everything(&world, &siem, &forwarder).await;
        assert_eq!(repeated, 0);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    forwarder.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_no_window_the_kernels_acknowledgement_counts() {
    let world = World::new(1).await;
    let siem = receivers::syslog(Text::Json).start().await.unwrap();
    siem.faults().keep_open();
    let config = world.settings().syslog("siem", &siem.url(), "resend_window = \"0B\"");
    let forwarder = world.start(&config.write("forwarder.toml"), &[]);
    world.put(&Logs(0..1_000), 100);
    world.settled().await;
    assert_eq!(has_everything(&world, &siem, &forwarder).await, 0);
    assert_eq!(siem.tally().connections, 1);
    forwarder.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_too_long_for_the_receiver_is_a_dead_letter_unless_it_may_be_cut() {
    use forwarder_emulator::log_group::EncodedGroup;
    use forwarder_emulator::state::logstore::Placement;
    use forwarder_record::encode::{Log, LogGroup};
    use forwarder_tests::{LOGSTORE, PROJECT};

    let world = World::new(1).await;
    let field = |key: &str, value: String| (key.to_owned(), value);
    let logs = (0..100).map(|number| Log {
        time: 1_767_323_045,
        nanos: None,
        contents: vec![
            field("number", number.to_string()),
            field("text", "x".repeat(if number == 50 { 9_000 } else { 90 })),
        ],
    });
    let group = LogGroup { logs: logs.collect(), ..LogGroup::default() };
    world.sls.put(PROJECT, LOGSTORE, Placement::Shard(0), [EncodedGroup::from(&group)]).unwrap();
    let strict = SyslogReceiver::builder().start().await.unwrap();
    let lenient = SyslogReceiver::builder().start().await.unwrap();
    let config = world
        .settings()
        .syslog("strict", &strict.url(), "")
        .syslog("lenient", &lenient.url(), "oversize = \"truncate\"")
        .write("forwarder.toml");
    let mut forwarder = world.start(&config, &[]);
    world.settled().await;
    strict.wait_for(99, PATIENCE).await.unwrap();
    lenient.wait_for(100, PATIENCE).await.unwrap();

    let letters = world.dead_letters();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0]["fields"]["number"], "50");
    assert_eq!(letters[0]["refused_by"]["sink"], "strict");
    let cut =
        forwarder.metrics().await.sum("forwarder_truncated_records_total", &[("sink", "lenient")]);
    assert_eq!(cut, 1.0);
    until("the longest message is as long as it may be", async || {
        lenient.received().messages.iter().any(|message| message.text().contains("\"50\""))
    })
    .await;
    assert_eq!(forwarder.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nested_json_and_pairs_bring_no_control_character() {
    use forwarder_emulator::log_group::EncodedGroup;
    use forwarder_emulator::state::logstore::Placement;
    use forwarder_record::encode::{Log, LogGroup};
    use forwarder_tests::{LOGSTORE, PROJECT};

    let world = World::new(1).await;
    let event = "{\r\n  \"eventName\": \"PutBucketAcl\",\n\t\"owner\": 1388888888888888888,\r\n \"note\": \
                 \"\\u0000\u{7f}\u{9b}\"\n}\n";
    let field = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let logs = (0..3).map(|_| Log {
        time: 1_767_323_045,
        nanos: None,
        contents: vec![field("event", event), field("tab", "a\tb\u{1b}[2J\u{85}c")],
    });
    let topic = "actiontrail_audit_event".to_owned();
    let group = LogGroup { topic, logs: logs.collect(), ..LogGroup::default() };
    world.sls.put(PROJECT, LOGSTORE, Placement::Shard(0), [EncodedGroup::from(&group)]).unwrap();
    let mut receivers = Vec::new();
    let mut settings = world.settings();
    for (framing, word) in [(Framing::LineFeed, "lf"), (Framing::OctetCounting, "octet_counting")] {
        for payload in ["json", "kv"] {
            let siem = SyslogReceiver::builder().framing(framing).start().await.unwrap();
            let more = format!("framing = \"{word}\"\npayload = \"{payload}\"");
            settings = settings.syslog(&format!("{payload}-{word}"), &siem.url(), &more);
            receivers.push((siem, payload));
        }
    }
    let config = settings.write("forwarder.toml");
    let forwarder =
        world.start(&config, &["--plugin", Forwarder::plugin("audit").to_str().unwrap()]);
    for (siem, payload) in &receivers {
        siem.wait_for(3, PATIENCE).await.unwrap();
        let received = siem.received();
        assert!(received.malformed.is_empty() && received.messages.len() == 3);
        let text = received.messages[0].text();
        assert!(!text.contains(char::is_control), "{payload}: {text:?}");
        assert!(text.contains("1388888888888888888"), "{text}");
        if *payload == "json" {
            let read: serde_json::Value = serde_json::from_str(&text).unwrap();
            let sent: serde_json::Value = serde_json::from_str(event).unwrap();
            assert_eq!(read["event"], sent, "the same value");
        } else {
            assert!(text.contains("tab=a\\tb\\u001b[2J\\u0085c"), "{text}");
        }
    }
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
}
