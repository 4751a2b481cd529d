//! Request signatures, versions 1 and 4.
//!
//! Everything works on a request's parts (method, path, *decoded* parameters, headers), so that the same
//! canonical forms serve a client that signs and a server that verifies. The time is an argument: a
//! retry must be signed again because the date ages, and test vectors need a frozen clock.

pub mod v1;
pub mod v4;

use std::fmt::{self, Write as _};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::access_key::AccessKey;

/// The version of the service's interface we speak, sent as `x-log-apiversion`.
pub(crate) const API_VERSION: &str = "0.6.0";

/// Header of a temporary key's token; signed in both versions.
pub const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-acs-security-token");
/// Header that carries the date of the request in both versions; signed in version 4 only.
pub const LOG_DATE: HeaderName = HeaderName::from_static("x-log-date");

/// Which signature to make.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signature {
    /// HMAC-SHA1; what every official client does by default.
    V1,
    /// HMAC-SHA256 with a key derived per day and region.
    V4 {
        /// The region the endpoint belongs to, like `cn-hangzhou`.
        region: String,
    },
}

/// The parts of a request that a signature covers.
#[derive(Debug)]
pub struct Parts<'a, K, V> {
    /// The HTTP method.
    pub method: &'a Method,
    /// The path as it is sent.
    pub path: &'a str,
    /// Query parameters, decoded, in any order.
    pub params: &'a [(K, V)],
    /// The headers so far, `Host` included; signing adds its own.
    pub headers: &'a mut HeaderMap,
    /// The body as it is sent, after compression.
    pub body: &'a [u8],
}

/// A request that cannot be signed: something of ours does not fit into a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {0} contains characters that cannot stand in an HTTP header")]
pub struct SignError(&'static str);

impl Signature {
    /// Signs `parts` as of `unix` (seconds since the epoch): adds the date, digest, token and
    /// `Authorization` headers.
    ///
    /// # Errors
    ///
    /// Key id, token or region hold characters that no header can carry.
    pub fn sign<K: AsRef<str>, V: AsRef<str>>(
        &self,
        key: &AccessKey,
        unix: i64,
        parts: Parts<'_, K, V>,
    ) -> Result<(), SignError> {
        if let Some(token) = key.token() {
            parts.headers.insert(SECURITY_TOKEN, secret_value(token, "security token")?);
        }
        match self {
            Self::V1 => v1::sign(key, unix, parts),
            Self::V4 { region } => v4::sign(key, region, unix, parts),
        }
    }
}

/// What an `Authorization` header claims; for servers that verify.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Authorization {
    /// `LOG {key id}:{base64 of the HMAC}`
    V1 {
        /// The access key id.
        key_id: String,
        /// The signature, base64.
        signature: String,
    },
    /// `SLS4-HMAC-SHA256 Credential={key id}/{date}/{region}/sls/aliyun_v4_request,Signature={hex}`
    V4 {
        /// The access key id.
        key_id: String,
        /// `YYYYMMDD` of the scope.
        date: String,
        /// Region of the scope.
        region: String,
        /// The signature, lower-case hex.
        signature: String,
    },
}

impl Authorization {
    /// Reads a header value; `None` if it is of neither form.
    pub fn parse(value: &str) -> Option<Self> {
        if let Some(rest) = value.strip_prefix("LOG ") {
            let (key_id, signature) = rest.rsplit_once(':')?;
            return Some(Self::V1 { key_id: key_id.into(), signature: signature.into() });
        }
        let rest = value.strip_prefix(v4::ALGORITHM)?.trim_start().strip_prefix("Credential=")?;
        let (credential, signature) = rest.split_once(',')?;
        let signature = signature.trim_start().strip_prefix("Signature=")?;
        let mut fields = credential.split('/');
        let mut field = || fields.next().map(str::to_owned);
        let (key_id, date, region) = (field()?, field()?, field()?);
        (fields.eq(["sls", "aliyun_v4_request"])).then(|| Self::V4 {
            key_id,
            date,
            region,
            signature: signature.into(),
        })
    }
}

/// All but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Percent-encodes per RFC 3986: everything but `A-Z a-z 0-9 - _ . ~`, as upper-case `%XX`.
pub fn percent_encode(text: &str) -> impl fmt::Display {
    utf8_percent_encode(text, RESERVED)
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Parameters sorted by key, the order both versions sign in.
fn sorted<K: AsRef<str>, V: AsRef<str>>(params: &[(K, V)]) -> Vec<(&str, &str)> {
    let mut sorted: Vec<_> = params.iter().map(|(k, v)| (k.as_ref(), v.as_ref())).collect();
    sorted.sort_unstable();
    sorted
}

/// The service's own headers, which both versions sign: `x-log-*` and `x-acs-*`, except metadata of the
/// client's libraries.
fn is_service_header(name: &str) -> bool {
    (name.starts_with("x-log-") || name.starts_with("x-acs-")) && !name.starts_with("x-log-meta-")
}

/// Headers chosen by `signed`, sorted by name, each as `name:value\n`. Returns the names too.
fn canonical_headers(headers: &HeaderMap, signed: impl Fn(&str) -> bool) -> (Vec<&str>, String) {
    let mut names: Vec<&str> =
        headers.keys().map(HeaderName::as_str).filter(|name| signed(name)).collect();
    names.sort_unstable();
    let mut lines = String::new();
    for name in &names {
        let _ = writeln!(lines, "{name}:{}", header_text(headers, name));
    }
    (names, lines)
}

/// A header's value as text, trimmed; empty when absent.
fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> std::borrow::Cow<'a, str> {
    headers.get(name).map_or("".into(), |value| {
        let bytes = value.as_bytes().trim_ascii();
        String::from_utf8_lossy(bytes)
    })
}

fn value(text: &str, what: &'static str) -> Result<HeaderValue, SignError> {
    HeaderValue::from_str(text).map_err(|_| SignError(what))
}

fn secret_value(text: &str, what: &'static str) -> Result<HeaderValue, SignError> {
    let mut value = value(text, what)?;
    value.set_sensitive(true);
    Ok(value)
}

/// `unix` as a calendar time; out of the calendar's range counts as the epoch, which the service then
/// refuses as skewed.
fn calendar(unix: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(unix).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authorization_header_is_taken_apart() {
        assert_eq!(
            Authorization::parse("LOG LTAI:abc/+="),
            Some(Authorization::V1 { key_id: "LTAI".into(), signature: "abc/+=".into() })
        );
        let v4 = "SLS4-HMAC-SHA256 \
                  Credential=LTAI/20260102/cn-hangzhou/sls/aliyun_v4_request,Signature=00ff";
        assert_eq!(
            Authorization::parse(v4),
            Some(Authorization::V4 {
                key_id: "LTAI".into(),
                date: "20260102".into(),
                region: "cn-hangzhou".into(),
                signature: "00ff".into()
            })
        );
        for broken in
            ["", "LOG", "LOG x", "Basic abc", "SLS4-HMAC-SHA256 Credential=a/b,Signature=c"]
        {
            assert_eq!(Authorization::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_secret_never_shows_in_the_headers_debug_form() {
        let key = AccessKey::new("id", "secret").with_token("t0ken");
        let mut headers = HeaderMap::new();
        let parts = Parts::<&str, &str> {
            method: &Method::GET,
            path: "/",
            params: &[],
            headers: &mut headers,
            body: b"",
        };
        Signature::V1.sign(&key, 0, parts).unwrap();
        assert!(!format!("{headers:?}").contains("t0ken"));
    }

    #[test]
    fn a_key_id_with_a_line_break_is_refused() {
        let mut headers = HeaderMap::new();
        let parts = Parts::<&str, &str> {
            method: &Method::GET,
            path: "/",
            params: &[],
            headers: &mut headers,
            body: b"",
        };
        let error = Signature::V1.sign(&AccessKey::new("a\nb", "s"), 0, parts).unwrap_err();
        assert!(error.to_string().contains("access key id"));
    }
}
