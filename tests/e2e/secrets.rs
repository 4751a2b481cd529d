//! Secrets are in no output: not at the most talkative level, not in errors, not in metrics. What is kept on
//! disk is for its owner alone.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use forwarder_emulator::sign_check::SignatureCheck;
use forwarder_sls::AccessKey;
use forwarder_tests::{Forwarder, Logs, World, receivers};
use tokio::process::Command;

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

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_folders_are_for_their_owner_alone_whatever_the_umask() {
    let world = World::new(1).await;
    let settings = world.settings().log("file", "logs/deep/forwarder.log");
    let settings = settings.more("[dead_letters]\npath = \"letters/deep/dead.jsonl\"\n");
    let config = settings.source("consumer", "c").hec("splunk", &world.hec.url(), "");
    let config = config.write("forwarder.toml");
    let mut command = Command::new("sh");
    let binary = Forwarder::binary();
    command.args(["-c", "umask 0; exec \"$0\" --config \"$1\""]).arg(binary).arg(config);
    command.current_dir(world.folder()).env_clear().kill_on_drop(true);
    let mut forwarder = Forwarder::spawn(command, &world.new_log());
    forwarder.says("at work").await;
    assert_eq!(forwarder.terminate().await, Some(0));
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    for made in ["state", "logs", "letters"] {
        folders.push(world.folder().join(made));
    }
    let mut next = 0;
    while let Some(folder) = folders.get(next).cloned() {
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let is_folder = entry.file_type().unwrap().is_dir();
            if is_folder { folders.push(entry.path()) } else { files.push(entry.path()) }
        }
        next += 1;
    }
    assert!(folders.len() >= 5 && files.len() >= 3, "{folders:?} {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_have_put_in_place_of_a_file_is_neither_followed_nor_filled() {
    let world = World::new(1).await;
    let config = world.config("forwarder.toml", "");
    let state = world.folder().join("state");
    let precious = world.folder().join("precious");
    for name in ["dead-letters.jsonl", "instance-1.lock"] {
        for trick in ["link", "dangling link", "second name", "pipe", "folder"] {
            let _ = std::fs::remove_dir_all(&state);
            std::fs::create_dir(&state).unwrap();
            std::fs::set_permissions(&state, Permissions::from_mode(0o700)).unwrap();
            std::fs::write(&precious, "theirs").unwrap();
            let place = state.join(name);
            match trick {
                "link" => symlink(&precious, &place).unwrap(),
                "dangling link" => symlink(world.folder().join("nowhere"), &place).unwrap(),
                "second name" => std::fs::hard_link(&precious, &place).unwrap(),
                "pipe" => {
                    let made = Command::new("mkfifo").arg(&place).status().await.unwrap();
                    assert!(made.success());
                }
                _ => std::fs::create_dir(&place).unwrap(),
            }
            let ended = world.start(&config, &[]).end().await;
            assert_eq!(ended.code, Some(3), "{name}, {trick}: {}", ended.log);
            assert!(ended.log.contains(name), "{name}, {trick}: {}", ended.log);
            assert_eq!(std::fs::read(&precious).unwrap(), b"theirs", "{name}, {trick}");
            assert!(!world.folder().join("nowhere").exists(), "{name}, {trick}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_in_place_of_a_key_is_refused_and_not_waited_for() {
    let world = World::new(1).await;
    let pipe = world.folder().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().await.unwrap().success());
    let (file, pipe) = (format!("file:{}", pipe.display()), pipe.display());
    let (url, ca) = (world.hec.url(), format!("tls = {{ ca_file = \"{pipe}\" }}"));
    let settings = || world.settings();
    for settings in [
        settings().hec_with_token("splunk", &url, &file, ""),
        settings().hec("splunk", "https://127.0.0.1:1", &ca),
        settings().syslog("siem", "tls://127.0.0.1:1", &ca),
        settings()
            .source("endpoint", "https://127.0.0.1:1")
            .source("ca_file", &pipe.to_string())
            .hec("splunk", &url, ""),
        settings().credential("access_key_secret", &file).hec("splunk", &url, ""),
        settings().key_file(&world.folder().join("pipe")).hec("splunk", &url, ""),
    ] {
        let ended = world.start(&settings.write("forwarder.toml"), &[]).end().await;
        assert_eq!(ended.code, Some(3), "{}", ended.log);
        assert!(
            ended.log.contains("it is a pipe or a device, but must be a file"),
            "{}",
            ended.log
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_that_becomes_a_pipe_for_a_while_costs_nothing() {
    let world = World::new(1).await;
    let (path, pipe) = (world.folder().join("token"), world.folder().join("pipe"));
    assert!(Command::new("mkfifo").arg(&pipe).status().await.unwrap().success());
    std::fs::write(&path, "wrong").unwrap();
    let token = format!("file:{}", path.display());
    let settings = world.settings().hec_with_token("splunk", &world.hec.url(), &token, "");
    let mut forwarder = world.start(&settings.write("forwarder.toml"), &[]);
    world.put(&Logs(0..100), 10);
    forwarder.says("sink paused: needs operator action").await;
    std::fs::rename(&pipe, &path).unwrap();
    forwarder.says("it is a pipe or a device, but must be a file").await;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, forwarder_tests::TOKEN).unwrap();
    world.received(100, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
}

fn settings_with_wrong_token(world: &World) -> forwarder_tests::Settings {
    let settings = world.settings().log("level", "trace").credential("access_key_secret", "${KEY}");
    settings.hec_with_token("splunk", &world.hec.url(), WRONG_TOKEN, "")
}
