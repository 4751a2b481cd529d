//! An authority made for one test, and what a daemon at 127.0.0.1 needs to be trusted, as files.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// Files in PEM.
#[derive(Debug)]
pub(crate) struct Certificates {
    /// The authority: for the forwarder to trust.
    pub(crate) authority: PathBuf,
    /// The daemon's certificate.
    pub(crate) server: PathBuf,
    /// The key that belongs to it.
    pub(crate) key: PathBuf,
}

impl Certificates {
    /// Makes them in a folder.
    pub(crate) fn make(folder: &Path) -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap());
        let authority = authority.unwrap();
        let key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let server = server.signed_by(&key, &authority).unwrap();

        let write = |name: &str, pem: String| {
            let path = folder.join(name);
            fs::write(&path, pem).unwrap();
            path
        };
        Self {
            authority: write("authority.pem", authority.pem()),
            server: write("server.pem", server.pem()),
            key: write("server.key", key.serialize_pem()),
        }
    }
}
