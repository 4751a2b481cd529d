//! `timeout`: how long a sink waits for its receiver.

use std::time::Duration;

use super::raw::{Context, Section};

const SECOND: Duration = Duration::from_secs(1);

/// For a connection to stand, TLS included.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a sink waits.
pub(super) struct Timeouts {
    /// For a connection to stand; not longer than for the rest.
    pub(super) connect: Duration,
    /// For a request and its reply, or for a write to make any progress.
    pub(super) request: Duration,
}

impl Timeouts {
    /// Reads `timeout`.
    pub(super) fn read(section: &mut Section, default: Duration, cx: &mut Context<'_>) -> Self {
        let found = section.duration("timeout", SECOND..=3600 * SECOND, cx);
        let request = found.map_or(default, |found| found.value);
        Self { connect: CONNECT.min(request), request }
    }
}
