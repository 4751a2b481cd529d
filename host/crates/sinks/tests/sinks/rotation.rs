//! Tokens and certificates that are replaced while a sink runs.

use std::time::Duration;

use forwarder_connector::{Body, Verdict};
use forwarder_sinks::hec::{self, Endpoint, TokenSource};
use forwarder_sinks::syslog::{self, Security, WindowLimits};
use forwarder_sinks::{Identity, TlsSettings, Verify};
use rcgen::ExtendedKeyUsagePurpose;
use tokio::join;
use tokio_rustls::TlsAcceptor;

use crate::authority::Authority;
use crate::collector::{Collector, exchange};
use crate::receiver::{Receiver, body, decided, read_messages};

/// A little more than the shortest time between two readings after a refusal.
const READABLE_AGAIN: Duration = Duration::from_millis(1_050);

const TEN_SECONDS: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_token_file_is_read_again_when_the_token_is_refused() {
    let collector = Collector::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "token-one\n").unwrap();
    let client = hec::Client::new(hec::ClientSettings {
        endpoint: Endpoint::parse(&format!("http://{}", collector.address())).unwrap(),
        token: TokenSource::File(path.clone()),
        success: hec::SuccessReply::Hec,
        tls: TlsSettings::default(),
        connect_timeout: TEN_SECONDS,
        timeout: TEN_SECONDS,
    })
    .unwrap();
    let body = Body::plain(vec!["{\"event\":1}".into()], 1);
    let refusal = "403 Forbidden\n\n{\"text\":\"Invalid token\",\"code\":4}";
    let authorization = async |reply: &str| {
        let ((request, _), verdict) = join!(collector.answer(reply), client.send(&body));
        (request.header("authorization").unwrap().to_owned(), verdict)
    };

    // Unchanged, broken, gone: the token stays, and the sink holds.
    for contents in [Some("token-one\n"), Some("token one\n"), None] {
        match contents {
            Some(contents) => std::fs::write(&path, contents).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        tokio::time::sleep(READABLE_AGAIN).await;
        let (sent, verdict) = authorization(refusal).await;
        assert_eq!((sent.as_str(), verdict.label()), ("Splunk token-one", "hold"), "{contents:?}");
        assert!(!format!("{verdict:?} {client:?}").contains("token-one"));
    }
    std::fs::write(&path, "token-two").unwrap();
    tokio::time::sleep(READABLE_AGAIN).await;
    let (sent, verdict) = authorization(refusal).await;
    assert_eq!((sent.as_str(), verdict.label()), ("Splunk token-one", "retry"));
    let (sent, verdict) = authorization("200 OK\n\n{\"text\":\"Success\",\"code\":0}").await;
    assert_eq!((sent.as_str(), verdict), ("Splunk token-two", Verdict::Delivered));
}

/// Copies PEM files over others, as a rotation does.
fn replace(old: &Identity, new: &Identity) {
    std::fs::copy(&new.cert_file, &old.cert_file).unwrap();
    std::fs::copy(&new.key_file, &old.key_file).unwrap();
}

#[tokio::test]
async fn ca_file_and_client_certificate_are_read_again_when_they_are_refused() {
    let (before, after) = (Authority::new(), Authority::new());
    let identity = |authority: &Authority| {
        let (cert_file, key_file) = authority.issue("fwd-1", ExtendedKeyUsagePurpose::ClientAuth);
        Identity { cert_file, key_file }
    };
    let (old, new) = (identity(&before), identity(&after));
    let tls = TlsSettings {
        verify: Verify::CaFile(before.ca_file()),
        identity: Some(old.clone()),
        ..TlsSettings::default()
    };
    let acceptor = TlsAcceptor::from(after.server(true));
    let (receiver, collector) = (Receiver::start().await, Collector::start().await);
    let siem = syslog::Client::start(
        "siem",
        syslog::ClientSettings {
            target: receiver.target(Security::Tls),
            tls: tls.clone(),
            connect_timeout: TEN_SECONDS,
            write_timeout: TEN_SECONDS,
            window: WindowLimits { bytes: 0, ..WindowLimits::default() },
            longest_pause: Duration::from_secs(30),
        },
    )
    .unwrap();
    let splunk = hec::Client::new(hec::ClientSettings {
        endpoint: Endpoint::parse(&format!("https://{}", collector.address())).unwrap(),
        token: hec::Token::new("token").unwrap().into(),
        success: hec::SuccessReply::Hec,
        tls,
        connect_timeout: TEN_SECONDS,
        timeout: TEN_SECONDS,
    })
    .unwrap();
    let (line, event) = (body(&["record"]), Body::plain(vec!["{\"event\":1}".into()], 1));
    let serve_line = async || {
        let mut stream = acceptor.accept(receiver.accept().await).await.ok()?;
        let messages = read_messages(&mut stream, 1).await;
        // The connection stays open until the client has the answer.
        Some((messages, stream))
    };
    let serve_event = async || {
        let mut stream = acceptor.accept(collector.accept().await).await.ok()?;
        Some(exchange(&mut stream, "200 OK\n\n{\"text\":\"Success\",\"code\":0}").await)
    };
    let (_, sent) = join!(serve_line(), siem.send(&line));
    let refused = decided(sent);
    assert_eq!(refused.label(), "hold", "{refused:?}");
    let (_, refused) = join!(serve_event(), splunk.send(&event));
    assert_eq!(refused.label(), "hold", "{refused:?}");

    std::fs::copy(after.ca_file(), before.ca_file()).unwrap();
    replace(&old, &new);
    tokio::time::sleep(READABLE_AGAIN).await;
    let (_, verdict) = join!(serve_event(), splunk.send(&event));
    assert_eq!(verdict.label(), "retry", "{verdict:?}");
    let (_, verdict) = join!(serve_event(), splunk.send(&event));
    assert_eq!(verdict, Verdict::Delivered);
    let (_, sent) = join!(serve_line(), siem.send(&line));
    assert_eq!(decided(sent), Verdict::Delivered);
}
