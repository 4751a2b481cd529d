//! Whom we trust and who we are: rustls client settings shared by the HEC and syslog sinks.
//!
//! The crypto provider is always ring and is passed explicitly, so that nothing depends on a
//! process-wide default. The server's chain and its name or address are verified (subject alternative
//! names only, no common-name fallback) unless [`Verify::Nothing`] says otherwise, loudly.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

/// TLS settings of one sink, as an operator thinks of them.
#[derive(Debug, Clone, Default)]
pub struct TlsSettings {
    /// Which servers to believe.
    pub verify: Verify,
    /// The certificate we show when the server asks for one (mutual TLS).
    pub identity: Option<Identity>,
    /// The oldest protocol version we speak.
    pub min_version: MinVersion,
}

/// Which servers to believe.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Verify {
    /// Those vouched for by the roots the operating system trusts.
    #[default]
    SystemRoots,
    /// Those vouched for by the PEM certificates in this file, and no others: a site with its own
    /// authority seldom wants every public one to be able to stand in for its SIEM.
    CaFile(PathBuf),
    /// Anybody (`verify = false`). Whoever can redirect our packets can read the logs and the
    /// token; a warning is logged each time settings are built like this.
    Nothing,
}

/// A client certificate chain and its private key, both PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, followed by its intermediates.
    pub cert_file: PathBuf,
    /// PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key_file: PathBuf,
}

/// The oldest TLS version to accept. Older ones than 1.2 are not offered at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2 and 1.3.
    #[default]
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

/// TLS settings that cannot work. All of them are for the operator to mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A PEM file is missing, unreadable or not PEM.
    #[error("cannot read {what} from `{}`; give a readable PEM file", path.display())]
    Unreadable {
        /// What the file should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: pem::Error,
    },
    /// A PEM file was read and holds nothing of the kind that was looked for.
    #[error("`{}` holds no {what}; it should begin with `-----BEGIN`", path.display())]
    Empty {
        /// What the file should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A certificate in the CA file cannot serve as a root.
    #[error("`{}` holds a certificate that cannot serve as a trust root", path.display())]
    BadRoot {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
    /// The system offers no trust roots.
    #[error(
        "the system offers no trust roots ({detail}); install its CA certificates or set `ca_file`"
    )]
    NoSystemRoots {
        /// What was tried, and the errors.
        detail: String,
    },
    /// Neither a DNS name nor an address.
    #[error("`{given}` is not a name that a certificate can hold; set `server_name`")]
    ServerName {
        /// What was given.
        given: String,
    },
    /// Certificate and key do not belong together, or the protocol settings contradict each other.
    #[error("the TLS settings do not fit together: {source}")]
    Mismatch {
        /// What rustls says.
        #[from]
        source: rustls::Error,
    },
}

impl TlsSettings {
    /// Reads the files and builds what rustls needs. Blocks on a few small file reads.
    ///
    /// # Errors
    ///
    /// [`TlsError`] when a file is missing or unusable, or when there is no root to trust.
    pub fn client_config(&self) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let versions = match self.min_version {
            MinVersion::Tls12 => rustls::ALL_VERSIONS,
            MinVersion::Tls13 => &[&rustls::version::TLS13],
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)?;
        let builder = match &self.verify {
            Verify::SystemRoots => builder.with_root_certificates(system_roots()?),
            Verify::CaFile(path) => builder.with_root_certificates(roots_from(path)?),
            Verify::Nothing => {
                tracing::warn!(
                    "TLS certificates are NOT verified: anyone on the path can pose as the receiver \
                     and read the logs; set `ca_file` instead"
                );
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Gullible(provider)))
            }
        };
        match &self.identity {
            None => Ok(builder.with_no_client_auth()),
            Some(identity) => {
                let chain = certificates(&identity.cert_file, "a client certificate")?;
                let key = private_key(&identity.key_file)?;
                Ok(builder.with_client_auth_cert(chain, key)?)
            }
        }
    }
}

/// Settings for a connection that will not use TLS, where an HTTP client wants some all the same:
/// nothing is trusted, so no handshake can succeed.
pub(crate) fn unused() -> Result<ClientConfig, TlsError> {
    Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
    if added == 0 {
        let detail = if errors.is_empty() { "none found".to_owned() } else { errors.join("; ") };
        return Err(TlsError::NoSystemRoots { detail });
    }
    if ignored > 0 || !errors.is_empty() {
        tracing::debug!(added, ignored, errors = %errors.join("; "), "some system roots are unusable");
    }
    Ok(roots)
}

fn roots_from(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, "a CA certificate")? {
        roots
            .add(certificate)
            .map_err(|source| TlsError::BadRoot { path: path.to_owned(), source })?;
    }
    Ok(roots)
}

fn certificates(path: &Path, what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |source| TlsError::Unreadable { what, path: path.to_owned(), source };
    let found = CertificateDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    if found.is_empty() {
        return Err(TlsError::Empty { what, path: path.to_owned() });
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let what = "an unencrypted private key";
    PrivateKeyDer::from_pem_file(path).map_err(|source| match source {
        pem::Error::NoItemsFound => TlsError::Empty { what, path: path.to_owned() },
        source => TlsError::Unreadable { what, path: path.to_owned(), source },
    })
}

/// Whether an I/O or HTTP error means that the two sides will not accept each other's certificates,
/// which no retry mends.
pub(crate) fn is_trust_failure(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return refuses_trust(tls);
        }
        // An `io::Error` hides its payload from `source`, which skips to the payload's own source.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}

fn refuses_trust(error: &rustls::Error) -> bool {
    use rustls::AlertDescription as Alert;
    match error {
        rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => true,
        rustls::Error::AlertReceived(alert) => matches!(
            alert,
            Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied
                | Alert::CertificateRequired
                | Alert::HandshakeFailure
                | Alert::ProtocolVersion
        ),
        _ => false,
    }
}

/// Believes every certificate, but still insists that the server holds the key of the one it shows.
#[derive(Debug)]
struct Gullible(Arc<CryptoProvider>);

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(path: PathBuf) -> TlsSettings {
        TlsSettings { verify: Verify::CaFile(path), ..TlsSettings::default() }
    }

    #[test]
    fn a_missing_ca_file_is_named() {
        let error = settings("/nowhere/ca.pem".into()).client_config().unwrap_err();
        assert!(error.to_string().contains("`/nowhere/ca.pem`"), "{error}");
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = settings(file.path().to_owned()).client_config().unwrap_err();
        assert!(matches!(error, TlsError::Empty { .. }), "{error}");
    }

    #[test]
    fn a_refused_certificate_is_found_below_an_io_error() {
        let tls = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
        let io = io::Error::new(io::ErrorKind::InvalidData, tls);
        assert!(is_trust_failure(&io));
        assert!(!is_trust_failure(&io::Error::from(io::ErrorKind::ConnectionRefused)));
    }
}
