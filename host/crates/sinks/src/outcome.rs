//! What became of a body that was handed to a receiver, in words a pipeline can act on and a person
//! can read. Every protocol of this crate ends here, so that an adapter has one enum to translate.

use std::fmt;
use std::time::Duration;

/// The receiver's last word on one body.
///
/// Only [`Outcome::Delivered`] takes the rows off our hands. Nothing is lost under any of the others:
/// the caller still owns the body and decides when to send it again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "rows may be settled only on `Delivered`"]
pub enum Outcome {
    /// The receiver has taken responsibility for every row of the body.
    Delivered,
    /// Not now; the same bytes may well succeed later.
    Retry {
        /// The receiver asked for this pause, or a reconnect is not due before. At most
        /// [`MAX_RETRY_AFTER`].
        after: Option<Duration>,
        /// Why.
        cause: Cause,
    },
    /// Never, for this one row; the others are worth sending again.
    Reject {
        /// Position of the row in the body, from 0; always less than the body's row count.
        row: usize,
        /// Why.
        cause: Cause,
    },
    /// The body was refused whole without naming the row at fault, or it was too large: send
    /// its halves separately. A single row refused so is to be rejected.
    Divide {
        /// Why.
        cause: Cause,
    },
    /// Nothing from us will be taken until a person acts: keep the rows, ask again slowly.
    Hold {
        /// Why, and what the person should do.
        cause: Cause,
    },
}

/// Longest pause we let a receiver impose; a proxy that asks for a day must not stop delivery for one.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

impl Outcome {
    /// The cause, unless the rows were delivered.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Delivered => None,
            Self::Retry { cause, .. }
            | Self::Reject { cause, .. }
            | Self::Divide { cause }
            | Self::Hold { cause } => Some(cause),
        }
    }

    /// A word per case for a metric label.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retry { .. } => "retry",
            Self::Reject { .. } => "reject",
            Self::Divide { .. } => "divide",
            Self::Hold { .. } => "hold",
        }
    }
}

/// Why a body was not delivered: one word for a metric, one sentence for a person.
///
/// The sentence says what happened and where, what to do about it, and what becomes of the rows. It
/// never holds a token, and of a receiver's reply only a short printable piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    reason: &'static str,
    text: String,
    fate: &'static str,
}

impl Cause {
    /// `reason` is one of a small fixed set of `snake_case` words; `text` is the sentence.
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

    /// A bounded label for metrics, such as `token_refused`.
    pub fn reason(&self) -> &'static str {
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

/// At most `limit` bytes of a stranger's text, printable and on one line, for use inside a message.
pub(crate) fn excerpt(text: &str, limit: usize) -> String {
    let mut short = String::new();
    for c in text.trim().chars() {
        let c = if c.is_control() { ' ' } else { c };
        if short.len() + c.len_utf8() > limit {
            short.push_str("...");
            break;
        }
        short.push(c);
    }
    short
}

/// An error and everything that caused it, on one line. Adjacent repetitions are left out, since
/// several libraries print their source inside their own message.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let piece = inner.to_string();
        if !text.contains(&piece) {
            text.push_str(": ");
            text.push_str(&piece);
        }
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_printable_and_cut_between_characters() {
        assert_eq!(excerpt(" a\r\nb ", 10), "a  b");
        assert_eq!(excerpt("杭州杭州", 7), "杭州...");
    }

    #[test]
    fn a_chain_names_each_cause_once() {
        let inner = std::io::Error::other("peer closed");
        let outer = Cause::new("x", "sending: peer closed");
        assert_eq!(chain(&inner), "peer closed");
        assert_eq!(chain(&outer), "sending: peer closed");
    }
}
