//! Where a receiver listens, and whether the way there is readable by others.

use std::fmt;

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

impl Security {
    /// 6514 for TLS (RFC 5425), 514 for plain TCP (by custom).
    const fn usual_port(self) -> u16 {
        match self {
            Self::Plain => 514,
            Self::Tls => 6514,
        }
    }
}

impl Target {
    /// A receiver at a host, which is a name or an address without brackets. No port is the usual one.
    pub fn new(security: Security, host: impl Into<String>, port: Option<u16>) -> Self {
        Self { host: host.into(), port: port.unwrap_or(security.usual_port()), security }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_shown_as_they_are_written() {
        for (target, shown) in [
            (Target::new(Security::Tls, "siem.example.org", None), "tls://siem.example.org:6514"),
            (Target::new(Security::Plain, "10.0.0.1", None), "tcp://10.0.0.1:514"),
            (Target::new(Security::Tls, "fe80::1", Some(1)), "tls://[fe80::1]:1"),
        ] {
            assert_eq!(target.to_string(), shown);
        }
    }
}
