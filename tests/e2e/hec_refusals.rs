//! What a collector refuses, or seems to: what is believed, what pauses, and how it ends.

use std::time::{Duration, Instant};

use forwarder_tests::{Forwarder, Logs, World};

const SINK: [(&str, &str); 1] = [("sink", "splunk")];

async fn holding(forwarder: &mut Forwarder, value: f64) {
    forwarder.until_metric("forwarder_sink_holding", &SINK, |holding| holding == value).await;
}

/// Everything arrives once, nothing is a dead letter, and the program ends in order.
async fn all_arrive(world: &World, logs: &Logs, forwarder: Forwarder) {
    world.received(logs.0.end - logs.0.start, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.assert_received(logs), 0);
    assert!(world.dead_letters().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_2xx_that_is_not_hec_pauses_the_sink_with_what_was_seen() {
    for (status, body, seen) in [
        (204, "", "answered HTTP 204, no HEC code: an empty body"),
        (200, "{\"error\":\"no route\"}", "no route"),
        (200, "{\"text\":\"Server is busy\",\"code\":9}", "code 9: Server is busy"),
        (202, "endless", "answered HTTP 202, no HEC code: and so on and so on"),
    ] {
        let world = World::new(1).await;
        let logs = Logs(0..500);
        world.put(&logs, 100);
        match body {
            "endless" => world.hec.faults().endless_replies(u32::MAX, status),
            _ => world.hec.faults().answer_for(u32::MAX, status, body),
        }
        let settings = world.settings().hec("splunk", &world.hec.url(), "timeout = \"1s\"");
        let mut forwarder = world.start(&settings.write("forwarder.toml"), &[]);
        holding(&mut forwarder, 1.0).await;
        forwarder.says(seen).await;
        forwarder.says("success_reply = ").await;
        assert_eq!(world.backlog(), 5, "nothing is settled by it");
        world.hec.faults().end_script();
        holding(&mut forwarder, 0.0).await;
        all_arrive(&world, &logs, forwarder).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_answers_with_a_bare_2xx_can_be_named() {
    let world = World::new(1).await;
    world.put(&Logs(0..500), 100);
    world.hec.faults().answer_for(u32::MAX, 204, "");
    let settings = world.settings().hec("splunk", &world.hec.url(), "success_reply = \"ok\"");
    let forwarder = world.start(&settings.write("forwarder.toml"), &[]);
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert!(world.hec.tally().requests > 0 && world.dead_letters().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_log_that_a_content_filter_blocks_stops_no_other() {
    for status in [403, 405, 406, 200] {
        let world = World::new(2).await;
        world.put(&Logs(0..2_000), 100);
        world.hec.faults().filter_content(status, "\"number\":\"777\"");
        let mut forwarder = world.start(&world.config("forwarder.toml", ""), &[]);
        world.received(1_999, &forwarder).await;
        world.settled().await;
        forwarder.says("rows refused by the receiver, writing dead letters").await;
        assert_eq!(forwarder.terminate().await, Some(0));
        let letters = world.dead_letters();
        assert_eq!(letters.len(), 1, "{letters:?}");
        assert_eq!(letters[0]["fields"]["number"], "777");
        let said = format!("answered HTTP {status}");
        assert!(letters[0]["reason"].as_str().unwrap().contains(&said), "{letters:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_refuses_everything_for_a_while_costs_no_log() {
    for (status, body) in [
        (413, "too large"),
        (415, "unsupported media type"),
        (400, "bad request"),
        (403, "<html>blocked</html>"),
        (400, "{\"text\":\"Invalid data format\",\"code\":6,\"invalid-event-number\":0}"),
    ] {
        let world = World::new(2).await;
        let logs = Logs(0..5_000);
        world.put(&logs, 100);
        world.hec.faults().answer_for(u32::MAX, status, body);
        let mut forwarder = world.start(&world.config("forwarder.toml", ""), &[]);
        forwarder.says("sink paused: the receiver refuses every row").await;
        holding(&mut forwarder, 1.0).await;
        let asked = world.hec.tally().requests;
        assert!(asked < 300, "{asked} requests before it paused");
        // A few more questions, and what arrives meanwhile.
        world.hec.wait_until(Duration::from_secs(20), |t| t.requests > asked + 5).await.unwrap();
        world.hec.faults().end_script();
        all_arrive(&world, &logs, forwarder).await;
    }
}

/// A wrong address, or a node that is not in service, says nothing about a log.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_about_no_event_pauses_the_sink_and_divides_nothing() {
    for (status, body) in
        [(404, "not found"), (405, "no"), (501, "no"), (303, "<html>login"), (407, "")]
    {
        let world = World::new(1).await;
        let logs = Logs(0..500);
        world.put(&logs, 100);
        world.hec.faults().answer_for(u32::MAX, status, body);
        let mut forwarder = world.start(&world.config("forwarder.toml", ""), &[]);
        holding(&mut forwarder, 1.0).await;
        forwarder.says("sink paused: needs operator action").await;
        let divided = [("sink", "splunk"), ("reason", "divide")];
        forwarder.until_metric("forwarder_delivery_retries_total", &divided, |n| n == 0.0).await;
        world.hec.faults().end_script();
        all_arrive(&world, &logs, forwarder).await;
    }
}

#[test]
fn a_receiver_that_refuses_every_third_request_at_random_costs_no_log() {
    let invalid = "{\"text\":\"Invalid data format\",\"code\":6,\"invalid-event-number\":0}";
    let unnamed = "{\"text\":\"Invalid data format\",\"code\":6}";
    let answers = [
        (301, "<html>"),
        (400, "bad request"),
        (400, invalid),
        (400, unnamed),
        (401, ""),
        (403, "<html>Forbidden"),
        (404, "<html>default backend"),
        (405, "<html>not allowed"),
        (406, "<html>"),
        (407, ""),
        (408, ""),
        (413, "too large"),
        (415, "media type"),
        (422, "unprocessable"),
        (429, ""),
        (501, ""),
        (503, "<html>maintenance"),
        (200, "<html>login"),
    ];
    std::thread::scope(|together| {
        for (seed, (status, body)) in (0..).zip(answers) {
            together.spawn(move || {
                let runtime = tokio::runtime::Runtime::new().unwrap();
                runtime.block_on(moody(33, seed, &[(status, body)]));
            });
        }
    });
}

/// The number of refusals that sets a log aside follows from the share of requests that are refused.
#[test]
fn a_receiver_that_refuses_most_requests_at_random_costs_no_log() {
    let first = "{\"text\":\"Invalid data format\",\"code\":6,\"invalid-event-number\":0}";
    let answers =
        [(400, first), (400, "bad request"), (403, "<html>Forbidden"), (413, "too large")];
    std::thread::scope(|together| {
        for (seed, percent) in [(1, 80), (2, 80), (3, 90), (4, 90), (5, 90), (6, 90)] {
            together.spawn(move || {
                let runtime = tokio::runtime::Runtime::new().unwrap();
                runtime.block_on(moody(percent, seed, &answers));
            });
        }
    });
}

/// Four hundred logs all arrive, and none of them is a dead letter.
async fn moody(percent: u64, seed: u64, answers: &[(u16, &str)]) {
    let world = World::new(2).await;
    let logs = Logs(0..400);
    world.hec.faults().refuse_at_random(percent, seed, answers);
    // Many small bodies, so that many rows are refused alone.
    let settings = world.settings().hec("splunk", &world.hec.url(), "max_body = \"4KiB\"");
    let forwarder = world.start(&settings.write("forwarder.toml"), &[]);
    world.put(&logs, 5);
    world.received(400, &forwarder).await;
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0), "{answers:?}");
    world.assert_received(&logs);
    assert_eq!(world.dead_letters(), [] as [serde_json::Value; 0], "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_grow_again_after_a_receiver_called_them_too_large() {
    let world = World::new(2).await;
    world.put(&Logs(0..1_000), 100);
    world.hec.faults().answer_for(u32::MAX, 413, "too large");
    let settings = world.settings().hec("splunk", &world.hec.url(), "gzip = false");
    let mut forwarder = world.start(&settings.write("forwarder.toml"), &[]);
    holding(&mut forwarder, 1.0).await;
    world.hec.faults().end_script();
    world.received(1_000, &forwarder).await;
    let small = world.hec.tally().accepted_requests;
    world.put(&Logs(1_000..60_000), 1_000);
    all_arrive(&world, &Logs(0..60_000), forwarder).await;
    let requests = world.hec.tally().accepted_requests - small;
    // At the size to which the refusals had brought them it would be thousands.
    assert!(requests < 600, "{requests} requests for 59,000 logs");
}

/// Half of all requests are refused whatever their size and content: that is not about size, and no log is searched for.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_stay_large_next_to_a_receiver_that_refuses_half_of_them_at_random() {
    let logs = Logs(0..30_000);
    let mut asked = Vec::new();
    for (percent, answer) in [(0, (200, "")), (50, (413, "too large")), (50, (403, "<html>no"))] {
        let world = World::new(2).await;
        world.put(&logs, 1_000);
        world.hec.faults().refuse_at_random(percent, 5, &[answer]);
        let settings = world.settings().hec("splunk", &world.hec.url(), "max_body = \"100KiB\"");
        let forwarder = world.start(&settings.write("forwarder.toml"), &[]);
        all_arrive(&world, &logs, forwarder).await;
        asked.push(world.hec.tally().requests);
    }
    // Twice as many is what the refusals cost by themselves. Halving makes it ten times, single events 200 times.
    assert!(asked.iter().all(|&requests| requests < asked[0] * 6), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_blamed_and_accepted_alone_was_not_the_culprit() {
    let world = World::new(1).await;
    let logs = Logs(0..1_000);
    world.put(&logs, 1_000);
    world.hec.faults().blame_event(1, 3);
    let forwarder = world.start(&world.config("forwarder.toml", ""), &[]);
    all_arrive(&world, &logs, forwarder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_node_behind_a_balancer_is_left_at_the_next_attempt() {
    let world = World::new(1).await;
    let logs = Logs(0..500);
    world.put(&logs, 100);
    world.hec.faults().odd_connections_busy(true);
    let begun = Instant::now();
    let settings = world.settings().hec("splunk", &world.hec.url(), "");
    let forwarder = world.start(&settings.write("forwarder.toml"), &[]);
    all_arrive(&world, &logs, forwarder).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_break_the_connection_are_made_smaller() {
    let world = World::new(1).await;
    let logs = Logs(0..3_000);
    world.put(&logs, 1_000);
    world.hec.faults().reset_above(Some(64 * 1024));
    let settings = world.settings().hec("splunk", &world.hec.url(), "gzip = false");
    let mut forwarder = world.start(&settings.write("forwarder.toml"), &[]);
    forwarder.says("its size may be the reason").await;
    all_arrive(&world, &logs, forwarder).await;
}
