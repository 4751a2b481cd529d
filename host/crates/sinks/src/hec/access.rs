//! What lets us in: the token and the TLS settings of a collector, both of which may be files that change.

use sha2::{Digest, Sha256};

use super::connections::{Connections, Dial};
use super::endpoint::Token;
use super::settings::{BadClient, ClientSettings, TokenSource};
use crate::reload::{ContentDigest, ReloadSource};
use crate::tls::{self, TlsFiles, TlsSettings};

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

impl ReloadSource for AccessFiles {
    type Value = Access;
    type Parts = (Token, Option<TlsFiles>);
    type Error = BadClient;

    fn is_fixed(&self) -> bool {
        matches!(self.0.token, TokenSource::Fixed(_))
            && self.tls().is_none_or(TlsSettings::is_fixed)
    }

    fn read(&self) -> Result<(Self::Parts, ContentDigest), BadClient> {
        let token = self.0.token.read()?;
        let files = self.tls().map(TlsSettings::read).transpose()?;
        let mut digest = Sha256::new();
        digest.update(files.as_ref().map_or_else(ContentDigest::default, TlsFiles::digest));
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
