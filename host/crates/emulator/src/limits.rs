//! The service's limits, as far as the emulator enforces them.

use std::time::Duration;

/// What the emulator accepts and returns at most. Defaults are the service's documented limits.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Uncompressed bytes of one pull response; one group is returned whatever its size. No page gives
    /// the service's figure; 10 MB is what its clients plan for.
    pub max_pull_bytes: usize,
    /// Uncompressed bytes of one PutLogs body.
    pub max_put_bytes: usize,
    /// Logs of one PutLogs body.
    pub max_put_logs: usize,
    /// Bytes of keys and values of one log put.
    pub max_log_bytes: usize,
    /// Bytes of one key put.
    pub max_key_bytes: usize,
    /// How old a log may be when it is put; `None` takes any age.
    pub max_log_age: Option<Duration>,
    /// Packed pull responses kept for the next time, in bytes.
    pub block_cache_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_pull_bytes: 10_000_000,
            max_put_bytes: 5 * 1024 * 1024,
            max_put_logs: 4096,
            max_log_bytes: 1024 * 1024,
            max_key_bytes: 128,
            max_log_age: Some(Duration::from_secs(168 * 60 * 60)),
            block_cache_bytes: 256 * 1024 * 1024,
        }
    }
}
