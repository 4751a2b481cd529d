//! Addresses, and the one rule about plain text: no scheme means TLS; `http://` and `tcp://` are
//! free to loopback, and elsewhere need `allow_plaintext = true`.

use std::net::IpAddr;

use super::raw::{Context, Found};
use crate::problem::Place;

/// How the bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Encrypted, the far side's certificate checked.
    Tls,
    /// As they are.
    Plain,
}

/// A host, its port and how to talk to it. IPv6 addresses are held without brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Encrypted or not.
    pub transport: Transport,
    /// Name or IP address.
    pub host: String,
    /// Port, if one was written.
    pub port: Option<u16>,
}

impl Address {
    /// Whether the host is this machine, so that no network is in between.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// `host:port`, with brackets around an IPv6 address.
    pub fn authority(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        self.port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
    }
}

/// The schemes of one kind of address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schemes {
    /// The scheme that means TLS; also the one meant when none is written.
    pub(super) tls: &'static str,
    /// The scheme that means plain text.
    pub(super) plain: &'static str,
}

/// `https://` and `http://`.
pub(super) const HTTP: Schemes = Schemes { tls: "https", plain: "http" };
/// `tls://` and `tcp://`.
pub(super) const SYSLOG: Schemes = Schemes { tls: "tls", plain: "tcp" };

/// Reads an address of `key` and applies the rule about plain text.
pub(super) fn check(
    key: &str,
    found: &Found<String>,
    schemes: Schemes,
    allow_plaintext: bool,
    cx: &mut Context<'_>,
) -> Option<Address> {
    match parse(&found.value, schemes) {
        Ok(address) => allowed(key, address, &found.at, allow_plaintext, schemes, cx),
        Err(reason) => {
            let help = format!("write `{}://HOST:PORT`", schemes.tls);
            cx.error(&found.at, format!("`{key}` is not an address: {reason}"), help);
            None
        }
    }
}

/// Applies the rule about plain text.
pub(super) fn allowed(
    key: &str,
    address: Address,
    at: &Place,
    allow_plaintext: bool,
    schemes: Schemes,
    cx: &mut Context<'_>,
) -> Option<Address> {
    let harmless = address.transport == Transport::Tls || address.is_loopback();
    let authority = address.authority();
    (harmless || plaintext_allowed(key, &authority, at, allow_plaintext, schemes, cx))
        .then_some(address)
}

/// Whether plain text may go to `authority`, which is another machine; recorded either way.
pub(super) fn plaintext_allowed(
    key: &str,
    authority: &str,
    at: &Place,
    allow_plaintext: bool,
    schemes: Schemes,
    cx: &mut Context<'_>,
) -> bool {
    if allow_plaintext {
        let message = format!("`{key}` sends logs to `{authority}` in plain text");
        cx.notice(at, message, "every network between can read and change them");
        return true;
    }
    let message = format!("`{key}` would send logs to `{authority}` in plain text");
    let help = format!(
        "use {}://{authority}, or set `allow_plaintext = true` next to it if the network may read them",
        schemes.tls,
    );
    cx.error(at, message, help);
    false
}

/// Reads `[scheme://]host[:port][/]`.
///
/// # Errors
/// A fragment that says what is wrong; it never quotes the text, which may hold a password.
pub(super) fn parse(text: &str, schemes: Schemes) -> Result<Address, String> {
    let (transport, rest) = match text.trim().split_once("://") {
        None => (Transport::Tls, text.trim()),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(schemes.tls) => (Transport::Tls, rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(schemes.plain) => {
            (Transport::Plain, rest)
        }
        Some((scheme, _)) => {
            return Err(format!("`{scheme}` is neither `{}` nor `{}`", schemes.tls, schemes.plain));
        }
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains('@') {
        return Err("it holds a user name or password, which belongs elsewhere".to_owned());
    }
    if rest.contains(['/', '?', '#']) {
        return Err("it continues after the port; the forwarder adds the path".to_owned());
    }
    let (host, port) = split_port(rest)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let is_host = !host.is_empty() && (host.chars().all(allowed) || host.parse::<IpAddr>().is_ok());
    if !is_host {
        return Err("there is no host name in it".to_owned());
    }
    Ok(Address { transport, host: host.to_owned(), port })
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("a `[` is never closed")?;
            (
                host,
                port.strip_prefix(':')
                    .or(port.is_empty().then_some(""))
                    .ok_or("no `:` after `]`")?,
            )
        }
        None => authority.rsplit_once(':').unwrap_or((authority, "")),
    };
    if port.is_empty() {
        return Ok((host, None));
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok((host, Some(port))),
        _ => Err(format!("`{port}` is not a port")),
    }
}

/// Whether a host name or address means this machine.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_back() {
        for (text, transport, authority) in [
            ("https://10.1.2.3:8088", Transport::Tls, "10.1.2.3:8088"),
            ("10.1.2.3:8088", Transport::Tls, "10.1.2.3:8088"),
            ("HTTP://splunk.example.org/", Transport::Plain, "splunk.example.org"),
            ("http://[::1]:8088", Transport::Plain, "[::1]:8088"),
            ("http://[2001:db8::1]", Transport::Plain, "[2001:db8::1]"),
        ] {
            let address = parse(text, HTTP).unwrap();
            assert_eq!((address.transport, address.authority().as_str()), (transport, authority));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_showing_it() {
        for text in [
            "",
            "https://",
            "ftp://host",
            "https://user:s3cret@host",
            "https://host/services/collector?token=s3cret",
            "host:0",
            "host:70000",
            "https://[::1",
            "https://[::1]x",
            "two words",
            "tls://host",
        ] {
            let reason = parse(text, HTTP).unwrap_err();
            assert!(!reason.contains("s3cret"), "{reason}");
        }
    }

    /// Design: no scheme means TLS; plain text is free to loopback and a choice elsewhere.
    #[test]
    fn plain_text_leaves_the_machine_only_on_purpose() {
        for (text, allow, passes) in [
            ("siem.example.org:6514", false, true),
            ("tcp://127.0.0.1:514", false, true),
            ("tcp://localhost:514", false, true),
            ("tcp://[::1]:514", false, true),
            ("tcp://[::ffff:127.0.0.1]:514", false, true),
            ("tcp://[::ffff:10.0.0.1]:514", false, false),
            ("tcp://10.0.0.1:514", false, false),
            ("tcp://10.0.0.1:514", true, true),
        ] {
            let env = |_: &str| None;
            let mut cx = Context::new(&env);
            let at = Place::CommandLine("--sink".to_owned());
            let found = Found { value: text.to_owned(), at };
            assert_eq!(
                check("address", &found, SYSLOG, allow, &mut cx).is_some(),
                passes,
                "{text}"
            );
            assert_eq!(cx.problems.is_clear(), passes, "{text}");
        }
    }
}
