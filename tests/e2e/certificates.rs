//! Receivers whose certificates are not what a public authority would sign, in both sinks.

use forwarder_receivers::syslog::SyslogReceiver;
use forwarder_tests::receivers::Text;
use forwarder_tests::{Authority, Forwarder, Logs, PATIENCE, World, own_authority, receivers};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// Every log arrives at both receivers.
async fn both_have(world: &World, siem: &SyslogReceiver, logs: &Logs, forwarder: Forwarder) {
    world.received(logs.0.end, &forwarder).await;
    if let Err(error) = siem.wait_until(PATIENCE, |tally| tally.distinct_ids >= logs.0.end).await {
        panic!("{error}; the forwarder's log:\n{}", forwarder.log());
    }
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.assert_received(logs), 0);
}

/// As `openssl x509 -noout -fingerprint -sha256` prints it.
fn fingerprint(pem: &str) -> String {
    use sha2::{Digest, Sha256};
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let digest = Sha256::digest(&certificate);
    digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_self_signed_certificate_is_trusted_by_its_file_or_its_fingerprint() {
    let (server, pem) = own_authority();
    let fingerprint = fingerprint(&pem);
    for trust in [
        "tls = { ca_file = \"self.pem\" }".to_owned(),
        format!("tls = {{ fingerprint = \"{fingerprint}\" }}"),
        format!("tls = {{ fingerprint = [\"sha256:{}\", \"{fingerprint}\"] }}", "0".repeat(64)),
    ] {
        let world = World::of(World::sls(1), receivers::hec().tls(server.clone())).await;
        let siem = receivers::syslog(Text::Json).tls(server.clone()).start().await.unwrap();
        let logs = Logs(0..500);
        world.put(&logs, 100);
        std::fs::write(world.folder().join("self.pem"), &pem).unwrap();
        let settings = world.settings().hec("splunk", &world.hec.url(), &trust);
        let config = settings.syslog("siem", &siem.url(), &trust).write("forwarder.toml");
        both_have(&world, &siem, &logs, world.start(&config, &[])).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_not_in_the_address_can_be_given() {
    let authority = Authority::new();
    let server = authority.server_named("siem.example.org");
    let world = World::of(World::sls(1), receivers::hec().tls(server.clone())).await;
    let siem = receivers::syslog(Text::Json).tls(server).start().await.unwrap();
    let logs = Logs(0..500);
    world.put(&logs, 100);
    let ca_file = authority.write_ca_file(world.folder());
    let trust = format!("tls = {{ ca_file = \"{}\" }}", ca_file.display());
    let config = |more: &str, name: &str| {
        let settings = world.settings().process("shutdown_grace", "1s");
        let settings = settings.hec("splunk", &world.hec.url(), more);
        settings.syslog("siem", &siem.url(), more).write(name)
    };

    // Without the name, nothing is sent, and what does not fit is named.
    let mut forwarder = world.start(&config(&trust, "nameless.toml"), &[]);
    forwarder.until_metric("forwarder_sink_holding", &[("sink", "splunk")], |v| v == 1.0).await;
    forwarder.until_metric("forwarder_sink_holding", &[("sink", "siem")], |v| v == 1.0).await;
    forwarder.says("certificate is not for `127.0.0.1` but for").await;
    assert_eq!(forwarder.terminate().await, Some(7), "it stopped with logs in flight");
    assert_eq!(world.hec.tally().requests, 0);

    let named = format!("server_name = \"siem.example.org\"\n{trust}");
    both_have(&world, &siem, &logs, world.start(&config(&named, "named.toml"), &[])).await;
}
