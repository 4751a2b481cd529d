//! Which server certificates are accepted, and proof that the server holds the key of the one it shows.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, PeerMisbehaved, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};

use super::TlsError;
use super::fingerprint::Fingerprint;
use super::refusal::NotAccepted;

/// How the certificate of a receiver is verified.
#[derive(Debug)]
pub(super) struct ReceiverVerifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
enum Trust {
    /// By a chain to a root, and the name.
    Chain {
        verifier: Arc<WebPkiServerVerifier>,
        /// Certificates that the operator named: one of them shown by the server itself is accepted.
        named: Vec<CertificateDer<'static>>,
        /// Instead of the name in the address.
        name: Option<ServerName<'static>>,
    },
    /// By the certificate itself.
    Pinned(Vec<Fingerprint>),
    /// Any server, whatever it shows.
    Any,
}

impl ReceiverVerifier {
    pub(super) fn chain(
        roots: RootCertStore,
        named: Vec<CertificateDer<'static>>,
        name: Option<ServerName<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let builder =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let verifier = builder.build().map_err(|error| Error::General(error.to_string()))?;
        Ok(Self::new(Trust::Chain { verifier, named, name }, provider))
    }

    pub(super) fn pinned(pins: Vec<Fingerprint>, provider: &CryptoProvider) -> Self {
        Self::new(Trust::Pinned(pins), provider)
    }

    pub(super) fn any(provider: &CryptoProvider) -> Self {
        Self::new(Trust::Any, provider)
    }

    fn new(trust: Trust, provider: &CryptoProvider) -> Self {
        Self { trust, algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for ReceiverVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.trust {
            Trust::Any => Ok(ServerCertVerified::assertion()),
            Trust::Pinned(pins) => {
                let shown = Fingerprint::of(end_entity);
                if pins.contains(&shown) {
                    return Ok(ServerCertVerified::assertion());
                }
                Err(other(NotAccepted::Fingerprint { shown }))
            }
            Trust::Chain { verifier, named, name } => {
                let name = name.as_ref().unwrap_or(server_name);
                let verified = verifier.verify_server_cert(
                    end_entity,
                    intermediates,
                    name,
                    ocsp_response,
                    now,
                );
                match verified {
                    // Its dates were found to be right before; what is left to compare is the name.
                    Err(error) if is_authority(&error) && named.contains(end_entity) => {
                        let parsed = ParsedCertificate::try_from(end_entity)?;
                        verify_server_name(&parsed, name)
                            .map(|()| ServerCertVerified::assertion())
                            .map_err(|error| with_fingerprint(error, end_entity))
                    }
                    verified => verified.map_err(|error| with_fingerprint(error, end_entity)),
                }
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.trust {
            Trust::Any => Ok(HandshakeSignatureValid::assertion()),
            Trust::Pinned(_) => PublicKey::of(cert)?.verify_tls12(message, dss, &self.algorithms),
            Trust::Chain { .. } => verify_tls12_signature(message, cert, dss, &self.algorithms),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.trust {
            Trust::Any => Ok(HandshakeSignatureValid::assertion()),
            Trust::Pinned(_) => {
                let key = PublicKey::of(cert)?.to_der();
                verify_tls13_signature_with_raw_key(message, &key, dss, &self.algorithms)
            }
            Trust::Chain { .. } => verify_tls13_signature(message, cert, dss, &self.algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn other(error: NotAccepted) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}

/// Whether a certificate was refused only because it may sign others, as one does that `openssl req -x509`
/// made. The library has no variant for it.
fn is_authority(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(CertificateError::Other(OtherError(inner)))
        if inner.to_string() == "CaUsedAsEndEntity")
}

/// Adds what an operator needs to pin the certificate, where that is a way out. What an alert says to the
/// receiver by a word of its own is left alone.
fn with_fingerprint(error: Error, shown: &CertificateDer<'_>) -> Error {
    match error {
        Error::InvalidCertificate(
            CertificateError::UnknownIssuer
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYetContext { .. },
        ) => error,
        Error::InvalidCertificate(reason) => {
            other(NotAccepted::Certificate { reason, shown: Fingerprint::of(shown) })
        }
        error => error,
    }
}

/// The key of a pinned certificate. `rustls` reads keys from X.509 version 3 only; a trust anchor may be
/// of version 1, so the certificate is read as one.
struct PublicKey(Vec<u8>);

impl PublicKey {
    fn of(certificate: &CertificateDer<'_>) -> Result<Self, Error> {
        let mut store = RootCertStore::empty();
        store.add(certificate.clone().into_owned())?;
        let anchor = store.roots.first().ok_or(CertificateError::BadEncoding)?;
        Ok(Self(anchor.subject_public_key_info.to_vec()))
    }

    /// As a `SubjectPublicKeyInfo` with its tag and length, which an anchor leaves out.
    fn to_der(&self) -> SubjectPublicKeyInfoDer<'static> {
        let length = self.0.len();
        let mut der = vec![SEQUENCE];
        match u8::try_from(length) {
            Ok(short) if short < 0x80 => der.push(short),
            _ => {
                let bytes = length.to_be_bytes();
                let skip = bytes.iter().take_while(|byte| **byte == 0).count();
                let bytes = bytes.get(skip..).unwrap_or_default();
                // At most eight of them, so that the cast keeps the value.
                der.push(0x80 | bytes.len() as u8);
                der.extend_from_slice(bytes);
            }
        }
        der.extend_from_slice(&self.0);
        der.into()
    }

    /// As `rustls::crypto::verify_tls12_signature` does for a certificate: a scheme names the kind of key
    /// only, so all algorithms of that scheme are tried whose kind of key this is.
    fn verify_tls12(
        &self,
        message: &[u8],
        dss: &DigitallySignedStruct,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = algorithms.mapping.iter().find(|(scheme, _)| *scheme == dss.scheme);
        let (_, candidates) =
            known.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        let (kind, key) = self.parts().ok_or(CertificateError::BadEncoding)?;
        let fitting = candidates.iter().find(|one| one.public_key_alg_id().as_ref() == kind);
        let valid =
            fitting.is_some_and(|one| one.verify_signature(key, message, dss.signature()).is_ok());
        if valid {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(CertificateError::BadSignature.into())
        }
    }

    /// The algorithm identifier's contents and the key's bits.
    fn parts(&self) -> Option<(&[u8], &[u8])> {
        let (kind, rest) = element(&self.0, SEQUENCE)?;
        let (bits, _) = element(rest, BIT_STRING)?;
        // The first byte counts unused bits, of which a key has none.
        match bits.split_first()? {
            (0, key) => Some((kind, key)),
            _ => None,
        }
    }
}

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

/// The contents of a DER element with this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let rest = der.strip_prefix(&[tag])?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if length.len() > 4 {
            return None;
        }
        (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
    };
    rest.split_at_checked(length)
}
