//! How a value is sent.

/// How the value of a field is sent, where the destination can distinguish them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As text.
    Text,
    /// As the JSON value that it spells: an object inside the event, not a string with quotes in it.
    Json,
}
