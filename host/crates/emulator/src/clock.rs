//! The emulator's idea of time, injected everywhere so that tests can move it.
//!
//! Nothing in [`crate::state`] reads a clock: every method that depends on time takes a
//! [`Timestamp`]. The server asks its [`Clock`], which follows the wall clock plus an offset. Moving
//! the offset is how a test lets consumers expire, or makes requests look skewed, without sleeping.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time: milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The time `millis` milliseconds after the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The time `seconds` seconds after the Unix epoch.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, the unit of receive times and shard creation times.
    pub const fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// Microseconds since the Unix epoch, the unit of a checkpoint's `updateTime`.
    pub const fn micros(self) -> u64 {
        self.0.saturating_mul(1000)
    }

    /// This time plus `duration`.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero if it lies in the future.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The distance to `other`, whichever is earlier.
    pub fn distance(self, other: Self) -> Duration {
        Duration::from_millis(self.0.abs_diff(other.0))
    }
}

/// The wall clock plus an offset that tests may move. Clones share the offset.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    offset_millis: Arc<AtomicI64>,
}

impl Clock {
    /// A clock that shows the machine's time until it is moved.
    pub fn system() -> Self {
        Self::default()
    }

    /// The current time, offset included.
    pub fn now(&self) -> Timestamp {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
        Timestamp(wall.saturating_add_signed(self.offset_millis.load(Ordering::Relaxed)))
    }

    /// Moves the clock forward: consumers that do not beat in between grow old at once.
    pub fn advance(&self, duration: Duration) {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        self.offset_millis.fetch_add(millis, Ordering::Relaxed);
    }

    /// Moves the clock back. Receive times stay non-decreasing all the same.
    pub fn set_back(&self, duration: Duration) {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        self.offset_millis.fetch_sub(millis, Ordering::Relaxed);
    }
}
