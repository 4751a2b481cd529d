//! What SLS refuses, and what the log says to do about it.

use std::time::Duration;

use forwarder_emulator::Builder;
use forwarder_emulator::sign_check::SignatureCheck;
use forwarder_emulator::state::consumer_group::GroupOptions;
use forwarder_sls::AccessKey;
use forwarder_tests::{Ended, GROUP, LOGSTORE, Logs, PROJECT, Settings, World, receivers, until};

/// The one key that a strict service takes; that of [`Settings`] unless a test sets another.
fn strict() -> SignatureCheck {
    SignatureCheck::Strict(AccessKey::new("id", "secret"))
}

async fn world(sls: Builder) -> World {
    World::of(sls, receivers::hec()).await
}

/// Starts and waits for the end that a refusal must come to.
async fn refused(world: &World, settings: Settings) -> Ended {
    let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
    world.start(&config, &[]).end().await
}

/// Asserts that it ended with this code and these words, and that it says that nothing was lost.
fn assert_says(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}", ended.log);
    for word in words {
        assert!(ended.log.contains(word), "it does not say {word:?}:\n{}", ended.log);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_wrong_is_reported_with_what_to_do() {
    let world = world(World::sls(1).signatures(strict())).await;
    for (key, value, words) in [
        (
            "access_key_secret",
            "mistyped",
            ["SignatureNotMatch", "check that the access key secret belongs to the access key id"],
        ),
        (
            "access_key_id",
            "unknown",
            ["InvalidAccessKeyId", "the access key id is unknown or disabled"],
        ),
        (
            "security_token",
            "stray",
            ["Unauthorized", "grant the key's RAM user or role the action"],
        ),
    ] {
        let ended = refused(&world, world.settings().credential(key, value)).await;
        assert_says(&ended, 6, &words);
        assert_says(&ended, 6, &["source `audit`", "nothing was read and nothing was lost"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_is_reported_as_such() {
    let world = world(World::sls(1).signatures(strict())).await;
    world.sls.clock().advance(Duration::from_secs(3_600));
    let ended = refused(&world, world.settings()).await;
    assert_says(&ended, 6, &["RequestTimeTooSkewed", "set it (NTP); 15 minutes are tolerated"]);
    assert_says(&ended, 6, &["the clock here is"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_project_and_a_missing_logstore_have_different_errors() {
    let world = world(World::sls(1)).await;
    let ended = refused(&world, world.settings().source("project", "elsewhere")).await;
    let endpoint =
        "check the project's name, and that the endpoint is that of the project's region";
    assert_says(&ended, 6, &["ProjectNotExist", endpoint]);
    let ended = refused(&world, world.settings().source("logstore", "elsewhere")).await;
    assert_says(&ended, 6, &["LogStoreNotExist", "check the logstore's name"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_no_service_would_take_is_reported_before_anything_is_asked() {
    let world = world(World::sls(1)).await;
    for (key, name) in
        [("project", "my project"), ("logstore", "Audit"), ("consumer_group", "siem/prod")]
    {
        let ended = refused(&world, world.settings().source(key, name)).await;
        assert_says(
            &ended,
            3,
            &[&format!("`{name}` cannot be a {key}"), "help: use ", "forwarder.toml:"],
        );
    }
    assert!(world.sls.traffic().requests.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_refused_keeps_no_other_from_work_and_joins_once_the_cause_is_gone() {
    let world = World::new(1).await;
    world.put(&Logs(0..100), 10);
    let second = [("name", "second"), ("consumer_group", "other")];
    let settings = world.settings().source("manage_group", "false").another_source(&second);
    let options = || GroupOptions { timeout: Duration::from_secs(10), order: false };
    world.sls.change(PROJECT, LOGSTORE, |it| it.create_group(GROUP, options())).unwrap();
    let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
    let mut forwarder = world.start(&config, &[]);
    world.received(100, &forwarder).await;
    forwarder.says("SLS refuses this source: nothing was read and no data is lost").await;
    forwarder.says("consumer group `other` does not exist; create it").await;
    world.sls.change(PROJECT, LOGSTORE, |it| it.create_group("other", options())).unwrap();
    world.settled_for("other").await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.hec.tally().received, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_every_source_is_refused_the_process_ends_at_once() {
    let world = World::new(1).await;
    let second = [("name", "second"), ("consumer_group", "other")];
    let settings = world.settings().source("manage_group", "false").another_source(&second);
    let ended = refused(&world, settings).await;
    let remedy = "does not exist; create it, or set `manage_group = true`";
    for (source, group) in [("audit", GROUP), ("second", "other")] {
        let refusal = format!("error: source `{source}`: consumer group `{group}` {remedy}");
        assert_says(&ended, 6, &[&refusal]);
    }
    assert!(ended.log.contains("other sources continue"), "{}", ended.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logstore_with_too_many_groups_and_a_missing_group_are_reported() {
    let world = world(World::sls(1).max_groups(0)).await;
    let ended = refused(&world, world.settings()).await;
    assert_says(
        &ended,
        6,
        &["ConsumerGroupQuotaExceed", "delete an unused one, or ask for a higher quota"],
    );
    let ended = refused(&world, world.settings().source("manage_group", "false")).await;
    let missing = "consumer group `siem` does not exist; create it, or set `manage_group = true`";
    assert_says(&ended, 6, &[missing]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_with_other_options_is_changed_only_if_the_config_allows_it() {
    let timeout = |world: &World| {
        world.sls.inspect(|service| {
            let logstore = service.logstore(PROJECT, LOGSTORE).unwrap();
            logstore.group(GROUP).unwrap().options().timeout.as_secs()
        })
    };
    for (manages, configured, logged, then) in [
        ("true", true, "existed with other options and was changed", 6),
        ("false", true, "they are kept, because `manage_group = false`", 33),
        // Without a wish of our own, whatever is found is right.
        ("true", false, "joined", 33),
    ] {
        let world = world(World::sls(1)).await;
        let others = GroupOptions { timeout: Duration::from_secs(33), order: false };
        world.sls.change(PROJECT, LOGSTORE, |it| it.create_group(GROUP, others)).unwrap();
        world.put(&Logs(0..100), 100);
        let settings = world.settings().source("manage_group", manages);
        let settings = if configured { settings } else { settings.source_without("group_timeout") };
        let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
        let mut forwarder = world.start(&config, &[]);
        forwarder.says(logged).await;
        world.received(100, &forwarder).await;
        world.settled().await;
        assert_eq!(forwarder.terminate().await, Some(0));
        assert_eq!(timeout(&world), then, "{logged}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_signatures_pass_a_strict_service_and_so_do_temporary_keys() {
    for (signature, token) in [("v1", None), ("v4", None), ("v4", Some("sts-token"))] {
        let key = AccessKey::new("id", "secret");
        let key = match token {
            Some(token) => key.with_token(token),
            None => key,
        };
        let world = world(World::sls(2).signatures(SignatureCheck::Strict(key))).await;
        let logs = Logs(0..2_000);
        world.put(&logs, 100);
        let settings = world.settings().source("signature", signature);
        let settings = match signature {
            "v4" => settings.source("region", "cn-hangzhou"),
            _ => settings,
        };
        let settings = match token {
            Some(token) => settings.credential("security_token", token),
            None => settings,
        };
        let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
        let forwarder = world.start(&config, &[]);
        world.received(2_000, &forwarder).await;
        world.settled().await;
        assert_eq!(forwarder.terminate().await, Some(0), "{signature} {token:?}");
        assert_eq!(world.assert_received(&logs), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_revoked_while_running_stops_the_reading_and_loses_nothing() {
    let world = world(World::sls(2).signatures(strict())).await;
    world.put(&Logs(0..1_000), 100);
    let config = world.config("forwarder.toml", "");
    let mut forwarder = world.start(&config, &[]);
    world.received(1_000, &forwarder).await;
    world.settled().await;

    world.sls.accept(SignatureCheck::Strict(AccessKey::new("another", "key")));
    world.put(&Logs(1_000..2_000), 100);
    forwarder.says("InvalidAccessKeyId").await;
    assert!(forwarder.is_running(), "the operator may be fixing it already");
    assert_eq!(forwarder.ask("GET", "/readyz").await.status, 200);

    world.sls.accept(strict());
    world.received(2_000, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.assert_received(&Logs(0..2_000)), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_a_file_may_be_rotated_while_running() {
    let world = world(World::sls(2).signatures(strict())).await;
    let file = world.folder().join("key.json");
    let write = |id: &str, secret: &str| {
        let text = format!("{{\"AccessKeyId\":\"{id}\",\"AccessKeySecret\":\"{secret}\"}}");
        std::fs::write(&file, text).unwrap();
    };
    write("id", "secret");
    let settings = world.settings().key_file(&file);
    let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
    let forwarder = world.start(&config, &[]);
    world.put(&Logs(0..1_000), 100);
    world.received(1_000, &forwarder).await;

    write("renewed", "and-secret-too");
    world.sls.accept(SignatureCheck::Strict(AccessKey::new("renewed", "and-secret-too")));
    world.put(&Logs(1_000..2_000), 100);
    world.received(2_000, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.assert_received(&Logs(0..2_000)), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_not_there_yet_is_waited_for() {
    let world = world(World::sls(1)).await;
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", nowhere.local_addr().unwrap());
    drop(nowhere);
    let settings = world.settings().source("endpoint", &endpoint);
    let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
    let mut forwarder = world.start(&config, &[]);
    forwarder.says("cannot join yet").await;
    let ready = forwarder.ask("GET", "/readyz").await;
    assert_eq!((ready.status, ready.body.as_str()), (503, "starting\n"));
    assert_eq!(forwarder.ask("GET", "/healthz").await.status, 200);
    let ended = forwarder.stop().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    until("nothing was asked", async || world.sls.traffic().requests.is_empty()).await;
}
