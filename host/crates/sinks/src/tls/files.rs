//! What TLS settings name outside of the configuration: PEM files and the system's trust roots, read at
//! one moment, so that two readings can be compared.

use std::path::{Path, PathBuf};

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};

use super::{Identity, TlsError, TlsSettings, Verify};
use crate::reload::ContentDigest;

/// Certificates and a key as they were at one moment.
pub(crate) struct TlsFiles {
    pub(super) roots: Vec<CertificateDer<'static>>,
    pub(super) identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl TlsFiles {
    /// Reads what the settings name. Blocks on a few small file reads.
    pub(super) fn read(settings: &TlsSettings) -> Result<Self, TlsError> {
        let roots = match &settings.verify {
            Verify::SystemRoots => system_roots()?,
            Verify::CaFile(path) => certificates(path, "a CA certificate")?,
            Verify::Pinned(_) | Verify::Nothing => Vec::new(),
        };
        let identity = settings.identity.as_ref().map(identity).transpose()?;
        Ok(Self { roots, identity })
    }

    /// A digest of everything that was read.
    pub(crate) fn digest(&self) -> ContentDigest {
        let mut digest = Sha256::new();
        // Lengths keep the parts apart.
        let mut add = |part: &[u8]| {
            digest.update(part.len().to_le_bytes());
            digest.update(part);
        };
        self.roots.iter().for_each(|root| add(root));
        add(b"identity");
        if let Some((chain, key)) = &self.identity {
            chain.iter().for_each(|certificate| add(certificate));
            add(key.secret_der());
        }
        digest.finalize().into()
    }
}

fn system_roots() -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
    if found.certs.is_empty() {
        let detail = if errors.is_empty() { "none found".to_owned() } else { errors.join("; ") };
        return Err(TlsError::NoSystemRoots { detail });
    }
    if !errors.is_empty() {
        tracing::debug!(errors = %errors.join("; "), "some system roots are unusable");
    }
    Ok(found.certs)
}

fn identity(
    identity: &Identity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = certificates(&identity.cert_file, "a client certificate")?;
    Ok((chain, private_key(&identity.key_file)?))
}

fn certificates(path: &Path, what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem =
        forwarder_keyfile::read(path).map_err(|source| unreadable(what, path, source.into()))?;
    let found = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| not_pem(what, path, &source))?;
    if found.is_empty() {
        return Err(TlsError::Empty { what, path: path.to_owned() });
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let what = "an unencrypted private key";
    let pem =
        forwarder_keyfile::read(path).map_err(|source| unreadable(what, path, source.into()))?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|source| match source {
        pem::Error::NoItemsFound => TlsError::Empty { what, path: path.to_owned() },
        source => not_pem(what, path, &source),
    })
}

/// rustls prints the marker that it missed as numbers.
fn not_pem(what: &'static str, path: &Path, source: &pem::Error) -> TlsError {
    let cause = match source {
        pem::Error::MissingSectionEnd { end_marker } => {
            let marker = String::from_utf8_lossy(end_marker);
            format!("the line `-----END {marker}-----` is missing").into()
        }
        other => other.to_string().into(),
    };
    unreadable(what, path, cause)
}

fn unreadable(
    what: &'static str,
    path: &Path,
    source: Box<dyn std::error::Error + Send + Sync>,
) -> TlsError {
    TlsError::Unreadable { what, path: PathBuf::from(path), source }
}
