//! How to reach a collector, and from which settings no client can be made.

use std::path::PathBuf;
use std::time::Duration;

use super::endpoint::{BadToken, Endpoint, Token};
use super::reply::SuccessReply;
use crate::tls::{TlsError, TlsSettings};

/// How to reach a collector.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Where the token is that Splunk issued for us.
    pub token: TokenSource,
    /// Which answers count as delivered.
    pub success: SuccessReply,
    /// Which certificates to trust; not used for `http`.
    pub tls: TlsSettings,
    /// For a connection to stand, TLS included.
    pub connect_timeout: Duration,
    /// For a whole request and its reply.
    pub timeout: Duration,
}

/// Where a token is kept.
#[derive(Debug, Clone)]
pub enum TokenSource {
    /// In the settings: it stays as it is.
    Fixed(Token),
    /// In a file that holds nothing else but a line break; it is read again when it changes and when the
    /// token is refused.
    File(PathBuf),
}

impl From<Token> for TokenSource {
    fn from(token: Token) -> Self {
        Self::Fixed(token)
    }
}

impl TokenSource {
    pub(super) fn read(&self) -> Result<Token, BadClient> {
        let path = match self {
            Self::Fixed(token) => return Ok(token.clone()),
            Self::File(path) => path,
        };
        let contents = forwarder_keyfile::read(path)
            .map_err(|source| BadClient::TokenFile { path: path.clone(), source })?;
        let text = String::from_utf8_lossy(&contents);
        Token::new(text.trim_end_matches(['\r', '\n']))
            .map_err(|source| BadClient::Token { path: path.clone(), source })
    }
}

/// Settings from which no client can be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadClient {
    /// Trust roots or client certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The token's file cannot be read.
    #[error("cannot read the token from `{}`", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The token's file holds none.
    #[error("`{}` holds no token", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: BadToken,
    },
    /// The HTTP library refuses the combination.
    #[error("the HTTP client cannot be set up")]
    Http(#[from] reqwest::Error),
}
