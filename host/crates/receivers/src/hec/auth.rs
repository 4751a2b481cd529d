//! Who may write: the `Authorization` header, as strict as Splunk reads it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header;
use http::request::Parts;

use super::reply::{Code, Reply};
use super::request::query;

/// The token of the collector, and whether it is enabled at the moment.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) token: String,
    pub(crate) disabled: bool,
}

impl Access {
    /// Lets a request pass, or says what Splunk says.
    pub(crate) fn check(&self, parts: &Parts) -> Result<(), Reply> {
        let Some(header) = parts.headers.get(header::AUTHORIZATION) else {
            let in_query = query(parts, "token").is_some();
            let code = if in_query { Code::QueryStringToken } else { Code::TokenRequired };
            return Err(Reply::code(code));
        };
        let token = header.to_str().ok().and_then(token_in);
        let code = match token {
            None => Code::InvalidAuthorization,
            Some(token) if token != self.token => Code::InvalidToken,
            Some(_) if self.disabled => Code::TokenDisabled,
            Some(_) => return Ok(()),
        };
        Err(Reply::code(code))
    }

    /// The same for `/health`, where a token is optional and its faults have codes of their own.
    pub(crate) fn health(&self, parts: &Parts) -> Reply {
        let code = match self.check(parts).map_err(|reply| reply.code) {
            Ok(()) | Err(Some(Code::TokenRequired | Code::QueryStringToken)) => Code::Healthy,
            Err(Some(Code::TokenDisabled)) => Code::HealthTokenDisabled,
            Err(_) => Code::HealthInvalidToken,
        };
        Reply::code(code)
    }
}

/// The token in `Splunk TOKEN`, or the password in basic authentication.
fn token_in(header: &str) -> Option<String> {
    let (scheme, rest) = header.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("Splunk") {
        return Some(rest.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    decoded.split_once(':').map(|(_, password)| password.to_owned())
}
