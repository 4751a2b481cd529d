//! PutLogs: one encoded log group, packed. Only tests, demos and the load generator write.

use bytes::Bytes;
use http::{HeaderValue, Method};

use crate::call::Call;
use crate::client::Client;
use crate::error::Error;
use crate::names::LogstoreName;
use crate::wire::{Compression, compress_lz4};

/// Which shard gets the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutTarget<'a> {
    /// Whichever the service picks.
    Balanced,
    /// The one whose range holds this key: 32 hexadecimal digits.
    Key(&'a str),
}

impl Client {
    /// Writes one log group, encoded by the caller. Not idempotent, so it is repeated only when the
    /// first attempt surely had no effect.
    ///
    /// # Errors
    ///
    /// Refused with `PostBodyInvalid`, `PostBodyTooLarge`, `InvalidEncoding`, or a write quota.
    pub async fn put_logs(
        &self,
        logstore: &LogstoreName,
        target: PutTarget<'_>,
        log_group: &[u8],
        compression: Compression,
    ) -> Result<(), Error> {
        let route = match target {
            PutTarget::Balanced => "lb",
            PutTarget::Key(_) => "route",
        };
        let path = format!("/logstores/{logstore}/shards/{route}");
        let body = match compression {
            Compression::Plain => Bytes::copy_from_slice(log_group),
            Compression::Lz4 => compress_lz4(log_group).into(),
        };
        let mut call = Call::new("PutLogs", "log:PostLogStoreLogs", Method::POST, path)
            .body(body, log_group.len(), "application/x-protobuf")
            .never_twice();
        if compression == Compression::Lz4 {
            call = call.header("x-log-compresstype", HeaderValue::from_static("lz4"));
        }
        if let PutTarget::Key(key) = target {
            call = call.param("key", key);
        }
        self.fetch_nothing(&call).await
    }
}
