//! Where a collector listens, and the secret it knows us by.

use std::fmt;
use std::net::IpAddr;

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

/// Where a collector takes events. `Debug` leaves the query out.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub(super) event: Url,
    pub(super) health: Url,
    /// The address of events without its query, which may hold a key of a gateway.
    shown: String,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.shown).finish()
    }
}

/// An address that cannot be a collector's. The messages do not quote it, since it may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadEndpoint {
    /// Not an address at all.
    #[error("{0}")]
    Malformed(String),
    /// A scheme other than `http` and `https`.
    #[error("`{0}` is neither `https` nor `http`")]
    Scheme(String),
    /// User name, password, token or fragment.
    #[error("it holds a {0}, which has no place in it; the token goes into the sink's `token`")]
    Surplus(&'static str),
    /// The endpoint for text that is not in JSON envelopes.
    #[error(
        "`/services/collector/raw` takes text that Splunk splits; events are sent to `/services/collector/event`"
    )]
    Raw,
    /// Another endpoint of a collector, or a longer path than there is.
    #[error("its path continues after `/services/collector` with something else than `/event`")]
    OtherPath,
    /// A collector's path in other letters.
    #[error(
        "its path has capital letters; the paths of a collector are written `/services/collector/event`"
    )]
    LetterCase,
}

/// The path of a collector, below whatever path a proxy puts before it.
const COLLECTOR: &str = "/services/collector";

/// The port Splunk listens on unless configured otherwise.
const DEFAULT_PORT: u16 = 8088;

impl Endpoint {
    /// Reads an address as people have it: `https://10.1.2.3:8088`, the path of a proxy before
    /// `/services/collector`, or the whole address that Splunk shows, with a query if it needs one. No
    /// scheme means `https`. No port means 8088 where only a host is written; a whole URL has the port of
    /// its scheme then.
    ///
    /// # Errors
    ///
    /// [`BadEndpoint`] when it cannot be one.
    pub fn parse(given: &str) -> Result<Self, BadEndpoint> {
        let given = given.trim();
        let full =
            if given.contains("://") { given.to_owned() } else { format!("https://{given}") };
        let mut event =
            Url::parse(&full).map_err(|error| BadEndpoint::Malformed(error.to_string()))?;
        if !matches!(event.scheme(), "http" | "https") {
            return Err(BadEndpoint::Scheme(event.scheme().to_owned()));
        }
        if event.port() == Some(0) || !event.host_str().is_some_and(is_host) {
            return Err(BadEndpoint::Malformed("there is no host with a port in it".to_owned()));
        }
        if let Some(what) = surplus(&event) {
            return Err(BadEndpoint::Surplus(what));
        }
        let path = event.path().trim_end_matches('/').to_owned();
        if !path.contains(COLLECTOR) && path.to_ascii_lowercase().contains(COLLECTOR) {
            return Err(BadEndpoint::LetterCase);
        }
        let base = match path.rsplit_once(COLLECTOR) {
            None => {
                event.set_path(&format!("{path}{COLLECTOR}/event"));
                path.as_str()
            }
            Some((base, "" | "/1.0" | "/event" | "/event/1.0")) => {
                event.set_path(&path);
                base
            }
            Some((_, "/raw" | "/raw/1.0")) => return Err(BadEndpoint::Raw),
            Some(_) => return Err(BadEndpoint::OtherPath),
        };
        if path.is_empty() && !has_port(&full) {
            // Fails for addresses without a host only, which were refused before.
            let _ = event.set_port(Some(DEFAULT_PORT));
        }
        let mut health = event.clone();
        health.set_query(None);
        let mut shown = health.clone();
        shown.set_path(event.path());
        health.set_path(&format!("{base}{COLLECTOR}/health"));
        Ok(Self { shown: shown.into(), event, health })
    }

    /// The address that events are posted to, without its query, for messages.
    pub fn as_str(&self) -> &str {
        &self.shown
    }

    /// Scheme, host and port, for messages.
    pub fn origin(&self) -> String {
        self.event.origin().ascii_serialization()
    }

    /// Whether events and token cross the network readable by anyone on the path: `http` to a host
    /// other than this one.
    pub fn is_exposed(&self) -> bool {
        self.event.scheme() == "http" && !self.is_loopback()
    }

    /// Whether the collector is on this machine. Decided on the parsed address, since `127.1` and
    /// `[::ffff:127.0.0.1]` are also this machine.
    pub fn is_loopback(&self) -> bool {
        let host = self.event.host_str().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>().map(|address| address.to_canonical()) {
            // The system connects to itself when asked for the unspecified address.
            Ok(address) => address.is_loopback() || address.is_unspecified(),
            Err(_) => {
                let name = bare.trim_end_matches('.');
                name == "localhost" || name.ends_with(".localhost")
            }
        }
    }

    pub(super) fn is_tls(&self) -> bool {
        self.event.scheme() == "https"
    }
}

/// What no HEC address has; secrets among them, which the process list and logs would show.
fn surplus(url: &Url) -> Option<&'static str> {
    let has_token = url.query_pairs().any(|(key, _)| key.eq_ignore_ascii_case("token"));
    [
        (!url.username().is_empty() || url.password().is_some(), "user name or password"),
        (has_token, "token"),
        (url.fragment().is_some(), "fragment"),
    ]
    .into_iter()
    .find_map(|(present, what)| present.then_some(what))
}

fn is_host(host: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    host.starts_with('[') || (!host.is_empty() && host.chars().all(allowed))
}

/// Whether a port is written, which `Url` forgets when it is the scheme's own.
fn has_port(full: &str) -> bool {
    let authority = full.split_once("://").map_or(full, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or(authority);
    let after_host = authority.rsplit_once(']').map_or(authority, |(_, after)| after);
    after_host.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty())
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
        for (given, event, health) in [
            (
                "https://h:8088",
                "https://h:8088/services/collector/event",
                "https://h:8088/services/collector/health",
            ),
            (
                "h:9000",
                "https://h:9000/services/collector/event",
                "https://h:9000/services/collector/health",
            ),
            (
                "http://h",
                "http://h:8088/services/collector/event",
                "http://h:8088/services/collector/health",
            ),
            (
                "https://h:443/",
                "https://h/services/collector/event",
                "https://h/services/collector/health",
            ),
            (
                "http://[::1]/",
                "http://[::1]:8088/services/collector/event",
                "http://[::1]:8088/services/collector/health",
            ),
            (
                "https://h/services/collector",
                "https://h/services/collector",
                "https://h/services/collector/health",
            ),
            (
                "https://h:1/services/collector/event/1.0",
                "https://h:1/services/collector/event/1.0",
                "https://h:1/services/collector/health",
            ),
            (
                "https://h:1/splunk/",
                "https://h:1/splunk/services/collector/event",
                "https://h:1/splunk/services/collector/health",
            ),
            (
                "h:1/a/services/collector/event/",
                "https://h:1/a/services/collector/event",
                "https://h:1/a/services/collector/health",
            ),
            (
                "h:1?auto_extract_timestamp=true",
                "https://h:1/services/collector/event?auto_extract_timestamp=true",
                "https://h:1/services/collector/health",
            ),
        ] {
            let endpoint = Endpoint::parse(given).unwrap();
            assert_eq!(
                (endpoint.event.as_str(), endpoint.health.as_str()),
                (event, health),
                "{given}"
            );
            assert_eq!(Some(endpoint.as_str()), event.split('?').next(), "{given}");
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused_without_repeating_it() {
        for given in [
            "https://u:secret@h:8088",
            "https://secret@h:8088",
            "https://h:8088?token=secret",
            "https://h/#secret",
            "ftp://h/secret",
            "https://h:8088/services/collector/raw?secret",
            "https://h/services/collector/health/secret",
            "https://h/services/collectors/secret",
            "https://h:0/secret",
            "https://h:70000/secret",
            "secret secret",
            "https://",
            "",
        ] {
            let error = Endpoint::parse(given).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        assert_eq!(Endpoint::parse("h/services/collector/raw/1.0"), Err(BadEndpoint::Raw));
        let capitals = Endpoint::parse("HTTPS://h:8088/Services/Collector/RAW");
        assert_eq!(capitals, Err(BadEndpoint::LetterCase));
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
            ("http://127.1:1", false),
            ("http://2130706433:1", false),
            ("http://[::ffff:127.0.0.1]:1", false),
            ("http://0.0.0.0:1", false),
            ("http://splunk.localhost.:1", false),
            ("http://localhost.example.org:1", true),
            ("http://[::ffff:10.0.0.1]:1", true),
        ] {
            assert_eq!(Endpoint::parse(given).unwrap().is_exposed(), exposed, "{given}");
        }
    }
}
