//! What lets us in: the token and the TLS settings of a collector, both of which may be files that change.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::client::{BadClient, ClientSettings};
use super::connections::{Connections, Dial};
use super::endpoint::Token;
use crate::reload::{Origin, Print};
use crate::tls::{self, TlsFiles, TlsSettings};

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
    fn read(&self) -> Result<Token, BadClient> {
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

/// Connections, and the token that is sent on them.
pub(super) struct Access {
    pub(super) connections: Connections,
    pub(super) token: Token,
}

/// How an [`Access`] is made.
pub(super) struct AccessFiles(ClientSettings);

impl AccessFiles {
    pub(super) fn new(settings: ClientSettings) -> Self {
        Self(settings)
    }

    fn tls(&self) -> Option<&TlsSettings> {
        self.0.endpoint.is_tls().then_some(&self.0.tls)
    }
}

impl Origin for AccessFiles {
    type Value = Access;
    type Parts = (Token, Option<TlsFiles>);
    type Error = BadClient;

    fn is_fixed(&self) -> bool {
        matches!(self.0.token, TokenSource::Fixed(_))
            && self.tls().is_none_or(TlsSettings::is_fixed)
    }

    fn read(&self) -> Result<(Self::Parts, Print), BadClient> {
        let token = self.0.token.read()?;
        let files = self.tls().map(TlsSettings::read).transpose()?;
        let mut digest = Sha256::new();
        digest.update(files.as_ref().map_or_else(Print::default, TlsFiles::print));
        digest.update(&token.bare);
        Ok(((token, files), digest.finalize().into()))
    }

    fn make(&self, (token, files): Self::Parts) -> Result<Access, BadClient> {
        let config = match files {
            Some(files) => self.0.tls.client_config(files)?,
            None => tls::unused()?,
        };
        let (connect_timeout, timeout) = (self.0.connect_timeout, self.0.timeout);
        // A proxy would be another machine in between, which gets the token and every log.
        let no_proxy = self.0.endpoint.is_loopback();
        let connections =
            Connections::new(Dial { tls: config, no_proxy, connect_timeout, timeout })?;
        Ok(Access { connections, token })
    }

    fn name(&self) -> &str {
        self.0.endpoint.as_str()
    }
}
