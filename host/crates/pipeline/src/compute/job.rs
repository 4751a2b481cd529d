//! A piece of work on bytes.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tracing::error;

use crate::transform::{Transform, TransformFactory};

pub(super) type Work = Box<dyn FnOnce(&mut dyn Transform) + Send>;

/// On whose behalf work is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Client {
    /// Blocks of a source.
    Source(Arc<str>),
    /// Bodies for a sink.
    Sink(Arc<str>),
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(name) => write!(f, "source {name}"),
            Self::Sink(name) => write!(f, "sink {name}"),
        }
    }
}

/// A job in the queue, and its place there, which is free again when the job starts.
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) place: Option<OwnedSemaphorePermit>,
}

/// Runs one job. A panic costs the job and the transform it had in hand, nothing else.
pub(super) fn run(work: Work, transform: &mut Box<dyn Transform>, factory: &TransformFactory) {
    if catch_unwind(AssertUnwindSafe(|| work(&mut **transform))).is_err() {
        error!("a compute job panicked; its shard holds, nothing was lost");
        *transform = factory();
    }
}
