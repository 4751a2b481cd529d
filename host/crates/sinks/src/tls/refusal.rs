//! Why the two sides of a TLS connection do not accept each other, in words: what does not fit, and what
//! to change on which side.

use std::error::Error as StdError;
use std::io;

use rustls::{AlertDescription, CertificateError, Error, OtherError};

use super::{Fingerprint, MinVersion, TlsSettings, Verify};
use crate::message::chain;

/// What a receiver needs to have of each, as `docs/configuration.md` lists it in full.
const SPOKEN: &str = "ECDHE key exchange over X25519, P-256 or P-384; AES-GCM or ChaCha20-Poly1305 \
                      ciphers; an RSA, P-256, P-384 or Ed25519 certificate key";

/// A certificate that was not accepted, with what an operator needs to pin it.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotAccepted {
    /// It is none of those that are pinned.
    #[error("the receiver's certificate is {shown}, which is not in `fingerprint`")]
    Fingerprint { shown: Fingerprint },
    /// It was refused for this reason.
    #[error("{reason}")]
    Certificate { reason: CertificateError, shown: Fingerprint },
}

/// The two sides do not accept each other, which no retry changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What does not fit.
    pub(crate) fact: String,
    /// What to do.
    pub(crate) help: String,
}

impl Refusal {
    fn new(fact: impl Into<String>, help: impl Into<String>) -> Self {
        Self { fact: fact.into(), help: help.into() }
    }

    /// Finds out whether an I/O or HTTP error means that the two sides do not accept each other.
    pub(crate) fn of(error: &(dyn StdError + 'static), settings: &TlsSettings) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(tls) = error.downcast_ref::<Error>() {
                return Self::of_tls(tls, settings);
            }
            // An `io::Error` hides its payload from `source`, which skips to the payload's own source.
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            next = match inner {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        None
    }

    fn of_tls(error: &Error, settings: &TlsSettings) -> Option<Self> {
        match error {
            Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
                Some(match inner.downcast_ref() {
                    Some(NotAccepted::Certificate { reason, shown }) => {
                        of_certificate(reason, Some(*shown), settings)
                    }
                    Some(pinned @ NotAccepted::Fingerprint { .. }) => Self::new(
                        pinned.to_string(),
                        "if the receiver has a new certificate, put its fingerprint into `tls`; \
                         otherwise find out who answers at this address",
                    ),
                    None => of_certificate(
                        &CertificateError::Other(OtherError(inner.clone())),
                        None,
                        settings,
                    ),
                })
            }
            Error::InvalidCertificate(reason) => Some(of_certificate(reason, None, settings)),
            Error::NoCertificatesPresented => Some(Self::new(
                "the receiver shows no certificate",
                "give the receiver a certificate and its key",
            )),
            Error::AlertReceived(alert) => of_alert(*alert, settings),
            Error::PeerIncompatible(detail) => Some(Self::new(
                format!("no TLS parameters in common with the receiver ({detail:?})"),
                parameters(settings),
            )),
            Error::InvalidMessage(_) => Some(Self::new(
                "what answers does not speak TLS",
                "check the port, and whether the receiver expects plain text there",
            )),
            _ => None,
        }
    }
}

fn parameters(settings: &TlsSettings) -> String {
    let versions = match settings.min_version {
        MinVersion::Tls12 => "TLS 1.2 or 1.3",
        MinVersion::Tls13 => "TLS 1.3 (`min_version`)",
    };
    format!("enable on the receiver: {versions}; {SPOKEN}")
}

fn of_alert(alert: AlertDescription, settings: &TlsSettings) -> Option<Refusal> {
    use AlertDescription as Alert;
    let about_us = |what: &str| {
        let help =
            "check that the receiver trusts the authority of `client_cert` and accepts its name";
        Some(match settings.identity {
            Some(_) => {
                Refusal::new(format!("the receiver refuses our client certificate: {what}"), help)
            }
            None => Refusal::new(
                format!("the receiver refuses us: {what}"),
                "set `client_cert` and `client_key` if the receiver wants a client certificate",
            ),
        })
    };
    match alert {
        Alert::HandshakeFailure | Alert::InsufficientSecurity => {
            let mut help = parameters(settings);
            if settings.identity.is_none() {
                help.push_str("; a TLS 1.2 receiver that wants a client certificate answers so too: set `client_cert`");
            }
            let fact = "the receiver finds no TLS parameters in common (cipher suite, curve, certificate key)";
            Some(Refusal::new(fact, help))
        }
        Alert::ProtocolVersion => {
            Some(Refusal::new("the receiver speaks no TLS version in common", parameters(settings)))
        }
        Alert::UnrecognisedName => Some(Refusal::new(
            "the receiver does not know the name it was asked for",
            "use a name of the receiver in the address",
        )),
        Alert::CertificateRequired => about_us("it wants a client certificate"),
        Alert::BadCertificate => about_us("bad certificate"),
        Alert::UnsupportedCertificate => about_us("unsupported certificate"),
        Alert::CertificateRevoked => about_us("certificate revoked"),
        Alert::CertificateExpired => about_us("certificate expired"),
        Alert::CertificateUnknown => about_us("certificate not accepted"),
        Alert::UnknownCA => about_us("unknown authority"),
        Alert::AccessDenied => about_us("access denied"),
        _ => None,
    }
}

fn of_certificate(
    reason: &CertificateError,
    shown: Option<Fingerprint>,
    settings: &TlsSettings,
) -> Refusal {
    use CertificateError as Bad;
    let pin = shown.map_or_else(String::new, |shown| {
        format!(
            ", or trust this very certificate with `tls = {{ fingerprint = \"{shown}\" }}` after \
             comparing it with `openssl x509 -noout -fingerprint -sha256 -in FILE` on the receiver"
        )
    });
    let (fact, help) = match reason {
        Bad::UnknownIssuer => {
            let fact = match &settings.verify {
                Verify::CaFile(path) => format!(
                    "the receiver's certificate is not signed by an authority in `{}`",
                    path.display()
                ),
                _ => "the receiver's certificate is not signed by an authority that this system trusts"
                    .to_owned(),
            };
            (fact, "set `ca_file` to the authority that signed it; the receiver must send \
                    intermediate certificates itself".to_owned())
        }
        Bad::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            if presented.is_empty() {
                (
                    format!("the receiver's certificate holds no name to compare with `{expected}` (no subject alternative names)"),
                    "use a certificate with subject alternative names".to_owned(),
                )
            } else {
                let names: Vec<_> = presented.iter().map(|name| plain(name)).collect();
                let names = names.join(", ");
                (
                    format!("the receiver's certificate is not for `{expected}` but for {names}"),
                    "use one of these names in the address, or set `server_name` to it".to_owned(),
                )
            }
        }
        Bad::NotValidForName => (
            "the receiver's certificate is not for the name in the address".to_owned(),
            "use a name in the certificate, or set `server_name` to it".to_owned(),
        ),
        Bad::Expired | Bad::ExpiredContext { .. } => {
            ("the receiver's certificate has expired".to_owned(), renew())
        }
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            ("the receiver's certificate is not valid yet".to_owned(), renew())
        }
        Bad::UnsupportedSignatureAlgorithmContext { signature_algorithm_id, .. } => {
            let by = signature_name(signature_algorithm_id);
            (format!("the receiver's certificate is signed with {by}, which is not supported"), sign_again())
        }
        Bad::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id,
            public_key_algorithm_id,
        } => {
            let by = signature_name(signature_algorithm_id);
            let key = key_name(public_key_algorithm_id);
            (format!("the receiver's certificate is signed with {by} by {key}, which is not supported"), sign_again())
        }
        Bad::InvalidPurpose | Bad::InvalidPurposeContext { .. } => (
            "the receiver's certificate is not for servers (extended key usage)".to_owned(),
            "use a certificate for server authentication".to_owned(),
        ),
        Bad::BadSignature => (
            "the signature of the receiver's certificate is wrong".to_owned(),
            "check that `ca_file` is the authority as it is now, not an earlier one of that name".to_owned(),
        ),
        Bad::Other(OtherError(inner)) => match inner.to_string().as_str() {
            "CaUsedAsEndEntity" => (
                "the receiver shows the certificate of an authority (CA:TRUE), which is not in `ca_file`".to_owned(),
                "set `ca_file` to that certificate".to_owned(),
            ),
            "UnsupportedCertVersion" => (
                "the receiver's certificate is X.509 version 1, which has no names to compare".to_owned(),
                "use a certificate of version 3".to_owned(),
            ),
            other => (format!("the receiver's certificate is not accepted: {other}"), "use another certificate".to_owned()),
        },
        other => (format!("the receiver's certificate is not accepted: {}", chain(&Error::InvalidCertificate(other.clone()))), "use another certificate".to_owned()),
    };
    Refusal::new(fact, help + &pin)
}

fn renew() -> String {
    "renew it, or check the clocks of both hosts".to_owned()
}

/// A name of a certificate as rustls prints it, `DnsName("a.example")` or `IpAddress(192.0.2.1)`, without its kind.
fn plain(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

fn sign_again() -> String {
    "have it signed with SHA-256 or better by an authority with an RSA key of 2,048 bits or more, or a P-256, P-384 \
     or Ed25519 key"
        .to_owned()
}

/// Object identifiers (DER contents) of algorithms that certificates are signed with.
const SIGNATURES: &[(&[u8], &str)] = &[
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04", "RSA with MD5"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", "RSA with SHA-1"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0e", "RSA with SHA-224"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b", "RSA with SHA-256"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c", "RSA with SHA-384"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d", "RSA with SHA-512"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a", "RSA-PSS"),
    (b"\x2a\x86\x48\xce\x3d\x04\x01", "ECDSA with SHA-1"),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x01", "ECDSA with SHA-224"),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x02", "ECDSA with SHA-256"),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x03", "ECDSA with SHA-384"),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x04", "ECDSA with SHA-512"),
    (b"\x2b\x65\x70", "Ed25519"),
    (b"\x2b\x65\x71", "Ed448"),
];

/// The same of keys; the curve says more than "elliptic".
const KEYS: &[(&[u8], &str)] = &[
    (b"\x2a\x86\x48\xce\x3d\x03\x01\x07", "a P-256 key"),
    (b"\x2b\x81\x04\x00\x22", "a P-384 key"),
    (b"\x2b\x81\x04\x00\x23", "a P-521 key"),
    (b"\x2b\x81\x04\x00\x0a", "a secp256k1 key"),
    (b"\x2b\x65\x70", "an Ed25519 key"),
    (b"\x2b\x65\x71", "an Ed448 key"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", "an RSA key of this size"),
];

fn signature_name(algorithm: &[u8]) -> &'static str {
    name(algorithm, SIGNATURES).unwrap_or("an unknown algorithm")
}

fn key_name(algorithm: &[u8]) -> &'static str {
    name(algorithm, KEYS).unwrap_or("a key of an unknown kind")
}

/// The first name whose identifier is in the DER of an algorithm: tag 6, length, identifier.
fn name(algorithm: &[u8], names: &[(&[u8], &'static str)]) -> Option<&'static str> {
    names.iter().find_map(|(id, name)| {
        let length = u8::try_from(id.len()).ok()?;
        let element = [&[6, length], *id].concat();
        algorithm.windows(element.len()).any(|window| window == element).then_some(*name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_certificate_is_found_below_an_io_error() {
        let settings = TlsSettings::default();
        let tls = Error::AlertReceived(AlertDescription::CertificateRequired);
        let io = io::Error::new(io::ErrorKind::InvalidData, tls);
        let refusal = Refusal::of(&io, &settings).unwrap();
        assert!(refusal.help.contains("client_cert"), "{refusal:?}");
        assert_eq!(
            Refusal::of(&io::Error::from(io::ErrorKind::ConnectionRefused), &settings),
            None
        );
    }

    #[test]
    fn algorithms_are_named_and_not_numbered() {
        let reason = CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id: b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02".to_vec(),
            public_key_algorithm_id:
                b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x23".to_vec(),
        };
        let refusal = of_certificate(&reason, None, &TlsSettings::default());
        assert!(refusal.fact.contains("ECDSA with SHA-256 by a P-521 key"), "{refusal:?}");
    }
}
