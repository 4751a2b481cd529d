//! Pipes that are not read, or whose reader leaves: standard error never delays the data path, standard output
//! delays its own sink only, and what a reader did not take is not lost.

use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use forwarder_emulator::Limits;
use forwarder_tests::{Forwarder, Logs, Settings, World, receivers, until};
use tokio::process::Command;

/// What a pipe holds unless it is resized (pipe(7)).
const PIPE_BYTES: usize = 64 * 1024;

/// A world in which little is pulled at once, so that much is logged.
async fn talkative() -> World {
    let limits = Limits { max_pull_bytes: 20_000, ..Limits::default() };
    World::of(World::sls(2).limits(limits), receivers::hec()).await
}

/// Starts the program with a pipe for standard error. Its log can also be read in a file.
fn start(world: &World, stderr: impl Into<Stdio>) -> Forwarder {
    let settings = world.settings().log("level", "trace").log("file", "logs/forwarder.log");
    let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
    let mut command = Forwarder::command(world.folder());
    command.args(["--config", config.to_str().unwrap()]).stderr(stderr);
    let folder = world.folder().join("logs");
    Forwarder::spawn_as_it_is(command, |id| folder.join(format!("forwarder.{id}.log")))
}

const DROPPED: &str = "forwarder_log_lines_dropped_total";

/// Puts logs until the log of the program does not fit into the pipe any more; how many.
async fn until_the_log_is_stuck(world: &World, forwarder: &mut Forwarder, from: u64) -> u64 {
    let mut end = from;
    until("lines of the log are dropped", async || {
        world.put(&Logs(end..end + 2_000), 20);
        end += 2_000;
        world.received(end, forwarder).await;
        forwarder.metrics().await.sum(DROPPED, &[("to", "stderr")]) > 0.0
    })
    .await;
    end
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_error_that_is_not_read_delays_nothing_and_costs_log_lines_only() {
    let world = talkative().await;
    let (unread, stderr) = std::io::pipe().unwrap();
    let mut forwarder = start(&world, stderr);
    let end = until_the_log_is_stuck(&world, &mut forwarder, 0).await;
    assert_eq!(forwarder.metrics().await.sum(DROPPED, &[("to", "file")]), 0.0);
    let beats = forwarder.metrics().await.sum("forwarder_heartbeats_total", &[]);
    forwarder.until_metric("forwarder_heartbeats_total", &[], |now| now >= beats + 2.0).await;
    world.settled().await;
    // Nor does it delay the end.
    assert_eq!(forwarder.terminate().await, Some(0));
    drop(unread);

    // What was dropped is reported once lines flow again, and the last ones are there.
    let (reader, stderr) = std::io::pipe().unwrap();
    let mut forwarder = start(&world, stderr);
    let end = until_the_log_is_stuck(&world, &mut forwarder, end).await;
    let reading = read_to_end(reader);
    forwarder.says("log lines were dropped").await;
    assert_eq!(forwarder.terminate().await, Some(0));
    let text = reading.join().unwrap();
    for expected in ["log lines were dropped", "stopped, everything in flight was settled"] {
        assert!(text.contains(expected), "{expected} is missing");
    }
    assert_eq!(world.assert_received(&Logs(0..end)), 0);
}

fn read_to_end(mut reader: PipeReader) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        reader.read_to_end(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_at_the_end_is_printed_if_it_is_read_and_delays_nothing_if_not() {
    let world = World::new(1).await;
    let config = world.settings().source("start", "never").write("wrong.toml");
    let run = |stderr: std::io::PipeWriter| {
        let mut command = Forwarder::command(world.folder());
        command.args(["--config", config.to_str().unwrap()]).stderr(stderr);
        command
    };
    let (reader, stderr) = std::io::pipe().unwrap();
    let status = run(stderr).status().await.unwrap();
    assert_eq!(status.code(), Some(3));
    let text = read_to_end(reader).join().unwrap();
    assert!(text.contains("error: ") && text.contains("wrong.toml"), "{text}");

    let (_unread, mut stderr) = std::io::pipe().unwrap();
    stderr.write_all(&[b'x'; PIPE_BYTES]).unwrap();
    let status = run(stderr).status().await.unwrap();
    assert_eq!(status.code(), Some(3));
}

/// The program with a sink for standard output, and `more` in its config.
fn to_stdout(world: &World, name: &str, more: impl FnOnce(Settings) -> Settings) -> Command {
    let settings = more(world.settings().sink("out", "stdout", ""));
    let config = settings.write(name);
    let mut command = Forwarder::command(world.folder());
    command.args(["--config", config.to_str().unwrap()]);
    command
}

fn number(line: &str) -> u64 {
    let log: serde_json::Value = serde_json::from_str(line).unwrap();
    log["number"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_reader_of_standard_output_leaves_the_process_ends_and_loses_nothing() {
    let limits = Limits { max_pull_bytes: 20_000, ..Limits::default() };
    let world = World::of(World::sls(1).limits(limits), receivers::hec()).await;
    world.put(&Logs(0..5_000), 20);

    // As `forwarder … | head -n 2000` does it.
    let (reader, stdout) = std::io::pipe().unwrap();
    let mut command = to_stdout(&world, "alone.toml", |settings| settings);
    command.stdout(stdout);
    let log = world.new_log();
    let forwarder = Forwarder::spawn_with_output(command, &log);
    let head = tokio::task::spawn_blocking(move || {
        let lines = BufReader::new(reader).lines().take(2_000);
        lines.map(|line| number(&line.unwrap())).collect::<Vec<u64>>()
    });
    let taken = head.await.unwrap();
    let left = Instant::now();
    let ended = forwarder.end().await;
    assert_eq!(ended.code, Some(9), "{}", ended.log);
    assert!(ended.log.contains("the reader of standard output closed it"), "{}", ended.log);
    assert!(left.elapsed() < Duration::from_secs(15), "it does not wait for the grace of 20 s");
    assert!(world.backlog() < 5_000 / 20, "what was taken is behind a checkpoint");

    // The rest comes at the next start, also where another sink is there.
    let with_hec = |settings: Settings| settings.hec("splunk", &world.hec.url(), "");
    let (reader, stdout) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = to_stdout(&world, "both.toml", with_hec);
    command.stdout(stdout);
    let ended = Forwarder::spawn_with_output(command, &world.new_log()).end().await;
    assert_eq!(ended.code, Some(9), "{}", ended.log);

    let command = to_stdout(&world, "both.toml", with_hec);
    let forwarder = Forwarder::spawn(command, &world.new_log());
    world.settled().await;
    let output = forwarder.output();
    assert_eq!(forwarder.terminate().await, Some(0));
    let mut all: Vec<u64> = output.lines().map(number).chain(taken).collect();
    all.sort_unstable();
    all.dedup();
    // What was in the pipe when its reader left was delivered to the pipe.
    let lost_in_pipe = 5_000 - all.len();
    assert!(lost_in_pipe < 5_000 - 2_000, "only what the pipe held is missing: {lost_in_pipe}");
    assert_eq!(all.last(), Some(&4_999));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_leaves_while_there_is_nothing_to_write_ends_the_process_as_well() {
    let world = World::new(1).await;
    let (reader, stdout) = std::io::pipe().unwrap();
    let mut command = to_stdout(&world, "idle.toml", |settings| settings);
    command.stdout(stdout);
    let mut forwarder = Forwarder::spawn_with_output(command, &world.new_log());
    forwarder.says("at work").await;
    drop(reader);
    let ended = forwarder.end().await;
    assert_eq!(ended.code, Some(9), "{}", ended.log);
    assert!(ended.log.contains("the reader of standard output closed it"), "{}", ended.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_output_that_is_not_read_delays_its_own_sink_only() {
    let world = World::new(1).await;
    let logs = Logs(0..5_000);
    world.put(&logs, 100);
    let (_unread, stdout) = std::io::pipe().unwrap();
    let mut command = to_stdout(&world, "both.toml", |settings| {
        settings.process("shutdown_grace", "1s").hec("splunk", &world.hec.url(), "")
    });
    command.stdout(stdout);
    let forwarder = Forwarder::spawn_with_output(command, &world.new_log());
    world.received(5_000, &forwarder).await;
    assert_eq!(forwarder.terminate().await, Some(7), "what standard output did not take is left");
    world.assert_received(&logs);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_behave_in_a_pipe_as_a_shell_expects() {
    let world = World::new(4).await;
    let config = world.config("forwarder.toml", "");
    // It makes the group.
    let mut forwarder = world.start(&config, &[]);
    forwarder.says("at work").await;
    assert_eq!(forwarder.terminate().await, Some(0));
    let config = config.to_str().unwrap();
    for arguments in [&["--help"][..], &["group", "status", "--config", config]] {
        let closed = || {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            writer
        };
        let mut command = Forwarder::command(world.folder());
        command.args(arguments).stdout(closed()).stderr(Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        assert_eq!(output.stderr, b"", "{arguments:?}: {output:?}");

        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = Forwarder::command(world.folder());
        command.args(arguments).stdout(full).stderr(Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().await.unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("cannot write to standard output"), "{arguments:?}: {text}");
    }
}
