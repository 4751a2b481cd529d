//! Our signatures against 48 requests that the official Python client signed with a frozen clock.

#![expect(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use base64::Engine as _;
use forwarder_sls::sign::{self, Authorization, Parts, Signature, v1, v4};
use forwarder_sls::{AccessKey, Endpoint, ProjectName, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use reqwest::Url;
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    input: Input,
    expected: Expected,
}

#[derive(Deserialize)]
struct Input {
    access_key_id: String,
    access_key_secret: String,
    security_token: Option<String>,
    auth_version: String,
    region: Option<String>,
    time_unix: i64,
    endpoint: String,
    method: String,
    path: String,
    params: BTreeMap<String, String>,
    headers_before_signing: BTreeMap<String, String>,
    body_base64: Option<String>,
}

#[derive(Deserialize)]
struct Expected {
    url: String,
    headers: BTreeMap<String, String>,
    authorization: String,
    v1_string_to_sign: Option<String>,
    v4_canonical_request: Option<String>,
    v4_string_to_sign: Option<String>,
    v4_signing_key_hex: Option<String>,
}

/// Headers of the Python HTTP library, which have nothing to do with signing.
const LIBRARY_HEADERS: [&str; 3] = ["user-agent", "accept-encoding", "accept"];

fn vectors() -> Vec<Case> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/vectors/sls-signatures.json");
    serde_json::from_slice::<Vectors>(&std::fs::read(path).unwrap()).unwrap().cases
}

fn headers(map: &BTreeMap<String, String>) -> HeaderMap {
    map.iter()
        .map(|(name, value)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
        })
        .collect()
}

impl Case {
    fn key(&self) -> AccessKey {
        let key = AccessKey::new(&self.input.access_key_id, &self.input.access_key_secret);
        match &self.input.security_token {
            Some(token) => key.with_token(token),
            None => key,
        }
    }

    fn method(&self) -> Method {
        self.input.method.parse().unwrap()
    }

    fn params(&self) -> Vec<(&str, &str)> {
        self.input.params.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect()
    }

    fn body(&self) -> Vec<u8> {
        let text = self.input.body_base64.as_deref().unwrap_or_default();
        base64::engine::general_purpose::STANDARD.decode(text).unwrap()
    }

    fn signature(&self) -> Signature {
        match self.input.auth_version.as_str() {
            "v1" => Signature::V1,
            _ => Signature::V4 { region: self.input.region.clone().unwrap() },
        }
    }

    fn signed_headers(&self) -> HeaderMap {
        let mut headers = headers(&self.input.headers_before_signing);
        // Signing adds the token itself.
        headers.remove(sign::SECURITY_TOKEN);
        let parts = Parts {
            method: &self.method(),
            path: &self.input.path,
            params: &self.params(),
            headers: &mut headers,
            body: &self.body(),
        };
        self.signature().sign(&self.key(), self.input.time_unix, parts).unwrap();
        headers
    }
}

#[test]
fn all_headers_are_those_of_the_official_client() {
    let cases = vectors();
    assert_eq!(cases.len(), 48);
    for case in cases {
        let ours = case.signed_headers();
        let mut theirs = headers(&case.expected.headers);
        for name in LIBRARY_HEADERS {
            if !case.input.headers_before_signing.keys().any(|k| k.eq_ignore_ascii_case(name)) {
                theirs.remove(name);
            }
        }
        assert_eq!(
            ours.get("authorization").unwrap(),
            case.expected.authorization.as_str(),
            "{}",
            case.id
        );
        assert_eq!(ours, theirs, "{}", case.id);
    }
}

#[test]
fn canonical_forms_are_computed_from_what_a_server_receives() {
    let mut seen = BTreeSet::new();
    for case in vectors() {
        let received = headers(&case.expected.headers);
        let (method, path, params) = (case.method(), &case.input.path, case.params());
        let authorization = Authorization::parse(&case.expected.authorization).unwrap();
        let secret = &case.input.access_key_secret;
        match authorization {
            Authorization::V1 { signature, .. } => {
                let text = v1::string_to_sign(&method, path, &params, &received);
                assert_eq!(Some(&text), case.expected.v1_string_to_sign.as_ref(), "{}", case.id);
                assert_eq!(v1::signature(secret, &text), signature, "{}", case.id);
                seen.insert("v1");
            }
            Authorization::V4 { signature, date, region, .. } => {
                let request = v4::canonical_request(&method, path, &params, &received);
                assert_eq!(
                    Some(&request),
                    case.expected.v4_canonical_request.as_ref(),
                    "{}",
                    case.id
                );
                let datetime = received.get("x-log-date").unwrap().to_str().unwrap();
                let text = v4::string_to_sign(&request, datetime, &region);
                assert_eq!(Some(&text), case.expected.v4_string_to_sign.as_ref(), "{}", case.id);
                let key = v4::signing_key(secret, &date, &region);
                let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
                assert_eq!(Some(&hex), case.expected.v4_signing_key_hex.as_ref(), "{}", case.id);
                assert_eq!(v4::signature(&key, &text), signature, "{}", case.id);
                seen.insert("v4");
            }
            other => panic!("{}: {other:?}", case.id),
        }
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn addresses_are_those_of_the_official_client() {
    let project: ProjectName = "my-project".parse().unwrap();
    for case in vectors() {
        let text = match case.input.endpoint.split_once("://") {
            Some(_) => case.input.endpoint.clone(),
            None => format!("http://{}", case.input.endpoint),
        };
        let url = Url::parse(&text).unwrap();
        let scheme = if url.scheme() == "https" { Scheme::Https } else { Scheme::Http };
        let endpoint = Endpoint::new(scheme, url.host_str().unwrap(), url.port());
        let query: Vec<String> = case
            .params()
            .into_iter()
            .map(|(key, value)| format!("{key}={}", sign::percent_encode(value)))
            .collect();
        let ours =
            format!("{}{}?{}", endpoint.base_url(&project), case.input.path, query.join("&"));
        let (ours, theirs) = (Url::parse(&ours).unwrap(), Url::parse(&case.expected.url).unwrap());
        assert_eq!(ours.origin(), theirs.origin(), "{}", case.id);
        assert_eq!(ours.path(), theirs.path(), "{}", case.id);
        // The official client encodes a space as `+`; both decode to the same parameters.
        let pairs = |url: &Url| url.query_pairs().into_owned().collect::<BTreeMap<_, _>>();
        assert_eq!(pairs(&ours), pairs(&theirs), "{}", case.id);
        assert_eq!(pairs(&ours), case.input.params, "{}", case.id);
        assert_eq!(endpoint.host_header(&project), case.expected.headers["Host"], "{}", case.id);
    }
}
