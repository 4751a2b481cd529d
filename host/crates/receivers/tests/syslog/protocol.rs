//! Framings, transports, and what is reported instead of recorded.

use std::sync::Arc;

use forwarder_receivers::syslog::{FormatError, Framing, FramingError, SyslogReceiver};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio_rustls::TlsConnector;

use crate::sender::{SOON, connect, counted, lines, message, send};

#[tokio::test]
async fn each_connection_chooses_its_own_framing() {
    let receiver = SyslogReceiver::builder().start().await.unwrap();
    assert!(receiver.url().starts_with("tcp://127.0.0.1:"));

    send(&receiver, counted([message("a"), message("two\nlines")])).await;
    receiver.wait_for(2, SOON).await.unwrap();
    send(&receiver, lines([message("c")])).await;
    receiver.wait_for(3, SOON).await.unwrap();

    let received = receiver.stop().await;
    let texts: Vec<_> = received.messages.iter().map(|message| message.text()).collect();
    assert_eq!(texts, ["body of a", "body of two\nlines", "body of c"]);
    assert_eq!(received.messages[0].param("sls@32473", "id"), Some("a"));
    assert_eq!(received.tally.connections, 2);
}

#[tokio::test]
async fn a_malformed_message_is_reported_and_the_next_one_recorded() {
    let receiver = SyslogReceiver::builder().start().await.unwrap();
    let bad = "<14>1 2023-11-14T22:13:60Z h a - - - leap second";
    send(&receiver, lines([bad, &message("a")])).await;
    receiver.wait_for(1, SOON).await.unwrap();

    let received = receiver.stop().await;
    assert_eq!((received.tally.received, received.tally.malformed), (1, 1));
    assert_eq!(received.malformed[0].flaw, FormatError::Timestamp);
    assert_eq!(received.malformed[0].bytes, bad.as_bytes());
}

#[tokio::test]
async fn a_frame_above_the_limit_ends_the_connection() {
    let receiver = SyslogReceiver::builder().max_message_bytes(200).start().await.unwrap();
    let mut stream = connect(&receiver).await;
    let large = message(&"x".repeat(200));
    stream.write_all(&counted([message("a"), large, message("b")])).await.unwrap();

    receiver.wait_until(SOON, |tally| tally.broken_streams == 1).await.unwrap();
    assert!(matches!(stream.read(&mut [0; 8]).await, Ok(0) | Err(_)));
    let received = receiver.stop().await;
    assert_eq!(received.tally.received, 1, "the frame after it is lost too");
    assert_eq!(received.broken_streams, [FramingError::TooLong { limit: 200 }]);
}

#[tokio::test]
async fn a_fixed_framing_refuses_the_other() {
    let receiver = SyslogReceiver::builder().framing(Framing::OctetCounting).start().await.unwrap();
    send(&receiver, lines([message("a")])).await;

    receiver.wait_until(SOON, |tally| tally.broken_streams == 1).await.unwrap();
    assert_eq!(receiver.received().broken_streams, [FramingError::Length]);
}

#[tokio::test]
async fn a_message_cut_short_by_the_end_of_the_stream_is_not_recorded() {
    let receiver = SyslogReceiver::builder().start().await.unwrap();
    let mut stream = counted([message("a"), message("b")]);
    stream.truncate(stream.len() - 1);
    send(&receiver, stream).await;

    let tally = receiver.wait_until(SOON, |tally| tally.cut_short == 1).await.unwrap();
    assert_eq!(tally.received, 1);
}

#[tokio::test]
async fn a_datagram_is_a_message() {
    let receiver = SyslogReceiver::builder().udp().start().await.unwrap();
    assert!(receiver.url().starts_with("udp://"));
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();

    socket.send_to(message("a").as_bytes(), receiver.addr()).await.unwrap();
    socket.send_to(b"hello", receiver.addr()).await.unwrap();
    receiver.wait_until(SOON, |tally| tally.received + tally.malformed == 2).await.unwrap();
    assert_eq!(receiver.received().messages[0].text(), "body of a");

    receiver.down().await;
    socket.send_to(message("lost").as_bytes(), receiver.addr()).await.unwrap();
    receiver.up().await.unwrap();
    // The refusal of the last datagram is reported by the next call on the socket.
    while socket.send_to(message("b").as_bytes(), receiver.addr()).await.is_err() {}
    receiver.wait_for(2, SOON).await.unwrap();
    assert_eq!(receiver.received().messages[1].text(), "body of b");
}

#[tokio::test]
async fn messages_arrive_over_tls_from_those_who_trust_the_server() {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let receiver = SyslogReceiver::builder().tls(Arc::new(config)).start().await.unwrap();
    assert!(receiver.url().starts_with("tls://"));
    let client = |roots| {
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    };
    let name = ServerName::try_from("127.0.0.1").unwrap();

    let stranger = client(RootCertStore::empty());
    assert!(stranger.connect(name.clone(), connect(&receiver).await).await.is_err());
    receiver.wait_until(SOON, |tally| tally.failed_handshakes == 1).await.unwrap();

    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let mut stream = client(roots).connect(name, connect(&receiver).await).await.unwrap();
    stream.write_all(&counted([message("a"), message("b")])).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0, "the server says goodbye as well");
    receiver.wait_for(2, SOON).await.unwrap();
}

#[tokio::test]
async fn tls_over_udp_is_refused_at_start() {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let resolver = rustls::server::ResolvesServerCertUsingSni::new();
    let config =
        ServerConfig::builder().with_no_client_auth().with_cert_resolver(Arc::new(resolver));
    let refused = SyslogReceiver::builder().udp().tls(Arc::new(config)).start().await;
    assert!(refused.err().unwrap().to_string().contains("either UDP or TLS"));
}
