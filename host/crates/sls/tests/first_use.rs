//! What a start at the end means: the time of the group's first use, and what may be believed about that.

mod support;

use std::sync::Arc;

use forwarder_sls::group::{FirstUse as _, InMemory, Start};
use forwarder_sls::{ConsumerGroup, GroupConfig};
use std::time::Duration;

use forwarder_emulator::sign_check::SignatureCheck;
use support::reading::{config, data, lease};
use support::{Api, Fault, Sls, refuse};

/// A configuration that begins at the end, with this on record.
fn from_the_end(known: Option<i64>) -> (GroupConfig, Arc<InMemory>) {
    let record = Arc::new(InMemory::new(known));
    let first_use = Arc::<InMemory>::clone(&record);
    (GroupConfig { start: Start::End, first_use, ..config() }, record)
}

#[tokio::test]
async fn the_end_is_the_time_of_the_first_use_and_the_oldest_log_where_that_is_not_known() {
    let sls = Sls::start(2).await;
    sls.write_at(1, &["old"], 100);
    let before = sls.now();
    // The group cannot even be created: its first use is on record all the same.
    sls.faults(Api::CreateConsumerGroup, 1, refuse(401, "Unauthorized"));
    let (config, record) = from_the_end(None);
    assert!(ConsumerGroup::join(sls.client(), config.clone()).await.is_err());
    let unused_at = record.known().unwrap();
    assert!((before - 2..=before + 5).contains(&unused_at), "{unused_at} {before}");

    // It is used for the first time, and stopped before it could save anything.
    sls.faults(Api::GetCursor, 100, refuse(401, "Unauthorized"));
    drop(ConsumerGroup::join(sls.client(), config).await.unwrap());
    assert_eq!(record.known(), Some(unused_at), "the first time stays");

    // What arrives meanwhile is read, whatever was saved by then and also if nothing was.
    sls.clear_faults();
    sls.write_at(1, &["new"], unused_at + 10);
    for (known, others, expected) in
        [(Some(unused_at), true, "new"), (None, true, "oldnew"), (None, false, "oldnew")]
    {
        sls.delete_group();
        sls.create_group(60, false);
        if others {
            sls.save(0, &sls.cursor(0, 0));
        }
        let (config, record) = from_the_end(known);
        let mut group = ConsumerGroup::join(sls.client(), config).await.unwrap();
        assert_eq!(record.known(), known, "a group that was there is not put on record");
        let (_, lease) = (lease(&mut group).await, lease(&mut group).await);
        assert_eq!(lease.shard(), 1);
        assert_eq!(data(&mut lease.puller()).await.0, expected);
    }

    // Whether it was used must be known.
    sls.fault(Api::GetCheckPoint, refuse(403, "Unauthorized"));
    let error = ConsumerGroup::join(sls.client(), from_the_end(None).0).await.err().unwrap();
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn a_group_that_cannot_be_listed_is_on_record_only_if_it_was_created_here() {
    for (exists, on_record) in [(false, true), (true, false)] {
        let sls = Sls::start(1).await;
        if exists {
            sls.create_group(60, false);
        }
        sls.faults(Api::ListConsumerGroup, 2, refuse(403, "Unauthorized"));
        let (config, record) = from_the_end(None);
        ConsumerGroup::join(sls.client(), config).await.unwrap();
        assert_eq!(record.known().is_some(), on_record);
    }
}

#[tokio::test]
async fn a_group_that_the_list_left_out_is_not_on_record() {
    let none = || Fault::SetBody("[]".into());
    let lost = Fault::DoneButRefused { status: 500, code: "InternalServerError".into() };
    for (exists, lists, creation, on_record) in [
        // The second list, the refusal at first, and the refusal after one without effect say that it was there.
        (true, 1, None, false),
        (true, 2, None, false),
        (true, 2, Some(refuse(503, "ServerBusy")), false),
        // Created here, though the answer said otherwise.
        (false, 0, Some(lost), true),
        (false, 0, None, true),
    ] {
        let sls = Sls::start(1).await;
        if exists {
            sls.create_group(60, false);
        }
        sls.faults(Api::ListConsumerGroup, lists, none());
        creation.into_iter().for_each(|fault| sls.fault(Api::CreateConsumerGroup, fault));
        let (config, record) = from_the_end(None);
        drop(ConsumerGroup::join(sls.client(), config).await.unwrap());
        assert_eq!(record.known().is_some(), on_record, "{exists} {lists}");
    }

    // What was on record before stays there.
    let sls = Sls::start(1).await;
    sls.create_group(60, false);
    sls.faults(Api::ListConsumerGroup, 2, none());
    let (config, record) = from_the_end(Some(7));
    drop(ConsumerGroup::join(sls.client(), config).await.unwrap());
    assert_eq!(record.known(), Some(7));
}

#[tokio::test]
async fn the_first_use_is_the_earlier_of_two_clocks() {
    for ahead in [3_600, -3_600] {
        let sls = Sls::start(1).await;
        let (here, hour) = (sls.now(), Duration::from_secs(3_600));
        sls.emulator.accept(SignatureCheck::AnyKey);
        if ahead > 0 {
            sls.emulator.clock().advance(hour);
        } else {
            sls.emulator.clock().set_back(hour);
        }
        let (config, record) = from_the_end(None);
        drop(ConsumerGroup::join(sls.client(), config).await.unwrap());
        let expected = here + ahead.min(0);
        let known = record.known().unwrap();
        assert!((expected - 2..=expected + 5).contains(&known), "{known} {expected}");
    }
}
