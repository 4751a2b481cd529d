//! Which certificates are trusted and shown: rustls client settings shared by the HEC and syslog sinks.
//!
//! The crypto provider is always ring and is passed explicitly, so that nothing depends on a
//! process-wide default. The server's chain and its name or address are verified (subject alternative
//! names only, no common-name fallback) unless [`Verify`] says otherwise.

mod files;
mod fingerprint;
mod refusal;
mod verifier;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;

pub(crate) use files::TlsFiles;
pub use fingerprint::{BadFingerprint, Fingerprint};
pub(crate) use refusal::Refusal;
use verifier::ReceiverVerifier;

/// TLS settings of one sink, as an operator thinks of them.
#[derive(Debug, Clone, Default)]
pub struct TlsSettings {
    /// Which servers to believe.
    pub verify: Verify,
    /// The name in the server's certificate, if it is not the one in the address.
    pub server_name: Option<ServerName<'static>>,
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
    /// authority seldom wants every public one to be able to stand in for its SIEM. A server that shows
    /// one of these very certificates is believed too.
    CaFile(PathBuf),
    /// Those that show one of these certificates and hold its key. Names, dates, issuers and versions are
    /// not looked at.
    Pinned(Vec<Fingerprint>),
    /// Any (`verify = false`). A host that can redirect our packets can read the logs and the token; a warning
    /// is logged each time settings are built like this.
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

/// TLS settings that cannot work. All of them are for the operator to fix.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A PEM file is missing, unreadable or not PEM.
    #[error("cannot read {what} from `{}`: {source}; give a readable PEM file", path.display())]
    Unreadable {
        /// What the file should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A PEM file was read and holds nothing of the kind that was looked for.
    #[error("`{}` does not hold {what}; it should begin with `-----BEGIN`", path.display())]
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
    /// Whether nothing is read from outside of the settings, so that they mean the same at all times.
    pub(crate) fn is_fixed(&self) -> bool {
        self.identity.is_none() && matches!(self.verify, Verify::Pinned(_) | Verify::Nothing)
    }

    /// Reads the files that the settings name. Blocks.
    ///
    /// # Errors
    ///
    /// [`TlsError`] when a file is missing or unusable, or when there is no root to trust.
    pub(crate) fn read(&self) -> Result<TlsFiles, TlsError> {
        TlsFiles::read(self)
    }

    /// Builds what rustls needs.
    ///
    /// # Errors
    ///
    /// [`TlsError`] when what was read does not fit together.
    pub(crate) fn client_config(&self, files: TlsFiles) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let versions = match self.min_version {
            MinVersion::Tls12 => rustls::ALL_VERSIONS,
            MinVersion::Tls13 => &[&rustls::version::TLS13],
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(self.verifier(files.roots, &provider)?));
        Ok(match files.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
        })
    }

    fn verifier(
        &self,
        certificates: Vec<rustls_pki_types::CertificateDer<'static>>,
        provider: &Arc<rustls::crypto::CryptoProvider>,
    ) -> Result<ReceiverVerifier, TlsError> {
        let name = self.server_name.clone();
        match &self.verify {
            Verify::SystemRoots => {
                let mut roots = RootCertStore::empty();
                let (added, ignored) = roots.add_parsable_certificates(certificates);
                if added == 0 {
                    let detail = format!("{ignored} certificates, none of them usable");
                    return Err(TlsError::NoSystemRoots { detail });
                }
                ReceiverVerifier::chain(roots, Vec::new(), name, provider)
            }
            Verify::CaFile(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in &certificates {
                    roots
                        .add(certificate.clone())
                        .map_err(|source| TlsError::BadRoot { path: path.clone(), source })?;
                }
                ReceiverVerifier::chain(roots, certificates, name, provider)
            }
            Verify::Pinned(pins) => Ok(ReceiverVerifier::pinned(pins.clone(), provider)),
            Verify::Nothing => {
                tracing::warn!(
                    "TLS certificates are NOT verified: anyone on the path can pose as the receiver \
                     and read the logs; set `ca_file` or `fingerprint` instead"
                );
                Ok(ReceiverVerifier::any(provider))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn error(path: PathBuf) -> TlsError {
        let settings = TlsSettings { verify: Verify::CaFile(path), ..TlsSettings::default() };
        settings.read().and_then(|files| settings.client_config(files)).unwrap_err()
    }

    #[test]
    fn a_missing_ca_file_is_named() {
        let error = error("/nowhere/ca.pem".into());
        assert!(error.to_string().contains("`/nowhere/ca.pem`"), "{error}");
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = error(file.path().to_owned());
        assert!(matches!(error, TlsError::Empty { .. }), "{error}");
    }
}
