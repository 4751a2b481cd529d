//! Signature check: off, any key, or strict.
//!
//! The canonical forms are those of `forwarder-sls`, so that a mistake in them would hide from our own
//! client; the official clients' signatures, run against this check, are what keeps both honest. A
//! refusal contains the string the server signed: comparing it with the client's saves hours.

use std::time::Duration;

use forwarder_sls::AccessKey;
use forwarder_sls::sign::{Authorization, LOG_DATE, SECURITY_TOKEN, v1, v4};
use hyper::header::{AUTHORIZATION, DATE, HeaderName};

use crate::clock::Timestamp;
use crate::refusal::Refusal;
use crate::server::request::ApiRequest;

/// The service refuses requests whose date is further off.
pub const MAX_SKEW: Duration = Duration::from_secs(15 * 60);

/// Which signatures are accepted.
#[derive(Debug, Clone, Default)]
pub enum SignatureCheck {
    /// All, and none at all.
    #[default]
    Off,
    /// Any well-formed `Authorization` header, whatever the key.
    AnyKey,
    /// Only this key and its token, correctly signed in version 1 or 4, by a clock within 15 minutes.
    Strict(AccessKey),
}

/// Checks one request.
pub(crate) fn check(
    accepted: &SignatureCheck,
    request: &ApiRequest,
    now: Timestamp,
) -> Result<(), Refusal> {
    let SignatureCheck::Strict(key) = accepted else {
        return match accepted {
            SignatureCheck::Off => Ok(()),
            _ => authorization(request).map(drop),
        };
    };
    if text(request, "x-log-apiversion").is_none() {
        return Err(Refusal::new(400, "MissingAPIVersion", "x-log-apiversion is missing"));
    }
    check_date(request, now)?;
    check_token(key, request)?;
    match authorization(request)? {
        Authorization::V1 { key_id, signature } => {
            check_key_id(key, &key_id)?;
            check_v1(key, request, &signature)
        }
        Authorization::V4 { key_id, date, region, signature } => {
            check_key_id(key, &key_id)?;
            check_v4(key, request, &date, &region, &signature)
        }
        _ => Err(unauthorized("this signature version is not served here")),
    }
}

fn check_v1(key: &AccessKey, request: &ApiRequest, signature: &str) -> Result<(), Refusal> {
    let digest = text(request, "content-md5").unwrap_or_default();
    if !request.body.is_empty() && digest != v1::content_md5(&request.body) {
        return Err(mismatch("Content-MD5 is not the upper-case hex MD5 of the body"));
    }
    let params = request.params.as_slice();
    let signed = v1::string_to_sign(&request.method, &request.path, params, &request.headers);
    if v1::signature(key.secret(), &signed) == signature {
        return Ok(());
    }
    Err(mismatch(&format!("server's string to sign: {signed:?}")))
}

fn check_v4(
    key: &AccessKey,
    request: &ApiRequest,
    date: &str,
    region: &str,
    signature: &str,
) -> Result<(), Refusal> {
    let digest = text(request, v4::CONTENT_SHA256.as_str()).unwrap_or_default();
    if digest != v4::payload_hash(&request.body) {
        return Err(mismatch("x-log-content-sha256 is not the lower-case hex SHA-256 of the body"));
    }
    let params = request.params.as_slice();
    let canonical = v4::canonical_request(&request.method, &request.path, params, &request.headers);
    let datetime = text(request, LOG_DATE.as_str()).unwrap_or_default();
    let signed = v4::string_to_sign(&canonical, datetime, region);
    if datetime.starts_with(date)
        && v4::signature(&v4::signing_key(key.secret(), date, region), &signed) == signature
    {
        return Ok(());
    }
    Err(mismatch(&format!("server's canonical request: {canonical:?}, string to sign: {signed:?}")))
}

/// The service judges by `x-log-date`, else by `Date`.
fn check_date(request: &ApiRequest, now: Timestamp) -> Result<(), Refusal> {
    let Some(date) = text(request, LOG_DATE.as_str()).or_else(|| text(request, DATE.as_str()))
    else {
        return Err(Refusal::new(400, "MissingDate", "neither x-log-date nor Date is set"));
    };
    let Some(sent) = parse_date(date) else {
        return Err(Refusal::new(400, "InvalidDateFormat", format!("{date:?} is not a date")));
    };
    let skew = now.distance(sent);
    if skew > MAX_SKEW {
        let message = format!("the request's date is {} s off", skew.as_secs());
        return Err(Refusal::new(400, "RequestTimeTooSkewed", message));
    }
    Ok(())
}

/// `20260102T030405Z`, or the date of HTTP.
fn parse_date(text: &str) -> Option<Timestamp> {
    let parsed = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text)
        .or_else(|_| jiff::civil::DateTime::strptime("%a, %d %b %Y %H:%M:%S GMT", text));
    let utc = parsed.ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    u64::try_from(utc.timestamp().as_second()).ok().map(Timestamp::from_seconds)
}

fn check_token(key: &AccessKey, request: &ApiRequest) -> Result<(), Refusal> {
    if text(request, SECURITY_TOKEN.as_str()) == key.token() {
        return Ok(());
    }
    Err(unauthorized("the security token is not the one that goes with this key"))
}

fn check_key_id(key: &AccessKey, sent: &str) -> Result<(), Refusal> {
    if sent == key.id() {
        return Ok(());
    }
    Err(Refusal::new(401, "InvalidAccessKeyId", format!("access key {sent} is unknown")))
}

fn authorization(request: &ApiRequest) -> Result<Authorization, Refusal> {
    let sent = text(request, AUTHORIZATION.as_str());
    let sent = sent.ok_or_else(|| unauthorized("the header Authorization is missing"))?;
    Authorization::parse(sent).ok_or_else(|| unauthorized("the header Authorization is malformed"))
}

fn unauthorized(message: &str) -> Refusal {
    Refusal::new(401, "Unauthorized", message)
}

fn mismatch(message: &str) -> Refusal {
    Refusal::new(401, "SignatureNotMatch", message)
}

fn text<'a>(request: &'a ApiRequest, name: &str) -> Option<&'a str> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    request.headers.get(name).and_then(|value| value.to_str().ok())
}
