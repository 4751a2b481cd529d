//! Several processes with one consumer group.

use std::time::Duration;

use forwarder_tests::{GROUP, LOGSTORE, Logs, PATIENCE, PROJECT, World, until};

/// Waits until so many members hold all shards between them, and returns how many each holds.
async fn shared_between(world: &World, members: usize, shards: usize) -> Vec<usize> {
    let shared = tokio::time::timeout(PATIENCE, async {
        loop {
            let assignment = world.sls.assignment(PROJECT, LOGSTORE, GROUP).unwrap_or_default();
            let held: Vec<usize> = assignment.values().map(|shards| shards.len()).collect();
            if held.len() == members && held.iter().sum::<usize>() == shards {
                return held;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    shared.await.expect("the shards are shared")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_the_shards_and_hand_over_without_loss() {
    let world = World::new(4).await;
    let config = world.config("forwarder.toml", "");

    let first = world.start(&config, &[]);
    world.put(&Logs(0..20_000), 100);
    world.received(20_000, &first).await;

    // A second one joins while logs keep coming: two shards move.
    let second = world.start(&config, &[]);
    world.put(&Logs(20_000..60_000), 100);
    assert_eq!(shared_between(&world, 2, 4).await, [2, 2]);
    world.put(&Logs(60_000..80_000), 100);
    world.received(80_000, &first).await;

    // The first one leaves in order: the other takes over where it stopped.
    world.settled().await;
    assert_eq!(first.terminate().await, Some(0));
    world.put(&Logs(80_000..100_000), 100);
    assert_eq!(shared_between(&world, 1, 4).await, [4]);
    world.received(100_000, &second).await;
    world.settled().await;
    assert_eq!(second.terminate().await, Some(0));

    let repeated = world.assert_received(&Logs(0..100_000));
    assert_eq!(repeated, 0, "an orderly hand-over repeats nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn started_three_times_on_one_host_it_is_three_consumers() {
    let world = World::new(6).await;
    let config = world.config("forwarder.toml", "");
    let processes = [(); 3].map(|()| world.start(&config, &[]));

    assert_eq!(shared_between(&world, 3, 6).await, [2, 2, 2]);
    world.put(&Logs(0..30_000), 100);
    world.received(30_000, &processes[0]).await;
    world.settled().await;
    for process in processes {
        assert_eq!(process.terminate().await, Some(0));
    }
    assert_eq!(world.assert_received(&Logs(0..30_000)), 0, "nothing is delivered twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_frozen_and_wakes_up_moves_no_checkpoint_of_the_new_owner() {
    let world = World::new(4).await;
    let config = world.config("forwarder.toml", "");
    // Slow replies, so that it is frozen with requests under way and their batches unsettled.
    world.hec.faults().delay_replies(1_000_000, Duration::from_millis(50));
    let mut first = world.start(&config, &[]);
    world.put(&Logs(0..40_000), 100);
    first.until_metric("forwarder_open_batches", &[], |open| open >= 2.0).await;
    first.signal("STOP").await;
    world.hec.faults().end_script();

    // Silence for longer than the group's timeout: another one takes everything over.
    let second = world.start(&config, &[]);
    until("the second one holds all shards", async || {
        let members = world.sls.assignment(PROJECT, LOGSTORE, GROUP).unwrap();
        members.iter().all(|(name, held)| name.ends_with("-2") && held.len() == 4)
    })
    .await;
    world.received(40_000, &second).await;
    world.settled().await;

    first.signal("CONT").await;
    first.says("stopped without saving, the new owner repeats what was in flight").await;
    assert_eq!(world.backlog(), 0, "the checkpoints are where the second one put them");
    world.put(&Logs(40_000..60_000), 100);
    assert_eq!(shared_between(&world, 2, 4).await, [2, 2]);
    world.received(60_000, &second).await;
    world.settled().await;
    assert_eq!(first.terminate().await, Some(0));
    assert_eq!(second.terminate().await, Some(0));
    // What was in flight when it froze may have come twice, and only that; nothing is missing.
    let repeated = world.assert_received(&Logs(0..60_000));
    assert!(repeated <= 40_000, "{repeated} logs came twice");
}
