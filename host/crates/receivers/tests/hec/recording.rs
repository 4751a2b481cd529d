//! What the collector remembers, and waiting for it.

use std::sync::Arc;
use std::time::Duration;

use forwarder_receivers::hec::{HecReceiver, IdFrom, Mode};
use rustls::ServerConfig;
use rustls_pki_types::PrivatePkcs8KeyDer;

use crate::client::{SOON, Splunk, event, events, gzip, said};

async fn remembering(mode: Mode) -> HecReceiver {
    HecReceiver::builder().mode(mode).start().await.unwrap()
}

#[tokio::test]
async fn ids_are_counted_wherever_they_are() {
    let by_line = IdFrom::With(Arc::new(|json| json.split('"').nth(5).map(str::to_owned)));
    for from in [IdFrom::Field("event_id".into()), IdFrom::Member("id".into()), by_line] {
        let receiver = remembering(Mode::Ids(from.clone())).await;
        let splunk = Splunk::of(&receiver);
        splunk.send(events(["a", "b"])).await;
        splunk.send(events(["b", "c"])).await;
        splunk.send(r#"{"event":"anonymous"}"#).await;

        let received = receiver.stop().await;
        let repeated: Vec<_> = received.ids.repeated().collect();
        assert_eq!(repeated, [("b", 2)], "{from:?}");
        assert_eq!(received.ids.missing(["a", "b", "c", "d"]).collect::<Vec<_>>(), ["d"]);
        let tally = received.tally;
        assert_eq!((tally.received, tally.distinct_ids, tally.without_id), (5, 3, 1), "{from:?}");
        assert!(received.events.is_empty());
    }
}

#[tokio::test]
async fn counting_looks_at_nothing_but_bytes() {
    let receiver = remembering(Mode::Counts).await;
    let splunk = Splunk::of(&receiver);
    let body = gzip(events(["a", "b"]).as_bytes());
    let length = body.len() as u64;

    let request = splunk.post("/services/collector/event", body);
    assert_eq!(said(request.header("content-encoding", "gzip")).await.0, 200);
    assert_eq!(splunk.send("no JSON at all").await.0, 200);

    let tally = receiver.tally();
    assert_eq!((tally.accepted_requests, tally.received), (2, 0));
    assert_eq!((tally.wire_bytes, tally.bytes), (length + 14, 14));
}

#[tokio::test]
async fn waiting_is_for_events_not_for_time() {
    let receiver = remembering(Mode::Events).await;
    let splunk = Splunk::of(&receiver);
    let sending = async {
        for id in ["a", "b", "c"] {
            splunk.send(event(id)).await;
        }
    };

    let (waited, ()) = tokio::join!(receiver.wait_for(3, SOON), sending);
    assert_eq!(waited.unwrap().received, 3);
    let in_vain = receiver.wait_for(4, Duration::from_millis(1)).await.unwrap_err();
    assert_eq!(in_vain.tally.received, 3);
}

#[tokio::test]
async fn a_collector_speaks_tls_with_the_certificate_it_was_given() {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let receiver = HecReceiver::builder().tls(Arc::new(config)).start().await.unwrap();
    assert!(receiver.url().starts_with("https://"));

    let stranger = Splunk::of(&receiver);
    assert!(!stranger.is_answered(event("a")).await, "nothing vouches for the certificate");
    receiver.wait_until(SOON, |tally| tally.failed_handshakes == 1).await.unwrap();

    let root = reqwest::Certificate::from_der(made.cert.der()).unwrap();
    let trusting = reqwest::Client::builder().no_proxy().tls_certs_only([root]).build().unwrap();
    let sent = trusting
        .post(format!("{}/services/collector", receiver.url()))
        .header("authorization", format!("Splunk {}", receiver.token()))
        .body(event("a"))
        .send();
    assert_eq!(sent.await.unwrap().status().as_u16(), 200);
    assert_eq!(receiver.tally().received, 1);
}
