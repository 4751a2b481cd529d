//! Where a collector listens, and the secret it knows us by.

use std::fmt;

use reqwest::Url;
use reqwest::header::HeaderValue;

/// A HEC token. Never printed: `Debug` shows stars, and there is no `Display`.
#[derive(Clone)]
pub struct Token {
    pub(super) bare: String,
    pub(super) header: HeaderValue,
}

/// The token is empty or holds characters that no token has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a HEC token is a word of printable ASCII without spaces; leave out a `Splunk ` prefix")]
pub struct BadToken;

impl Token {
    /// Takes the bare token, as Splunk shows it.
    ///
    /// # Errors
    ///
    /// [`BadToken`], which does not repeat it.
    pub fn new(bare: &str) -> Result<Self, BadToken> {
        if bare.is_empty() || !bare.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(BadToken);
        }
        let mut header =
            HeaderValue::try_from(format!("Splunk {bare}")).map_err(|_invalid| BadToken)?;
        header.set_sensitive(true);
        Ok(Self { bare: bare.to_owned(), header })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// Where a collector listens: its address up to, and without, `/services/collector`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub(super) event: Url,
    pub(super) health: Url,
}

/// An address that cannot be a collector's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadEndpoint {
    /// Not an address at all.
    #[error(
        "`{given}` is not an address ({detail}); write it like https://splunk.example.org:8088"
    )]
    Malformed {
        /// What was given.
        given: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A scheme other than `http` and `https`.
    #[error("`{0}` is not a scheme of HEC; use https, or http where nobody can listen")]
    Scheme(String),
    /// User name, password, query or fragment.
    #[error("a HEC address has no {0}; a token goes into the sink's `token`")]
    Surplus(&'static str),
}

impl Endpoint {
    /// Reads an address like `https://10.1.2.3:8088`. No scheme means `https`. A path before
    /// `/services/collector` is kept, for collectors behind a proxy.
    ///
    /// # Errors
    ///
    /// [`BadEndpoint`] when it cannot be one.
    pub fn parse(given: &str) -> Result<Self, BadEndpoint> {
        let full =
            if given.contains("://") { given.to_owned() } else { format!("https://{given}") };
        let mut url = Url::parse(&full).map_err(|error| BadEndpoint::Malformed {
            // An address may hold a password; only show it when it certainly does not.
            given: if given.contains('@') { "***".to_owned() } else { given.to_owned() },
            detail: error.to_string(),
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(BadEndpoint::Scheme(url.scheme().to_owned()));
        }
        let surplus = [
            (!url.username().is_empty() || url.password().is_some(), "user name or password"),
            (url.query().is_some(), "query"),
            (url.fragment().is_some(), "fragment"),
        ];
        if let Some((_, what)) = surplus.into_iter().find(|(present, _)| *present) {
            return Err(BadEndpoint::Surplus(what));
        }
        let path = url.path().trim_end_matches('/');
        let base = path.split_once("/services/collector").map_or(path, |(base, _)| base).to_owned();
        url.set_path(&format!("{base}/services/collector/event"));
        let mut health = url.clone();
        health.set_path(&format!("{base}/services/collector/health"));
        Ok(Self { event: url, health })
    }

    /// The full address that events are posted to.
    pub fn as_str(&self) -> &str {
        self.event.as_str()
    }

    /// Whether events and token cross the network readable by anyone on the path: `http` to a host
    /// other than this one.
    pub fn is_exposed(&self) -> bool {
        let loopback = match self.event.host_str() {
            Some("localhost") => true,
            Some(host) => {
                let bare = host.trim_start_matches('[').trim_end_matches(']');
                bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
            }
            None => false,
        };
        self.event.scheme() == "http" && !loopback
    }

    pub(super) fn is_tls(&self) -> bool {
        self.event.scheme() == "https"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_shown() {
        let token = Token::new("abc-123").unwrap();
        assert_eq!(format!("{token:?}"), "Token(***)");
        assert!(!format!("{:?}", token.header).contains("abc"));
        for bad in ["", "Splunk abc", "a\nb", "ü"] {
            assert!(!Token::new(bad).unwrap_err().to_string().contains("abc"));
        }
    }

    #[test]
    fn an_endpoint_is_found_from_what_people_write() {
        for (given, event) in [
            ("https://h:8088", "https://h:8088/services/collector/event"),
            ("h:8088", "https://h:8088/services/collector/event"),
            ("http://h:8088/", "http://h:8088/services/collector/event"),
            ("https://h/services/collector", "https://h/services/collector/event"),
            ("https://h/services/collector/event/1.0", "https://h/services/collector/event"),
            ("https://h/splunk/", "https://h/splunk/services/collector/event"),
        ] {
            assert_eq!(Endpoint::parse(given).unwrap().as_str(), event, "{given}");
        }
    }

    #[test]
    fn an_endpoint_with_a_secret_in_it_is_refused_without_repeating_it() {
        for given in [
            "https://u:secret@h:8088",
            "https://h:8088?token=secret",
            "https://h/#secret",
            "ftp://h",
        ] {
            let error = Endpoint::parse(given).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn plain_http_is_exposed_unless_it_stays_here() {
        for (given, exposed) in [
            ("http://10.0.0.1:8088", true),
            ("http://splunk:8088", true),
            ("https://splunk:8088", false),
            ("http://127.0.0.1:1", false),
            ("http://[::1]:1", false),
            ("http://localhost:1", false),
        ] {
            assert_eq!(Endpoint::parse(given).unwrap().is_exposed(), exposed, "{given}");
        }
    }
}
