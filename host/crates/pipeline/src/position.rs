//! Where in a shard we are, in the one word that the core knows for it.

use std::fmt;
use std::sync::Arc;

/// A shard of a source. Names a stream of batches in metrics, log lines and safe points.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId {
    /// Name of the source in the configuration.
    pub source: Arc<str>,
    /// Number of the shard within the source.
    pub shard: u32,
}

impl ShardId {
    /// The shard `shard` of the source named `source`.
    pub fn new(source: impl Into<Arc<str>>, shard: u32) -> Self {
        Self { source: source.into(), shard }
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.source, self.shard)
    }
}

/// "Pull from here next", in the words of the source. Only the source's adapter knows what they mean.
///
/// Positions can be compared for equality and nothing else: which of two comes first is known from the order
/// in which they were pulled, never from what is written in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position(Arc<str>);

impl Position {
    /// Wraps what the source needs in order to resume.
    pub fn new(resume_from: impl Into<Arc<str>>) -> Self {
        Self(resume_from.into())
    }

    /// What the source said, unchanged.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
