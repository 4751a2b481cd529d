//! `tls = { … }`: which certificates a sink trusts, and which it shows.

use forwarder_sinks::{Fingerprint, Identity, MinVersion, ServerName, TlsSettings, Verify};

use super::raw::{Context, Section};
use crate::problem::Place;

/// Reads `tls` and `server_name`, and the sample's `cert_path` and `ssl_verify` that are keys of the sink itself.
pub(super) fn check(sink: &mut Section, cx: &mut Context<'_>) -> TlsSettings {
    let mut tls = TlsSettings::default();
    if let Some(mut section) = sink.table("tls", cx) {
        if let Some(found) = section.text("ca_file", cx) {
            tls.verify = Verify::CaFile(found.value.into());
        }
        let versions = [("1.2", MinVersion::Tls12), ("1.3", MinVersion::Tls13)];
        if let Some(found) = section.choice("min_version", &versions, cx) {
            tls.min_version = found.value;
        }
        tls.identity = identity(&mut section, cx);
        pins(&mut tls, &mut section, cx);
        if let Some(found) = section.flag("verify", cx) {
            unless_verified(&mut tls, found.value, &found.at, cx);
        }
        section.finish(cx);
    }
    if let Some(found) = sink.text("cert_path", cx).filter(|found| !found.value.is_empty()) {
        if tls.verify != Verify::SystemRoots {
            let message = "`cert_path` and `tls` both say what to trust";
            cx.error(&found.at, message, "keep `tls = { ca_file = \"…\" }`");
        }
        tls.verify = Verify::CaFile(found.value.into());
    }
    if let Some(found) = sink.flag("ssl_verify", cx) {
        unless_verified(&mut tls, found.value, &found.at, cx);
    }
    tls.server_name = sink.text("server_name", cx).and_then(|found| {
        let name = ServerName::try_from(found.value);
        let help = "write a DNS name or an IP address as it stands in the certificate";
        name.map_err(|_invalid| cx.error(&found.at, "`server_name` is not a name", help)).ok()
    });
    tls
}

/// Reads `fingerprint`, which alone decides: a list, so that the next certificate can be named before it is
/// in use.
fn pins(tls: &mut TlsSettings, section: &mut Section, cx: &mut Context<'_>) {
    let (written, at) = (section.has("fingerprint"), section.at_key("fingerprint"));
    let mut pins: Vec<Fingerprint> = Vec::new();
    for found in section.texts("fingerprint", cx) {
        match found.value.parse() {
            Ok(pin) => pins.push(pin),
            Err(reason) => {
                let help = "copy it from `openssl x509 -noout -fingerprint -sha256 -in FILE`";
                cx.error(&found.at, reason.to_string(), help);
            }
        }
    }
    if !written {
        return;
    }
    if tls.verify != Verify::SystemRoots {
        let message = "`fingerprint` and `ca_file` both say what to trust";
        cx.error(&at, message, "keep one of them");
    }
    if pins.is_empty() {
        cx.error(&at, "`fingerprint` names no certificate", "write `fingerprint = \"sha256:…\"`");
    }
    tls.verify = Verify::Pinned(pins);
}

fn identity(section: &mut Section, cx: &mut Context<'_>) -> Option<Identity> {
    let certificate = section.text("client_cert", cx);
    let key = section.text("client_key", cx);
    match (certificate, key) {
        (Some(certificate), Some(key)) => {
            Some(Identity { cert_file: certificate.value.into(), key_file: key.value.into() })
        }
        (None, None) => None,
        (Some(lone), None) => {
            let help = "add `client_key = \"/path/to/key.pem\"`";
            cx.error(&lone.at, "`client_cert` needs its key", help);
            None
        }
        (None, Some(lone)) => {
            let help = "add `client_cert = \"/path/to/cert.pem\"`";
            cx.error(&lone.at, "`client_key` needs its certificate", help);
            None
        }
    }
}

fn unless_verified(tls: &mut TlsSettings, verify: bool, at: &Place, cx: &mut Context<'_>) {
    if !verify {
        if matches!(tls.verify, Verify::Pinned(_)) {
            cx.error(at, "`fingerprint` is of no use with `verify = false`", "keep one of them");
        }
        tls.verify = Verify::Nothing;
        let message = "the server's certificate is not checked: any host in between can pose as it and read the logs";
        cx.notice(at, message, "set `ca_file` or `fingerprint` in `tls` instead");
    }
}
