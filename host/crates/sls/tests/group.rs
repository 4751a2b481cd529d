//! The consumer group against a real server: joining, losing, handing over, leaving.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]

mod support;

use std::time::Duration;

use forwarder_emulator::state::consumer_group::GroupOptions;
use forwarder_sls::group::{LeaseState, SaveError};
use forwarder_sls::{ConsumerGroup, GroupConfig, JoinError, Lease, metrics as names};
use support::reading::lease;
use support::{Api, Counters, Fault, Sls, hang, nonsense, refuse};
use tokio::time::timeout;

fn config() -> GroupConfig {
    let name = |text: &str| text.parse().unwrap();
    let mut config = GroupConfig::new("store".parse().unwrap(), name("grp"), "c1".parse().unwrap());
    config.heartbeat_interval = Duration::from_millis(100);
    config.idle = (Duration::from_millis(5), Duration::from_millis(20));
    config
}

async fn join(sls: &Sls, config: GroupConfig) -> ConsumerGroup {
    ConsumerGroup::join(sls.client(), config).await.unwrap()
}

async fn until(lease: &Lease, wanted: LeaseState) {
    let mut state = lease.state();
    let waited = timeout(Duration::from_secs(20), state.wait_for(|state| *state == wanted)).await;
    waited.unwrap_or_else(|_| panic!("the lease never became {wanted:?}")).unwrap();
}

/// Joins, and sees that the timeout is taken to be one second.
async fn pauses_after_a_second(sls: &Sls, config: GroupConfig) {
    let mut group = join(sls, config).await;
    let lease = lease(&mut group).await;
    sls.faults(Api::HeartBeat, 1000, hang());
    let mut state = lease.state();
    let paused = state.wait_for(|state| *state == LeaseState::Suspended);
    timeout(Duration::from_secs(5), paused).await.unwrap().unwrap();
    sls.clear_faults();
}

#[tokio::test]
async fn a_missing_group_is_created_and_an_existing_one_is_taken_as_it_is() {
    let sls = Sls::start(1).await;
    join(&sls, config()).await;
    assert_eq!(sls.options(), Some((60, false)));

    sls.delete_group();
    sls.create_group(1, true);
    pauses_after_a_second(&sls, config()).await;
    assert_eq!(sls.options(), Some((1, true)));
    assert!(sls.seen(Api::UpdateConsumerGroup).is_empty());
}

#[tokio::test]
async fn configured_options_are_written_only_where_they_differ() {
    let sls = Sls::start(1).await;
    sls.create_group(40, false);
    let wanted =
        GroupConfig { timeout: Some(Duration::from_secs(1)), in_order: Some(false), ..config() };
    pauses_after_a_second(&sls, wanted.clone()).await;
    assert_eq!(sls.options(), Some((1, false)));
    let update = sls.seen(Api::UpdateConsumerGroup).pop().unwrap();
    assert_eq!(update.body, r#"{"timeout":1}"#);
    join(&sls, wanted).await;
    assert_eq!(sls.seen(Api::UpdateConsumerGroup).len(), 1);
}

#[tokio::test]
async fn a_group_that_is_not_ours_to_manage_is_neither_created_nor_changed() {
    let sls = Sls::start(1).await;
    let unmanaged =
        GroupConfig { manage_group: false, timeout: Some(Duration::from_secs(90)), ..config() };
    let error = ConsumerGroup::join(sls.client(), unmanaged.clone()).await.err().unwrap();
    assert!(matches!(error, JoinError::NoGroup(_)), "{error}");
    sls.create_group(1, false);
    pauses_after_a_second(&sls, unmanaged.clone()).await;
    assert_eq!(sls.options(), Some((1, false)));

    sls.fault(Api::ListConsumerGroup, refuse(403, "Unauthorized"));
    join(&sls, unmanaged).await;
    assert!(sls.seen(Api::CreateConsumerGroup).is_empty());
    assert!(sls.seen(Api::UpdateConsumerGroup).is_empty());
}

#[tokio::test]
async fn a_group_that_another_consumer_created_first_is_not_an_error() {
    let sls = Sls::start(1).await;
    sls.create_group(60, false);
    sls.fault(Api::ListConsumerGroup, Fault::SetBody("[]".into()));
    join(&sls, config()).await;
}

#[tokio::test]
async fn a_group_that_exists_but_cannot_be_seen_is_used_with_the_configured_timeout() {
    let sls = Sls::start(1).await;
    sls.create_group(60, false);
    sls.faults(Api::ListConsumerGroup, 2, refuse(403, "Unauthorized"));
    let timeout = Some(Duration::from_secs(1));
    pauses_after_a_second(&sls, GroupConfig { timeout, ..config() }).await;
    assert_eq!(sls.options(), Some((60, false)));
}

#[tokio::test]
async fn without_membership_there_is_no_end() {
    let sls = Sls::start(1).await;
    sls.create_group(1, false);
    // What is still to be consumed.
    sls.write_at(0, &["log"], 50);
    // Not even the first heartbeat succeeds.
    sls.faults(Api::HeartBeat, 1000, refuse(500, "InternalServerError"));
    let mut group = join(&sls, GroupConfig { end: Some(100), ..config() }).await;
    assert!(timeout(Duration::from_millis(1500), group.next_lease()).await.is_err());
    sls.clear_faults();
    let old = lease(&mut group).await;

    // Then the membership is lost, and with it the only shard.
    sls.faults(Api::HeartBeat, 1000, hang());
    until(&old, LeaseState::Lost).await;
    drop(old);
    assert!(timeout(Duration::from_millis(1500), group.next_lease()).await.is_err());
    // Back again, the shard comes late, but within the timeout.
    sls.clear_faults();
    sls.faults(Api::HeartBeat, 1000, Fault::Grant(0));
    let beats = sls.seen(Api::HeartBeat).len();
    sls.until("it has rejoined", || sls.seen(Api::HeartBeat).len() > beats).await;
    assert!(timeout(Duration::from_millis(200), group.next_lease()).await.is_err());
    sls.clear_faults();
    let new = lease(&mut group).await;
    new.finish();
    let done = timeout(Duration::from_secs(20), group.next_lease()).await.unwrap();
    assert!(matches!(done, Ok(None)), "{done:?}");
}

#[tokio::test]
async fn a_wrong_key_or_a_full_logstore_fails_at_once_and_says_what_to_do() {
    let sls = Sls::start(1).await;
    sls.fault(Api::CreateConsumerGroup, refuse(400, "ConsumerGroupQuotaExceed"));
    let error = ConsumerGroup::join(sls.client(), config()).await.err().unwrap();
    assert!(!error.is_retryable(), "a full logstore stays full");
    assert_eq!(sls.seen(Api::CreateConsumerGroup).len(), 1);
    let shown = forwarder_sls::Chain(&error).to_string();
    assert!(shown.contains("delete an unused one"), "{shown}");

    sls.accept("another");
    let error = ConsumerGroup::join(sls.client(), config()).await.err().unwrap();
    assert!(!error.is_retryable());
    let shown = forwarder_sls::Chain(&error).to_string();
    assert!(shown.contains("SignatureNotMatch") && shown.contains("secret belongs"), "{shown}");
}

#[tokio::test]
async fn granted_shards_become_leases_and_are_reported_until_released() {
    let sls = Sls::start(2).await;
    let mut group = join(&sls, config()).await;
    let (zero, one) = (lease(&mut group).await, lease(&mut group).await);
    assert_eq!((zero.shard(), one.shard()), (0, 1));
    sls.until("both are reported", || sls.report() == "[0,1]").await;

    sls.join("c0");
    until(&zero, LeaseState::HandOver).await;
    let beats = sls.seen(Api::HeartBeat).len();
    sls.until("more beats came", || sls.seen(Api::HeartBeat).len() > beats + 2).await;
    assert_eq!(sls.report(), "[0,1]");
    zero.release();
    sls.until("the shard is let go", || sls.report() == "[1]").await;
    assert_eq!(*one.state().borrow(), LeaseState::Held);
}

#[tokio::test]
async fn the_checkpoint_of_a_shard_being_handed_over_is_still_saved_and_the_shard_is_not_pulled() {
    let sls = Sls::start(2).await;
    let mut group = join(&sls, config()).await;
    let lease = lease(&mut group).await;
    let (mut puller, checkpoints) = (lease.puller(), lease.checkpoints());
    sls.join("c0");
    until(&lease, LeaseState::HandOver).await;
    assert!(puller.pull().await.is_err());
    checkpoints.save(&sls.cursor(0, 0)).await.unwrap();
    drop(lease);
    let error = checkpoints.save(&sls.cursor(0, 1)).await.unwrap_err();
    assert!(matches!(error, SaveError::LeaseLost { source: None, .. }));
    assert_eq!(sls.seen(Api::UpdateCheckPoint).len(), 1);
}

#[tokio::test]
async fn an_expired_consumer_gives_up_everything_at_once_and_rejoins_with_nothing() {
    let (counters, _guard) = Counters::install();
    let sls = Sls::start(1).await;
    let mut group = join(&sls, config()).await;
    let old = lease(&mut group).await;
    sls.until("it is reported", || sls.report() == "[0]").await;
    sls.emulator.expire_consumer("proj", "store", "grp", "c1").unwrap();
    until(&old, LeaseState::Lost).await;
    sls.until("it has rejoined", || sls.is_member()).await;
    assert_eq!(counters.get(names::MEMBERSHIP_LOST), 1);

    // The shard is ours again, but one lease at a time: the old one goes first.
    assert!(timeout(Duration::from_millis(300), group.next_lease()).await.is_err());
    drop(old);
    let new = lease(&mut group).await;
    assert_eq!(*new.state().borrow(), LeaseState::Held);
}

#[tokio::test]
async fn a_refused_checkpoint_is_never_forced_and_ends_the_lease() {
    for (code, status) in [("ConsumerNotMatch", 400), ("ConsumerNotExsit", 404)] {
        let sls = Sls::start(1).await;
        let mut group = join(&sls, config()).await;
        let lease = lease(&mut group).await;
        sls.fault(Api::UpdateCheckPoint, refuse(status, code));
        let error = lease.checkpoints().save(&sls.cursor(0, 0)).await.unwrap_err();
        assert!(matches!(error, SaveError::LeaseLost { source: Some(_), .. }), "{code}");
        assert_eq!(*lease.state().borrow(), LeaseState::Lost, "{code}");
        assert_eq!(sls.seen(Api::UpdateCheckPoint)[0].params["forceSuccess"], "false");
    }
}

#[tokio::test]
async fn equal_checkpoints_are_written_once_and_a_passing_failure_is_repeated() {
    let sls = Sls::start(1).await;
    let mut group = join(&sls, config()).await;
    let lease = lease(&mut group).await;
    let checkpoints = lease.checkpoints();
    sls.fault(Api::UpdateCheckPoint, refuse(500, "InternalServerError"));
    checkpoints.save(&sls.cursor(0, 0)).await.unwrap();
    checkpoints.save(&sls.cursor(0, 0)).await.unwrap();
    assert_eq!(sls.seen(Api::UpdateCheckPoint).len(), 2);
    sls.faults(Api::UpdateCheckPoint, 4, refuse(500, "InternalServerError"));
    let error = checkpoints.save(&sls.cursor(0, 1)).await.unwrap_err();
    assert!(matches!(error, SaveError::Failed { .. }));
    assert_eq!(*lease.state().borrow(), LeaseState::Held);
    checkpoints.save(&sls.cursor(0, 1)).await.unwrap();
}

#[tokio::test]
async fn silence_suspends_before_it_loses_and_a_hanging_attempt_does_not_hold_that_up() {
    let sls = Sls::start(1).await;
    sls.create_group(1, false);
    let mut group = join(&sls, config()).await;
    let old = lease(&mut group).await;
    sls.faults(Api::HeartBeat, 1000, hang());
    until(&old, LeaseState::Suspended).await;
    until(&old, LeaseState::Lost).await;
    sls.clear_faults();
    drop(old);
    assert_eq!(lease(&mut group).await.shard(), 0);
}

#[tokio::test]
async fn a_suspended_lease_is_held_again_after_one_good_beat() {
    let sls = Sls::start(1).await;
    sls.create_group(2, false);
    let mut group = join(&sls, config()).await;
    let lease = lease(&mut group).await;
    sls.faults(Api::HeartBeat, 1000, refuse(500, "InternalServerError"));
    until(&lease, LeaseState::Suspended).await;
    sls.clear_faults();
    until(&lease, LeaseState::Held).await;
}

#[tokio::test]
async fn single_lost_beats_harm_nothing() {
    let (counters, _guard) = Counters::install();
    let sls = Sls::start(1).await;
    sls.create_group(10, false);
    let mut group = join(&sls, config()).await;
    let lease = lease(&mut group).await;
    let mut state = lease.state();
    for fault in [hang(), Fault::CutBody, Fault::Html(502), nonsense()] {
        sls.fault(Api::HeartBeat, fault);
        sls.until("the fault was met", || sls.emulator.faults().pending() == 0).await;
        let beats = sls.seen(Api::HeartBeat).len();
        sls.until("a beat succeeded", || sls.seen(Api::HeartBeat).len() > beats).await;
    }
    assert!(!state.has_changed().unwrap(), "{:?}", *state.borrow_and_update());
    assert_eq!(counters.get(names::MEMBERSHIP_LOST), 0);
}

#[tokio::test]
async fn a_deleted_group_is_created_again() {
    let sls = Sls::start(1).await;
    let mut group = join(&sls, config()).await;
    let old = lease(&mut group).await;
    sls.delete_group();
    until(&old, LeaseState::Lost).await;
    sls.until("the group is back", || sls.options().is_some()).await;
    drop(old);
    assert_eq!(lease(&mut group).await.shard(), 0);
}

#[tokio::test]
async fn heartbeats_have_a_connection_of_their_own() {
    let sls = Sls::start(1).await;
    let mut group = join(&sls, config()).await;
    let lease = lease(&mut group).await;
    let mut puller = lease.puller();
    puller.pull().await.unwrap();
    sls.until("some beats came", || sls.seen(Api::HeartBeat).len() > 3).await;
    let peers = |api| sls.seen(api).into_iter().map(|seen| seen.peer).collect::<Vec<_>>();
    let (beats, pulls) = (peers(Api::HeartBeat), peers(Api::PullLogs));
    assert!(beats.iter().all(|peer| *peer == beats[0]), "one connection, kept alive: {beats:?}");
    assert!(!pulls.contains(&beats[0]));
}

#[tokio::test]
async fn a_changed_timeout_of_the_group_is_noticed() {
    let sls = Sls::start(1).await;
    sls.create_group(2, false);
    let mut group = join(&sls, config()).await;
    let lease = lease(&mut group).await;
    let options = GroupOptions { timeout: Duration::from_secs(30), order: false };
    sls.group(|group| group.update(options)).unwrap();
    let lists = sls.seen(Api::ListConsumerGroup).len();
    sls.until("the options were read", || sls.seen(Api::ListConsumerGroup).len() > lists).await;
    let beats = sls.seen(Api::HeartBeat).len();
    sls.until("another beat came", || sls.seen(Api::HeartBeat).len() > beats).await;
    sls.faults(Api::HeartBeat, 1000, hang());
    let mut state = lease.state();
    let paused = state.wait_for(|state| *state == LeaseState::Suspended);
    assert!(timeout(Duration::from_millis(2500), paused).await.is_err());
}

#[tokio::test]
async fn leaving_keeps_the_heartbeat_until_the_last_lease_is_released() {
    let sls = Sls::start(2).await;
    let mut group = join(&sls, config()).await;
    let lease = lease(&mut group).await;
    let mut leaving = std::pin::pin!(group.leave());
    assert!(timeout(Duration::from_millis(350), &mut leaving).await.is_err());
    let beats = sls.seen(Api::HeartBeat).len();
    assert!(beats >= 3, "{beats}");
    assert_eq!(*lease.state().borrow(), LeaseState::Held);
    lease.checkpoints().save(&sls.cursor(0, 0)).await.unwrap();
    lease.release();
    timeout(Duration::from_secs(20), leaving).await.unwrap();
}

#[tokio::test]
async fn a_dropped_group_ends_its_leases() {
    let sls = Sls::start(1).await;
    let mut group = join(&sls, config()).await;
    let lease = lease(&mut group).await;
    drop(group);
    assert_eq!(*lease.state().borrow(), LeaseState::Lost);
}

#[tokio::test]
async fn a_checkpoint_of_a_shard_that_is_gone_fails_and_leaves_the_lease_to_deliver_under() {
    let sls = Sls::start(1).await;
    let mut group = join(&sls, config()).await;
    let lease = lease(&mut group).await;
    sls.fault(Api::UpdateCheckPoint, refuse(404, "ShardNotExsit"));
    let error = lease.checkpoints().save(&sls.cursor(0, 0)).await.unwrap_err();
    assert!(matches!(error, SaveError::Failed { .. }), "{error}");
    assert_eq!(*lease.state().borrow(), LeaseState::Held);
}

#[tokio::test]
async fn a_heartbeat_that_grants_absurdly_much_grants_nothing() {
    let sls = Sls::start(1).await;
    sls.faults(Api::HeartBeat, 1000, Fault::Grant(200_000));
    let mut group = join(&sls, config()).await;
    assert!(timeout(Duration::from_millis(300), group.next_lease()).await.is_err());
    sls.clear_faults();
    assert_eq!(lease(&mut group).await.shard(), 0);
}
