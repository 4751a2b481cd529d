//! Where the service is, and how a project's name is put in front of it.
//!
//! Normally the project is a host label: `https://{project}.{endpoint}/…`. An address without names (an
//! IP, `localhost`) cannot carry a label, so there we connect to the endpoint as written and name the
//! project only in `Host` ("path-less"). Either way `Host` is `{project}.{host}` *without* the port:
//! version 4 signatures cover it, and that is the text every official client signs.

use std::fmt;
use std::net::IpAddr;

use reqwest::Url;

use crate::names::ProjectName;

/// How requests find their project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Addressing {
    /// The project is the first label of the host we connect to.
    VirtualHost,
    /// We connect to the endpoint as written; only the `Host` header names the project.
    PathLess,
}

/// A checked service address: scheme, host, port, and nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    https: bool,
    host: String,
    port: Option<u16>,
    addressing: Addressing,
    loopback: bool,
}

/// Why a text is not an endpoint for us.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// Not `host`, `host:port`, `https://host` or `http://host`.
    #[error("`{0}` is not an endpoint; write it like `https://cn-hangzhou.log.aliyuncs.com`")]
    Malformed(String),
    /// A scheme we do not speak.
    #[error("`{0}` is not a scheme of the service; use https (or http with `allow_plaintext`)")]
    Scheme(String),
    /// Credentials, a path or a query in the endpoint.
    #[error(
        "the endpoint `{0}` must end after host and port: name the project and logstore separately"
    )]
    Trailing(String),
    /// Plain text to somewhere else.
    #[error(
        "`{0}` would send logs unencrypted over the network; write `https://`, or set \
         `allow_plaintext = true` if that is what you want"
    )]
    Plaintext(String),
}

impl Endpoint {
    /// Reads an endpoint as people write it. Without a scheme it means https; `http://` is free to the
    /// loopback interface and needs `allow_plaintext` elsewhere.
    ///
    /// # Errors
    ///
    /// See [`EndpointError`]; every message says what to write instead.
    pub fn parse(text: &str, allow_plaintext: bool) -> Result<Self, EndpointError> {
        let text = text.trim();
        let url = match text.split_once("://") {
            Some(("http" | "https", _)) => Url::parse(text),
            Some((scheme, _)) => return Err(EndpointError::Scheme(scheme.into())),
            None => Url::parse(&format!("https://{text}")),
        }
        .map_err(|_| EndpointError::Malformed(redacted(text)))?;
        let bare = matches!(url.path(), "" | "/")
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if !bare {
            return Err(EndpointError::Trailing(redacted(text)));
        }
        let host = url.host_str().ok_or_else(|| EndpointError::Malformed(redacted(text)))?;
        let (addressing, loopback) = classify(host);
        let https = url.scheme() == "https";
        if !https && !loopback && !allow_plaintext {
            return Err(EndpointError::Plaintext(text.into()));
        }
        Ok(Self { https, host: host.into(), port: url.port(), addressing, loopback })
    }

    /// How the project is named.
    pub fn addressing(&self) -> Addressing {
        self.addressing
    }

    /// Whether the transport is encrypted.
    pub fn is_https(&self) -> bool {
        self.https
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
        let scheme = if self.https { "https" } else { "http" };
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
        write!(f, "{}://{}", if self.https { "https" } else { "http" }, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self}, {:?})", self.addressing)
    }
}

fn classify(host: &str) -> (Addressing, bool) {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
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

/// An endpoint with `user:password@` may hold a secret; errors are printed.
fn redacted(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> ProjectName {
        "p1".parse().unwrap()
    }

    fn parsed(text: &str) -> Endpoint {
        Endpoint::parse(text, false).unwrap()
    }

    #[test]
    fn the_project_is_a_label_of_a_name_and_a_header_of_an_address() {
        let table = [
            (
                "cn-hangzhou.log.aliyuncs.com",
                "https://p1.cn-hangzhou.log.aliyuncs.com",
                "p1.cn-hangzhou.log.aliyuncs.com",
            ),
            ("https://x.test:8443", "https://p1.x.test:8443", "p1.x.test"),
            ("https://x.test:443/", "https://p1.x.test", "p1.x.test"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "p1.127.0.0.1"),
            ("127.0.0.1", "https://127.0.0.1", "p1.127.0.0.1"),
            ("http://localhost:8080", "http://localhost:8080", "p1.localhost"),
            ("http://[::1]:8080", "http://[::1]:8080", "p1.[::1]"),
            ("https://192.0.2.20", "https://192.0.2.20", "p1.192.0.2.20"),
        ];
        for (text, url, host) in table {
            assert_eq!(parsed(text).base_url(&project()), url, "{text}");
            assert_eq!(parsed(text).host_header(&project()), host, "{text}");
        }
    }

    #[test]
    fn plain_text_is_free_to_loopback_and_a_decision_elsewhere() {
        let error = Endpoint::parse("http://cn-hangzhou.log.aliyuncs.com", false).unwrap_err();
        assert!(error.to_string().contains("allow_plaintext"), "{error}");
        assert!(Endpoint::parse("http://cn-hangzhou.log.aliyuncs.com", true).is_ok());
        assert!(Endpoint::parse("http://192.0.2.20", false).is_err());
        for here in
            ["127.8.9.1", "127.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "sls.localhost"]
        {
            assert!(parsed(&format!("http://{here}")).is_loopback(), "{here}");
        }
        assert!(!parsed("https://[::ffff:192.0.2.20]").is_loopback());
        assert!(!parsed("https://localhost.example.org").is_loopback());
    }

    #[test]
    fn what_is_no_endpoint_is_explained() {
        assert!(matches!(Endpoint::parse("", false), Err(EndpointError::Malformed(_))));
        assert!(matches!(Endpoint::parse("ftp://x", false), Err(EndpointError::Scheme(_))));
        for text in ["https://x.test/logstores", "https://x.test?a=b", "https://k:s3cret@x.test"] {
            let error = Endpoint::parse(text, false).unwrap_err();
            assert!(matches!(error, EndpointError::Trailing(_)), "{text}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn the_region_is_read_from_the_services_own_names() {
        for text in ["cn-beijing.log.aliyuncs.com", "https://cn-beijing-intranet.log.aliyuncs.com"]
        {
            assert_eq!(parsed(text).region(), Some("cn-beijing"), "{text}");
        }
        assert_eq!(parsed("sls.example.org").region(), None);
    }
}
