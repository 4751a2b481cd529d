//! The HTTP client underneath: HTTP/1.1 over rustls, no redirects, bounded waits.

use std::io;
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use reqwest::Certificate;
use reqwest::redirect::Policy;

use super::ClientConfig;
use crate::error::{Chain, ConfigError};

/// The service closes idle connections at about a minute; official clients give up at 55 s. Below that
/// we never send into a connection that is just being closed.
const IDLE: Duration = Duration::from_secs(50);

/// More headers than this is not an answer of the service.
const MAX_HEADERS: usize = 100;

/// Everything that is needed to build the HTTP client, again if need be.
pub(super) struct Transport {
    /// Whether TLS is not used at all.
    plain: bool,
    /// Roots besides the system's.
    ca_file: Option<PathBuf>,
    /// Whether no proxy is used: for loopback endpoints. Others follow `http_proxy`, `https_proxy` and `no_proxy`.
    direct: bool,
    connect_timeout: Duration,
    user_agent: String,
}

impl Transport {
    pub(super) fn new(config: &ClientConfig) -> Result<Self, ConfigError> {
        // reqwest panics where this is missing.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(ConfigError::NoTlsProvider);
        }
        let direct = config.endpoint.is_loopback();
        // Proxies may be https themselves, so only a direct plain connection needs no trust store.
        let plain = !config.endpoint.is_https() && direct;
        Ok(Self {
            plain,
            ca_file: config.ca_file.clone().filter(|_| !plain),
            direct,
            connect_timeout: config.connect_timeout,
            user_agent: config.user_agent.clone(),
        })
    }

    /// Connections of their own; reads the roots. Blocks on a small file.
    pub(super) fn connections(&self) -> Result<Connections, ConfigError> {
        let pem = match &self.ca_file {
            None => Vec::new(),
            Some(path) => forwarder_keyfile::read(path)
                .map_err(|source| ConfigError::CaFile { path: path.clone(), source })?,
        };
        let http = self.build(&pem)?;
        Ok(Connections { state: RwLock::new(State { http, pem }) })
    }

    fn build(&self, pem: &[u8]) -> Result<reqwest::Client, ConfigError> {
        let mut builder = reqwest::Client::builder()
            .http1_only()
            .http1_max_headers(MAX_HEADERS)
            .redirect(Policy::none())
            .referer(false)
            .pool_idle_timeout(IDLE)
            .connect_timeout(self.connect_timeout)
            .user_agent(&self.user_agent);
        if self.direct {
            builder = builder.no_proxy();
        }
        builder = if self.plain {
            // Containers without any system certificates must still reach a plain emulator.
            builder.tls_certs_only([])
        } else {
            builder.tls_certs_merge(self.roots(pem)?)
        };
        builder.build().map_err(ConfigError::Http)
    }

    fn roots(&self, pem: &[u8]) -> Result<Vec<Certificate>, ConfigError> {
        let Some(path) = &self.ca_file else { return Ok(Vec::new()) };
        match Certificate::from_pem_bundle(pem) {
            Ok(roots) if !roots.is_empty() => Ok(roots),
            _ => Err(ConfigError::CaContents { path: path.clone() }),
        }
    }
}

/// The HTTP client in force, and the roots that it was made with.
pub(super) struct Connections {
    state: RwLock<State>,
}

struct State {
    http: reqwest::Client,
    pem: Vec<u8>,
}

impl Connections {
    pub(super) fn current(&self) -> reqwest::Client {
        self.state.read().unwrap_or_else(PoisonError::into_inner).http.clone()
    }

    /// Reads the CA file again, after a connection could not be made; new contents count from the next
    /// attempt on, and what cannot be used changes nothing. Callers wait between attempts.
    pub(super) async fn renew(&self, transport: &Transport) {
        let Some(path) = &transport.ca_file else { return };
        let file = path.clone();
        let reading = tokio::task::spawn_blocking(move || forwarder_keyfile::read(&file));
        let renewed = match reading.await.unwrap_or_else(|stopped| Err(io::Error::other(stopped))) {
            Ok(pem) if pem == self.state.read().unwrap_or_else(PoisonError::into_inner).pem => {
                return;
            }
            Ok(pem) => transport.build(&pem).map(|http| State { http, pem }),
            Err(source) => Err(ConfigError::CaFile { path: path.clone(), source }),
        };
        match renewed {
            Ok(state) => {
                *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
                tracing::info!(ca_file = %path.display(), "the CA file has changed, using the new one");
            }
            Err(error) => {
                let error = Chain(&error);
                tracing::warn!(%error, "the CA file cannot be used as it is now; continuing with its earlier contents");
            }
        }
    }
}
