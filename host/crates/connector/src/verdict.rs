//! What became of a body, in words that the core can act on and a person can read.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;

/// A sink's answer to one request.
#[derive(Debug)]
#[must_use = "rows may be settled only on `Delivered`"]
pub enum Answer {
    /// The receiver has said its last word about the body.
    Decided(Verdict),
    /// The receiver has the rows and has not yet confirmed that it is responsible for them. The request is over, so
    /// the next may begin; the rows are settled when the confirmation comes. In order (`ordered`), later rows of the
    /// shard may follow: a sink that accepts rows repeats them in order by itself, or does not answer so.
    Accepted(Confirmation),
}

impl From<Verdict> for Answer {
    fn from(verdict: Verdict) -> Self {
        Self::Decided(verdict)
    }
}

/// The verdict that is still to come about rows that the receiver has accepted.
///
/// Until it is [`Verdict::Delivered`] the rows are ours: they are not settled, and no checkpoint passes them. One
/// that is dropped settles nothing.
pub struct Confirmation(BoxFuture<'static, Verdict>);

impl Confirmation {
    /// `proof` resolves to what the receiver finally says. Anything but [`Verdict::Delivered`] is treated like the
    /// answer to a request: after [`Verdict::Retry`] the rows are sent again.
    pub fn new(proof: impl Future<Output = Verdict> + Send + 'static) -> Self {
        Self(Box::pin(proof))
    }

    /// Waits for the verdict.
    pub async fn verdict(self) -> Verdict {
        self.0.await
    }
}

impl fmt::Debug for Confirmation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Confirmation").finish_non_exhaustive()
    }
}

/// A receiver's last word on one body.
///
/// Only [`Verdict::Delivered`] takes the rows off our hands; nothing is lost under any of the others. The core
/// never gives a retry up, and believes a refusal only when the same receiver has accepted something else meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "rows may be settled only on `Delivered`"]
pub enum Verdict {
    /// The receiver has taken responsibility for every row of the body.
    Delivered,
    /// Not now; the same bytes may succeed later.
    Retry {
        /// The pause that the receiver asked for, or before which a new connection is not due.
        after: Option<Duration>,
        /// Why.
        cause: Cause,
    },
    /// Not these rows, as the receiver says; the rest of the body is worth sending.
    Reject {
        /// Rows of the body, counted from zero.
        rows: Vec<usize>,
        /// Why.
        cause: Cause,
    },
    /// Too large, or refused without naming the row at fault: send parts of it.
    Divide {
        /// Why.
        cause: Cause,
    },
    /// Nothing from us will be taken until an operator acts: keep the rows, ask again slowly.
    Hold {
        /// Why, and what the operator should do.
        cause: Cause,
    },
}

impl Verdict {
    /// The cause, unless the rows were delivered.
    pub const fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Delivered => None,
            Self::Retry { cause, .. }
            | Self::Reject { cause, .. }
            | Self::Divide { cause }
            | Self::Hold { cause } => Some(cause),
        }
    }

    /// A word per case, for log lines.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retry { .. } => "retry",
            Self::Reject { .. } => "reject",
            Self::Divide { .. } => "divide",
            Self::Hold { .. } => "hold",
        }
    }
}

/// Why rows were not delivered: one word for a metric, one sentence for a person.
///
/// The sentence says what happened and where, what to do about it, and what becomes of the rows. It never holds a
/// token, and of a receiver's reply only a short printable piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    reason: &'static str,
    text: String,
    fate: &'static str,
}

impl Cause {
    /// `reason` is one of a small fixed set of `snake_case` words, such as `token_refused`, since refusals are counted
    /// by it; `text` is the sentence.
    pub fn new(reason: &'static str, text: impl Into<String>) -> Self {
        Self { reason, text: text.into(), fate: "" }
    }

    /// Adds what becomes of the rows that were sent.
    #[must_use]
    pub fn with_fate(self, fate: &'static str) -> Self {
        Self { fate, ..self }
    }

    /// The sentence without what becomes of rows: for a check, which sends none.
    pub fn fact(&self) -> &str {
        &self.text
    }

    /// The word.
    pub const fn reason(&self) -> &'static str {
        self.reason
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if self.fate.is_empty() { Ok(()) } else { write!(f, "; {}", self.fate) }
    }
}

impl std::error::Error for Cause {}
