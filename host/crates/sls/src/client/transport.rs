//! The HTTP client underneath: HTTP/1.1 over rustls, no redirects, bounded waits.

use std::time::Duration;

use reqwest::Certificate;
use reqwest::redirect::Policy;

use super::ClientConfig;
use crate::error::ConfigError;

/// The service closes idle connections at about a minute; official clients give up at 55 s. Below that
/// we never send into a connection that is just being closed.
const IDLE: Duration = Duration::from_secs(50);

/// More headers than this is no answer of the service.
const MAX_HEADERS: usize = 100;

/// How requests leave the network.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proxy {
    /// As `http_proxy`, `https_proxy` and `no_proxy` say.
    Environment,
    /// Directly.
    None,
    /// Through this one, like `http://proxy.example.org:3128`.
    Url(String),
}

/// Everything that is needed to build the HTTP client, again if need be.
pub(super) struct Transport {
    /// Roots besides the system's; `None` when TLS is not used at all.
    trust: Option<Vec<Certificate>>,
    proxy: Proxy,
    connect_timeout: Duration,
    user_agent: String,
}

impl Transport {
    pub(super) fn new(config: &ClientConfig) -> Result<Self, ConfigError> {
        // reqwest panics where this is missing.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(ConfigError::NoTlsProvider);
        }
        let proxy = if config.endpoint.is_loopback() { Proxy::None } else { config.proxy.clone() };
        // Proxies may be https themselves, so only a direct plain connection needs no trust store.
        let plain = !config.endpoint.is_https() && proxy == Proxy::None;
        Ok(Self {
            trust: if plain { None } else { Some(read_roots(config)?) },
            proxy,
            connect_timeout: config.connect_timeout,
            user_agent: config.user_agent.clone(),
        })
    }

    pub(super) fn build(&self) -> Result<reqwest::Client, ConfigError> {
        let mut builder = reqwest::Client::builder()
            .http1_only()
            .http1_max_headers(MAX_HEADERS)
            .redirect(Policy::none())
            .referer(false)
            .pool_idle_timeout(IDLE)
            .connect_timeout(self.connect_timeout)
            .user_agent(&self.user_agent);
        builder = match &self.proxy {
            Proxy::Environment => builder,
            Proxy::None => builder.no_proxy(),
            Proxy::Url(url) => builder.proxy(reqwest::Proxy::all(url).map_err(ConfigError::Proxy)?),
        };
        builder = match &self.trust {
            Some(roots) => builder.tls_certs_merge(roots.iter().cloned()),
            // Containers without any system certificates must still reach a plain emulator.
            None => builder.tls_certs_only([]),
        };
        builder.build().map_err(ConfigError::Http)
    }
}

fn read_roots(config: &ClientConfig) -> Result<Vec<Certificate>, ConfigError> {
    let Some(path) = &config.ca_file else { return Ok(Vec::new()) };
    let pem =
        std::fs::read(path).map_err(|source| ConfigError::CaFile { path: path.clone(), source })?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(roots) if !roots.is_empty() => Ok(roots),
        _ => Err(ConfigError::CaContents { path: path.clone() }),
    }
}
