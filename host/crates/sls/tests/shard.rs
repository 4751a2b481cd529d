//! Reading one shard against a real server: where it begins, what it does about trouble, where it ends.

mod support;

use std::time::Duration;

use forwarder_sls::api::Filter;
use forwarder_sls::group::{LeaseState, OnInvalidCursor, Pull, PullError, Start};
use forwarder_sls::{ConsumerGroup, Cursor, GroupConfig, metrics as names};
use support::reading::{config, data, ended, holding};
use support::{Counters, Fault, Sls};
use tokio::time::timeout;

#[tokio::test]
async fn reading_begins_at_the_checkpoint_else_at_the_configured_start() {
    let sls = Sls::start(&[0]).await;
    sls.with(|world| {
        world.write_at(0, &[b"a", b"b"], 100);
        world.write_at(0, &[b"c", b"d"], 200);
    });
    for (start, position) in [(Start::Begin, 1000), (Start::Time(150), 1002), (Start::End, 1004)] {
        sls.with(|world| {
            world.checkpoints.clear();
            world.group = None;
        });
        let (_group, lease) = holding(&sls, GroupConfig { start, ..config() }).await;
        let position = Cursor::at(position);
        assert_eq!(lease.puller().start().await.unwrap(), position, "{start:?}");
        let stored = sls.with(|world| world.checkpoints[&0].0.clone());
        assert_eq!(stored, position.as_str(), "the start means the same after a restart");
    }
    sls.with(|world| world.checkpoints.insert(0, (Cursor::at(1003).to_string(), 1)));
    let (_group, lease) = holding(&sls, config()).await;
    assert_eq!(data(&mut lease.puller()).await, ("d".into(), Cursor::at(1004)));
    let writes = sls.seen("UpdateCheckPoint").len();
    lease.checkpoints().save(&Cursor::at(1003)).await.unwrap();
    assert_eq!(sls.seen("UpdateCheckPoint").len(), writes, "what is stored is not stored again");
}

#[tokio::test]
async fn a_damaged_answer_is_asked_for_again_at_once_and_reported_if_it_stays_so() {
    let sls = Sls::start(&[0]).await;
    let (_group, lease) = holding(&sls, config()).await;
    let mut puller = lease.puller();
    puller.start().await.unwrap();
    let header = |name, value| Fault::Header(name, Some(value));
    for fault in [
        header("x-log-bodyrawsize", "0"),
        header("x-log-count", "0"),
        header("x-log-bodyrawsize", "9000000000000000000"),
        header("x-log-compresstype", "brotli"),
        header("x-log-cursor", "MQ=="),
        Fault::Header("x-log-count", None),
        Fault::Body(b"garbage".to_vec()),
        Fault::Cut,
    ] {
        let shown = format!("{fault:?}");
        sls.with(|world| world.write(0, &[shown.as_bytes()]));
        sls.faults("PullLogs", 3, fault.clone());
        assert_eq!(data(&mut puller).await.0, shown);

        sls.with(|world| world.write(0, &[shown.as_bytes()]));
        let position = puller.position().unwrap().clone();
        sls.faults("PullLogs", 1000, fault);
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
        sls.with(|world| world.faults.clear());
        assert_eq!(data(&mut puller).await.0, shown, "and nothing was skipped");
    }
}

#[tokio::test]
async fn a_cursor_moves_by_the_groups_that_came_and_with_a_filter_not_behind_the_end() {
    let sls = Sls::start(&[0]).await;
    sls.with(|world| world.write(0, &[b"a", b"b", b"c", b"d"]));
    // 99999, which is behind the end, 1003, and 1001.
    let (beyond, within, short) = ("OTk5OTk=", "MTAwMw==", "MTAwMQ==");
    let query = Filter::Query("*".into());
    for (filter, cursors) in
        [(None, [beyond, within, short].as_slice()), (Some(query), [beyond].as_slice())]
    {
        let (_group, lease) = holding(&sls, GroupConfig { filter, ..config() }).await;
        for cursor in cursors {
            let mut puller = lease.puller();
            puller.start().await.unwrap();
            // Of one group, so that the cursor within the data is too far as well.
            puller.ask_for_less(if *cursor == within { 3 } else { 0 });
            sls.fault("PullLogs", Fault::Header("x-log-cursor", Some(cursor)));
            let expected = if *cursor == within { "a" } else { "abcd" };
            let (text, next) = data(&mut puller).await;
            assert_eq!(text, expected, "{cursor}");
            assert_eq!(next, Cursor::at(1000 + text.len() as u64), "{cursor}");
        }
    }
}

#[tokio::test]
async fn a_cursor_that_moves_without_data_is_followed_only_over_what_has_expired() {
    let (counters, _guard) = Counters::install();
    let sls = Sls::start(&[0]).await;
    sls.with(|world| world.write(0, &[b"", b""]));
    let (_group, lease) = holding(&sls, config()).await;
    let mut puller = lease.puller();
    assert!(matches!(ended(&mut puller).await, PullError::Damaged { .. }));
    assert_eq!(counters.get(names::INVALID_CURSOR_RESETS), 0);
    assert_eq!(puller.position(), Some(&Cursor::at(1000)));

    // The service may let a cursor pass over what it has deleted.
    sls.with(|world| world.lenient = true);
    sls.with(|world| world.shards.get_mut(&0).unwrap().expired = 2);
    match puller.pull().await.unwrap() {
        // After damage, less is asked for at once.
        Pull::Empty { next_cursor } => assert_eq!(next_cursor, Cursor::at(1001)),
        other => panic!("{other:?}"),
    }
    assert_eq!(counters.get(names::INVALID_CURSOR_RESETS), 1);
}

#[tokio::test]
async fn with_a_filter_too_what_has_expired_is_jumped_over_with_a_warning() {
    let (counters, _guard) = Counters::install();
    let sls = Sls::start(&[0]).await;
    sls.with(|world| {
        world.write(0, &[b"", b"", b"c", b"d"]);
        world.lenient = true;
    });
    let filter = Some(Filter::Query("*".into()));
    let (_group, lease) = holding(&sls, GroupConfig { filter, ..config() }).await;
    let mut puller = lease.puller();
    puller.start().await.unwrap();
    // Two of four groups were read: two are missing, unless they have expired.
    let read = Fault::Header("x-log-rawdatacount", Some("2"));
    sls.fault("PullLogs", read.clone());
    assert_eq!(data(&mut puller).await, ("cd".into(), Cursor::at(1004)));
    assert_eq!(sls.seen("PullLogs").len(), 3, "asked again, and that answer confirmed by one more");
    assert_eq!(counters.get(names::INVALID_CURSOR_RESETS), 0);

    // Another that begins there.
    let mut puller = lease.puller();
    puller.start().await.unwrap();
    sls.with(|world| world.shards.get_mut(&0).unwrap().expired = 2);
    sls.fault("PullLogs", read);
    assert_eq!(data(&mut puller).await, ("cd".into(), Cursor::at(1004)));
    assert_eq!(sls.seen("PullLogs").len(), 4);
    assert_eq!(counters.get(names::INVALID_CURSOR_RESETS), 1);
}

#[tokio::test]
async fn the_age_of_what_is_read_is_asked_for_without_waiting_for_the_answer() {
    let sls = Sls::start(&[0]).await;
    sls.with(|world| {
        world.helpful = false;
        world.write(0, &[b"one"]);
    });
    sls.faults("GetCursorTime", 1000, Fault::Hang);
    let (_group, lease) = holding(&sls, config()).await;
    let mut puller = lease.puller();
    let began = std::time::Instant::now();
    assert_eq!(data(&mut puller).await.0, "one");
    sls.with(|world| world.write(0, &[b"two"]));
    assert_eq!(data(&mut puller).await.0, "two");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    sls.until("it was asked for", |world| {
        world.seen.iter().any(|seen| seen.api == "GetCursorTime")
    })
    .await;
}

#[tokio::test]
async fn abandoning_a_pull_or_its_body_moves_nothing() {
    let sls = Sls::start(&[0]).await;
    sls.with(|world| world.write(0, &[b"one"]));
    let (_group, lease) = holding(&sls, config()).await;
    let mut puller = lease.puller();
    puller.start().await.unwrap();
    sls.fault("PullLogs", Fault::Hang);
    assert!(timeout(Duration::from_millis(50), puller.pull()).await.is_err());
    assert!(matches!(puller.pull().await.unwrap(), Pull::Data(_)));
    assert_eq!(puller.position(), Some(&Cursor::at(1000)));
    assert_eq!(data(&mut puller).await, ("one".into(), Cursor::at(1001)));
    assert_eq!(puller.position(), Some(&Cursor::at(1001)));
}

#[tokio::test]
async fn full_answers_are_followed_at_once_and_the_end_is_polled_gently() {
    let sls = Sls::start(&[0]).await;
    let groups: Vec<&[u8]> = vec![b"x"; 3000];
    sls.with(|world| world.write(0, &groups));
    let slow = (Duration::from_millis(400), Duration::from_millis(800));
    let (_group, lease) = holding(&sls, GroupConfig { idle: slow, ..config() }).await;
    let mut puller = lease.puller();
    let (began, mut read) = (std::time::Instant::now(), 0);
    while read < 3000 {
        read += data(&mut puller).await.0.len();
    }
    assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
    let counts: Vec<String> =
        sls.seen("PullLogs").iter().map(|seen| seen.params["count"].clone()).collect();
    assert_eq!(counts, ["100", "400", "1000", "1000", "1000"]);
    assert!(matches!(puller.pull().await.unwrap(), Pull::Empty { .. }));
    assert!(began.elapsed() > Duration::from_millis(200));
}

#[tokio::test]
async fn an_empty_answer_has_the_position_so_that_it_can_be_saved() {
    let sls = Sls::start(&[0]).await;
    sls.with(|world| world.write(0, &[b"", b""]));
    let filter = Some(Filter::Query("* | where a = 'b'".into()));
    let (_group, lease) = holding(&sls, GroupConfig { filter, ..config() }).await;
    let mut puller = lease.puller();
    match puller.pull().await.unwrap() {
        Pull::Empty { next_cursor } => lease.checkpoints().save(&next_cursor).await.unwrap(),
        other => panic!("{other:?}"),
    }
    assert_eq!(sls.with(|world| world.checkpoints[&0].0.clone()), Cursor::at(1002).as_str());
}

#[tokio::test]
async fn trouble_is_waited_out_without_losing_or_repeating_anything() {
    let sls = Sls::start(&[0]).await;
    let (_group, lease) = holding(&sls, config()).await;
    let mut puller = lease.puller();
    for (index, fault) in [
        Fault::Refuse(500, "InternalServerError"),
        Fault::Refuse(403, "ShardReadQuotaExceed"),
        Fault::Refuse(503, "ServerBusy"),
        Fault::Refuse(401, "SignatureNotMatch"),
        Fault::Refuse(404, "LogStoreNotExist"),
        Fault::Html(502),
        Fault::Header("x-log-cursor", None),
        Fault::Header("x-log-bodyrawsize", Some("7")),
        Fault::Body(b"garbage".to_vec()),
        Fault::Cut,
    ]
    .into_iter()
    .enumerate()
    {
        let text = format!("log {index} with a tail that is long enough");
        sls.with(|world| world.write(0, &[text.as_bytes()]));
        sls.fault("PullLogs", fault);
        assert_eq!(data(&mut puller).await.0, text);
    }
}

#[tokio::test]
async fn trouble_at_the_start_is_waited_out_too() {
    let sls = Sls::start(&[0]).await;
    sls.with(|world| world.write(0, &[b"one"]));
    sls.fault("GetCheckPoint", Fault::Refuse(500, "InternalServerError"));
    sls.fault("GetCursor", Fault::Cut);
    let (_group, lease) = holding(&sls, config()).await;
    assert_eq!(data(&mut lease.puller()).await.0, "one");
}

#[tokio::test]
async fn an_expired_position_continues_with_the_oldest_logs_and_is_counted() {
    let (counters, _guard) = Counters::install();
    let sls = Sls::start(&[0]).await;
    sls.with(|world| {
        world.write(0, &[b"a", b"b", b"c", b"d"]);
        world.checkpoints.insert(0, (Cursor::at(1000).to_string(), 1));
        world.shards.get_mut(&0).unwrap().expired = 2;
    });
    let (_group, lease) = holding(&sls, config()).await;
    assert_eq!(data(&mut lease.puller()).await.0, "cd");
    assert_eq!(counters.get(names::INVALID_CURSOR_RESETS), 1);
}

#[tokio::test]
async fn an_expired_position_can_go_to_the_end_or_be_left_to_a_person() {
    let sls = Sls::start(&[0]).await;
    sls.with(|world| {
        world.write(0, &[b"a", b"b"]);
        world.checkpoints.insert(0, (Cursor::at(7).to_string(), 1));
    });
    let fail = GroupConfig { on_invalid_cursor: OnInvalidCursor::Fail, ..config() };
    let (_group, lease) = holding(&sls, fail).await;
    assert!(matches!(ended(&mut lease.puller()).await, PullError::InvalidCursor(_)));

    let end = GroupConfig { on_invalid_cursor: OnInvalidCursor::End, ..config() };
    let (_group, lease) = holding(&sls, end).await;
    let mut puller = lease.puller();
    assert!(matches!(puller.pull().await.unwrap(), Pull::Empty { .. }));
    sls.with(|world| world.write(0, &[b"c"]));
    assert_eq!(data(&mut puller).await.0, "c");
}

#[tokio::test]
async fn a_block_beyond_the_limit_is_pulled_in_parts_and_a_group_beyond_it_is_reported() {
    let sls = Sls::start(&[0]).await;
    let group = [b'x'; 400];
    sls.with(|world| world.write(0, &[&group, &group, &group]));
    let small = GroupConfig { block_limit: 1000, block_target: 1 << 20, ..config() };
    let (_group, lease) = holding(&sls, small).await;
    let mut puller = lease.puller();
    let mut read = 0;
    while read < 1200 {
        let part = data(&mut puller).await.0.len();
        assert!(part <= 1000);
        read += part;
    }
    assert_eq!(read, 1200);
    sls.with(|world| world.write(0, &[&[b'y'; 1001]]));
    let error = ended(&mut puller).await;
    assert!(matches!(error, PullError::TooLarge { raw_size: 1001, limit: 1000 }), "{error}");
}

#[tokio::test]
async fn blocks_follow_their_target() {
    let sls = Sls::start(&[0]).await;
    let group = [b'x'; 1000];
    let groups: Vec<&[u8]> = vec![&group; 400];
    sls.with(|world| world.write(0, &groups));
    let (_group, lease) = holding(&sls, GroupConfig { block_target: 50_000, ..config() }).await;
    let mut puller = lease.puller();
    assert_eq!(data(&mut puller).await.0.len(), 100_000);
    assert_eq!(data(&mut puller).await.0.len(), 50_000);
}

#[tokio::test]
async fn a_run_with_an_end_stops_there_and_the_group_with_it() {
    let sls = Sls::start(&[0]).await;
    sls.with(|world| {
        // With a timeout that is too long to wait for.
        world.group = Some(("grp".into(), 3600, false));
        world.write_at(0, &[b"a", b"b"], 100);
        world.write_at(0, &[b"c"], 200);
    });
    let (mut group, lease) = holding(&sls, GroupConfig { end: Some(200), ..config() }).await;
    let mut puller = lease.puller();
    assert_eq!(data(&mut puller).await.0, "ab");
    let reached = loop {
        if let Pull::ReachedEnd { cursor } = puller.pull().await.unwrap() {
            break cursor;
        }
    };
    assert_eq!(reached, Cursor::at(1002));
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
    let sls = Sls::start(&[0]).await;
    let end = sls.with(|world| world.now() + 2);
    let (_group, lease) = holding(&sls, GroupConfig { end: Some(end), ..config() }).await;
    let mut puller = lease.puller();
    assert!(matches!(puller.pull().await.unwrap(), Pull::Empty { .. }));
    sls.with(|world| world.write(0, &[b"still before the end"]));
    assert_eq!(data(&mut puller).await.0, "still before the end");
    let read = async { while !matches!(puller.pull().await.unwrap(), Pull::ReachedEnd { .. }) {} };
    timeout(Duration::from_secs(20), read).await.unwrap();
}

#[tokio::test]
async fn a_waiting_pull_ends_with_its_lease() {
    let sls = Sls::start(&[0]).await;
    let (_group, lease) = holding(&sls, config()).await;
    let mut puller = lease.puller();
    puller.start().await.unwrap();
    sls.faults("PullLogs", 100, Fault::Hang);
    sls.with(|world| world.grants.clear());
    assert!(matches!(ended(&mut puller).await, PullError::Ended(LeaseState::HandOver)));
    drop(lease);
    assert!(matches!(ended(&mut puller).await, PullError::Ended(LeaseState::Lost)));
}

#[tokio::test]
async fn a_shard_that_is_gone_is_reported() {
    let sls = Sls::start(&[0]).await;
    let (_group, lease) = holding(&sls, config()).await;
    let mut puller = lease.puller();
    puller.start().await.unwrap();
    sls.fault("PullLogs", Fault::Refuse(404, "ShardNotExsit"));
    assert!(matches!(ended(&mut puller).await, PullError::ShardMissing(_)));
    assert_eq!(*lease.state().borrow(), LeaseState::Held, "what was pulled is delivered under it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_shards_are_read_side_by_side_to_the_last_log() {
    const SHARDS: u32 = 8;
    const GROUPS: usize = 500;
    let ids: Vec<u32> = (0..SHARDS).collect();
    let sls = Sls::start(&ids).await;
    sls.with(|world| {
        for shard in &ids {
            let groups: Vec<Vec<u8>> =
                (0..GROUPS).map(|at| format!("{shard}.{at};").into()).collect();
            world.write(*shard, &groups.iter().map(Vec::as_slice).collect::<Vec<_>>());
        }
        world.grants.clone_from(&ids);
        // One answer in ten fails. Fewer are damaged than make a shard pause, should one shard meet them all.
        for nth in 0..40 {
            let damaged = nth % 8 == 7;
            let refused = Fault::Refuse(500, "InternalServerError");
            world.faults.push_back(("PullLogs", if damaged { Fault::Cut } else { refused }));
        }
    });
    let small = GroupConfig { block_target: 200, ..config() };
    let mut group = ConsumerGroup::join(sls.client(), small).await.unwrap();
    let mut readers = tokio::task::JoinSet::new();
    for _ in &ids {
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
        let end = Cursor::at(1000 * (u64::from(shard) + 1) + GROUPS as u64);
        assert_eq!(sls.with(|world| world.checkpoints[&shard].0.clone()), end.as_str());
    }
    group.leave().await;
}
