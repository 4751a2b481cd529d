//! Secrets are in no output: not at the most talkative level, not in errors, not in metrics.

use forwarder_emulator::sign_check::SignatureCheck;
use forwarder_sls::AccessKey;
use forwarder_tests::{Forwarder, Logs, World, receivers};

const KEY_SECRET: &str = "SECRET-of-the-key-5d1f";
const STS_TOKEN: &str = "SECRET-of-sts-77aa";
const HEC_TOKEN: &str = "5EC2E700-dead-beef-0000-70cec70cec70";
const WRONG_TOKEN: &str = "5EC2E700-0bad-0bad-0bad-70cec70cec70";

fn assert_silent(what: &str, text: &str) {
    for secret in [KEY_SECRET, STS_TOKEN, HEC_TOKEN, WRONG_TOKEN] {
        let at = text.lines().find(|line| line.contains(secret));
        assert!(at.is_none(), "{what} shows {secret}: {at:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_any_log_error_help_check_or_metric() {
    let key = AccessKey::new("id", KEY_SECRET).with_token(STS_TOKEN);
    let sls = World::sls(2).signatures(SignatureCheck::Strict(key));
    let world = World::of(sls, receivers::hec().token(HEC_TOKEN)).await;
    let logs = Logs(0..1_000);
    world.put(&logs, 100);
    // Secrets by all three ways: from the environment, from a file, and as they stand.
    std::fs::write(world.folder().join("token"), format!("{HEC_TOKEN}\n")).unwrap();
    let settings = world
        .settings()
        .log("level", "trace")
        .log("file", "trace.log")
        .credential("access_key_secret", "${KEY}")
        .credential("security_token", STS_TOKEN);
    let token = format!("file:{}/token", world.folder().display());
    let good = settings.clone().hec_with_token("splunk", &world.hec.url(), &token, "");
    let good = good.write("good.toml");
    let command = |arguments: &[&str]| {
        let mut command = Forwarder::command(world.folder());
        command.env("KEY", KEY_SECRET).args(arguments);
        command
    };

    let log = world.new_log();
    let mut forwarder = Forwarder::spawn(command(&["--config", good.to_str().unwrap()]), &log);
    world.hec.faults().rotate_token("for a moment another one");
    forwarder.until_metric("forwarder_sink_holding", &[], |holding| holding == 1.0).await;
    world.hec.faults().rotate_token(HEC_TOKEN);
    world.sls.accept(SignatureCheck::Strict(AccessKey::new("id", "changed")));
    forwarder.says("HTTP 401").await;
    let key = AccessKey::new("id", KEY_SECRET).with_token(STS_TOKEN);
    world.sls.accept(SignatureCheck::Strict(key));
    world.received(1_000, &forwarder).await;
    world.settled().await;
    assert_silent("/metrics", &forwarder.ask("GET", "/metrics").await.body);
    assert_silent("standard output", &forwarder.output());
    let process = forwarder.id();
    let ended = forwarder.stop().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains("TRACE") || ended.log.contains("DEBUG"), "it was talkative");
    assert_silent("the log", &ended.log);
    let file = std::fs::read_to_string(world.folder().join(format!("trace.{process}.log")));
    assert_silent("the log file", &file.unwrap());

    // What goes wrong may not show them either.
    let bad = settings
        .credential("access_key_id", "${KEY}${")
        .source("start", "never")
        .hec_with_token("splunk", &world.hec.url(), WRONG_TOKEN, "tokn = \"5EC2E700-0bad\"")
        .write("bad.toml");
    let wrong = settings_with_wrong_token(&world).write("wrong.toml");
    let bad_url = format!("hec+{}?token={WRONG_TOKEN}", world.hec.url());
    for arguments in [
        &["--help"][..],
        &["check", "--config", good.to_str().unwrap()],
        &["check", "--config", bad.to_str().unwrap()],
        &["check", "--config", wrong.to_str().unwrap()],
        &["--config", bad.to_str().unwrap()],
        &["check", "--config", good.to_str().unwrap(), "--sink", &bad_url],
    ] {
        let output = command(arguments).output().await.unwrap();
        assert_silent(&format!("{arguments:?}"), &String::from_utf8(output.stdout).unwrap());
        assert_silent(&format!("{arguments:?}"), &String::from_utf8(output.stderr).unwrap());
    }
}

fn settings_with_wrong_token(world: &World) -> forwarder_tests::Settings {
    let settings = world.settings().log("level", "trace").credential("access_key_secret", "${KEY}");
    settings.hec_with_token("splunk", &world.hec.url(), WRONG_TOKEN, "")
}
