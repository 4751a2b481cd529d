//! Reading one shard against a real server: where it begins, what it does about trouble, where it ends.

mod support;

use std::time::Duration;

use forwarder_emulator::log_group::EncodedGroup;
use forwarder_sls::api::Filter;
use forwarder_sls::group::{LeaseState, OnInvalidCursor, Pull, PullError, Start};
use forwarder_sls::{ConsumerGroup, Cursor, GroupConfig, metrics as names};
use support::reading::{config, data, ended, holding};
use support::{
    Api, Counters, Fault, Sls, group, group_of, hang, header, refuse, unhelpful, without,
};
use tokio::time::timeout;

#[tokio::test]
async fn reading_begins_at_the_checkpoint_else_at_the_configured_start() {
    let sls = Sls::start(1).await;
    sls.write_at(0, &["a", "b"], 100);
    sls.write_at(0, &["c", "d"], 200);
    for (start, groups) in [(Start::Begin, 0), (Start::Time(150), 2), (Start::End, 4)] {
        if sls.options().is_some() {
            sls.delete_group();
        }
        let (_group, lease) = holding(&sls, GroupConfig { start, ..config() }).await;
        let position = sls.cursor(0, groups);
        assert_eq!(lease.puller().start().await.unwrap(), position, "{start:?}");
        assert_eq!(sls.saved(0), position.as_str(), "the start means the same after a restart");
    }
    sls.save(0, &sls.cursor(0, 3));
    let (_group, lease) = holding(&sls, config()).await;
    assert_eq!(data(&mut lease.puller()).await, ("d".into(), sls.cursor(0, 4)));
    let writes = sls.seen(Api::UpdateCheckPoint).len();
    lease.checkpoints().save(&sls.cursor(0, 3)).await.unwrap();
    assert_eq!(sls.seen(Api::UpdateCheckPoint).len(), writes, "what is stored is not stored again");
}

#[tokio::test]
async fn a_damaged_answer_is_asked_for_again_at_once_and_reported_if_it_stays_so() {
    let sls = Sls::start(1).await;
    let (_group, lease) = holding(&sls, config()).await;
    let mut puller = lease.puller();
    puller.start().await.unwrap();
    for fault in [
        header("x-log-bodyrawsize", "0"),
        header("x-log-count", "0"),
        header("x-log-bodyrawsize", "9000000000000000000"),
        header("x-log-compresstype", "brotli"),
        header("x-log-cursor", "MQ=="),
        without("x-log-count"),
        Fault::SetBody("garbage".into()),
        Fault::CutBody,
    ] {
        let shown = format!("{fault:?}");
        sls.write(0, &[&shown]);
        sls.faults(Api::PullLogs, 3, fault.clone());
        assert_eq!(data(&mut puller).await.0, shown);

        sls.write(0, &[&shown]);
        let position = puller.position().unwrap().clone();
        sls.faults(Api::PullLogs, 1000, fault);
        let damaged = timeout(Duration::from_secs(20), async {
            loop {
                match puller.pull().await {
                    Ok(Pull::Data(pulled)) => assert!(pulled.body().await.is_err()),
                    Ok(other) => panic!("{shown} is taken for {other:?}"),
                    Err(error) => return error,
                }
            }
        });
        let error = damaged.await.unwrap();
        let PullError::Damaged { cursor, times: 6, .. } = &error else {
            panic!("{shown}: {error}")
        };
        assert_eq!(*cursor, position);
        sls.clear_faults();
        assert_eq!(data(&mut puller).await.0, shown, "and nothing was skipped");
    }
}

#[tokio::test]
async fn a_cursor_moves_by_the_groups_that_came_and_with_a_filter_not_behind_the_end() {
    let sls = Sls::start(1).await;
    sls.write(0, &["a", "b", "c", "d"]);
    let (beyond, within, short) = (sls.cursor(0, 99_999), sls.cursor(0, 3), sls.cursor(0, 1));
    let query = Filter::Query("*".into());
    for (filter, cursors) in
        [(None, [&beyond, &within, &short].as_slice()), (Some(query), [&beyond].as_slice())]
    {
        let (_group, lease) = holding(&sls, GroupConfig { filter, ..config() }).await;
        for &cursor in cursors {
            let mut puller = lease.puller();
            puller.start().await.unwrap();
            // Of one group, so that the cursor within the data is too far as well.
            puller.ask_for_less(if *cursor == within { 3 } else { 0 });
            let faults = [header("x-log-cursor", cursor), without("x-log-rawdatacount")];
            sls.fault(Api::PullLogs, Fault::Together(faults.into()));
            let expected = if *cursor == within { "a" } else { "abcd" };
            let (text, next) = data(&mut puller).await;
            assert_eq!(text, expected, "{cursor}");
            assert_eq!(next, sls.cursor(0, text.len() as u64), "{cursor}");
        }
    }
}

/// The answer that the oldest log group is now at this cursor.
fn begins_at(cursor: &Cursor) -> Fault {
    Fault::SetBody(format!(r#"{{"cursor":"{cursor}"}}"#))
}

#[tokio::test]
async fn a_cursor_that_moves_without_data_is_followed_only_over_what_has_expired() {
    let (counters, _guard) = Counters::install();
    let sls = Sls::start(1).await;
    sls.write(0, &["a", "b"]);
    let (_group, lease) = holding(&sls, config()).await;
    let mut puller = lease.puller();
    sls.faults(Api::PullLogs, 1000, Fault::HideGroups);
    assert!(matches!(ended(&mut puller).await, PullError::Damaged { .. }));
    assert_eq!(counters.get(names::INVALID_CURSOR_RESETS), 0);
    assert_eq!(puller.position(), Some(&sls.cursor(0, 0)));

    // The service may let a cursor pass over what it has deleted.
    sls.faults(Api::GetCursor, 1000, begins_at(&sls.cursor(0, 2)));
    match puller.pull().await.unwrap() {
        // After damage, less is asked for at once.
        Pull::Empty { next_cursor } => assert_eq!(next_cursor, sls.cursor(0, 1)),
        other => panic!("{other:?}"),
    }
    assert_eq!(counters.get(names::INVALID_CURSOR_RESETS), 1);
}

#[tokio::test]
async fn with_a_filter_too_what_has_expired_is_jumped_over_with_a_warning() {
    let (counters, _guard) = Counters::install();
    let sls = Sls::start(1).await;
    sls.write(0, &["a", "b", "c", "d"]);
    let filter = Some(Filter::Query("* | where text != 'a' and text != 'b'".into()));
    let (_group, lease) = holding(&sls, GroupConfig { filter, ..config() }).await;
    let mut puller = lease.puller();
    puller.start().await.unwrap();
    // Two of four groups were read: two are missing, unless they have expired.
    let read = header("x-log-rawdatacount", "2");
    sls.fault(Api::PullLogs, read.clone());
    sls.fault(Api::PullLogs, without("x-log-rawdatacount"));
    assert_eq!(data(&mut puller).await, ("cd".into(), sls.cursor(0, 4)));
    assert_eq!(
        sls.seen(Api::PullLogs).len(),
        3,
        "asked again, and that answer confirmed by one more"
    );
    assert_eq!(counters.get(names::INVALID_CURSOR_RESETS), 0);

    // Another that begins there.
    let mut puller = lease.puller();
    puller.start().await.unwrap();
    sls.faults(Api::GetCursor, 1000, begins_at(&sls.cursor(0, 2)));
    sls.fault(Api::PullLogs, read);
    assert_eq!(data(&mut puller).await, ("cd".into(), sls.cursor(0, 4)));
    assert_eq!(sls.seen(Api::PullLogs).len(), 4);
    assert_eq!(counters.get(names::INVALID_CURSOR_RESETS), 1);
}

#[tokio::test]
async fn the_age_of_what_is_read_is_asked_for_without_waiting_for_the_answer() {
    let sls = Sls::start(1).await;
    sls.write(0, &["one"]);
    sls.faults(Api::PullLogs, 1000, unhelpful());
    sls.faults(Api::GetCursorTime, 1000, hang());
    let (_group, lease) = holding(&sls, config()).await;
    let mut puller = lease.puller();
    let began = std::time::Instant::now();
    assert_eq!(data(&mut puller).await.0, "one");
    sls.write(0, &["two"]);
    assert_eq!(data(&mut puller).await.0, "two");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    sls.until("it was asked for", || !sls.seen(Api::GetCursorTime).is_empty()).await;
}

#[tokio::test]
async fn abandoning_a_pull_or_its_body_moves_nothing() {
    let sls = Sls::start(1).await;
    sls.write(0, &["one"]);
    let (_group, lease) = holding(&sls, config()).await;
    let mut puller = lease.puller();
    puller.start().await.unwrap();
    sls.fault(Api::PullLogs, hang());
    assert!(timeout(Duration::from_millis(50), puller.pull()).await.is_err());
    assert!(matches!(puller.pull().await.unwrap(), Pull::Data(_)));
    assert_eq!(puller.position(), Some(&sls.cursor(0, 0)));
    assert_eq!(data(&mut puller).await, ("one".into(), sls.cursor(0, 1)));
    assert_eq!(puller.position(), Some(&sls.cursor(0, 1)));
}

#[tokio::test]
async fn full_answers_are_followed_at_once_and_the_end_is_polled_gently() {
    let sls = Sls::start(1).await;
    sls.write(0, &["x"; 3000]);
    let slow = (Duration::from_millis(400), Duration::from_millis(800));
    let (_group, lease) = holding(&sls, GroupConfig { idle: slow, ..config() }).await;
    let mut puller = lease.puller();
    let (began, mut read) = (std::time::Instant::now(), 0);
    while read < 3000 {
        read += data(&mut puller).await.0.len();
    }
    assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
    let counts: Vec<String> =
        sls.seen(Api::PullLogs).iter().map(|seen| seen.params["count"].clone()).collect();
    assert_eq!(counts, ["100", "400", "1000", "1000", "1000"]);
    assert!(matches!(puller.pull().await.unwrap(), Pull::Empty { .. }));
    assert!(began.elapsed() > Duration::from_millis(200));
}

#[tokio::test]
async fn an_empty_answer_has_the_position_so_that_it_can_be_saved() {
    let sls = Sls::start(1).await;
    sls.write(0, &["a", "b"]);
    let filter = Some(Filter::Query("* | where text = 'c'".into()));
    let (_group, lease) = holding(&sls, GroupConfig { filter, ..config() }).await;
    let mut puller = lease.puller();
    match puller.pull().await.unwrap() {
        Pull::Empty { next_cursor } => lease.checkpoints().save(&next_cursor).await.unwrap(),
        other => panic!("{other:?}"),
    }
    assert_eq!(sls.saved(0), sls.cursor(0, 2).as_str());
}

#[tokio::test]
async fn trouble_is_waited_out_without_losing_or_repeating_anything() {
    let sls = Sls::start(1).await;
    let (_group, lease) = holding(&sls, config()).await;
    let mut puller = lease.puller();
    for (index, fault) in [
        refuse(500, "InternalServerError"),
        refuse(403, "ShardReadQuotaExceed"),
        refuse(503, "ServerBusy"),
        refuse(401, "SignatureNotMatch"),
        refuse(404, "LogStoreNotExist"),
        Fault::Html(502),
        without("x-log-cursor"),
        header("x-log-bodyrawsize", "7"),
        Fault::SetBody("garbage".into()),
        Fault::CutBody,
    ]
    .into_iter()
    .enumerate()
    {
        let text = format!("log {index} with a tail that is long enough");
        sls.write(0, &[&text]);
        sls.fault(Api::PullLogs, fault);
        assert_eq!(data(&mut puller).await.0, text);
    }
}

#[tokio::test]
async fn trouble_at_the_start_is_waited_out_too() {
    let sls = Sls::start(1).await;
    sls.write(0, &["one"]);
    sls.fault(Api::GetCheckPoint, refuse(500, "InternalServerError"));
    sls.fault(Api::GetCursor, Fault::CutBody);
    let (_group, lease) = holding(&sls, config()).await;
    assert_eq!(data(&mut lease.puller()).await.0, "one");
}

#[tokio::test]
async fn an_expired_position_continues_with_the_oldest_logs_and_is_counted() {
    let (counters, _guard) = Counters::install();
    let sls = Sls::start(1).await;
    sls.write(0, &["a", "b", "c", "d"]);
    sls.create_group(60, false);
    sls.save(0, &sls.cursor(0, 0));
    sls.trim(0, 2);
    let (_group, lease) = holding(&sls, config()).await;
    assert_eq!(data(&mut lease.puller()).await.0, "cd");
    assert_eq!(counters.get(names::INVALID_CURSOR_RESETS), 1);
}

#[tokio::test]
async fn an_expired_position_can_go_to_the_end_or_be_left_to_a_person() {
    let sls = Sls::start(1).await;
    sls.write(0, &["a", "b"]);
    sls.create_group(60, false);
    sls.save(0, &Cursor::at(7));
    let fail = GroupConfig { on_invalid_cursor: OnInvalidCursor::Fail, ..config() };
    let (_group, lease) = holding(&sls, fail).await;
    assert!(matches!(ended(&mut lease.puller()).await, PullError::InvalidCursor(_)));

    let end = GroupConfig { on_invalid_cursor: OnInvalidCursor::End, ..config() };
    let (_group, lease) = holding(&sls, end).await;
    let mut puller = lease.puller();
    assert!(matches!(puller.pull().await.unwrap(), Pull::Empty { .. }));
    sls.write(0, &["c"]);
    assert_eq!(data(&mut puller).await.0, "c");
}

/// The length of the text in a log group.
fn texts_in(group: &EncodedGroup) -> usize {
    group.values_of("text").map(|text| text.len()).sum()
}

#[tokio::test]
async fn a_block_beyond_the_limit_is_pulled_in_parts_and_a_group_beyond_it_is_reported() {
    let sls = Sls::start(1).await;
    let (group, now) = (group_of(400), sls.now());
    let text = texts_in(&group);
    sls.store(0, [group.clone(), group.clone(), group], now);
    let small = GroupConfig { block_limit: 1000, block_target: 1 << 20, ..config() };
    let (_group, lease) = holding(&sls, small).await;
    let mut puller = lease.puller();
    let mut read = 0;
    while read < 3 * text {
        let part = data(&mut puller).await.0.len();
        assert!(part <= 2 * text, "more than 1000 bytes");
        read += part;
    }
    assert_eq!(read, 3 * text);
    sls.store(0, [group_of(1001)], now);
    let error = ended(&mut puller).await;
    assert!(matches!(error, PullError::TooLarge { raw_size: 1001, limit: 1000 }), "{error}");
}

#[tokio::test]
async fn blocks_follow_their_target() {
    let sls = Sls::start(1).await;
    let group = group_of(1000);
    let text = texts_in(&group);
    sls.store(0, vec![group; 400], sls.now());
    let (_group, lease) = holding(&sls, GroupConfig { block_target: 50_000, ..config() }).await;
    let mut puller = lease.puller();
    assert_eq!(data(&mut puller).await.0.len(), 100 * text);
    assert_eq!(data(&mut puller).await.0.len(), 50 * text);
}

#[tokio::test]
async fn a_run_with_an_end_stops_there_and_the_group_with_it() {
    let sls = Sls::start(1).await;
    // With a timeout that is too long to wait for.
    sls.create_group(3600, false);
    sls.write_at(0, &["a", "b"], 100);
    sls.write_at(0, &["c"], 200);
    let (mut group, lease) = holding(&sls, GroupConfig { end: Some(200), ..config() }).await;
    let mut puller = lease.puller();
    assert_eq!(data(&mut puller).await.0, "ab");
    let reached = loop {
        if let Pull::ReachedEnd { cursor } = puller.pull().await.unwrap() {
            break cursor;
        }
    };
    assert_eq!(reached, sls.cursor(0, 2));
    lease.checkpoints().save(&reached).await.unwrap();
    // The end was read, but what was read before is perhaps not settled.
    assert!(timeout(Duration::from_millis(1500), group.next_lease()).await.is_err());
    lease.finish();
    let done = timeout(Duration::from_secs(20), group.next_lease()).await.unwrap();
    assert!(matches!(done, Ok(None)), "{done:?}");
    assert_eq!(*lease.state().borrow(), LeaseState::Held);
}

#[tokio::test]
async fn an_end_in_the_future_is_not_mistaken_for_todays() {
    let sls = Sls::start(1).await;
    let end = sls.now() + 2;
    let (_group, lease) = holding(&sls, GroupConfig { end: Some(end), ..config() }).await;
    let mut puller = lease.puller();
    assert!(matches!(puller.pull().await.unwrap(), Pull::Empty { .. }));
    sls.write(0, &["still before the end"]);
    assert_eq!(data(&mut puller).await.0, "still before the end");
    let read = async { while !matches!(puller.pull().await.unwrap(), Pull::ReachedEnd { .. }) {} };
    timeout(Duration::from_secs(20), read).await.unwrap();
}

#[tokio::test]
async fn a_waiting_pull_ends_with_its_lease() {
    let sls = Sls::start(1).await;
    let (_group, lease) = holding(&sls, config()).await;
    let mut puller = lease.puller();
    puller.start().await.unwrap();
    sls.faults(Api::PullLogs, 100, hang());
    sls.faults(Api::HeartBeat, 1000, Fault::Grant(0));
    assert!(matches!(ended(&mut puller).await, PullError::Ended(LeaseState::HandOver)));
    drop(lease);
    assert!(matches!(ended(&mut puller).await, PullError::Ended(LeaseState::Lost)));
}

#[tokio::test]
async fn a_shard_that_is_gone_is_reported() {
    let sls = Sls::start(1).await;
    let (_group, lease) = holding(&sls, config()).await;
    let mut puller = lease.puller();
    puller.start().await.unwrap();
    sls.fault(Api::PullLogs, refuse(404, "ShardNotExsit"));
    assert!(matches!(ended(&mut puller).await, PullError::ShardMissing(_)));
    assert_eq!(*lease.state().borrow(), LeaseState::Held, "what was pulled is delivered under it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_shards_are_read_side_by_side_to_the_last_log() {
    const SHARDS: u32 = 8;
    const GROUPS: usize = 500;
    let sls = Sls::start(SHARDS).await;
    for shard in 0..SHARDS {
        let groups = (0..GROUPS).map(|at| group(&format!("{shard}.{at};")));
        sls.store(shard, groups, sls.now());
    }
    // One answer in ten fails. Fewer are damaged than make a shard pause, should one shard meet them all.
    for _ in 0..5 {
        sls.faults(Api::PullLogs, 7, refuse(500, "InternalServerError"));
        sls.fault(Api::PullLogs, Fault::CutBody);
    }
    let small = GroupConfig { block_target: 1000, ..config() };
    let mut group = ConsumerGroup::join(sls.client(), small).await.unwrap();
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..SHARDS {
        let lease = group.next_lease().await.unwrap().unwrap();
        readers.spawn(async move {
            let (mut puller, mut read) = (lease.puller(), String::new());
            while read.matches(';').count() < GROUPS {
                let (body, next) = data(&mut puller).await;
                read += &body;
                lease.checkpoints().save(&next).await.unwrap();
            }
            (lease.shard(), read)
        });
    }
    for (shard, read) in readers.join_all().await {
        let expected: String = (0..GROUPS).map(|at| format!("{shard}.{at};")).collect();
        assert_eq!(read, expected, "shard {shard}: in order, nothing lost, nothing twice");
        let end = sls.cursor(shard as usize, GROUPS as u64);
        assert_eq!(sls.saved(shard), end.as_str());
    }
    group.leave().await;
}
