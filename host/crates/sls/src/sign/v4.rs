//! Version 4: HMAC-SHA256 over a canonical request, with a key derived per day and region.

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, Method};
use sha2::{Digest as _, Sha256};

use super::{
    LOG_DATE, Parts, SignError, calendar, canonical_headers, header_text, hex, is_service_header,
    percent_encode, secret_value, sorted, value,
};
use crate::access_key::AccessKey;

/// First word of the `Authorization` header and of the string to sign.
pub(crate) const ALGORITHM: &str = "SLS4-HMAC-SHA256";
/// Header with the lower-case hexadecimal SHA-256 of the body; the canonical request ends in its value.
pub const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-log-content-sha256");

pub(super) fn sign<K: AsRef<str>, V: AsRef<str>>(
    key: &AccessKey,
    region: &str,
    unix: i64,
    parts: Parts<'_, K, V>,
) -> Result<(), SignError> {
    let Parts { method, path, params, headers, body } = parts;
    let datetime = datetime(unix);
    let date = datetime.split('T').next().unwrap_or_default();
    headers.insert(LOG_DATE, value(&datetime, "date")?);
    headers.insert(CONTENT_SHA256, value(&payload_hash(body), "body digest")?);
    let request = canonical_request(method, path, params, headers);
    let text = string_to_sign(&request, &datetime, region);
    let signature = signature(&signing_key(key.secret(), date, region), &text);
    let scope = scope(date, region);
    let authorization =
        format!("{ALGORITHM} Credential={}/{scope},Signature={signature}", key.id());
    headers.insert(AUTHORIZATION, secret_value(&authorization, "access key id or region")?);
    Ok(())
}

/// The request in canonical form. `params` are decoded, `headers` as sent, `Host` included. The body is
/// represented by `x-log-content-sha256`; a server must compare that with [`payload_hash`] itself.
pub fn canonical_request<K: AsRef<str>, V: AsRef<str>>(
    method: &Method,
    path: &str,
    params: &[(K, V)],
    headers: &HeaderMap,
) -> String {
    let (names, lines) = canonical_headers(headers, |name| {
        is_service_header(name) || name == CONTENT_TYPE.as_str() || name == HOST.as_str()
    });
    let query: Vec<String> = sorted(params)
        .into_iter()
        .map(|(key, value)| match value {
            "" => key.to_owned(),
            value => format!("{key}={}", percent_encode(value)),
        })
        .collect();
    format!(
        "{method}\n{path}\n{}\n{lines}\n{}\n{}",
        query.join("&"),
        names.join(";"),
        header_text(headers, CONTENT_SHA256.as_str()),
    )
}

/// The text that is signed: algorithm, time (`YYYYMMDDTHHMMSSZ`), scope and the canonical request's hash.
pub fn string_to_sign(canonical_request: &str, datetime: &str, region: &str) -> String {
    let date = datetime.split('T').next().unwrap_or_default();
    let hash = payload_hash(canonical_request.as_bytes());
    format!("{ALGORITHM}\n{datetime}\n{}\n{hash}", scope(date, region))
}

/// The key of one day (`YYYYMMDD`) and region.
pub fn signing_key(secret: &str, date: &str, region: &str) -> [u8; 32] {
    let key = hmac(format!("aliyun_v4{secret}").as_bytes(), date);
    let key = hmac(&key, region);
    let key = hmac(&key, "sls");
    hmac(&key, "aliyun_v4_request")
}

/// Lower-case hexadecimal HMAC of `string_to_sign`.
pub fn signature(signing_key: &[u8], string_to_sign: &str) -> String {
    hex(&hmac(signing_key, string_to_sign))
}

/// Lower-case hexadecimal SHA-256.
pub fn payload_hash(body: &[u8]) -> String {
    hex(&Sha256::digest(body))
}

/// UTC as `YYYYMMDDTHHMMSSZ`, from seconds since the epoch.
pub fn datetime(unix: i64) -> String {
    calendar(unix).strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn scope(date: &str, region: &str) -> String {
    format!("{date}/{region}/sls/aliyun_v4_request")
}

fn hmac(key: &[u8], text: &str) -> [u8; 32] {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return [0; 32]; // not reached: HMAC takes keys of any length
    };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}
