//! CreateProject and CreateLogstore; the consumer needs neither, tests and demos do.

use http::Method;
use serde_json::json;

use crate::call::Call;
use crate::client::Client;
use crate::error::Error;
use crate::names::LogstoreName;

/// Properties of a logstore to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLogstore {
    /// Its name.
    pub name: LogstoreName,
    /// Days until logs expire.
    pub ttl_days: u32,
    /// How many shards it begins with.
    pub shards: u32,
}

impl Client {
    /// Creates the client's project. Never repeated unless the first attempt surely had no effect.
    ///
    /// # Errors
    ///
    /// Refused with `ProjectAlreadyExist` (see [`Error::already_exists`]) or a quota.
    pub async fn create_project(&self, description: &str) -> Result<(), Error> {
        let body = json!({
            "projectName": self.project().as_str(),
            "description": description,
            "resourceGroupId": "",
        });
        let call = Call::new("CreateProject", "log:CreateProject", Method::POST, "/".into())
            .json(&body)
            .never_twice();
        self.fetch_nothing(&call).await
    }

    /// Creates a logstore. Never repeated unless the first attempt surely had no effect.
    ///
    /// # Errors
    ///
    /// Refused with `LogStoreAlreadyExist` (see [`Error::already_exists`]) or a quota.
    pub async fn create_logstore(&self, new: &NewLogstore) -> Result<(), Error> {
        let body = json!({
            "logstoreName": new.name.as_str(),
            "ttl": new.ttl_days,
            "shardCount": new.shards,
            "enable_tracking": false,
            "autoSplit": false,
            "maxSplitShard": 64,
            "appendMeta": false,
            "telemetryType": "",
        });
        let path = "/logstores".into();
        let call = Call::new("CreateLogstore", "log:CreateLogStore", Method::POST, path)
            .json(&body)
            .never_twice();
        self.fetch_nothing(&call).await
    }
}
