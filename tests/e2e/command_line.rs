//! The command line by itself: a source from the environment, sinks as URLs, `check`, exit codes.

use std::process::Output;

use forwarder_receivers::syslog::SyslogReceiver;
use forwarder_tests::{
    Forwarder, GROUP, LOGSTORE, Logs, PATIENCE, PROJECT, TOKEN, World, assert_exactly,
};
use tokio::process::Command;

/// A command with the variables of the vendor's sample, and nothing of a config file.
fn with_environment(world: &World) -> Command {
    let mut command = Forwarder::command(world.folder());
    command.envs([
        ("SLS_ENDPOINT", world.sls.endpoint().as_str()),
        ("SLS_AK_ID", "id"),
        ("SLS_AK_KEY", "secret"),
        ("SLS_PROJECT", PROJECT),
        ("SLS_LOGSTORE", LOGSTORE),
        ("SLS_CG", GROUP),
    ]);
    command.args(["--state-dir", world.folder().join("elsewhere").to_str().unwrap()]);
    command.args(["--log-level", "debug"]);
    command
}

fn numbers(lines: &str) -> Vec<u64> {
    let number = |line: &str| {
        let log: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(log["__topic__"], "access", "every field is there: {line}");
        log["number"].as_str().unwrap().parse().unwrap()
    };
    let mut numbers: Vec<u64> = lines.lines().map(number).collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_config_file_the_samples_environment_and_sink_urls_are_enough() {
    let world = World::new(2).await;
    let logs = Logs(0..2_000);
    world.put(&logs, 100);
    let siem = SyslogReceiver::builder().start().await.unwrap();
    let mut command = with_environment(&world);
    command.env("HEC_TOKEN", TOKEN);
    command.args(["--sink", "stdout:", "--sink", "file:copy.jsonl"]);
    command.args(["--sink", &format!("hec+{}?token_env=HEC_TOKEN&gzip=false", world.hec.url())]);
    command.args(["--sink", &format!("syslog+{}", siem.url())]);
    command.args(["--plugin", Forwarder::plugin("identity").to_str().unwrap()]);
    let forwarder = Forwarder::spawn(command, &world.new_log());
    world.received(2_000, &forwarder).await;
    siem.wait_for(2_000, PATIENCE).await.unwrap();
    world.settled().await;
    // Where to serve metrics is not configured: on loopback, or not at all if that port is taken.
    let log = forwarder.log();
    let served = log.contains("serving http://127.0.0.1:9464/metrics")
        || log.contains("no /metrics: the usual port is taken");
    assert!(served, "{log}");
    let output =
        std::fs::read_dir(world.folder()).unwrap().filter_map(Result::ok).find_map(|file| {
            let path = file.path();
            (path.extension()? == "out").then_some(path)
        });
    let ended = forwarder.stop().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains("DEBUG"), "--log-level: {}", ended.log);
    assert!(world.folder().join("elsewhere/dead-letters.jsonl").exists(), "--state-dir");

    let all: Vec<u64> = logs.0.clone().collect();
    assert_eq!(numbers(&std::fs::read_to_string(output.unwrap()).unwrap()), all);
    assert_eq!(numbers(&std::fs::read_to_string(world.folder().join("copy.jsonl")).unwrap()), all);
    assert_eq!(assert_exactly(&world.hec.received().ids, logs.fingerprints()), 0);
    assert_eq!(world.hec.tally().gzip_requests, 0, "a setting in the URL");
    assert_eq!(siem.tally().received, 2_000);
}

/// Runs to its end and returns exit code, standard output and standard error.
async fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_help_and_version() {
    let world = World::new(1).await;
    let (code, help, _) = run(Forwarder::command(world.folder()).arg("--help")).await;
    assert_eq!(code, 0);
    for word in ["--plugin", "--sink", "--config", "check", "Exit codes:", "SLS_ENDPOINT"] {
        assert!(help.contains(word), "{word} is missing:\n{help}");
    }
    let (code, version, _) = run(Forwarder::command(world.folder()).arg("--version")).await;
    let names_its_commit = version.starts_with("forwarder ") && version.trim_end().ends_with(')');
    assert_eq!((code, names_its_commit), (0, true), "{version}");
    let (code, _, error) = run(Forwarder::command(world.folder()).arg("--nonsense")).await;
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("--nonsense"), "{error}");

    // Nothing at all: the first steps are printed, and nothing is guessed.
    let (code, _, error) = run(&mut Forwarder::command(world.folder())).await;
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("there is no source to read from"), "{error}");
    assert!(error.contains("there is no sink to deliver to"), "{error}");
    // And half an environment names the other half.
    let mut half = Forwarder::command(world.folder());
    let (code, _, error) = run(half.env("SLS_PROJECT", "p").args(["--sink", "stdout:"])).await;
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("`SLS_AK_KEY` is not set"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_is_content_with_what_works_and_changes_nothing() {
    let world = World::new(1).await;
    world.put(&Logs(0..100), 100);
    let config = world.settings().plugin(&Forwarder::plugin("identity"), "");
    let config = config.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
    let mut command = Forwarder::command(world.folder());
    let (code, out, error) =
        run(command.args(["check", "--config", config.to_str().unwrap()])).await;
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    for line in [
        "config: ok",
        "plugins: ok (identity)",
        "dead letters: ok",
        "sink splunk: ok",
        "source audit: ok (consumer group `siem` will be created)",
    ] {
        assert!(out.lines().any(|it| it == line), "{line:?} is not in\n{out}");
    }
    assert!(world.sls.checkpoints(PROJECT, LOGSTORE, GROUP).is_err(), "no group was created");
    assert_eq!(world.hec.tally().accepted_requests, 0, "no event was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_reports_everything_at_once_and_exits_with_the_first_kind_of_trouble() {
    let world = World::new(1).await;
    let check = async |settings: forwarder_tests::Settings| {
        let config = settings.write("forwarder.toml");
        let mut command = Forwarder::command(world.folder());
        run(command.args(["check", "--config", config.to_str().unwrap()])).await
    };
    // A config with mistakes in four places: each with file, line, key and a hint.
    let broken = world
        .settings()
        .process("memory_bugdet", "1MiB")
        .source("start", "yesterday")
        .hec("splunk", "http://splunk.example.org:8088", "colour = \"red\"")
        .more("[[route]]\nto = [\"splunkk\"]\n");
    let (code, out, error) = check(broken).await;
    assert_eq!(code, 3, "{out}{error}");
    for (problem, place, hint) in [
        ("unknown key `memory_bugdet`", ", memory_bugdet", "did you mean `memory_budget`?"),
        ("cannot read `start`", ", source.audit.start", "write \"begin\", \"end\" or a time"),
        ("in plain text", ", sink.splunk.url", "allow_plaintext = true"),
        ("unknown key `colour`", ", sink.splunk.colour", "known here:"),
    ] {
        for part in [problem, place, hint] {
            assert!(error.contains(part), "{part:?} is not in\n{error}");
        }
    }
    assert!(error.contains("forwarder.toml:"), "{error}");

    // A sound config in a world where nothing works: all of it, and the code of what comes first.
    world.hec.down().await;
    let settings = world.settings().source("project", "elsewhere");
    let settings = settings.hec("splunk", &world.hec.url(), "");
    let (code, out, error) = check(settings.clone().plugin(&Forwarder::plugin("nosy"), "")).await;
    assert_eq!(code, 4, "{out}{error}");
    for part in ["wasi:sockets", "sink `splunk`", "ProjectNotExist"] {
        assert!(error.contains(part), "{part:?} is not in\n{error}");
    }
    for line in ["config: ok", "plugins: not ok", "sink splunk: not ok", "source audit: not ok"] {
        assert!(out.lines().any(|it| it == line), "{line:?} is not in\n{out}");
    }
    let (code, _, error) = check(settings.clone()).await;
    assert_eq!(code, 5, "{error}");
    world.hec.up().await.unwrap();
    let (code, _, error) = check(settings).await;
    assert_eq!(code, 6, "{error}");

    // A token that Splunk does not know is found without sending an event.
    world.hec.faults().rotate_token("another");
    let (code, _, error) = check(world.settings().hec("splunk", &world.hec.url(), "")).await;
    assert_eq!(code, 5, "{error}");
    assert!(error.contains("put a token that exists in Splunk"), "{error}");
}
