//! Looking at a consumer group, moving it and deleting it, from the command line.

use crate::child::{command, run, said};
use crate::world::{KEY, TOKEN, World};

async fn group(world: &World, arguments: &[&str]) -> (Option<i32>, String) {
    let (verb, rest) = arguments.split_first().unwrap();
    let mut command = command();
    command.args(["group", verb, "--config"]).arg(world.folder().join("forwarder.toml")).args(rest);
    let output = run(command.env("KEY", KEY).env("TOKEN", TOKEN)).await;
    (output.status.code(), said(&output))
}

#[tokio::test]
async fn a_group_is_shown_moved_back_and_read_again() {
    const LOGS: u64 = 600;
    let world = World::with(LOGS).await;
    let config = world.config("");

    let (code, output) = group(&world, &["status"]).await;
    assert_eq!(code, Some(6), "there is no group yet: {output}");

    let mut first = world.start(&config, "first", &[]);
    world.received(LOGS, &first).await;
    world.settled().await;
    assert_eq!(first.terminate().await, Some(0));
    let (code, output) = group(&world, &["status"]).await;
    assert_eq!(code, Some(0), "{output}");
    assert_eq!(output.lines().filter(|line| line.contains(" 0 s ")).count(), 6, "{output}");

    let (code, output) = group(&world, &["set", "--to", "begin"]).await;
    assert_eq!((code, output.lines().count()), (Some(0), 6), "{output}");
    let mut second = world.start(&config, "second", &[]);
    let again = world.hec.wait_for(2 * LOGS, crate::child::PATIENCE).await;
    assert!(again.is_ok(), "{again:?}\n{}", second.log());
    assert_eq!(second.terminate().await, Some(0));

    let (code, output) = group(&world, &["delete"]).await;
    assert_eq!((code, output.as_str()), (Some(0), "deleted consumer group `siem`\n"));
    assert!(world.sls.checkpoints("demo", "audit", "siem").is_err());
}
