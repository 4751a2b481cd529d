//! Version 1: HMAC-SHA1 over method, body digest, type, date, the service's headers and the resource.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use md5::{Digest as _, Md5};
use sha1::Sha1;

use super::{
    LOG_DATE, Parts, SignError, calendar, canonical_headers, header_text, is_service_header,
    secret_value, sorted, value,
};
use crate::access_key::AccessKey;

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const SIGNATURE_METHOD: HeaderName = HeaderName::from_static("x-log-signaturemethod");

pub(super) fn sign<K: AsRef<str>, V: AsRef<str>>(
    key: &AccessKey,
    unix: i64,
    parts: Parts<'_, K, V>,
) -> Result<(), SignError> {
    let Parts { method, path, params, headers, body } = parts;
    let date = value(&http_date(unix), "date")?;
    headers.insert(SIGNATURE_METHOD, HeaderValue::from_static("hmac-sha1"));
    headers.insert(DATE, date.clone());
    if !body.is_empty() {
        headers.insert(CONTENT_MD5, value(&content_md5(body), "body digest")?);
    }
    let text = string_to_sign(method, path, params, headers);
    let authorization = format!("LOG {}:{}", key.id(), signature(key.secret(), &text));
    headers.insert(AUTHORIZATION, secret_value(&authorization, "access key id")?);
    headers.insert(LOG_DATE, date);
    Ok(())
}

/// The text that is signed. `params` are decoded; `x-log-date` is never part of it, because official
/// clients add that header after signing.
pub fn string_to_sign<K: AsRef<str>, V: AsRef<str>>(
    method: &Method,
    path: &str,
    params: &[(K, V)],
    headers: &HeaderMap,
) -> String {
    let (_, lines) =
        canonical_headers(headers, |name| is_service_header(name) && name != LOG_DATE.as_str());
    let mut text = format!(
        "{method}\n{}\n{}\n{}\n{lines}{path}",
        header_text(headers, CONTENT_MD5.as_str()),
        header_text(headers, CONTENT_TYPE.as_str()),
        header_text(headers, DATE.as_str()),
    );
    for (index, (key, value)) in sorted(params).into_iter().enumerate() {
        text.push(if index == 0 { '?' } else { '&' });
        text.push_str(key);
        text.push('=');
        text.push_str(value);
    }
    text
}

/// Base64 of the HMAC of `string_to_sign`.
pub fn signature(secret: &str, string_to_sign: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.as_bytes()) else {
        return String::new(); // not reached: HMAC takes keys of any length
    };
    mac.update(string_to_sign.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Upper-case hexadecimal MD5 of a body, as `Content-MD5` carries it here (not base64, as RFC 1864 has it).
pub fn content_md5(body: &[u8]) -> String {
    super::hex(&Md5::digest(body)).to_uppercase()
}

/// The date format of HTTP (RFC 9110 §5.6.7), from seconds since the epoch.
pub fn http_date(unix: i64) -> String {
    calendar(unix).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
