//! The SHA-256 of a certificate, which names exactly that one.

use std::fmt;
use std::str::FromStr;

use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};

/// The SHA-256 of a whole certificate, as `openssl x509 -noout -fingerprint -sha256` prints it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; Self::BYTES]);

/// A text that is not a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a fingerprint is `sha256:` and 64 hexadecimal digits, with or without colons between bytes"
)]
pub struct BadFingerprint;

impl Fingerprint {
    const BYTES: usize = 32;

    /// The fingerprint of a certificate.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl FromStr for Fingerprint {
    type Err = BadFingerprint;

    /// Reads `sha256:AB12…` and what openssl prints: any case, colons between bytes or none.
    fn from_str(text: &str) -> Result<Self, BadFingerprint> {
        let text = text.trim();
        let digits = match text.get(..7) {
            Some(prefix) if prefix.eq_ignore_ascii_case("sha256:") => text.get(7..).unwrap_or(""),
            _ => text,
        };
        let digits: String = digits.chars().filter(|c| *c != ':').collect();
        if digits.len() != 2 * Self::BYTES || !digits.is_ascii() {
            return Err(BadFingerprint);
        }
        let mut bytes = [0; Self::BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_not_ascii| BadFingerprint)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_not_hex| BadFingerprint)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_openssl_prints_it() {
        let bytes: Vec<String> = (0..32).map(|n| format!("{:02X}", n * 7)).collect();
        let plain = format!("sha256:{}", bytes.concat().to_lowercase());
        for text in [plain.clone(), bytes.join(":"), format!("SHA256:{}", bytes.concat())] {
            assert_eq!(text.parse::<Fingerprint>().unwrap().to_string(), plain, "{text}");
        }
        for bad in
            ["", "sha256:", "sha1:00", &plain[..70], &format!("{plain}0"), &plain.replace('0', "g")]
        {
            assert_eq!(bad.parse::<Fingerprint>(), Err(BadFingerprint), "{bad}");
        }
        assert!("sha256:ü".parse::<Fingerprint>().is_err());
    }
}
