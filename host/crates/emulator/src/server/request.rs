//! A request as the APIs see it: project, path, decoded parameters, headers, whole body.
//!
//! Targets come in origin form (`GET /logstores/…`) and, from clients that take us for their HTTP
//! proxy, in absolute form (`GET http://project.host:80/logstores/…`). Either way the project is the
//! first label of the host, and the rest of the host does not matter.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::{HeaderMap, Method, Request};
use serde::de::DeserializeOwned;

use crate::refusal::Refusal;

/// No official client sends more than 30 MiB; what is larger is cut off before it fills the memory.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// A request, read to its end.
#[derive(Debug)]
pub(crate) struct ApiRequest {
    pub(crate) method: Method,
    /// First label of the host; empty if there is none.
    pub(crate) project: String,
    /// The path as it was sent.
    pub(crate) path: String,
    pub(crate) params: Params,
    pub(crate) headers: HeaderMap,
    /// The body as it was sent, still compressed.
    pub(crate) body: Bytes,
}

impl ApiRequest {
    /// Reads the rest of a request.
    ///
    /// # Errors
    /// `PostBodyTooLarge`, a body that ends early, or parameters that are not UTF-8.
    pub(crate) async fn read(request: Request<Incoming>) -> Result<Self, Refusal> {
        let (head, body) = request.into_parts();
        let host_header = head.headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = head.uri.host().or(host_header).unwrap_or_default();
        let project = host.split(['.', ':']).next().unwrap_or_default().to_owned();
        let params = Params::parse(head.uri.query().unwrap_or_default())?;
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(|error| {
            Refusal::new(400, "PostBodyTooLarge", format!("cannot read the body: {error}"))
        })?;
        Ok(Self {
            method: head.method,
            project,
            path: head.uri.path().to_owned(),
            params,
            headers: head.headers,
            body: body.to_bytes(),
        })
    }

    /// The path's segments; none for `/`. Names in our paths are plain ASCII and need no decoding.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &str> {
        let path = self.path.strip_prefix('/').unwrap_or(&self.path);
        path.split('/').filter(move |_| !path.is_empty())
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// `JsonInfoInvalid` for a missing key or a wrong type.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        serde_json::from_slice(&self.body).map_err(|error| Refusal::json(error.to_string()))
    }
}

/// Query parameters, decoded, in the order they were sent.
#[derive(Debug, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    fn parse(query: &str) -> Result<Self, Refusal> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let decoded = pairs.map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(key)?, decode(value)?))
        });
        decoded.collect::<Result<_, Refusal>>().map(Self)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn require(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name)
            .ok_or_else(|| Refusal::parameter(format!("the parameter `{name}` is missing")))
    }

    pub(crate) fn as_slice(&self) -> &[(String, String)] {
        &self.0
    }
}

/// Percent-decodes; `+` is a space, because Python's HTTP library sends spaces that way.
fn decode(text: &str) -> Result<String, Refusal> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = (rest.next().and_then(hex), rest.next().and_then(hex));
                let (Some(high), Some(low)) = digits else {
                    return Err(Refusal::parameter(format!("bad percent-encoding in {text:?}")));
                };
                high << 4 | low
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| Refusal::parameter("a parameter is not UTF-8"))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_as_browsers_and_libraries_encode_them() {
        let params = Params::parse("a=1+2%2B3&flag&empty=&q=%E6%97%A5").unwrap();
        assert_eq!(params.get("a"), Some("1 2+3"));
        assert_eq!((params.get("flag"), params.get("empty")), (Some(""), Some("")));
        assert_eq!(params.get("q"), Some("日"));
        assert_eq!(params.require("missing").unwrap_err().code, "ParameterInvalid");
    }

    #[test]
    fn broken_encodings_are_refused() {
        for query in ["a=%", "a=%4", "a=%zz", "a=%ff"] {
            assert!(Params::parse(query).is_err(), "{query}");
        }
    }
}
