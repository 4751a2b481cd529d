//! One access key, as it signs and as the service hands it out.

use std::fmt;

use serde::Deserialize;

/// An access key id with its secret, and the token of a temporary one (STS).
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    id: String,
    secret: String,
    token: Option<String>,
}

impl AccessKey {
    /// A long-lived key.
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { id: id.into(), secret: secret.into(), token: None }
    }

    /// The same key with a security token; a temporary key is worth nothing without.
    #[must_use]
    pub fn with_token(self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..self }
    }

    /// The id, which is not a secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The secret that signs.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The token, if the key is temporary.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The key in a document of the form that the instance metadata service and STS answer with.
    pub(crate) fn from_json(document: &[u8]) -> Option<Self> {
        let KeyFile { id, secret, token } = serde_json::from_slice(document).ok()?;
        Some(Self { id, secret, token })
    }

    /// Takes secret and token out of a foreign text: the service quotes signed headers
    /// back when a signature does not match.
    pub(crate) fn scrub(&self, text: &str) -> String {
        [Some(self.secret.as_str()), self.token.as_deref()]
            .into_iter()
            .flatten()
            .filter(|secret| !secret.is_empty())
            .fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The members that the instance metadata service and STS use. Others (`Expiration`, `Code`) may stand
/// next to them.
#[derive(Deserialize)]
struct KeyFile {
    #[serde(rename = "AccessKeyId")]
    id: String,
    #[serde(rename = "AccessKeySecret")]
    secret: String,
    #[serde(rename = "SecurityToken")]
    token: Option<String>,
}
