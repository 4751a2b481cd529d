//! Secrets and certificates that are replaced while the program runs: no restart is needed.

use forwarder_receivers::syslog::SyslogReceiver;
use forwarder_tests::receivers::Text;
use forwarder_tests::{Authority, Logs, PATIENCE, World, receivers};

/// Puts a file in the place of another at once, as vaults and kubelets do.
fn replace(path: &std::path::Path, contents: &str) {
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, contents).unwrap();
    std::fs::rename(&fresh, path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_token_file_is_read_again_when_the_token_is_refused() {
    let world = World::new(2).await;
    world.put(&Logs(0..1_000), 100);
    let token = world.folder().join("token");
    std::fs::write(&token, format!("{}\n", world.hec.token())).unwrap();
    let reference = format!("file:{}", token.display());
    let settings = world.settings().hec_with_token("splunk", &world.hec.url(), &reference, "");
    let mut forwarder = world.start(&settings.write("forwarder.toml"), &[]);
    world.received(1_000, &forwarder).await;

    world.hec.faults().rotate_token("rotated-5EC2E7");
    world.put(&Logs(1_000..2_000), 100);
    let sink = [("sink", "splunk")];
    forwarder.until_metric("forwarder_sink_holding", &sink, |holding| holding == 1.0).await;
    replace(&token, "rotated-5EC2E7\n");
    world.received(2_000, &forwarder).await;
    world.settled().await;
    assert!(!forwarder.log().contains("5EC2E7"), "no token is logged");
    assert_eq!(forwarder.terminate().await, Some(0));
    world.assert_received(&Logs(0..2_000));
    assert!(world.dead_letters().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_authority_is_read_again_in_both_sinks() {
    let (before, after) = (Authority::new(), Authority::new());
    let world = World::of(World::sls(1), receivers::hec().tls(after.server())).await;
    let siem: SyslogReceiver =
        receivers::syslog(Text::Json).tls(after.server()).start().await.unwrap();
    let logs = Logs(0..500);
    world.put(&logs, 100);
    let ca_file = before.write_ca_file(world.folder());
    let trust = format!("tls = {{ ca_file = \"{}\" }}", ca_file.display());
    let settings = world.settings().hec("splunk", &world.hec.url(), &trust);
    let config = settings.syslog("siem", &siem.url(), &trust).write("forwarder.toml");
    let mut forwarder = world.start(&config, &[]);
    for sink in ["splunk", "siem"] {
        forwarder.until_metric("forwarder_sink_holding", &[("sink", sink)], |v| v == 1.0).await;
    }

    // A file that is half written keeps the earlier authority, and is reported.
    std::fs::write(&ca_file, "-----BEGIN CERTIFICATE-----\n").unwrap();
    forwarder.says("cannot be used as they are now").await;
    after.write_ca_file(world.folder());
    world.received(500, &forwarder).await;
    siem.wait_until(PATIENCE, |tally| tally.distinct_ids >= 500).await.unwrap();
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.assert_received(&logs), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_of_a_source_in_a_file_is_read_again_when_it_is_refused() {
    use forwarder_emulator::sign_check::SignatureCheck;
    use forwarder_sls::AccessKey;

    let sls = World::sls(1).signatures(SignatureCheck::Strict(AccessKey::new("id", "one")));
    let world = World::of(sls, receivers::hec()).await;
    world.put(&Logs(0..500), 100);
    let secret = world.folder().join("secret");
    std::fs::write(&secret, "one\n").unwrap();
    let settings =
        world.settings().credential("access_key_secret", &format!("file:{}", secret.display()));
    let config = settings.hec("splunk", &world.hec.url(), "").write("forwarder.toml");
    let forwarder = world.start(&config, &[]);
    world.received(500, &forwarder).await;

    replace(&secret, "two\n");
    world.sls.accept(SignatureCheck::Strict(AccessKey::new("id", "two")));
    world.put(&Logs(500..1_000), 100);
    world.received(1_000, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    world.assert_received(&Logs(0..1_000));
}
