//! No secret in any output: not in help, errors, check, nor in the most talkative log.

use crate::child::{command, run, said};
use crate::world::{KEY, TOKEN, World};

#[tokio::test]
async fn no_output_holds_a_secret() {
    let world = World::with(500).await;
    let config = world.config("");
    let mut outputs = Vec::new();

    for arguments in [["--help"].as_slice(), &["check", "--help"]] {
        outputs
            .push(said(&run(command().args(arguments).env("KEY", KEY).env("TOKEN", TOKEN)).await));
    }
    world.hec.faults().disable_token();
    let mut check = command();
    check.arg("check").arg("--config").arg(&config).env("KEY", KEY).env("TOKEN", TOKEN);
    outputs.push(said(&run(&mut check).await));

    let mut running = world.start(&config, "trace", &["--log-level", "trace"]);
    running.says("at work").await;
    running.says("sink does not answer yet").await;
    world.hec.faults().enable_token();
    world.received(500, &running).await;
    world.settled().await;
    assert_eq!(running.terminate().await, Some(0), "{}", running.log());
    outputs.push(running.log());

    let literal = format!("sink = 5\nsource = \"{KEY}\n");
    std::fs::write(world.folder().join("broken.toml"), literal).unwrap();
    let broken = run(command().arg("--config").arg(world.folder().join("broken.toml"))).await;
    outputs.push(said(&broken));

    for output in outputs {
        assert!(!output.contains("s3cret"), "{output}");
    }
}
