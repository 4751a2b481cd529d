//! The service's state without HTTP: shards and their families, cursors, checkpoints with ownership.

#![expect(clippy::unwrap_used, reason = "a test should stop where it fails")]

use std::collections::BTreeSet;
use std::time::Duration;

use forwarder_emulator::clock::Timestamp;
use forwarder_emulator::log_group::EncodedGroup;
use forwarder_emulator::state::assignment::ShardHolding;
use forwarder_emulator::state::consumer_group::{GroupOptions, SaveCheckpoint};
use forwarder_emulator::state::cursor::Cursor;
use forwarder_emulator::state::logstore::{Logstore, Placement};
use forwarder_emulator::state::shard::{PullBounds, StartAt};
use forwarder_emulator::state::{KeyRange, Policy, Service, ShardId};
use forwarder_record::encode::{Log, LogGroup};

const NOON: Timestamp = Timestamp::from_seconds(1_767_355_200);
const UNBOUNDED: PullBounds = PullBounds { groups: 1000, bytes: usize::MAX, end: None };

fn later(seconds: u64) -> Timestamp {
    NOON.after(Duration::from_secs(seconds))
}

fn group(text: &str) -> EncodedGroup {
    let contents = vec![("text".to_owned(), text.to_owned())];
    let log = Log { time: 1, nanos: None, contents };
    EncodedGroup::from(&LogGroup { logs: vec![log], ..Default::default() })
}

fn logstore(shards: u32, groups_each: usize) -> Logstore {
    let mut logstore = Logstore::new(shards, 30, NOON);
    for shard in 0..shards {
        for n in 0..groups_each {
            logstore.put(Placement::Shard(shard), group(&n.to_string()), later(n as u64)).unwrap();
        }
    }
    logstore
}

fn options(order: bool) -> GroupOptions {
    GroupOptions { timeout: Duration::from_secs(60), order }
}

fn beat(logstore: &mut Logstore, consumer: &str, reported: &[ShardId]) -> Vec<ShardId> {
    let reported: BTreeSet<_> = reported.iter().copied().collect();
    logstore.group_mut("grp").unwrap().heartbeat(consumer, &reported, NOON).unwrap()
}

fn save(
    logstore: &mut Logstore,
    consumer: &str,
    shard: ShardId,
    cursor: Cursor,
    force: bool,
) -> Result<(), &'static str> {
    let cursor = cursor.to_string();
    let save = SaveCheckpoint { consumer: Some(consumer), shard, cursor: &cursor, force };
    logstore.save_checkpoint("grp", save, NOON).map_err(|refusal| refusal.code)
}

fn end_of(logstore: &Logstore, shard: ShardId) -> Cursor {
    logstore.shard(shard).unwrap().end()
}

#[test]
fn consecutive_groups_have_consecutive_cursors_and_come_back_in_order() {
    let logstore = logstore(1, 3);
    let shard = logstore.shard(0).unwrap();
    let first = shard.begin();

    let pulled = shard.pull(first, PullBounds { groups: 2, ..UNBOUNDED }, NOON).unwrap();
    assert_eq!(pulled.groups, [group("0"), group("1")]);
    assert_eq!(pulled.next.number(), first.number() + 2);
    assert!(!pulled.at_end);

    let pulled = shard.pull(pulled.next, UNBOUNDED, NOON).unwrap();
    assert_eq!((pulled.groups.len(), pulled.at_end), (1, true));
    let pulled = shard.pull(shard.end(), UNBOUNDED, NOON).unwrap();
    assert_eq!((pulled.groups.len(), pulled.next), (0, shard.end()));
}

#[test]
fn a_pull_stops_before_its_end_cursor_and_its_byte_limit_but_yields_one_group() {
    let logstore = logstore(1, 5);
    let shard = logstore.shard(0).unwrap();
    let begin = shard.begin();
    let entry = group("0").entry().len();

    let count = |bounds| shard.pull(begin, bounds, NOON).unwrap().groups.len();
    let end = Some(Cursor::from_number(begin.number() + 2));
    assert_eq!(count(PullBounds { end, ..UNBOUNDED }), 2);
    assert_eq!(count(PullBounds { end: Some(begin), ..UNBOUNDED }), 0);
    assert_eq!(count(PullBounds { end: Some(Cursor::from_number(0)), ..UNBOUNDED }), 0);
    assert_eq!(count(PullBounds { bytes: 3 * entry, ..UNBOUNDED }), 3);
    assert_eq!(count(PullBounds { bytes: 1, ..UNBOUNDED }), 1);
}

#[test]
fn a_start_time_means_the_receive_time() {
    let logstore = logstore(1, 3);
    let shard = logstore.shard(0).unwrap();
    let offset = |start| shard.cursor_for(start).number() - shard.begin().number();

    assert_eq!(offset(StartAt::Received(NOON.seconds() - 100)), 0);
    assert_eq!(offset(StartAt::Received(NOON.seconds() + 1)), 1);
    assert_eq!(offset(StartAt::Received(NOON.seconds() + 100)), 3);
    assert_eq!((offset(StartAt::Begin), offset(StartAt::End)), (0, 3));
    assert_eq!(shard.received_at(shard.begin()).unwrap(), NOON.seconds());
    assert_eq!(shard.received_at(shard.end()).unwrap_err().code, "InvalidCursor");
}

#[test]
fn receive_times_never_go_back_with_the_clock() {
    let mut logstore = logstore(1, 3);
    logstore.put(Placement::Shard(0), group("late"), NOON).unwrap();
    let shard = logstore.shard(0).unwrap();
    let last = Cursor::from_number(shard.end().number() - 1);
    assert_eq!(shard.received_at(last).unwrap(), later(2).seconds());
}

#[test]
fn trimmed_and_future_cursors_are_invalid() {
    let mut logstore = logstore(1, 3);
    let old = logstore.shard(0).unwrap().begin();
    logstore.trim(0, 2).unwrap();
    let shard = logstore.shard(0).unwrap();

    let refused =
        |number| shard.pull(Cursor::from_number(number), UNBOUNDED, NOON).unwrap_err().code;
    assert_eq!(refused(old.number()), "InvalidCursor");
    assert_eq!(refused(shard.end().number() + 1), "InvalidCursor");
    assert_eq!(shard.begin().number(), old.number() + 2);
    assert_eq!(shard.pull(shard.begin(), UNBOUNDED, NOON).unwrap().groups.len(), 1);
}

#[test]
fn a_split_leaves_old_data_readable_and_sends_new_data_to_the_children() {
    let mut logstore = logstore(1, 1);
    assert_eq!(logstore.split(0, 1 << 127, NOON).unwrap(), [0, 1, 2]);
    assert!(logstore.put(Placement::Shard(0), group("x"), NOON).is_err());
    let low = KeyRange::parse_key("00000000000000000000000000000001").unwrap();
    assert_eq!(logstore.put(Placement::Key(low), group("x"), NOON).unwrap().0, 1);
    assert_eq!(logstore.put(Placement::Key(u128::MAX), group("x"), NOON).unwrap().0, 2);
    assert_eq!(logstore.shard(0).unwrap().groups().count(), 1);
    assert_eq!(logstore.split(0, 1 << 126, NOON).unwrap_err().message, "invalid shard id");
    assert_eq!(logstore.split(1, 1 << 127, NOON).unwrap_err().message, "invalid mid hash");
}

#[test]
fn a_merge_takes_the_right_neighbour() {
    let mut logstore = logstore(3, 0);
    assert_eq!(logstore.merge(1, NOON).unwrap(), [3, 1, 2]);
    assert_eq!(logstore.shard(3).unwrap().parents(), [1, 2]);
    let refused = logstore.merge(3, NOON).unwrap_err();
    assert_eq!(refused.message, "can not merge the last shard");
    assert_eq!(logstore.merge(0, NOON).unwrap(), [4, 0, 3]);
}

#[test]
fn balanced_writes_take_turns() {
    let mut logstore = logstore(3, 0);
    let mut put = || logstore.put(Placement::Balanced, group("x"), NOON).unwrap().0;
    assert_eq!([put(), put(), put(), put()], [0, 1, 2, 0]);
}

#[test]
fn only_the_holder_saves_a_checkpoint_unless_it_forces() {
    let mut logstore = logstore(2, 1);
    logstore.create_group("grp", options(false)).unwrap();
    beat(&mut logstore, "a", &[]);
    beat(&mut logstore, "b", &[]);
    let end = end_of(&logstore, 0);

    assert_eq!(save(&mut logstore, "stranger", 0, end, false), Err("ConsumerNotExist"));
    assert_eq!(save(&mut logstore, "b", 0, end, false), Err("ConsumerNotMatch"));
    assert_eq!(save(&mut logstore, "b", 0, end, true), Ok(()));
    // Shard 0 moves from `a` to `b`: `a` may still save what it finished.
    let transfer = ShardHolding::Transfer { holder: "a".into(), heir: "b".into() };
    assert_eq!(logstore.group("grp").unwrap().assignment().holding(0), Some(&transfer));
    assert_eq!(save(&mut logstore, "a", 0, end, false), Ok(()));
    beat(&mut logstore, "a", &[1]);
    assert_eq!(save(&mut logstore, "a", 0, end, false), Err("ConsumerNotMatch"));

    let saved = &logstore.group("grp").unwrap().checkpoints()[&0];
    assert_eq!((saved.cursor.clone(), saved.consumer.as_str()), (end.to_string(), "a"));
}

#[test]
fn a_checkpoint_must_be_a_cursor_of_a_known_shard() {
    let mut logstore = logstore(1, 1);
    logstore.create_group("grp", options(false)).unwrap();
    let refused = |logstore: &mut Logstore, shard, cursor| {
        let save = SaveCheckpoint { consumer: None, shard, cursor, force: true };
        logstore.save_checkpoint("grp", save, NOON).unwrap_err().code
    };
    assert_eq!(refused(&mut logstore, 0, "not a cursor"), "InvalidShardCheckPoint");
    assert_eq!(refused(&mut logstore, 9, "MQ=="), "ShardNotExist");
    let unnamed = SaveCheckpoint { consumer: None, shard: 0, cursor: "MQ==", force: false };
    let refusal = logstore.save_checkpoint("grp", unnamed, NOON).unwrap_err();
    assert_eq!(refusal.code, "ParameterInvalid");
}

#[test]
fn a_read_only_shard_is_over_once_its_end_is_saved_and_a_forced_checkpoint_revives_it() {
    let mut logstore = logstore(1, 2);
    logstore.create_group("grp", options(false)).unwrap();
    beat(&mut logstore, "a", &[]);
    logstore.split(0, 1 << 127, NOON).unwrap();
    assert_eq!(beat(&mut logstore, "a", &[0]), [0, 1, 2]);

    let (begin, end) = (logstore.shard(0).unwrap().begin(), end_of(&logstore, 0));
    save(&mut logstore, "a", 0, end, false).unwrap();
    assert_eq!(beat(&mut logstore, "a", &[0, 1, 2]), [1, 2]);
    save(&mut logstore, "a", 0, begin, true).unwrap();
    assert_eq!(beat(&mut logstore, "a", &[1, 2]), [0, 1, 2]);
}

#[test]
fn a_shard_consumed_before_it_was_split_is_over_at_once() {
    let mut logstore = logstore(1, 2);
    logstore.create_group("grp", options(false)).unwrap();
    beat(&mut logstore, "a", &[]);
    let end = end_of(&logstore, 0);
    save(&mut logstore, "a", 0, end, false).unwrap();
    logstore.split(0, 1 << 127, NOON).unwrap();
    assert_eq!(beat(&mut logstore, "a", &[0]), [1, 2]);
}

#[test]
fn in_order_children_wait_until_every_ancestor_is_consumed() {
    let mut logstore = logstore(2, 1);
    logstore.create_group("grp", options(true)).unwrap();
    beat(&mut logstore, "a", &[]);
    logstore.merge(0, NOON).unwrap();
    logstore.split(2, 1 << 127, NOON).unwrap();
    assert_eq!(beat(&mut logstore, "a", &[0, 1]), [0, 1], "2, 3 and 4 wait");

    let ends = [end_of(&logstore, 0), end_of(&logstore, 1), end_of(&logstore, 2)];
    save(&mut logstore, "a", 0, ends[0], false).unwrap();
    assert_eq!(beat(&mut logstore, "a", &[1]), [1]);
    save(&mut logstore, "a", 1, ends[1], false).unwrap();
    assert_eq!(beat(&mut logstore, "a", &[]), [2]);
    save(&mut logstore, "a", 2, ends[2], false).unwrap();
    assert_eq!(beat(&mut logstore, "a", &[]), [3, 4]);
}

#[test]
fn a_group_that_stops_being_ordered_frees_what_waits_and_the_reverse_touches_nothing_old() {
    let mut logstore = logstore(1, 1);
    logstore.create_group("grp", options(true)).unwrap();
    logstore.split(0, 1 << 127, NOON).unwrap();
    assert_eq!(beat(&mut logstore, "a", &[]), [0]);
    logstore.group_mut("grp").unwrap().update(options(false));
    assert_eq!(beat(&mut logstore, "a", &[0]), [0, 1, 2]);

    logstore.group_mut("grp").unwrap().update(options(true));
    assert_eq!(beat(&mut logstore, "a", &[0, 1, 2]), [0, 1, 2]);
    logstore.merge(1, NOON).unwrap();
    assert_eq!(beat(&mut logstore, "a", &[0, 1, 2]), [0, 1, 2], "shard 3 is born waiting");
}

#[test]
fn consumer_groups_have_unique_names_and_a_quota() {
    let mut logstore = Logstore::new(1, 2, NOON);
    let mut create = |name| logstore.create_group(name, options(false)).map_err(|r| r.code);
    assert_eq!(create("one"), Ok(()));
    assert_eq!(create("one"), Err("ConsumerGroupAlreadyExist"));
    assert_eq!(create("two"), Ok(()));
    assert_eq!(create("three"), Err("ConsumerGroupQuotaExceed"));
    assert_eq!(create("no spaces"), Err("ParameterInvalid"));
}

#[test]
fn missing_logstores_are_created_only_when_asked_to() {
    let mut strict = Service::new(Policy::default());
    strict.mention("p", "store", NOON);
    assert_eq!(strict.logstore("p", "store").unwrap_err().code, "ProjectNotExist");
    strict.create_project("p").unwrap();
    assert_eq!(strict.logstore("p", "store").unwrap_err().code, "LogStoreNotExist");

    let mut lenient = Service::new(Policy { create_missing: Some(3), ..Policy::default() });
    lenient.mention("p", "store", NOON);
    assert_eq!(lenient.logstore("p", "store").unwrap().shards().count(), 3);
}
