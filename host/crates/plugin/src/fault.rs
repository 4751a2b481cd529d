//! What can go wrong in a call to a plugin, and how each case is recognised.
//!
//! A fault is always the guest's: it trapped, took too much, or asked for what it may not have. It costs the
//! instance, which is thrown away, and at worst the rows in hand; `repair.rs` finds out which.

use std::time::Duration;

use wasmtime::Trap;

/// Why a call to a plugin did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The guest panicked, aborted, overflowed its stack or broke the component model's rules.
    #[error("trapped: {0}")]
    Trapped(String),
    /// The guest used up its time.
    #[error(
        "ran out of time after {cpu:.1?} of CPU and {wall:.1?} on the clock; raise `limits.cpu` or `limits.wall` if it needs more"
    )]
    OutOfTime {
        /// CPU time of the thread since the call began, and what applying its edits will take.
        cpu: Duration,
        /// Time on the wall since the call began.
        wall: Duration,
    },
    /// The guest asked for edits that would take the host too long to apply.
    #[error(
        "asked for edits that may take {work:.1?} of CPU to apply, more than `limits.cpu`; raise it if it needs more"
    )]
    TooMuchWork {
        /// What they may take.
        work: Duration,
    },
    /// The guest asked for more memory than it may have, and did not survive the refusal.
    #[error("ran out of memory at {limit} bytes; raise `limits.memory` if it needs more")]
    OutOfMemory {
        /// The limit it met.
        limit: usize,
    },
    /// The guest asked for more output or work in the host than its slice allows.
    #[error("more than {limit} bytes of {what} for one slice")]
    Oversized {
        /// What there was too much of.
        what: &'static str,
        /// The limit it met.
        limit: usize,
    },
    /// An edit or a read that makes no sense: a row that does not exist, lists of different lengths.
    #[error("made a call that makes no sense: {0}")]
    BadCall(String),
    /// The guest used a power that the configuration does not grant it.
    #[error(
        "used `{power}`, which the configuration does not grant; add \"{grant}\" to `grants` of its transform if it may"
    )]
    NotGranted {
        /// The function of the contract that it called.
        power: &'static str,
        /// The name of the grant.
        grant: &'static str,
    },
    /// `process` or `configure` returned an error; the text is the plugin's own.
    #[error("refused: {0}")]
    Refused(String),
}

impl Fault {
    /// One word for metrics and dead letters.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Trapped(_) => "trapped",
            Self::OutOfTime { .. } | Self::TooMuchWork { .. } => "out_of_time",
            Self::OutOfMemory { .. } => "out_of_memory",
            Self::Oversized { .. } => "oversized",
            Self::BadCall(_) => "bad_call",
            Self::NotGranted { .. } => "not_granted",
            Self::Refused(_) => "refused",
        }
    }

    /// Reads what wasmtime reports. `memory_refused` is the limit that the guest met during the call, if it
    /// did: a guest that cannot allocate mostly panics, and the panic is not the cause.
    pub(crate) fn of_call(
        error: &wasmtime::Error,
        memory_refused: Option<usize>,
        output: usize,
    ) -> Self {
        if let Some(fault) = error.downcast_ref::<Self>() {
            return fault.clone();
        }
        if let Some(limit) = memory_refused {
            return Self::OutOfMemory { limit };
        }
        if let Some(trap) = error.downcast_ref::<Trap>() {
            return Self::Trapped(trap.to_string());
        }
        let text = format!("{error:#}");
        // wasmtime keeps the type of this error to itself.
        if text.contains("fuel allocated for hostcalls has been exhausted") {
            return Self::Oversized { what: "data in one call", limit: output };
        }
        Self::Trapped(shortened(&text, 500))
    }
}

/// The first `max` bytes of a text from a guest, cut between characters, fit for one line of a log: control
/// characters, with which a guest could forge lines or colours, are spelled out.
pub(crate) fn shortened(text: &str, max: usize) -> String {
    let mut line = String::with_capacity(text.len().min(max));
    for c in text.trim_end().chars() {
        if line.len() >= max {
            line.push('…');
            break;
        }
        if c.is_control() && c != '\t' {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_text_is_one_short_line() {
        assert_eq!(shortened("a\nb\u{1b}[31m\n", 100), "a\\nb\\u{1b}[31m");
        assert_eq!(shortened("äääää", 4), "ää…");
    }

    #[test]
    fn the_cause_is_reported_and_not_its_consequence() {
        let trap = || wasmtime::Error::from(Trap::UnreachableCodeReached);
        assert_eq!(Fault::of_call(&trap(), Some(7), 0), Fault::OutOfMemory { limit: 7 });
        assert_eq!(Fault::of_call(&trap(), None, 0).kind(), "trapped");
        let ours = Fault::NotGranted { power: "edits.emit", grant: "emit" };
        assert_eq!(Fault::of_call(&wasmtime::Error::new(ours.clone()), Some(7), 0), ours);
    }
}
