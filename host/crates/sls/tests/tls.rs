//! TLS against a real server: which certificates are trusted, and which not.

#![expect(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use forwarder_listener::Listener;
use forwarder_sls::{Chain, Client, Endpoint, Error, Scheme};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use support::{Api, Sls};

/// A certificate authority, and a server with a certificate of its own for the loopback address.
async fn private_service() -> (Sls, Front, tempfile::NamedTempFile) {
    support::install_tls();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["127.0.0.1".into()]).unwrap().signed_by(&key, &ca).unwrap();
    let tls = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key.serialize_der().try_into().unwrap())
        .unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, ca.pem()).unwrap();
    let sls = Sls::start(1).await;
    let front = Front::start(tls, sls.emulator.address()).await;
    (sls, front, file)
}

/// TLS in front of the emulator, which does not speak it; stops when dropped.
struct Front {
    endpoint: Endpoint,
    _listener: Listener,
}

impl Front {
    async fn start(tls: rustls::ServerConfig, behind: SocketAddr) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = port.local_addr().unwrap();
        let tls = TlsAcceptor::from(Arc::new(tls));
        let listener = Listener::start(port, 100, move |stream, _| {
            let tls = tls.clone();
            async move {
                // A client that refuses the certificate is part of the tests.
                let Ok(mut outside) = tls.accept(stream).await else { return };
                let mut inside = TcpStream::connect(behind).await.unwrap();
                let _ = copy_bidirectional(&mut outside, &mut inside).await;
            }
        });
        let endpoint = Endpoint::new(Scheme::Https, "127.0.0.1", Some(address.port()));
        Self { endpoint, _listener: listener }
    }
}

#[tokio::test]
async fn a_private_authority_is_trusted_only_when_it_is_named() {
    let (sls, front, ca) = private_service().await;
    let store = "store".parse().unwrap();
    let mut config = sls.config();
    config.endpoint = front.endpoint.clone();
    config.ca_file = Some(ca.path().into());
    Client::new(config.clone()).unwrap().list_shards(&store).await.unwrap();
    assert_eq!(sls.seen(Api::ListShards)[0].headers["host"], "proj.127.0.0.1");

    // Some machines have no certificates at all; then the client cannot even be set up.
    config.ca_file = None;
    config.attempts = 1;
    let Ok(client) = Client::new(config) else { return };
    let error = client.list_shards(&store).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    let shown = Chain(&error).to_string().to_lowercase();
    assert!(shown.contains("certificate"), "{shown}");
}

#[tokio::test]
async fn a_ca_file_that_changes_is_read_again_when_it_no_longer_fits() {
    let (sls, front, ca) = private_service().await;
    let (_, _, other) = private_service().await;
    let right = std::fs::read(&ca).unwrap();
    std::fs::copy(&other, &ca).unwrap();
    let mut config = sls.config();
    config.endpoint = front.endpoint.clone();
    config.ca_file = Some(ca.path().into());
    config.attempts = 1;
    let client = Client::new(config).unwrap();
    let store = "store".parse().unwrap();
    assert!(client.list_shards(&store).await.is_err());
    // Half written: nothing changes.
    std::fs::write(&ca, right.split_at(right.len() / 2).0).unwrap();
    assert!(client.list_shards(&store).await.is_err());
    std::fs::write(&ca, &right).unwrap();
    assert!(client.list_shards(&store).await.is_err(), "the attempt that shows it");
    client.list_shards(&store).await.unwrap();
}
