//! Plugins that spin, eat memory or trap harm nothing but the rows at fault.

use forwarder_tests::{Forwarder, Logs, World};

/// Runs a chain of one misbehaving plugin and then checks who was harmed.
async fn harmed_by(poison: &str) {
    let world = World::new(2).await;
    let plugin = Forwarder::plugin("misbehave");
    let config = world.config(
        "forwarder.toml",
        &format!(
            r#"
[[transform]]
plugin = "{}"
on_error = "dead_letter"
[transform.config]
poison = "{poison}"
field = "number"
value = "777"
"#,
            plugin.display()
        ),
    );
    world.put(&Logs(0..5_000), 100);
    let mut forwarder = world.start(&config, &[]);
    world.received(4_999, &forwarder).await;
    world.settled().await;
    assert!(forwarder.is_running());
    assert_eq!(forwarder.terminate().await, Some(0));

    let letters = world.dead_letters();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0]["fields"]["number"], "777", "the letter holds the original");
    let received = world.hec.received();
    assert_eq!(received.tally.distinct_ids, 4_999);
    let expected = Logs(0..5_000).fingerprints().filter(|id| !id.starts_with("777:"));
    let missing: Vec<_> = expected.filter(|id| !received.ids.contains(id)).collect();
    assert!(missing.is_empty(), "neighbours were harmed: {missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_makes_it_spin() {
    harmed_by("spin").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_makes_it_eat_memory() {
    harmed_by("hog").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_makes_it_trap() {
    harmed_by("trap").await;
}
