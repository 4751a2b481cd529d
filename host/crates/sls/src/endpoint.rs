//! Where the service is, and how a project's name is put in front of it.
//!
//! Normally the project is a host label: `https://{project}.{endpoint}/…`. An address without names (an
//! IP, `localhost`) cannot carry a label, so there we connect to the endpoint as written and name the
//! project only in `Host` ("path-less"). Either way `Host` is `{project}.{host}` *without* the port:
//! version 4 signatures cover it, and that is the text every official client signs.

use std::fmt;
use std::net::IpAddr;

use crate::names::ProjectName;

/// How requests find their project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Addressing {
    /// The project is the first label of the host we connect to.
    VirtualHost,
    /// We connect to the endpoint as written; only the `Host` header names the project.
    PathLess,
}

/// A service address: scheme, host, port, and nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    scheme: Scheme,
    host: String,
    port: Option<u16>,
    addressing: Addressing,
    loopback: bool,
}

/// How the bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Over TLS.
    Https,
    /// As they are.
    Http,
}

impl Scheme {
    const fn name(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }

    const fn usual_port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
        }
    }
}

impl Endpoint {
    /// The endpoint at a host, which is a name or an address without brackets. No port is the scheme's usual one.
    pub fn new(scheme: Scheme, host: &str, port: Option<u16>) -> Self {
        let host = host.to_ascii_lowercase();
        let (addressing, loopback) = classify(&host);
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let port = port.filter(|&port| port != scheme.usual_port());
        Self { scheme, host, port, addressing, loopback }
    }

    /// Whether the transport is encrypted.
    pub(crate) fn is_https(&self) -> bool {
        self.scheme == Scheme::Https
    }

    /// Whether the address never leaves this machine.
    pub fn is_loopback(&self) -> bool {
        self.loopback
    }

    /// The host without port, as written.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The region in a name of the service's own (`cn-hangzhou.log.aliyuncs.com`, also with
    /// `-intranet` or `-share`), which is what version 4 signatures need.
    pub fn region(&self) -> Option<&str> {
        let label = self.host.strip_suffix(".log.aliyuncs.com")?;
        let label = label.rsplit('.').next()?;
        let region = label.strip_suffix("-intranet").or_else(|| label.strip_suffix("-share"));
        Some(region.unwrap_or(label))
    }

    /// The `Host` header of a project's requests; also the text that is signed.
    pub fn host_header(&self, project: &ProjectName) -> String {
        format!("{project}.{}", self.host)
    }

    /// Scheme, host and port to connect to for a project, without a trailing slash.
    pub fn base_url(&self, project: &ProjectName) -> String {
        let scheme = self.scheme.name();
        let host = match self.addressing {
            Addressing::VirtualHost => self.host_header(project),
            Addressing::PathLess => self.host.clone(),
        };
        match self.port {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self}, {:?})", self.addressing)
    }
}

fn classify(host: &str) -> (Addressing, bool) {
    if let Ok(address) = host.parse::<IpAddr>() {
        let address = address.to_canonical();
        // The system connects to itself when asked for the unspecified address.
        return (Addressing::PathLess, address.is_loopback() || address.is_unspecified());
    }
    if host == "localhost" {
        return (Addressing::PathLess, true);
    }
    let name = host.trim_end_matches('.');
    (Addressing::VirtualHost, name == "localhost" || name.ends_with(".localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> ProjectName {
        "p1".parse().unwrap()
    }

    #[test]
    fn the_project_is_a_label_of_a_name_and_a_header_of_an_address() {
        use Scheme::{Http, Https};
        let service = "cn-hangzhou.log.aliyuncs.com";
        for (endpoint, url, host) in [
            (
                Endpoint::new(Https, service, None),
                "https://p1.cn-hangzhou.log.aliyuncs.com",
                "p1.cn-hangzhou.log.aliyuncs.com",
            ),
            (Endpoint::new(Https, "X.test", Some(8443)), "https://p1.x.test:8443", "p1.x.test"),
            (Endpoint::new(Https, "x.test", Some(443)), "https://p1.x.test", "p1.x.test"),
            (Endpoint::new(Http, "127.0.0.1", Some(80)), "http://127.0.0.1", "p1.127.0.0.1"),
            (Endpoint::new(Http, "127.0.0.1", Some(8080)), "http://127.0.0.1:8080", "p1.127.0.0.1"),
            (Endpoint::new(Http, "localhost", Some(8080)), "http://localhost:8080", "p1.localhost"),
            (Endpoint::new(Http, "::1", Some(8080)), "http://[::1]:8080", "p1.[::1]"),
            (Endpoint::new(Https, "192.0.2.20", None), "https://192.0.2.20", "p1.192.0.2.20"),
        ] {
            assert_eq!(endpoint.base_url(&project()), url);
            assert_eq!(endpoint.host_header(&project()), host);
        }
    }

    #[test]
    fn an_address_of_this_machine_is_known_as_one() {
        let is_here = |host: &str| Endpoint::new(Scheme::Http, host, None).is_loopback();
        for here in ["127.8.9.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "sls.localhost"] {
            assert!(is_here(here), "{here}");
        }
        for there in ["::ffff:192.0.2.20", "localhost.example.org"] {
            assert!(!is_here(there), "{there}");
        }
    }

    #[test]
    fn the_region_is_read_from_the_services_own_names() {
        let region =
            |host: &str| Endpoint::new(Scheme::Https, host, None).region().map(str::to_owned);
        for host in ["cn-beijing.log.aliyuncs.com", "cn-beijing-intranet.log.aliyuncs.com"] {
            assert_eq!(region(host).as_deref(), Some("cn-beijing"), "{host}");
        }
        assert_eq!(region("sls.example.org"), None);
    }
}
