//! Temporary keys of the RAM role that an ECS instance plays, from the instance's metadata service.
//!
//! The service answers on a link-local address in plain HTTP, without a proxy. In its hardened mode it wants a
//! token that is asked for with `PUT`; in its normal mode there is none, and none is needed
//! (Alibaba Cloud, "Instance metadata" and "Instance RAM roles").

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Method, Response, StatusCode};

use crate::access_key::AccessKey;
use crate::credentials::error::CredentialsError;
use crate::error::Chain;

/// Where an ECS instance finds its metadata service.
pub const METADATA: &str = "http://100.100.100.200";

/// The service is on the same host, so one that takes longer is not there.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long a token of the hardened mode is asked to last. It is used once.
const TOKEN_SECONDS: &str = "60";

/// No answer of the service is longer.
const MAX_ANSWER: usize = 64 * 1024;

/// A role and the service that hands out its keys.
#[derive(Debug)]
pub struct RamRole {
    role: String,
    metadata: String,
    http: reqwest::Client,
}

impl RamRole {
    /// The role that `metadata`, such as [`METADATA`], hands out keys for. Asks nothing yet.
    ///
    /// # Errors
    ///
    /// The HTTP client cannot be built.
    pub fn new(role: impl Into<String>, metadata: &str) -> Result<Self, CredentialsError> {
        let role = role.into();
        let http = reqwest::Client::builder()
            .http1_only()
            .no_proxy()
            .redirect(Policy::none())
            .tls_certs_only([])
            .timeout(TIMEOUT)
            .build();
        match http {
            Ok(http) => {
                Ok(Self { role, metadata: metadata.trim_end_matches('/').to_owned(), http })
            }
            Err(source) => Err(CredentialsError::NoRole { role, why: Chain(&source).to_string() }),
        }
    }

    /// Asks for the key in force.
    pub(crate) async fn key(&self) -> Result<AccessKey, CredentialsError> {
        self.ask().await.map_err(|refusal| {
            let role = self.role.clone();
            match refusal {
                NoKey::NoRole(why) => CredentialsError::NoRole { role, why },
                NoKey::Unanswered(why) => CredentialsError::Unanswered { role, why },
            }
        })
    }

    async fn ask(&self) -> Result<AccessKey, NoKey> {
        let address =
            format!("{}/latest/meta-data/ram/security-credentials/{}", self.metadata, self.role);
        let mut request = self.http.get(&address);
        if let Some(token) = self.token().await? {
            request = request.header("X-aliyun-ecs-metadata-token", token);
        }
        let answer = request.send().await.map_err(unanswered)?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => {
                return Err(NoKey::NoRole(format!(
                    "`{address}` knows no such role; attach the role to the instance"
                )));
            }
            status if status.is_server_error() => {
                return Err(NoKey::Unanswered(format!("`{address}` answered {status}")));
            }
            status => return Err(NoKey::NoRole(format!("`{address}` answered {status}"))),
        }
        AccessKey::from_json(&body(answer).await?)
            .ok_or_else(|| NoKey::Unanswered(format!("`{address}` answered without a key")))
    }

    /// A token of the hardened mode, if the service has that mode.
    async fn token(&self) -> Result<Option<String>, NoKey> {
        let request = self
            .http
            .request(Method::PUT, format!("{}/latest/api/token", self.metadata))
            .header("X-aliyun-ecs-metadata-token-ttl-seconds", TOKEN_SECONDS);
        let answer = request.send().await.map_err(unanswered)?;
        if answer.status() != StatusCode::OK {
            return Ok(None);
        }
        let token = String::from_utf8(body(answer).await?).ok();
        // What cannot be a header value is not a token.
        Ok(token
            .filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())))
    }
}

/// Why there is no key.
enum NoKey {
    /// The service has none for us.
    NoRole(String),
    /// It does not answer, or not soundly.
    Unanswered(String),
}

fn unanswered(error: reqwest::Error) -> NoKey {
    NoKey::Unanswered(Chain(&error).to_string())
}

async fn body(mut answer: Response) -> Result<Vec<u8>, NoKey> {
    let mut whole = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(unanswered)? {
        whole.extend_from_slice(&part);
        if whole.len() > MAX_ANSWER {
            let text = format!("the metadata service answered more than {MAX_ANSWER} bytes");
            return Err(NoKey::Unanswered(text));
        }
    }
    Ok(whole)
}
