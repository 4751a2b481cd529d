//! The end of a process: in order, in a hurry, and what the next one finds.

use std::time::Duration;

use forwarder_emulator::Limits;
use forwarder_tests::{Logs, PATIENCE, World, receivers};

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_with_batches_in_flight_finishes_them_and_the_next_start_repeats_nothing() {
    // Small blocks and a small budget: most of the logs are still to be pulled when the stops come.
    let limits = Limits { max_pull_bytes: 200_000, ..Limits::default() };
    let world = World::of(World::sls(4).limits(limits), receivers::hec()).await;
    world.put(&Logs(0..100_000), 200);
    let settings = world.settings().process("memory_budget", "2MiB");
    let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
    for stop in ["TERM", "INT", "TERM"] {
        // Slow replies: when the signal comes, requests are in flight without an answer.
        world.hec.faults().delay_replies(1_000_000, Duration::from_millis(100));
        let before = world.hec.tally().received;
        let mut forwarder = world.start(&config, &[]);
        forwarder.until_metric("forwarder_open_batches", &[], |open| open >= 2.0).await;
        world.hec.wait_until(PATIENCE, |tally| tally.received > before).await.unwrap();
        forwarder.signal(stop).await;
        let ended = forwarder.end().await;
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        assert!(ended.log.contains("stopped, everything in flight was settled"), "{}", ended.log);
        world.hec.faults().end_script();
    }
    assert!(world.backlog() > 0, "the stops came too late to matter");

    let forwarder = world.start(&config, &[]);
    world.received(100_000, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    let repeated = world.assert_received(&Logs(0..100_000));
    assert_eq!(repeated, 0, "what was delivered before a stop is never delivered again");

    // And once more with nothing to do.
    let mut forwarder = world.start(&config, &[]);
    forwarder.until_metric("forwarder_shards_held", &[], |shards| shards == 4.0).await;
    forwarder
        .until_metric("forwarder_pulls_total", &[("outcome", "empty")], |pulls| pulls >= 8.0)
        .await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.hec.tally().received, 100_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_cannot_deliver_gives_up_after_the_grace_and_loses_nothing() {
    let world = World::new(2).await;
    let logs = Logs(0..5_000);
    world.put(&logs, 100);
    world.hec.down().await;
    let settings = world.settings().process("shutdown_grace", "1s");
    let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
    let mut forwarder = world.start(&config, &[]);
    forwarder.until_metric("forwarder_open_batches", &[], |open| open >= 2.0).await;
    let ended = forwarder.stop().await;
    assert_eq!(ended.code, Some(7), "{}", ended.log);
    assert!(ended.log.contains("stopped with logs in flight; no data lost"), "{}", ended.log);
    assert_eq!(world.backlog(), 50, "nothing was delivered, so nothing is committed");

    // In a hurry: the second signal does not wait for the grace.
    let settings = world.settings().process("shutdown_grace", "1h");
    let patient = settings.hec("splunk", &world.hec.url(), "").write("patient.toml");
    let mut forwarder = world.start(&patient, &[]);
    forwarder.until_metric("forwarder_open_batches", &[], |open| open >= 2.0).await;
    forwarder.signal("TERM").await;
    forwarder.says("stopping: finishing what is in flight").await;
    let ready = forwarder.ask("GET", "/readyz").await;
    assert_eq!((ready.status, ready.body.as_str()), (503, "stopping\n"));
    // Another one than the first: the same again within a second counts as its echo.
    forwarder.signal("INT").await;
    let ended = forwarder.end().await;
    assert_eq!(ended.code, Some(7), "{}", ended.log);
    assert!(ended.log.contains("logs in flight will be re-read"), "{}", ended.log);

    world.hec.up().await.unwrap();
    let forwarder = world.start(&config, &[]);
    world.received(5_000, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.assert_received(&logs), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_shards_are_drained_the_heartbeat_continues_and_no_other_consumer_starts_on_them() {
    let world = World::new(2).await;
    let logs = Logs(0..20_000);
    world.put(&logs, 200);
    // Every reply takes longer than the group's timeout allows for silence.
    world.hec.faults().delay_replies(1_000_000, Duration::from_secs(8));
    let config = world.config("forwarder.toml", "");
    let mut first = world.start(&config, &[]);
    first.until_metric("forwarder_open_batches", &[], |open| open >= 2.0).await;
    let second = world.start(&config, &[]);
    first.signal("TERM").await;
    let ended = first.end().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    world.hec.faults().end_script();
    world.received(20_000, &second).await;
    world.settled().await;
    assert_eq!(second.terminate().await, Some(0));
    let repeated = world.assert_received(&logs);
    assert_eq!(repeated, 0, "the second one waited until the first had let go");
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_meant_for_other_services_change_nothing_and_those_that_end_end_in_order() {
    let world = World::new(2).await;
    let config = world.config("forwarder.toml", "");
    let mut end = 0;
    for ending in ["QUIT", "ALRM", "XCPU", "TERM"] {
        let mut forwarder = world.start(&config, &[]);
        forwarder.says("at work").await;
        for (signal, logged) in [
            ("HUP", "signal=\"SIGHUP\" help=\"the config file is not read again"),
            ("USR1", "signal=\"SIGUSR1\""),
            ("USR2", "signal=\"SIGUSR2\""),
            ("XFSZ", ""),
            ("PIPE", ""),
        ] {
            forwarder.signal(signal).await;
            forwarder.says(logged).await;
        }
        world.put(&Logs(end..end + 1_000), 100);
        end += 1_000;
        world.received(end, &forwarder).await;
        world.settled().await;
        forwarder.signal(ending).await;
        let ended = forwarder.end().await;
        assert_eq!(ended.code, Some(0), "{ending}: {}", ended.log);
        let by = format!("signal=\"SIG{ending}\"");
        assert!(ended.log.contains(&by), "{ending}: {}", ended.log);
        assert!(ended.log.contains("stopped, everything in flight was settled"), "{}", ended.log);
    }
    assert_eq!(world.assert_received(&Logs(0..end)), 0);
}
