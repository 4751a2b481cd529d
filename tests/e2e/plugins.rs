//! Plugins as an operator meets them: found by name, refused with their own words, ordered in a chain,
//! contained by policy.

use forwarder_receivers::hec::Mode;
use forwarder_tests::{
    Ended, Forwarder, Logs, PATIENCE, PROJECT, TOKEN, World, assert_exactly, receivers,
};

/// A plugin that does `poison` to row 777, and what becomes of the row.
fn poisoned(poison: &str, on_error: &str) -> String {
    format!(
        "on_error = \"{on_error}\"\n[transform.config]\n\
         poison = \"{poison}\"\nfield = \"number\"\nvalue = \"777\""
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_decides_about_the_row_at_fault_and_about_no_other() {
    // `error` is an `Err` from `process`, which is a fault like any other.
    for (poison, policy) in
        [("trap", "pass"), ("error", "pass"), ("trap", "drop"), ("error", "drop")]
    {
        let world = World::new(2).await;
        world.put(&Logs(0..2_000), 100);
        let config = world
            .settings()
            .plugin(&Forwarder::plugin("misbehave"), &poisoned(poison, policy))
            .hec("splunk", &world.hec.url(), "")
            .write("forwarder.toml");
        let mut forwarder = world.start(&config, &[]);
        world.settled().await;
        let labels = [("plugin", "misbehave"), ("policy", policy)];
        let at_fault =
            forwarder.metrics().await.sum("forwarder_plugin_rows_at_fault_total", &labels);
        assert_eq!(at_fault, 1.0, "{poison} {policy}");
        assert_eq!(forwarder.terminate().await, Some(0));
        let continues = |id: &String| policy == "pass" || !id.starts_with("777:");
        let expected = Logs(0..2_000).fingerprints().filter(continues);
        assert_eq!(assert_exactly(&world.hec.received().ids, expected), 0, "{poison} {policy}");
        assert!(world.dead_letters().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn halt_holds_one_shard_while_the_others_continue() {
    let world = World::new(4).await;
    world.put(&Logs(0..8_000), 100);
    let settings = world.settings().process("shutdown_grace", "1s");
    let config = settings
        .plugin(&Forwarder::plugin("misbehave"), &poisoned("error", "halt"))
        .hec("splunk", &world.hec.url(), "")
        .write("halt.toml");
    let mut forwarder = world.start(&config, &[]);
    // Log 777 is in the eighth group, and so in the last of four shards.
    let held = [("source", "audit"), ("shard", "3")];
    forwarder.until_metric("forwarder_shard_holding", &held, |holding| holding == 1.0).await;
    forwarder.says("is poisoned").await;
    world.received(6_000, &forwarder).await;
    world.put(&Logs(8_000..16_000), 100);
    world.received(12_000, &forwarder).await;
    let holding = forwarder.metrics().await.sum("forwarder_shard_holding", &[]);
    assert_eq!(holding, 1.0, "one of four");
    assert_eq!(forwarder.ask("GET", "/readyz").await.status, 200);
    forwarder.stop().await;

    // With the plugin fixed, the shard continues where it was.
    let config = world.config("fixed.toml", "");
    let forwarder = world.start(&config, &[]);
    world.received(16_000, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.assert_received(&Logs(0..16_000)), 0);
}

/// Starts with one plugin and waits for the end that this must come to.
async fn refused(plugin: &str, more: &str) -> Ended {
    let world = World::new(1).await;
    let config = world
        .settings()
        .plugin(&Forwarder::plugin(plugin), more)
        .hec("splunk", &world.hec.url(), "")
        .write("forwarder.toml");
    let ended = world.start(&config, &[]).end().await;
    assert_eq!(ended.code, Some(4), "{}", ended.log);
    let requests = world.sls.traffic().requests;
    assert!(requests.is_empty(), "nothing is joined or pulled: {requests:?}");
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_refuses_its_config_is_quoted_at_the_start() {
    for (plugin, more, logged) in [
        ("misbehave", "config = { configure = \"error\" }", "refuses its config, as asked"),
        ("misbehave", "config = { configure = \"trap\" }", "trapped"),
        (
            "misbehave",
            "config = { configure = \"spin\" }\nlimits = { cpu = \"50ms\" }",
            "ran out of time",
        ),
        ("prune", "config = { keep_fi = [] }", "unknown field `keep_fi`"),
        ("audit", "config = { topics = 5 }", "invalid type"),
    ] {
        let log = refused(plugin, more).await.log;
        assert!(log.contains(logged), "{plugin}, {more}: {log}");
        assert!(log.contains("forwarder.toml:"), "the place is named: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_wants_the_network_is_refused_by_the_name_of_what_it_wants() {
    let log = refused("nosy", "").await.log;
    assert!(log.contains("wasi:sockets"), "{log}");
    assert!(log.contains("nosy"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_are_found_by_name_and_run_in_the_order_of_the_file_and_then_of_the_command_line() {
    let world = World::with_mode(1, Mode::Events).await;
    world.put(&Logs(0..500), 100);
    let plugins = world.folder().join("plugins");
    let shared = world.folder().join("shared");
    for (folder, name) in [(&plugins, "identity"), (&shared, "trail")] {
        std::fs::create_dir(folder).unwrap();
        std::fs::copy(Forwarder::plugin(name), folder.join(format!("{name}.wasm"))).unwrap();
    }
    let trail = |name: &str, mark: &str| {
        format!(
            "[[transform]]\nplugin = \"trail\"\nname = \"{name}\"\nconfig = {{ mark = \"{mark}\" }}\n"
        )
    };
    let text = format!("plugin_dirs = [\"{}\"]\n{}", shared.display(), world.settings().text());
    let text = text + &trail("first", "a") + &trail("second", "b");
    std::fs::write(world.folder().join("forwarder.toml"), text).unwrap();
    let config = world.folder().join("forwarder.toml");
    let sink = format!("hec+{}?token_env=TOKEN", world.hec.url());
    let mut command = Forwarder::command(world.folder());
    command.env("TOKEN", TOKEN);
    command.args(["--config", config.to_str().unwrap(), "--sink", &sink]);
    // A name in `plugin_dirs`, a name in `./plugins`, and a file.
    let file = Forwarder::plugin("misbehave");
    for plugin in ["trail", "identity", file.to_str().unwrap()] {
        command.args(["--plugin", plugin]);
    }
    let forwarder = Forwarder::spawn(command, &world.new_log());
    let seen = world.hec.wait_for(500, PATIENCE).await;
    assert!(seen.is_ok(), "{}", forwarder.log());
    world.settled().await;
    let ended = forwarder.stop().await;
    assert_eq!(ended.code, Some(0));
    for event in world.hec.received().events.iter() {
        assert_eq!(event.event["trail"], "ab?", "the file's, then the command line's");
    }
    for name in ["first", "second", "trail", "identity", "misbehave"] {
        assert!(ended.log.contains(&format!("plugin=\"{name}\"")), "{name}: {}", ended.log);
    }

    // Compiled code is kept: the second start has nothing to compile.
    let mut forwarder = world.start(&config, &["--sink", "stdout:", "--plugin", "identity"]);
    forwarder.says("at work").await;
    let log = forwarder.stop().await.log;
    let cached = log.lines().filter(|line| line.contains("cached=true")).count();
    assert_eq!(cached, 3, "{log}");

    let mut command = Forwarder::command(world.folder());
    command.args(["--config", config.to_str().unwrap(), "--sink", "stdout:", "--plugin", "nope"]);
    let ended = Forwarder::spawn(command, &world.new_log()).end().await;
    assert_eq!(ended.code, Some(4));
    let looked = format!("and in `{}`", shared.display());
    assert!(ended.log.contains("there is no plugin `nope`"), "{}", ended.log);
    assert!(ended.log.contains(&looked), "{}", ended.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_sources_that_are_not_meant_never_enter_the_sandbox() {
    let sls = World::sls(2).logstore(PROJECT, "idle", 1);
    let world = World::of(sls, receivers::hec()).await;
    let logs = Logs(0..2_000);
    world.put(&logs, 100);
    // Each of these would trap on the first row that it sees.
    let trap = "config = { poison = \"trap\", field = \"number\" }\nname = ";
    let misbehave = Forwarder::plugin("misbehave");
    let config = world
        .settings()
        .another_source(&[("name", "idle"), ("logstore", "idle")])
        .plugin(&misbehave, &format!("{trap}\"a\"\nwhen = {{ topic = \"other\" }}"))
        .plugin(&misbehave, &format!("{trap}\"b\"\nwhen = {{ field = {{ status = \"5*\" }} }}"))
        .plugin(&misbehave, &format!("{trap}\"c\"\nsources = [\"idle\"]"))
        .hec("splunk", &world.hec.url(), "")
        .write("forwarder.toml");
    let mut forwarder = world.start(&config, &[]);
    world.received(2_000, &forwarder).await;
    world.settled().await;
    let faults = forwarder.metrics().await.sum("forwarder_plugin_calls_total", &[]);
    assert_eq!(faults, 0.0, "not one call was made");
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.assert_received(&logs), 0);
}
