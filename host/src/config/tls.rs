//! `tls = { … }`: whom a sink trusts, and who it says we are.

use std::path::PathBuf;

use super::raw::{Context, Section};

/// How a TLS connection is made. By default the host's trust store and the name in the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// Trust these authorities (PEM) instead of the host's.
    pub ca_file: Option<PathBuf>,
    /// Our certificate chain and its key (PEM), for servers that ask.
    pub client: Option<ClientCertificate>,
    /// The name to check the certificate against, where the address is not that name.
    pub server_name: Option<String>,
    /// Whether the far side has to prove who it is.
    pub verify: bool,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self { ca_file: None, client: None, server_name: None, verify: true }
    }
}

/// Who we say we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The chain, ours first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Reads `tls`, and the sample's `cert_path` and `ssl_verify` that stand beside it.
pub(super) fn check(sink: &mut Section, cx: &mut Context<'_>) -> TlsConfig {
    let legacy_ca = sink.text("cert_path", cx).filter(|found| !found.value.is_empty());
    let legacy_verify = sink.flag("ssl_verify", cx);
    let mut tls = TlsConfig::default();
    if let Some(mut section) = sink.table("tls", cx) {
        tls.ca_file = section.text("ca_file", cx).map(|found| found.value.into());
        tls.server_name = section.text("server_name", cx).map(|found| found.value);
        tls.client = client(&mut section, cx);
        if let Some(verify) = section.flag("verify", cx) {
            tls.verify = verify.value;
            warn_unverified(verify.value, &verify.at, cx);
        }
        section.finish(cx);
    }
    if let Some(found) = legacy_ca {
        if tls.ca_file.is_some() {
            cx.error(
                &found.at,
                "`cert_path` and `tls.ca_file` say the same thing",
                "keep `tls.ca_file`",
            );
        }
        tls.ca_file = Some(found.value.into());
    }
    if let Some(verify) = legacy_verify {
        tls.verify &= verify.value;
        warn_unverified(verify.value, &verify.at, cx);
    }
    tls
}

fn client(section: &mut Section, cx: &mut Context<'_>) -> Option<ClientCertificate> {
    let certificate = section.text("client_cert", cx);
    let key = section.text("client_key", cx);
    match (certificate, key) {
        (Some(certificate), Some(key)) => {
            Some(ClientCertificate { certificate: certificate.value.into(), key: key.value.into() })
        }
        (None, None) => None,
        (Some(lone), None) => {
            cx.error(
                &lone.at,
                "`client_cert` needs its key",
                "add `client_key = \"/path/to/key.pem\"`",
            );
            None
        }
        (None, Some(lone)) => {
            cx.error(
                &lone.at,
                "`client_key` needs its certificate",
                "add `client_cert = \"/path/to/cert.pem\"`",
            );
            None
        }
    }
}

fn warn_unverified(verify: bool, at: &crate::problem::Place, cx: &mut Context<'_>) {
    if !verify {
        let message =
            "the server's certificate is not checked: anybody can pose as it and take the token";
        cx.notice(at, message, "put its authority into `tls = { ca_file = \"…\" }` instead");
    }
}
