//! A certificate authority of our own, and servers that it vouches for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

/// An authority that no system trusts.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// An authority with a key made just now.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key can be generated");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("it can sign itself");
        Self { issuer }
    }

    /// Writes the certificate that makes a client trust this authority, as PEM, into a folder.
    pub fn write_ca_file(&self, folder: &Path) -> PathBuf {
        let path = folder.join("ca.pem");
        std::fs::write(&path, self.issuer.pem()).expect("the test's folder is writable");
        path
    }

    /// What a server at 127.0.0.1 needs to be trusted.
    pub fn server(&self) -> Arc<ServerConfig> {
        self.server_named("127.0.0.1")
    }

    /// The same for a server whose certificate holds this name.
    pub fn server_named(&self, name: &str) -> Arc<ServerConfig> {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name or address");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().expect("a key can be generated");
        let certificate = params.signed_by(&key, &self.issuer).expect("it can sign others");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        server_config(certificate.into(), key)
    }
}

/// A server at 127.0.0.1 whose certificate has signed itself and is an authority's, as one made by a single
/// `openssl req -x509`; and that certificate as PEM.
pub fn own_authority() -> (Arc<ServerConfig>, String) {
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("an address");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key can be generated");
    let certificate = params.self_signed(&key).expect("it can sign itself");
    let pem = certificate.pem();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    (server_config(certificate.into(), key), pem)
}

fn server_config(
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Arc<ServerConfig> {
    let config = ServerConfig::builder_with_provider(crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("the provider knows the usual versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key);
    Arc::new(config.expect("key and certificate belong together"))
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
