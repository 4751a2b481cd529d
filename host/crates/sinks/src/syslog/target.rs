//! Where a receiver listens, and whether the way there is readable by others.

use std::fmt;
use std::net::IpAddr;

/// Where a receiver listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether TLS is spoken.
    pub security: Security,
}

/// Whether anyone on the path can read along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Plain TCP.
    Plain,
    /// TLS from the first byte (RFC 5425).
    Tls,
}

/// An address that we cannot send to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadAddress {
    /// No host, or a port that is not a number.
    #[error("`{0}` is not an address; write it like tls://siem.example.org:6514")]
    Malformed(String),
    /// A transport that is not spoken.
    #[error("`{0}` is not a transport we speak; use tls:// or tcp://")]
    Scheme(String),
}

impl Target {
    /// Reads `tls://host:port` or `tcp://host:port`, with or without `syslog+` in front. No scheme means
    /// TLS; no port means 6514 for TLS (RFC 5425) and 514 for plain TCP (by custom).
    ///
    /// # Errors
    ///
    /// [`BadAddress`] when it is neither.
    pub fn parse(given: &str) -> Result<Self, BadAddress> {
        let (scheme, rest) = given.split_once("://").unwrap_or(("tls", given));
        let (security, default_port) = match scheme.strip_prefix("syslog+").unwrap_or(scheme) {
            "tls" => (Security::Tls, 6514),
            "tcp" => (Security::Plain, 514),
            other => return Err(BadAddress::Scheme(other.to_owned())),
        };
        let malformed = || BadAddress::Malformed(given.to_owned());
        let (host, port) = split_port(rest).ok_or_else(malformed)?;
        let port = match port {
            None => default_port,
            Some(port) => port.parse().map_err(|_not_a_number| malformed())?,
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || port == 0 || !host.chars().all(is_name) {
            return Err(malformed());
        }
        Ok(Self { host: host.to_owned(), port, security })
    }

    /// Whether logs cross the network readable by anyone on the path: plain TCP to another host.
    pub fn is_exposed(&self) -> bool {
        let loopback = self.host == "localhost"
            || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
        self.security == Security::Plain && !loopback
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.security {
            Security::Plain => "tcp",
            Security::Tls => "tls",
        };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split_port(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        let port = if after.is_empty() { None } else { Some(after.strip_prefix(':')?) };
        return host.parse::<IpAddr>().is_ok().then_some((host, port));
    }
    match text.split_once(':') {
        None => Some((text, None)),
        Some((_, port)) if port.contains(':') => None,
        Some((host, port)) => Some((host, Some(port))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_found_from_what_people_write() {
        for (given, target) in [
            ("tls://siem.example.org:6514", "tls://siem.example.org:6514"),
            ("siem.example.org", "tls://siem.example.org:6514"),
            ("tcp://10.0.0.1", "tcp://10.0.0.1:514"),
            ("syslog+tls://h:1", "tls://h:1"),
            ("tcp://[::1]:514", "tcp://[::1]:514"),
            ("tls://[fe80::1]", "tls://[fe80::1]:6514"),
        ] {
            assert_eq!(Target::parse(given).unwrap().to_string(), target, "{given}");
        }
        for bad in
            ["tls://", "tcp://h:port", "tcp://h:0", "tcp://::1:514", "tcp://[h]:1", "tcp://a b"]
        {
            assert!(matches!(Target::parse(bad), Err(BadAddress::Malformed(_))), "{bad}");
        }
        assert_eq!(Target::parse("udp://h"), Err(BadAddress::Scheme("udp".to_owned())));
    }

    #[test]
    fn plain_tcp_is_exposed_unless_it_stays_here() {
        for (given, exposed) in [
            ("tcp://siem:514", true),
            ("tcp://127.0.0.1:514", false),
            ("tcp://[::1]:514", false),
            ("tcp://localhost", false),
            ("tls://siem", false),
        ] {
            assert_eq!(Target::parse(given).unwrap().is_exposed(), exposed, "{given}");
        }
    }
}
