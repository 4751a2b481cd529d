//! Answers of SLS to a query whose next cursor is wrong. The log groups that came do not say which were read, so this
//! shows only in other headers, or in a second answer.

use forwarder_emulator::Api;
use forwarder_emulator::faults::Fault;
use forwarder_tests::{Logs, World};

/// More often than any test asks.
const ALWAYS: u32 = 1_000_000;

/// The header with the number of log groups that were read.
const READ: &str = "x-log-rawdatacount";
/// The header with the position of the last one.
const LAST: &str = "x-log-read-last-cursor";

/// Delivers what a query lets through while answers are wrong; nothing may be missing or come twice.
async fn delivers_all(times: u32, faults: &[Fault]) -> String {
    let world = World::new(1).await;
    let logs = Logs(0..600);
    world.put(&logs, 1);
    let settings = world.settings().source("query", "*");
    let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
    world.sls.faults().inject(Api::PullLogs, Fault::Together(faults.to_vec()), times);
    let forwarder = world.start(&config, &[]);
    world.received(600, &forwarder).await;
    world.settled().await;
    let ended = forwarder.stop().await;
    assert_eq!(ended.code, Some(0), "{faults:?}");
    assert_eq!(world.assert_received(&logs), 0, "{faults:?}:\n{}", ended.log);
    assert!(!ended.log.contains("ERROR"), "{faults:?}:\n{}", ended.log);
    ended.log
}

fn header(name: &str, value: &str) -> Fault {
    Fault::SetHeader(name.to_owned(), value.to_owned())
}

fn omit(name: &str) -> Fault {
    Fault::OmitHeader(name.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_moves_over_groups_that_were_not_read_skips_nothing() {
    for groups in [2, 20, 500, 700, 1_000_000] {
        let far = Fault::MoveCursor(groups);
        let log = delivers_all(1, std::slice::from_ref(&far)).await;
        assert!(log.contains("but the log groups that were read end at"), "{log}");
        delivers_all(3, &[far.clone(), omit(READ)]).await;
        delivers_all(3, &[far.clone(), header(READ, "many")]).await;
        delivers_all(1, &[far, omit(READ), omit(LAST)]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_else_is_wrong_with_an_answer_to_a_query_skips_nothing() {
    for fault in [
        header(READ, "3"),
        header(READ, "0"),
        header(READ, "999999"),
        header(LAST, "7"),
        omit(READ),
        // The lines that came out of the query are reported, so it is not one that matched nothing.
        Fault::HideGroups,
    ] {
        delivers_all(3, &[fault]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_in_every_answer_to_a_query_stops_no_shard() {
    let words = "keep contradicting the log groups that were read; reading continues";
    for faults in [vec![Fault::MoveCursor(2)], vec![Fault::MoveCursor(2), omit(READ)]] {
        assert!(delivers_all(20, &faults).await.contains(words), "{faults:?}");
    }
    // An old service may send neither.
    for faults in [vec![omit(READ)], vec![omit(READ), omit(LAST)], vec![header(LAST, "7")]] {
        let log = delivers_all(ALWAYS, &faults).await;
        assert!(!log.contains("WARN"), "{faults:?}:\n{log}");
    }
}
