//! The syslog connection against receivers that come and go.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use forwarder_connector::{Body, Cause, Verdict};
use forwarder_sinks::syslog::{
    Client, ClientSettings, Closed, PendingProof, Proof, Security, Sent, WindowLimits,
};
use forwarder_sinks::{Identity, MinVersion, TlsSettings, Verify};
use rcgen::ExtendedKeyUsagePurpose;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::join;
use tokio_rustls::TlsAcceptor;

use crate::authority::Authority;
use crate::receiver::{Receiver, body, decided, read_messages};

fn settings(receiver: &Receiver, security: Security) -> ClientSettings {
    ClientSettings {
        target: receiver.target(security),
        tls: TlsSettings::default(),
        connect_timeout: Duration::from_secs(10),
        write_timeout: Duration::from_secs(10),
        window: WindowLimits::default(),
        longest_pause: Duration::from_secs(30),
    }
}

fn client(receiver: &Receiver) -> Client {
    Client::start("siem", settings(receiver, Security::Plain)).unwrap()
}

/// Sends as the pipeline would: again, whenever the sink says when. Until the receiver's kernel has it.
async fn deliver(client: &Client, body: &Body) -> Option<PendingProof> {
    loop {
        match client.send(body).await {
            Sent::Accepted(confirmation) => return Some(confirmation),
            Sent::Decided(Verdict::Delivered) => return None,
            Sent::Decided(Verdict::Retry { after, .. }) => {
                tokio::time::sleep(after.unwrap_or_default()).await;
            }
            other @ Sent::Decided(_) => panic!("{other:?}"),
        }
    }
}

/// The proof that is to come about a body that the receiver's kernel has.
fn accepted(sent: Sent) -> PendingProof {
    match sent {
        Sent::Accepted(confirmation) => confirmation,
        Sent::Decided(verdict) => panic!("{verdict:?}"),
    }
}

/// Everything that a connection brings, up to our end of it.
async fn read_all(receiver: &Receiver) -> String {
    let mut all = String::new();
    receiver.accept().await.read_to_string(&mut all).await.unwrap();
    all
}

fn reason(verdict: &Verdict) -> &'static str {
    verdict.cause().map_or("", Cause::reason)
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
    let ((messages, _open), (first, second, third)) = join!(reading, sending);
    assert_eq!(messages, ["a", "b", "c", "d", "e"]);
    let _unconfirmed = [accepted(first), accepted(second), accepted(third)];
    assert_eq!(decided(client.send(&body(&[])).await), Verdict::Delivered);
}

#[tokio::test]
async fn what_a_receiver_took_with_it_when_it_died_is_sent_again_first() {
    let receiver = Receiver::start().await;
    let client = client(&receiver);
    let lost = body(&["lost"]);
    let (unread, sent) = join!(receiver.accept(), client.send(&lost));
    let _unconfirmed = accepted(sent);
    // Closed with data unread: its kernel throws the message away and resets the connection.
    drop(unread);

    let next = body(&["next"]);
    let reading = async {
        // On one connection, or the second once the first is confirmed.
        let mut all = String::new();
        while all.len() < "4 lost4 next".len() {
            all.push_str(&read_all(&receiver).await);
        }
        all
    };
    let delivering = async {
        let confirmation = deliver(&client, &next).await;
        client.confirm();
        confirmation
    };
    let (all, _unconfirmed) = join!(reading, delivering);
    assert_eq!(all, "4 lost4 next");
}

/// A client that asks for confirmation soon, and knows that the receiver closes in order, as it does once it has asked
/// whether that answers.
async fn client_of_one_that_closes(receiver: &Receiver) -> Client {
    let window = WindowLimits { age: Duration::from_millis(100), ..WindowLimits::default() };
    let settings = ClientSettings { window, ..settings(receiver, Security::Plain) };
    let client = Client::start("siem", settings).unwrap();
    let (probed, _nothing) = join!(client.probe(), read_all(receiver));
    probed.unwrap();
    client
}

/// Accepts connections and reads them, as a receiver does that closes at each message `poison`. Returns what it read,
/// connection by connection, once it reads `over`.
async fn read_unless(receiver: &Receiver, poison: &str) -> Vec<Vec<String>> {
    let mut connections = Vec::new();
    loop {
        let mut stream = receiver.accept().await;
        let mut read = Vec::new();
        while let Ok(length) = stream.read_u8().await {
            assert_eq!(stream.read_u8().await.unwrap(), b' ');
            let mut message = vec![0; usize::from(length - b'0')];
            stream.read_exact(&mut message).await.unwrap();
            let message = String::from_utf8(message).unwrap();
            if message == "over" {
                return connections;
            }
            read.push(message.clone());
            if message == poison {
                break;
            }
        }
        connections.push(read);
    }
}

#[tokio::test]
async fn a_body_at_which_connections_are_lost_is_given_back_and_the_others_are_confirmed() {
    let receiver = Receiver::start().await;
    let client = client_of_one_that_closes(&receiver).await;
    let proof = async |message| match client.send(&body(&[message])).await {
        Sent::Accepted(confirmation) => confirmation.proof().await.unwrap(),
        Sent::Decided(Verdict::Divide { cause }) => Err(cause),
        other @ Sent::Decided(_) => panic!("{other:?}"),
    };
    let sending = async {
        let (a, bad, c, d) = join!(proof("a"), proof("bad"), proof("c"), proof("d"));
        accepted(client.send(&body(&["over"])).await);
        [a, bad, c, d]
    };
    let (connections, proofs) = join!(read_unless(&receiver, "bad"), sending);
    let is_read: Vec<_> = proofs.iter().map(|proof| proof == &Ok(Proof::Read)).collect();
    assert_eq!(is_read, [true, false, true, true]);
    let cause = proofs[1].as_ref().unwrap_err();
    assert_eq!(cause.reason(), "broken_connection");
    assert!(cause.to_string().contains("nothing but this row on the connection"), "{cause}");
    // Once perhaps with another after it.
    let alone = connections.iter().filter(|read| read.as_slice() == ["bad"]).count();
    assert!((3..=4).contains(&alone), "{connections:?}");
    assert!(connections.len() < 12, "{connections:?}");
}

#[tokio::test]
async fn what_is_sent_alone_shares_a_connection_with_nothing_and_is_given_back_at_once() {
    let receiver = Receiver::start().await;
    let client = client_of_one_that_closes(&receiver).await;
    let (first, bad, last) = (body(&["a"]), body(&["bad"]).as_suspect(), body(&["c"]));
    let sending = async {
        let (first, bad, last) = join!(client.send(&first), client.send(&bad), client.send(&last));
        let bad = match bad {
            Sent::Accepted(confirmation) => confirmation.proof().await.unwrap().map(drop),
            Sent::Decided(verdict) => Err(verdict.cause().unwrap().clone()),
        };
        let proofs = join!(accepted(first).proof(), accepted(last).proof());
        accepted(client.send(&body(&["over"])).await);
        (bad, proofs)
    };
    let (connections, (bad, proofs)) = join!(read_unless(&receiver, "bad"), sending);
    assert_eq!(proofs, (Some(Ok(Proof::Read)), Some(Ok(Proof::Read))));
    assert_eq!(bad.unwrap_err().reason(), "broken_connection");
    let mut parts = connections;
    parts.retain(|read| !read.is_empty());
    assert_eq!(parts, [["a"], ["bad"], ["c"]]);
}

#[tokio::test]
async fn a_receiver_that_takes_little_on_each_connection_gets_little_on_each() {
    let receiver = Receiver::start().await;
    let client = client_of_one_that_closes(&receiver).await;
    let row = "x".repeat(2_000);
    let large = body(&vec![row.as_str(); 50]);
    // Reads no more than so much of any connection.
    let reading = async {
        loop {
            let mut stream = receiver.accept().await;
            let mut scratch = vec![0; 20_000];
            let mut total = 0;
            while let Ok(read @ 1..) = stream.read(&mut scratch).await {
                total += read;
                if total > 20_000 {
                    break;
                }
            }
        }
    };
    let sending = async {
        let mut bodies = vec![large.clone()];
        let mut delivered = 0;
        while let Some(next) = bodies.pop() {
            let divide = match client.send(&next).await {
                Sent::Accepted(confirmation) => confirmation.proof().await.unwrap().is_err(),
                Sent::Decided(Verdict::Retry { after, .. }) => {
                    tokio::time::sleep(after.unwrap_or_default()).await;
                    bodies.push(next);
                    continue;
                }
                Sent::Decided(verdict) => matches!(verdict, Verdict::Divide { .. }),
            };
            if divide {
                let half = next.rows() / 2;
                bodies.push(body(&vec![row.as_str(); next.rows() - half]));
                bodies.push(body(&vec![row.as_str(); half]));
            } else {
                delivered += next.rows();
            }
        }
        delivered
    };
    let delivered = tokio::select! {
        delivered = sending => delivered,
        never = reading => never,
    };
    assert_eq!(delivered, 50);
    assert!((4_096..=20_000).contains(&client.body_limit()), "{}", client.body_limit());
}

#[tokio::test]
async fn the_window_is_sent_again_without_waiting_for_more_to_send() {
    let receiver = Receiver::start().await;
    let client = client(&receiver);
    let lost = body(&["lost"]);
    let (unread, sent) = join!(receiver.accept(), client.send(&lost));
    let _unconfirmed = accepted(sent);
    drop(unread);
    assert_eq!(read_messages(&mut receiver.accept().await, 1).await, ["lost"]);
}

#[tokio::test]
async fn an_orderly_goodbye_is_noticed_before_the_next_write() {
    let receiver = Receiver::start().await;
    let settings = ClientSettings {
        window: WindowLimits { bytes: 0, ..WindowLimits::default() },
        ..settings(&receiver, Security::Plain)
    };
    let client = Client::start("siem", settings).unwrap();
    let first = body(&["first"]);
    let reading = async {
        let mut stream = receiver.accept().await;
        (read_messages(&mut stream, 1).await, stream)
    };
    let ((messages, stream), sent) = join!(reading, client.send(&first));
    assert_eq!((messages, decided(sent)), (vec!["first".to_owned()], Verdict::Delivered));
    drop(stream);

    // Without a window, anything written into the closed connection would be gone.
    let second = body(&["second"]);
    let reading = async { read_messages(&mut receiver.accept().await, 1).await };
    let (messages, _) = join!(reading, deliver(&client, &second));
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
        let verdict = decided(client.send(&record).await);
        assert_eq!(reason(&verdict), "connect", "{verdict:?}");
        let Verdict::Retry { after: Some(after), ref cause } = verdict else {
            panic!("{verdict:?}")
        };
        assert!(after <= Duration::from_millis(500), "{after:?}");
        assert!(cause.to_string().contains(&address.to_string()), "{cause}");
    }

    let receiver = Receiver::start_at(address).await;
    let reading = async { read_messages(&mut receiver.accept().await, 1).await };
    let (messages, _) = join!(reading, deliver(&client, &record));
    assert_eq!(messages, ["record"]);
}

#[tokio::test]
async fn a_receiver_that_stops_reading_is_given_up() {
    let receiver = Receiver::start_narrow();
    let settings = ClientSettings {
        write_timeout: Duration::from_millis(100),
        ..settings(&receiver, Security::Plain)
    };
    let client = Client::start("siem", settings).unwrap();
    let large = body(&[&"x".repeat(32 << 20)]);
    let (_unread, sent) = join!(receiver.accept(), client.send(&large));
    let verdict = decided(sent);
    assert_eq!(reason(&verdict), "timeout", "{verdict:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_body_in_our_own_kernel_is_not_accepted() {
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
        let _unconfirmed = accepted(client.send(&record).await);
        assert!(is_reading.load(Ordering::SeqCst), "accepted before anything was read");
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
        let confirmation = deliver(&client, &record).await.unwrap();
        (
            client.close(Duration::from_secs(10)).await,
            matches!(confirmation.proof().await, Some(Ok(_))),
        )
    };
    let (all, closed) = join!(reading, sending);
    assert_eq!((all.as_slice(), closed), (b"6 record".as_slice(), (Closed::Cleanly, true)));
    assert_eq!(reason(&decided(client.send(&record).await)), "closed");
}

#[tokio::test]
async fn a_close_without_an_answer_ends_in_time_and_says_so() {
    let receiver = Receiver::start().await;
    let client = client(&receiver);
    let record = body(&["record"]);
    let (_silent, sent) = join!(receiver.accept(), client.send(&record));
    let confirmation = accepted(sent);
    assert_eq!(client.close(Duration::from_millis(50)).await, Closed::Unconfirmed);
    assert_eq!(confirmation.proof().await, None);
}

#[tokio::test]
async fn a_close_repeats_what_may_be_lost_to_a_receiver_that_is_back() {
    let receiver = Receiver::start().await;
    let client = client(&receiver);
    let (lost, next) = (body(&["lost"]), body(&["next"]));
    let (unread, sent) = join!(receiver.accept(), client.send(&lost));
    let _unconfirmed = accepted(sent);
    let address = receiver.address();
    drop((unread, receiver));
    // Noticed, and not to be tried again for a while.
    let refused = decided(client.send(&next).await);
    assert!(matches!(refused, Verdict::Retry { .. }), "{refused:?}");

    let receiver = Receiver::start_at(address).await;
    let reading = async {
        let mut all = Vec::new();
        receiver.accept().await.read_to_end(&mut all).await.unwrap();
        all
    };
    let (all, closed) = join!(reading, client.close(Duration::from_secs(10)));
    assert_eq!((all.as_slice(), closed), (b"4 lost".as_slice(), Closed::Cleanly));
}

#[tokio::test]
async fn a_body_is_confirmed_when_the_receiver_has_read_to_the_end_and_closes() {
    let receiver = Receiver::start().await;
    let window = WindowLimits { age: Duration::from_millis(200), ..WindowLimits::default() };
    let client =
        Client::start("siem", ClientSettings { window, ..settings(&receiver, Security::Plain) })
            .unwrap();
    // Once because of the age, then because a task asks.
    for asks in [false, true] {
        let record = body(&["record"]);
        let reading = async { read_all(&receiver).await };
        let sending = async {
            let confirmation = accepted(client.send(&record).await);
            if asks {
                client.confirm();
            }
            matches!(confirmation.proof().await, Some(Ok(_)))
        };
        let (all, is_given) = join!(reading, sending);
        assert_eq!((all.as_str(), is_given), ("6 record", true));
    }
}

#[tokio::test]
async fn a_full_window_is_confirmed_before_more_is_written() {
    let receiver = Receiver::start().await;
    let window = WindowLimits { bytes: 10, ..WindowLimits::default() };
    let client =
        Client::start("siem", ClientSettings { window, ..settings(&receiver, Security::Plain) })
            .unwrap();
    let (first, second) = (body(&["0123456789"]), body(&["next"]));
    let reading = async { [read_all(&receiver).await, read_all(&receiver).await] };
    let sending = async {
        let confirmation = accepted(client.send(&first).await);
        let next = accepted(client.send(&second).await);
        assert!(matches!(confirmation.proof().await, Some(Ok(_))));
        client.close(Duration::from_secs(10)).await;
        assert!(matches!(next.proof().await, Some(Ok(_))));
    };
    let (all, ()) = join!(reading, sending);
    assert_eq!(all, ["10 0123456789", "4 next"]);
}

/// The figures of issue 6: frozen for longer than the window's age, then killed.
#[tokio::test]
async fn a_receiver_that_freezes_for_longer_than_the_age_and_dies_loses_nothing() {
    let receiver = Receiver::start().await;
    let window = WindowLimits { age: Duration::from_millis(50), ..WindowLimits::default() };
    let settings = ClientSettings {
        window,
        write_timeout: Duration::from_millis(100),
        ..settings(&receiver, Security::Plain)
    };
    let client = Client::start("siem", settings).unwrap();
    let (lost, next) = (body(&["lost"]), body(&["next"]));
    let (unread, sent) = join!(receiver.accept(), client.send(&lost));
    let mut confirmation = Box::pin(accepted(sent).proof());
    // Once our side is finished, what follows is refused for now rather than kept waiting.
    while !unread.ready(Interest::READABLE).await.unwrap().is_read_closed() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let refused = decided(client.send(&next).await);
    assert_eq!(reason(&refused), "unconfirmed", "{refused:?}");
    let patience = Duration::from_millis(300);
    assert!(tokio::time::timeout(patience, &mut confirmation).await.is_err(), "nothing was read");
    drop(unread);

    let reading = async { read_all(&receiver).await };
    let (all, proof) = join!(reading, confirmation);
    assert_eq!((all.as_str(), proof), ("4 lost", Some(Ok(Proof::Read))));
}

#[tokio::test]
async fn a_receiver_that_breaks_every_connection_off_gets_a_bounded_number_of_repetitions() {
    let receiver = Receiver::start().await;
    let window = WindowLimits { age: Duration::from_millis(20), ..WindowLimits::default() };
    let client =
        Client::start("siem", ClientSettings { window, ..settings(&receiver, Security::Plain) })
            .unwrap();
    let record = body(&["record"]);
    let mut connections = 0;
    let breaking_off = async {
        loop {
            let mut stream = receiver.accept().await;
            connections += 1;
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
    };
    let sending =
        async { matches!(accepted(client.send(&record).await).proof().await, Some(Ok(_))) };
    let is_given = tokio::select! {
        never = breaking_off => never,
        is_given = sending => is_given,
    };
    assert!(is_given, "then its kernel's acknowledgement has to do");
    assert_eq!(
        connections, 4,
        "three that it broke off, and the one that is not finished any more"
    );
}

#[tokio::test]
async fn a_receiver_that_never_closes_gets_one_repetition_and_is_known_from_then_on() {
    let receiver = Receiver::start().await;
    let client = client(&receiver);
    let (first, second) = (body(&["first"]), body(&["second"]));
    let (mut kept_open, sent) = join!(receiver.accept(), client.send(&first));
    assert_eq!(read_messages(&mut kept_open, 1).await, ["first"]);
    // From here on, waits of a minute are over at once.
    tokio::time::pause();
    let reading = async {
        let mut stream = receiver.accept().await;
        (read_messages(&mut stream, 1).await, stream)
    };
    let ((messages, mut stream), proof) = join!(reading, accepted(sent).proof());
    assert_eq!((messages, proof), (vec!["first".to_owned()], Some(Ok(Proof::Age))));
    let (messages, confirmation) = join!(read_messages(&mut stream, 1), deliver(&client, &second));
    assert_eq!(messages, ["second"]);
    assert!(
        matches!(confirmation.unwrap().proof().await, Some(Ok(_))),
        "by age, on the same connection"
    );
}

#[tokio::test]
async fn a_receiver_that_no_longer_closes_stalls_nothing_without_end_and_is_believed_again_once_it_does()
 {
    let receiver = Receiver::start().await;
    let client = client(&receiver);
    let bodies = ["first", "second", "third"].map(|text| body(&[text]));
    let sending = async {
        let confirmation = accepted(client.send(&bodies[0]).await);
        client.confirm();
        confirmation.proof().await
    };
    let (all, proof) = join!(read_all(&receiver), sending);
    assert_eq!((all.as_str(), proof), ("5 first", Some(Ok(Proof::Read))));

    let (mut kept_open, sent) = join!(receiver.accept(), client.send(&bodies[1]));
    assert_eq!(read_messages(&mut kept_open, 1).await, ["second"]);
    // From here on, waits of minutes are over at once.
    tokio::time::pause();
    let asked = tokio::time::Instant::now();
    let reading = async {
        let mut stream = receiver.accept().await;
        (read_messages(&mut stream, 1).await, stream)
    };
    let ((messages, mut next), proof) = join!(reading, accepted(sent).proof());
    assert_eq!((messages, proof), (vec!["second".to_owned()], Some(Ok(Proof::Age))));
    let waited = asked.elapsed().as_secs();
    assert!(
        (300..330).contains(&waited),
        "{waited} s: longer than receivers are suspended for, and not without end"
    );

    // It was only suspended: it closes what it had kept open, and is asked again.
    tokio::time::resume();
    drop(kept_open);
    let (messages, sent) = join!(read_messages(&mut next, 1), client.send(&bodies[2]));
    assert_eq!(messages, ["third"]);
    let confirmation = accepted(sent);
    client.confirm();
    let mut rest = String::new();
    let closing = async {
        next.read_to_string(&mut rest).await.unwrap();
        drop(next);
    };
    assert_eq!(join!(confirmation.proof(), closing).0, Some(Ok(Proof::Read)));
}

#[tokio::test]
async fn an_end_that_a_receiver_sends_before_ours_proves_nothing() {
    let receiver = Receiver::start().await;
    let client = client(&receiver);
    let lost = body(&["lost"]);
    let (mut unread, sent) = join!(receiver.accept(), client.send(&lost));
    unread.shutdown().await.unwrap();
    client.confirm();
    let reading = async { read_all(&receiver).await };
    let (all, proof) = join!(reading, accepted(sent).proof());
    assert_eq!(
        (all.as_str(), proof),
        ("4 lost", Some(Ok(Proof::Read))),
        "sent again, and then read"
    );
    drop(unread);
}

#[tokio::test]
async fn a_receiver_that_ends_its_side_at_once_and_reads_on_gets_a_bounded_number_of_repetitions() {
    let receiver = Receiver::start().await;
    let window = WindowLimits { age: Duration::from_millis(100), ..WindowLimits::default() };
    let client =
        Client::start("siem", ClientSettings { window, ..settings(&receiver, Security::Plain) })
            .unwrap();
    client.probe().await.unwrap();
    let record = body(&["record"]);
    let mut connections = 0;
    let ending_early = async {
        loop {
            let mut stream = receiver.accept().await;
            stream.shutdown().await.unwrap();
            connections += 1;
            let mut all = String::new();
            stream.read_to_string(&mut all).await.unwrap();
        }
    };
    let sending = async { deliver(&client, &record).await.unwrap().proof().await };
    let proof = tokio::select! {
        never = ending_early => never,
        proof = sending => proof,
    };
    assert_eq!(proof, Some(Ok(Proof::Age)));
    assert_eq!(connections, 5, "the probe, three that count, and the one that is kept");
}

#[tokio::test]
async fn who_no_longer_waits_for_a_confirmation_is_not_repeated_for() {
    let receiver = Receiver::start().await;
    let client = client(&receiver);
    let (another, ours) = (body(&["another"]), body(&["ours"]));
    let (unread, sent) = join!(receiver.accept(), client.send(&another));
    drop(accepted(sent));
    let confirmation = accepted(client.send(&ours).await);
    drop(unread);
    let reading = async { read_all(&receiver).await };
    let confirming = async {
        // Once it is connected again.
        let _ = client.probe().await;
        client.close(Duration::from_secs(10)).await;
        matches!(confirmation.proof().await, Some(Ok(_)))
    };
    assert_eq!(join!(reading, confirming), ("4 ours".to_owned(), true));
}

fn trusting(authority: &Authority) -> TlsSettings {
    TlsSettings { verify: Verify::CaFile(authority.ca_file()), ..TlsSettings::default() }
}

/// Sends one message over TLS; what the client says, and what the receiver read.
async fn over_tls(
    server: std::sync::Arc<rustls::ServerConfig>,
    tls: TlsSettings,
    server_name: Option<&str>,
) -> (Verdict, Option<Vec<String>>) {
    let receiver = Receiver::start().await;
    let server_name = server_name.map(|name| name.to_owned().try_into().unwrap());
    let tls = TlsSettings { server_name, ..tls };
    let settings = ClientSettings { tls, ..settings(&receiver, Security::Tls) };
    let client = Client::start("siem", settings).unwrap();
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
        match client.send(&record).await {
            Sent::Decided(verdict) => verdict,
            Sent::Accepted(confirmation) => {
                client.close(Duration::from_secs(10)).await;
                assert!(matches!(confirmation.proof().await, Some(Ok(_))));
                Verdict::Delivered
            }
        }
    };
    let (messages, verdict) = join!(reading, sending);
    (verdict, messages)
}

#[tokio::test]
async fn tls_delivers_and_ends_with_a_close_notify() {
    let authority = Authority::new();
    let (verdict, messages) = over_tls(authority.server(false), trusting(&authority), None).await;
    assert_eq!((verdict, messages), (Verdict::Delivered, Some(vec!["record".to_owned()])));
}

#[tokio::test]
async fn a_receiver_we_do_not_trust_gets_nothing() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (verdict, messages) = over_tls(theirs.server(false), trusting(&ours), None).await;
    assert_eq!((verdict.label(), reason(&verdict), messages), ("hold", "tls_refused", None));

    let wrong_name = Some("siem.example.org");
    let (verdict, messages) = over_tls(ours.server(false), trusting(&ours), wrong_name).await;
    assert_eq!((verdict.label(), reason(&verdict), messages), ("hold", "tls_refused", None));
}

#[tokio::test]
async fn unverified_tls_is_possible_on_request() {
    let tls = TlsSettings { verify: Verify::Nothing, ..TlsSettings::default() };
    let (verdict, _) = over_tls(Authority::new().server(false), tls, Some("any.name")).await;
    assert_eq!(verdict, Verdict::Delivered);
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_its_lack_is_noticed() {
    let authority = Authority::new();
    // TLS 1.3 reports the refusal to the client only after the client's handshake is done.
    let (verdict, messages) = over_tls(authority.server(true), trusting(&authority), None).await;
    assert_eq!((verdict.label(), reason(&verdict), messages), ("hold", "tls_refused", None));

    let (cert_file, key_file) = authority.issue("fwd-1", ExtendedKeyUsagePurpose::ClientAuth);
    let tls = TlsSettings {
        identity: Some(Identity { cert_file, key_file }),
        min_version: MinVersion::Tls13,
        ..trusting(&authority)
    };
    let (verdict, messages) = over_tls(authority.server(true), tls, None).await;
    assert_eq!((verdict, messages), (Verdict::Delivered, Some(vec!["record".to_owned()])));
}
