//! Certificates as receivers have them, and which settings accept them, in both sinks and both versions of TLS.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use forwarder_connector::{Body, Verdict};
use forwarder_sinks::hec::{self, Endpoint, Token};
use forwarder_sinks::syslog::{self, Security, WindowLimits};
use forwarder_sinks::{MinVersion, TlsSettings, Verify};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::join;
use tokio_rustls::TlsAcceptor;

use crate::collector::{Collector, exchange};
use crate::receiver::{Receiver, body, decided};

/// What a receiver shows, and the key it holds; they need not belong together.
#[derive(Debug, Clone)]
struct Shown(Arc<CertifiedKey>);

impl Shown {
    fn new(certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> Self {
        let key = ring::sign::any_supported_type(&key).unwrap();
        Self(Arc::new(CertifiedKey::new(vec![certificate], key)))
    }

    fn of_files(name: &str) -> Self {
        let certificate = CertificateDer::from_pem_file(file(&format!("{name}.pem"))).unwrap();
        Self::new(certificate, PrivateKeyDer::from_pem_file(file(&format!("{name}.key"))).unwrap())
    }

    /// The SHA-256 of the certificate, as openssl prints it.
    fn fingerprint(&self) -> String {
        let hash =
            ring::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().unwrap().common.hash_provider;
        let digest = hash.hash(&self.0.cert[0]);
        digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
    }

    fn pinned(&self) -> TlsSettings {
        trust(Verify::Pinned(vec![self.fingerprint().parse().unwrap()]))
    }

    fn server(&self, version: &'static rustls::SupportedProtocolVersion) -> TlsAcceptor {
        let config =
            rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_protocol_versions(&[version])
                .unwrap()
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(self.clone()));
        TlsAcceptor::from(Arc::new(config))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// A certificate for 127.0.0.1 that has signed itself, as `openssl req -x509` makes it, and its PEM file.
fn own_authority(folder: &Path, days_ago: i64) -> (Shown, PathBuf) {
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    if days_ago > 0 {
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(2001, 1, 1), rcgen::date_time_ymd(2002, 1, 1));
    }
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let path = folder.join(format!("self-{days_ago}-{}.pem", std::process::id()));
    std::fs::write(&path, certificate.pem()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    (Shown::new(certificate.der().clone(), key), path)
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
}

fn trust(verify: Verify) -> TlsSettings {
    TlsSettings { verify, ..TlsSettings::default() }
}

const TEN_SECONDS: Duration = Duration::from_secs(10);

async fn over_syslog(acceptor: &TlsAcceptor, tls: TlsSettings) -> Verdict {
    let receiver = Receiver::start().await;
    let client = syslog::Client::start(
        "siem",
        syslog::ClientSettings {
            target: receiver.target(Security::Tls),
            tls,
            connect_timeout: TEN_SECONDS,
            write_timeout: TEN_SECONDS,
            window: WindowLimits { bytes: 0, ..WindowLimits::default() },
            longest_pause: Duration::from_secs(30),
        },
    )
    .unwrap();
    let record = body(&["record"]);
    // Without an end: a receiver that leaves says nothing of what it has read.
    let reading = async {
        if let Ok(mut stream) = acceptor.accept(receiver.accept().await).await {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        sent = client.send(&record) => decided(sent),
        () = reading => unreachable!(),
    }
}

async fn over_hec(acceptor: &TlsAcceptor, tls: TlsSettings) -> Verdict {
    let collector = Collector::start().await;
    let client = hec::Client::new(hec::ClientSettings {
        endpoint: Endpoint::parse(&format!("https://{}", collector.address())).unwrap(),
        token: Token::new("token").unwrap().into(),
        success: hec::SuccessReply::Hec,
        tls,
        connect_timeout: TEN_SECONDS,
        timeout: TEN_SECONDS,
    })
    .unwrap();
    let record = Body::plain(vec!["{\"event\":1}".into()], 1);
    let serving = async {
        if let Ok(mut stream) = acceptor.accept(collector.accept().await).await {
            exchange(&mut stream, "200 OK\n\n{\"text\":\"Success\",\"code\":0}").await;
        }
    };
    join!(serving, client.send(&record)).1
}

/// What becomes of a body in both sinks over both versions of TLS, which has to be the same.
async fn sent(shown: &Shown, tls: &TlsSettings) -> Result<(), String> {
    let mut outcomes = Vec::new();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let acceptor = shown.server(version);
        outcomes.push(over_syslog(&acceptor, tls.clone()).await);
        outcomes.push(over_hec(&acceptor, tls.clone()).await);
    }
    let results: Vec<_> = outcomes
        .into_iter()
        .map(|verdict| match verdict {
            Verdict::Delivered => Ok(()),
            Verdict::Hold { cause } => {
                assert_eq!(cause.reason(), "tls_refused", "{cause}");
                // What is said about the certificate is the same, whatever the address.
                Err(cause.to_string().split_once("the receiver").unwrap().1.to_owned())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{results:#?}");
    results.into_iter().next().unwrap()
}

#[tokio::test]
async fn version_1_is_accepted_pinned_or_unverified_and_is_named_otherwise() {
    let v1 = Shown::of_files("v1");
    assert_eq!(sent(&v1, &trust(Verify::Nothing)).await, Ok(()));
    assert_eq!(sent(&v1, &v1.pinned()).await, Ok(()));
    for ca_file in ["v1-ca.pem", "v1.pem"] {
        let refused = sent(&v1, &trust(Verify::CaFile(file(ca_file)))).await.unwrap_err();
        assert!(refused.contains("X.509 version 1"), "{refused}");
        let way_out = v1.fingerprint().replace(':', "").to_lowercase();
        assert!(refused.contains(&format!("fingerprint = \"sha256:{way_out}\"")), "{refused}");
    }
}

#[tokio::test]
async fn a_pinned_certificate_is_exactly_that_one_and_its_key_has_to_be_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, _) = own_authority(folder.path(), 0);
    let (expired, _) = own_authority(folder.path(), 1);
    let other = Shown::of_files("of-p521");
    assert_eq!(sent(&ours, &ours.pinned()).await, Ok(()));
    assert_eq!(sent(&expired, &expired.pinned()).await, Ok(()), "dates do not count");
    let refused = sent(&other, &ours.pinned()).await.unwrap_err();
    assert!(refused.contains("not in `fingerprint`"), "{refused}");

    // The next certificate is named before it is in use.
    let fingerprints = [&ours, &other].map(|shown| shown.fingerprint().parse().unwrap());
    assert_eq!(sent(&other, &trust(Verify::Pinned(fingerprints.to_vec()))).await, Ok(()));

    // Anyone can show a certificate; only its owner can sign with its key.
    for pinned in [&ours, &Shown::of_files("v1"), &other] {
        let key = CertifiedKey::new(pinned.0.cert.clone(), Arc::clone(&expired.0.key));
        let thief = Shown(Arc::new(key));
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let acceptor = thief.server(version);
            assert_ne!(over_syslog(&acceptor, pinned.pinned()).await, Verdict::Delivered);
            assert_ne!(over_hec(&acceptor, pinned.pinned()).await, Verdict::Delivered);
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_its_own_authority_is_trusted_by_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let (own, ca_file) = own_authority(folder.path(), 0);
    let tls = trust(Verify::CaFile(ca_file));
    assert_eq!(sent(&own, &tls).await, Ok(()));

    let wrong_name = Some("siem.example.org".try_into().unwrap());
    let refused = sent(&own, &TlsSettings { server_name: wrong_name, ..tls.clone() }).await;
    assert!(refused.unwrap_err().contains("not for `siem.example.org` but for"));

    let other_folder = tempfile::tempdir().unwrap();
    let (other, _) = own_authority(other_folder.path(), 0);
    assert!(sent(&other, &tls).await.is_err(), "another one of that kind");

    let (expired, ca_file) = own_authority(folder.path(), 1);
    let refused = sent(&expired, &trust(Verify::CaFile(ca_file))).await.unwrap_err();
    assert!(refused.contains("has expired"), "{refused}");
}

#[tokio::test]
async fn a_name_of_ones_own_is_compared_instead_of_the_address() {
    let folder = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::new(vec!["siem.example.org".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let path = folder.path().join("named.pem");
    std::fs::write(&path, certificate.pem()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let named = Shown::new(certificate.der().clone(), key);

    let tls = trust(Verify::CaFile(path));
    let refused = sent(&named, &tls).await.unwrap_err();
    assert!(refused.contains("siem.example.org") && refused.contains("server_name"), "{refused}");
    let server_name = Some("siem.example.org".try_into().unwrap());
    assert_eq!(sent(&named, &TlsSettings { server_name, ..tls }).await, Ok(()));
}

#[tokio::test]
async fn an_authority_that_ring_cannot_verify_is_named_and_pinning_gets_around_it() {
    let issued = Shown::of_files("of-p521");
    let refused = sent(&issued, &trust(Verify::CaFile(file("p521-ca.pem")))).await.unwrap_err();
    assert!(refused.contains("a P-521 key"), "{refused}");
    assert!(!refused.contains("["), "no lists of numbers: {refused}");
    assert_eq!(sent(&issued, &issued.pinned()).await, Ok(()));
}

#[tokio::test]
async fn a_receiver_without_parameters_in_common_is_not_blamed_on_certificates() {
    // Alerts of OpenSSL without a shared cipher suite, curve or signature scheme; and of one for TLS 1.0 alone.
    for (alert, said) in [(40, "ECDHE key exchange over X25519"), (70, "TLS 1.2 or 1.3")] {
        let receiver = Receiver::start().await;
        let answering = async {
            let mut stream = receiver.accept().await;
            let _hello = stream.read_u8().await.unwrap();
            stream.write_all(&[0x15, 3, 3, 0, 2, 2, alert]).await.unwrap();
            // To the end, so that no reset overtakes the alert.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        };
        let client = syslog::Client::start(
            "siem",
            syslog::ClientSettings {
                target: receiver.target(Security::Tls),
                tls: TlsSettings { min_version: MinVersion::Tls12, ..trust(Verify::Nothing) },
                connect_timeout: TEN_SECONDS,
                write_timeout: TEN_SECONDS,
                window: WindowLimits { bytes: 0, ..WindowLimits::default() },
                longest_pause: Duration::from_secs(30),
            },
        )
        .unwrap();
        let record = body(&["record"]);
        let ((), sent) = join!(answering, client.send(&record));
        let verdict = decided(sent);
        let Verdict::Hold { cause } = verdict else { panic!("{verdict:?}") };
        assert!(cause.to_string().contains(said), "{cause}");
        assert!(!cause.to_string().contains("ca_file"), "{cause}");
    }
}
