//! Every way to fail has its exit code and a message that says what to do.

use crate::child::{command, run, said};
use crate::world::{KEY, TOKEN, World};

#[tokio::test]
async fn a_wrong_config_ends_with_3_and_all_its_problems() {
    let output = run(command().args(["check", "--config", "tests/config/broken.toml"])).await;
    assert_eq!(output.status.code(), Some(3));
    let said = said(&output);
    assert!(said.contains("tests/config/broken.toml:1, memory_budgt"), "{said}");
    assert!(said.contains("tests/config/broken.toml:52, metrics"), "{said}");
    let run = run(command().args(["--config", "tests/config/broken.toml"])).await;
    assert_eq!(run.status.code(), Some(3));
}

#[tokio::test]
async fn without_arguments_the_first_steps_are_printed() {
    let output = run(&mut command()).await;
    assert_eq!(output.status.code(), Some(3));
    insta::assert_snapshot!("without_arguments", said(&output));
}

/// Ports, temporary folders and request ids differ from run to run.
fn redacted(world: &World, text: &str) -> String {
    let mut parts = text.split("request ");
    let mut known = parts.next().unwrap().to_owned();
    for part in parts {
        known += "request ID";
        known += part.trim_start_matches(|c: char| c.is_ascii_hexdigit());
    }
    known
        .replace(&world.folder().display().to_string(), "FOLDER")
        .replace(&world.sls.address().to_string(), "SLS")
        .replace(&world.hec.addr().to_string(), "HEC")
}

#[tokio::test]
async fn check_asks_every_peer_and_reports_all_that_is_wrong() {
    let world = World::with(0).await;
    let config = world.config("");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("logstore = \"audit\"", "logstore = \"nosuch\"")).unwrap();
    let check = async |token: &str, plugin: &str| {
        let mut command = command();
        command.arg("check").arg("--config").arg(&config).args(["--plugin", plugin]);
        run(command.env("KEY", KEY).env("TOKEN", token)).await
    };

    let wrong = check("another-token", "nosuch").await;
    insta::assert_snapshot!("check_all_wrong", redacted(&world, &said(&wrong)));
    assert_eq!(wrong.status.code(), Some(4), "the first kind decides");

    std::fs::write(world.folder().join("text.wasm"), "not a component").unwrap();
    let text = world.folder().join("text.wasm").display().to_string();
    let output = check(TOKEN, &text).await;
    assert!(said(&output).contains("not a usable WebAssembly component"), "{}", said(&output));
}

#[tokio::test]
async fn check_of_a_working_world_is_short() {
    let world = World::with(0).await;
    let mut command = command();
    command.arg("check").arg("--config").arg(world.config(""));
    let output = run(command.env("KEY", KEY).env("TOKEN", TOKEN)).await;
    insta::assert_snapshot!("check_all_right", redacted(&world, &said(&output)));
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn an_sls_that_refuses_us_ends_the_start_with_6() {
    let world = World::with(0).await;
    let mut command = command();
    command.arg("--config").arg(world.config("")).env("KEY", "another-key").env("TOKEN", TOKEN);
    let output = run(&mut command).await;
    let said = said(&output);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("error: source `audit`"), "{said}");
}

#[tokio::test]
async fn two_living_consumers_cannot_have_one_name() {
    let world = World::with(0).await;
    let config = world.config("").display().to_string();
    let text = std::fs::read_to_string(&config).unwrap();
    let named = text.replace("[source.cred", "consumer = \"mine\"\n[source.cred");
    std::fs::write(&config, named).unwrap();
    let mut first = world.start(config.as_ref(), "first", &[]);
    first.says("at work").await;
    let mut second = world.start(config.as_ref(), "second", &[]);
    assert_eq!(second.ended().await, Some(3), "{}", second.log());
    assert!(second.log().contains("is the consumer `mine`"), "{}", second.log());
    assert_eq!(first.terminate().await, Some(0));
}
