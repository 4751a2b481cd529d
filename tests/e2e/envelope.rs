//! What surrounds a log as it is sent, where it comes from the log: its time, its host, its severity, its index.

use forwarder_emulator::log_group::EncodedGroup;
use forwarder_emulator::state::logstore::Placement;
use forwarder_receivers::hec::Mode;
use forwarder_receivers::syslog::{self, SyslogReceiver};
use forwarder_record::encode::{Log, LogGroup};
use forwarder_tests::{Forwarder, LOGSTORE, PATIENCE, PROJECT, World};

/// When Log Service stored the logs; the events happened sixteen hours earlier.
const STORED: u32 = 1_788_308_100;
const HAPPENED: i64 = 1_788_250_500;

/// Logs about accounts; the third has neither a time nor a level, and its account is not a name. `more` are the times of
/// others.
fn put(world: &World, more: &[&str]) {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let log = |account: &str, level: &str, time: &str| {
        let event =
            format!(r#"{{"eventTime":"{time}","userIdentity":{{"accountId":"{account}"}}}}"#);
        let contents = vec![pair("account", account), pair("level", level), pair("event", &event)];
        Log { time: STORED, nanos: None, contents }
    };
    let mut logs = vec![
        log("account-0", "warning", "2026-09-01T08:15:00Z"),
        log("account-1", "3", "2026-09-01 16:15:00+08:00"),
        log("Not a {name}\n", "loud", "this morning"),
    ];
    logs.extend(more.iter().map(|time| log("account-2", "3", time)));
    let group = LogGroup {
        topic: "actiontrail_audit_event".into(),
        source: "192.0.2.7".into(),
        tags: Vec::new(),
        logs,
    };
    let group = EncodedGroup::from_encoded(&group.encode()).unwrap();
    world.sls.put(PROJECT, LOGSTORE, Placement::Balanced, [group]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn time_host_severity_and_index_follow_the_log() {
    let world = World::with_mode(1, Mode::Events).await;
    // None of these is when something happened.
    put(&world, &["0", "1200", "1999-12-31T23:59:59Z"]);
    let siem = SyslogReceiver::builder().mode(syslog::Mode::Messages).start().await.unwrap();
    let hec = r#"
        time_field = "event.eventTime"
        event_host = "{event.userIdentity.accountId}"
        source     = "{__source__}"
        sourcetype = "aliyun:{__topic__|sls}"
        index      = "{account}"
    "#;
    let syslog = r#"
        time_field = "event.eventTime"
        hostname   = "{account}"
        app_name   = "{program|sls}-{{{__topic__}}}"
        severity   = "{level|notice}"
        facility   = "local3"
    "#;
    let config = world.settings().hec("splunk", &world.hec.url(), hec);
    let config = config.syslog("siem", &siem.url(), syslog).write("forwarder.toml");
    let mut forwarder = world.start(&config, &[]);
    world.hec.wait_for(6, PATIENCE).await.unwrap();
    siem.wait_for(6, PATIENCE).await.unwrap();
    world.settled().await;

    let events = world.hec.received().events;
    let envelopes: Vec<_> = events
        .iter()
        .map(|event| {
            let time: i64 = event.time.as_deref().unwrap().parse().unwrap();
            assert_eq!(event.source.as_deref(), Some("192.0.2.7"));
            assert_eq!(event.sourcetype.as_deref(), Some("aliyun:actiontrail_audit_event"));
            (time, event.host.clone().unwrap(), event.index.clone())
        })
        .collect();
    let (stored, some) = (i64::from(STORED), |text: &str| Some(text.to_owned()));
    let mut expected = vec![
        (HAPPENED, "account-0".to_owned(), some("account-0")),
        (HAPPENED, "account-1".to_owned(), some("account-1")),
        (stored, "Not a {name}\n".to_owned(), None),
    ];
    expected.extend(vec![(stored, "account-2".to_owned(), some("account-2")); 3]);
    assert_eq!(envelopes, expected, "what no index can be called is the token's");

    let headers: Vec<_> = siem
        .received()
        .messages
        .iter()
        .map(|message| {
            assert_eq!(message.app_name.as_deref(), Some("sls-{actiontrail_audit_event}"));
            let host = message.hostname.clone().unwrap();
            (message.unix_micros.unwrap() / 1_000_000, host, message.pri)
        })
        .collect();
    let local3 = 19 * 8;
    let mut expected = vec![
        (HAPPENED, "account-0".to_owned(), local3 + 4),
        (HAPPENED, "account-1".to_owned(), local3 + 3),
        (stored, "Not_a_{name}_".to_owned(), local3 + 5),
    ];
    expected.extend(vec![(stored, "account-2".to_owned(), local3 + 3); 3]);
    assert_eq!(headers, expected);

    for sink in ["splunk", "siem"] {
        let kept = |reason| [("sink", sink), ("reason", reason)];
        let metrics = forwarder.metrics().await;
        assert_eq!(metrics.sum("forwarder_own_time_records_total", &kept("unreadable")), 4.0);
        assert_eq!(metrics.sum("forwarder_own_time_records_total", &kept("missing")), 0.0);
    }
    forwarder.says("without a readable time in `time_field`").await;
    assert_eq!(forwarder.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_of_rfc_3339_may_be_lifted_into_the_time_of_the_event() {
    let world = World::with_mode(1, Mode::Events).await;
    put(&world, &[]);
    let config = world.settings().hec("splunk", &world.hec.url(), "");
    let lift = "config = { lift = { \"__time__\" = \"eventTime\" } }";
    let config = config.process("max_reject_ratio", "1").plugin(&Forwarder::plugin("audit"), lift);
    let forwarder = world.start(&config.write("forwarder.toml"), &[]);
    world.hec.wait_for(2, PATIENCE).await.unwrap();
    world.settled().await;
    let events = world.hec.received().events;
    let times: Vec<_> = events.iter().map(|event| event.time.clone().unwrap()).collect();
    assert_eq!(times, [HAPPENED.to_string(), HAPPENED.to_string()]);
    let [letter] = world.dead_letters().try_into().unwrap();
    assert!(letter["reason"].as_str().unwrap().contains("not a time"), "as the contract says");
    assert_eq!(forwarder.terminate().await, Some(0));
}
