//! What matches nothing is reported, once, with the topics seen.

use forwarder_tests::{Forwarder, Logs, World};

fn reports(log: &str) -> Vec<&str> {
    log.lines()
        .filter(|line| line.contains(" WARN ") && line.contains("none of the first"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_a_plugin_and_a_route_that_match_nothing_are_reported_with_the_topics_seen() {
    let world = World::new(2).await;
    world.put_about("actiontrail\u{1b}[2J", &Logs(0..6_000), 100);
    world.put(&Logs(6_000..12_000), 100);
    let config = world
        .settings()
        .plugin(&Forwarder::plugin("audit"), "")
        .plugin(&Forwarder::plugin("audit"), "name = \"never\"\nwhen = { topic = \"other\" }")
        .plugin(&Forwarder::plugin("identity"), "")
        .plugin(&Forwarder::plugin("trail"), "")
        .hec("splunk", &world.hec.url(), "")
        .more("[[route]]\nwhen = { topic = \"typo\" }\nto = []\n")
        .more("[[route]]\nwhen = { topic = \"access\" }\nto = [\"splunk\"]\n")
        .more("[[route]]\nto = [\"splunk\"]\n")
        .write("forwarder.toml");
    let mut forwarder = world.start(&config, &[]);
    world.received(12_000, &forwarder).await;
    world.settled().await;
    let log = forwarder.log();
    let reports = reports(&log);
    assert_eq!(reports.len(), 3, "{reports:#?}");
    for (named, text) in [
        ("plugin=\"audit\"", "plugin changed none"),
        ("plugin=\"never\"", "`when` of this transform matched none"),
        ("route=\"1\"", "route matched none"),
    ] {
        let report = reports.iter().find(|line| line.contains(text));
        let report = report.unwrap_or_else(|| panic!("no `{text}` in {reports:#?}"));
        assert!(report.contains(named) && report.contains("access"), "{report}");
        assert!(report.contains("u{1b}[2J") && !report.contains('\u{1b}'), "{report}");
    }
    let metrics = forwarder.metrics().await;
    let unmatched =
        |kind, name| metrics.sum("forwarder_unmatched", &[("kind", kind), ("name", name)]);
    assert_eq!(unmatched("plugin", "audit"), 1.0);
    assert_eq!(unmatched("when", "never"), 1.0);
    assert_eq!(unmatched("route", "1"), 1.0);
    assert_eq!(metrics.sum("forwarder_unmatched", &[]), 3.0);
    assert_eq!(forwarder.terminate().await, Some(0));
}
