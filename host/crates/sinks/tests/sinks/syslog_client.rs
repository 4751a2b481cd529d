//! The syslog connection against receivers that come and go.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use forwarder_sinks::syslog::{Client, ClientSettings, Closed, Target, WindowLimits};
use forwarder_sinks::{Body, Cause, Identity, MinVersion, Outcome, TlsSettings, Verify};
use rcgen::ExtendedKeyUsagePurpose;
use tokio::io::AsyncReadExt;
use tokio::join;
use tokio_rustls::TlsAcceptor;

use crate::authority::Authority;
use crate::receiver::{Receiver, body, read_messages};

fn settings(receiver: &Receiver, scheme: &str) -> ClientSettings {
    ClientSettings {
        target: Target::parse(&format!("{scheme}://{}", receiver.address())).unwrap(),
        tls: TlsSettings::default(),
        connect_timeout: Duration::from_secs(10),
        write_timeout: Duration::from_secs(10),
        window: WindowLimits::default(),
    }
}

fn client(receiver: &Receiver) -> Client {
    Client::start(settings(receiver, "tcp")).unwrap()
}

/// Sends as the pipeline would: again, whenever the sink says when.
async fn deliver(client: &Client, body: &Body) {
    loop {
        match client.send(body).await {
            Outcome::Delivered => return,
            Outcome::Retry { after, .. } => tokio::time::sleep(after.unwrap_or_default()).await,
            other => panic!("{other:?}"),
        }
    }
}

fn reason(outcome: &Outcome) -> &'static str {
    outcome.cause().map_or("", Cause::reason)
}

#[tokio::test]
async fn bodies_arrive_in_order_on_one_connection() {
    let receiver = Receiver::start().await;
    let client = client(&receiver);
    let reading = async {
        let mut stream = receiver.accept().await;
        let messages = read_messages(&mut stream, 5).await;
        (messages, stream)
    };
    let (one, two, three) = (body(&["a", "b"]), body(&["c"]), body(&["d", "e"]));
    let sending = async { join!(client.send(&one), client.send(&two), client.send(&three)) };
    let ((messages, _open), outcomes) = join!(reading, sending);
    assert_eq!(messages, ["a", "b", "c", "d", "e"]);
    assert_eq!(outcomes, (Outcome::Delivered, Outcome::Delivered, Outcome::Delivered));
    assert_eq!(client.send(&body(&[])).await, Outcome::Delivered);
}

#[tokio::test]
async fn what_a_receiver_took_with_it_when_it_died_is_sent_again_first() {
    let receiver = Receiver::start().await;
    let client = client(&receiver);
    let lost = body(&["lost"]);
    let (unread, outcome) = join!(receiver.accept(), client.send(&lost));
    assert_eq!(outcome, Outcome::Delivered);
    // Closed with data unread: its kernel throws the message away and resets the connection.
    drop(unread);

    let next = body(&["next"]);
    let reading = async { read_messages(&mut receiver.accept().await, 2).await };
    let (messages, ()) = join!(reading, deliver(&client, &next));
    assert_eq!(messages, ["lost", "next"]);
}

#[tokio::test]
async fn the_window_is_sent_again_without_waiting_for_more_to_send() {
    let receiver = Receiver::start().await;
    let client = client(&receiver);
    let lost = body(&["lost"]);
    let (unread, outcome) = join!(receiver.accept(), client.send(&lost));
    assert_eq!(outcome, Outcome::Delivered);
    drop(unread);
    assert_eq!(read_messages(&mut receiver.accept().await, 1).await, ["lost"]);
}

#[tokio::test]
async fn an_orderly_goodbye_is_noticed_before_the_next_write() {
    let receiver = Receiver::start().await;
    let settings = ClientSettings {
        window: WindowLimits { bytes: 0, ..WindowLimits::default() },
        ..settings(&receiver, "tcp")
    };
    let client = Client::start(settings).unwrap();
    let first = body(&["first"]);
    let reading = async {
        let mut stream = receiver.accept().await;
        (read_messages(&mut stream, 1).await, stream)
    };
    let ((messages, stream), outcome) = join!(reading, client.send(&first));
    assert_eq!((messages, outcome), (vec!["first".to_owned()], Outcome::Delivered));
    drop(stream);

    // Without a window, anything written into the closed connection would be gone.
    let second = body(&["second"]);
    let reading = async { read_messages(&mut receiver.accept().await, 1).await };
    let (messages, ()) = join!(reading, deliver(&client, &second));
    assert_eq!(messages, ["second"]);
}

#[tokio::test]
async fn a_receiver_that_is_down_is_tried_no_more_often_than_the_back_off_allows() {
    let receiver = Receiver::start().await;
    let address = receiver.address();
    let client = client(&receiver);
    drop(receiver);

    let record = body(&["record"]);
    for _attempt in 0..2 {
        let outcome = client.send(&record).await;
        assert_eq!(reason(&outcome), "connect", "{outcome:?}");
        let Outcome::Retry { after: Some(after), ref cause } = outcome else {
            panic!("{outcome:?}")
        };
        assert!(after <= Duration::from_millis(500), "{after:?}");
        assert!(cause.to_string().contains(&address.to_string()), "{cause}");
    }

    let receiver = Receiver::start_at(address).await;
    let reading = async { read_messages(&mut receiver.accept().await, 1).await };
    let (messages, ()) = join!(reading, deliver(&client, &record));
    assert_eq!(messages, ["record"]);
}

#[tokio::test]
async fn a_receiver_that_stops_reading_is_given_up() {
    let receiver = Receiver::start_narrow();
    let settings =
        ClientSettings { write_timeout: Duration::from_millis(100), ..settings(&receiver, "tcp") };
    let client = Client::start(settings).unwrap();
    let large = body(&[&"x".repeat(32 << 20)]);
    let (_unread, outcome) = join!(receiver.accept(), client.send(&large));
    assert_eq!(reason(&outcome), "timeout", "{outcome:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_body_in_our_own_kernel_is_not_delivered() {
    let receiver = Receiver::start_narrow();
    let client = client(&receiver);
    let text = "x".repeat(256 << 10);
    let record = body(&[&text]);
    let is_reading = AtomicBool::new(false);
    let reading = async {
        let mut stream = receiver.accept().await;
        // Time for a wrong answer to be given; a right one does not come however long this is.
        tokio::time::sleep(Duration::from_millis(50)).await;
        is_reading.store(true, Ordering::SeqCst);
        (read_messages(&mut stream, 1).await, stream)
    };
    let sending = async {
        assert_eq!(client.send(&record).await, Outcome::Delivered);
        assert!(is_reading.load(Ordering::SeqCst), "delivered before anything was read");
    };
    let ((messages, _open), ()) = join!(reading, sending);
    assert_eq!(messages, [text]);
}

#[tokio::test]
async fn a_close_waits_for_the_receivers_goodbye() {
    let receiver = Receiver::start().await;
    let client = client(&receiver);
    let record = body(&["record"]);
    let reading = async {
        let mut stream = receiver.accept().await;
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        all
    };
    let sending = async {
        deliver(&client, &record).await;
        client.close(Duration::from_secs(10)).await
    };
    let (all, closed) = join!(reading, sending);
    assert_eq!((all.as_slice(), closed), (b"6 record".as_slice(), Closed::Cleanly));
    assert_eq!(reason(&client.send(&record).await), "closed");
}

#[tokio::test]
async fn a_close_without_an_answer_ends_in_time_and_says_so() {
    let receiver = Receiver::start().await;
    let client = client(&receiver);
    let record = body(&["record"]);
    let (_silent, outcome) = join!(receiver.accept(), client.send(&record));
    assert_eq!(outcome, Outcome::Delivered);
    assert_eq!(client.close(Duration::from_millis(50)).await, Closed::Unconfirmed);
}

#[tokio::test]
async fn a_close_repeats_what_may_be_lost_to_a_receiver_that_is_back() {
    let receiver = Receiver::start().await;
    let client = client(&receiver);
    let (lost, next) = (body(&["lost"]), body(&["next"]));
    let (unread, outcome) = join!(receiver.accept(), client.send(&lost));
    assert_eq!(outcome, Outcome::Delivered);
    let address = receiver.address();
    drop((unread, receiver));
    // Noticed, and not to be tried again for a while.
    let refused = client.send(&next).await;
    assert!(matches!(refused, Outcome::Retry { .. }), "{refused:?}");

    let receiver = Receiver::start_at(address).await;
    let reading = async {
        let mut all = Vec::new();
        receiver.accept().await.read_to_end(&mut all).await.unwrap();
        all
    };
    let (all, closed) = join!(reading, client.close(Duration::from_secs(10)));
    assert_eq!((all.as_slice(), closed), (b"4 lost".as_slice(), Closed::Cleanly));
}

fn trusting(authority: &Authority) -> TlsSettings {
    TlsSettings { verify: Verify::CaFile(authority.ca_file()), ..TlsSettings::default() }
}

/// Sends one message over TLS; what the client says, and what the receiver read.
async fn over_tls(
    server: std::sync::Arc<rustls::ServerConfig>,
    tls: TlsSettings,
    server_name: Option<&str>,
) -> (Outcome, Option<Vec<String>>) {
    let receiver = Receiver::start().await;
    let server_name = server_name.map(|name| name.to_owned().try_into().unwrap());
    let tls = TlsSettings { server_name, ..tls };
    let settings = ClientSettings { tls, ..settings(&receiver, "tls") };
    let client = Client::start(settings).unwrap();
    let record = body(&["record"]);
    let acceptor = TlsAcceptor::from(server);
    let reading = async {
        let mut stream = acceptor.accept(receiver.accept().await).await.ok()?;
        let messages = read_messages(&mut stream, 1).await;
        let mut rest = Vec::new();
        // With close_notify, or this is an error.
        stream.read_to_end(&mut rest).await.unwrap();
        Some(messages)
    };
    let sending = async {
        let outcome = client.send(&record).await;
        client.close(Duration::from_secs(10)).await;
        outcome
    };
    let (messages, outcome) = join!(reading, sending);
    (outcome, messages)
}

#[tokio::test]
async fn tls_delivers_and_ends_with_a_close_notify() {
    let authority = Authority::new();
    let (outcome, messages) = over_tls(authority.server(false), trusting(&authority), None).await;
    assert_eq!((outcome, messages), (Outcome::Delivered, Some(vec!["record".to_owned()])));
}

#[tokio::test]
async fn a_receiver_we_do_not_trust_gets_nothing() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (outcome, messages) = over_tls(theirs.server(false), trusting(&ours), None).await;
    assert_eq!((outcome.label(), reason(&outcome), messages), ("hold", "tls_refused", None));

    let wrong_name = Some("siem.example.org");
    let (outcome, messages) = over_tls(ours.server(false), trusting(&ours), wrong_name).await;
    assert_eq!((outcome.label(), reason(&outcome), messages), ("hold", "tls_refused", None));
}

#[tokio::test]
async fn unverified_tls_is_possible_on_request() {
    let tls = TlsSettings { verify: Verify::Nothing, ..TlsSettings::default() };
    let (outcome, _) = over_tls(Authority::new().server(false), tls, Some("any.name")).await;
    assert_eq!(outcome, Outcome::Delivered);
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_its_lack_is_noticed() {
    let authority = Authority::new();
    // TLS 1.3 tells the client of the refusal only after the client's handshake is done.
    let (outcome, messages) = over_tls(authority.server(true), trusting(&authority), None).await;
    assert_eq!((outcome.label(), reason(&outcome), messages), ("hold", "tls_refused", None));

    let (cert_file, key_file) = authority.issue("fwd-1", ExtendedKeyUsagePurpose::ClientAuth);
    let tls = TlsSettings {
        identity: Some(Identity { cert_file, key_file }),
        min_version: MinVersion::Tls13,
        ..trusting(&authority)
    };
    let (outcome, messages) = over_tls(authority.server(true), tls, None).await;
    assert_eq!((outcome, messages), (Outcome::Delivered, Some(vec!["record".to_owned()])));
}
