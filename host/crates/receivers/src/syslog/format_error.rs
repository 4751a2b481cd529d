//! What a strict reader finds wrong with a message.

/// What is wrong with a message that does not follow its RFC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// PRI.
    #[error("does not begin with `<PRI>`, PRI being 0 to 191 without leading zeros")]
    Priority,
    /// VERSION (RFC 5424).
    #[error("the version after `<PRI>` is not `1`")]
    Version,
    /// TIMESTAMP.
    #[error("the timestamp breaks the format; see RFC 5424 section 6.2.3, RFC 3164 section 4.1.2")]
    Timestamp,
    /// HOSTNAME.
    #[error("the host name is empty, too long, or not printable ASCII; in RFC 3164, a domain name")]
    Hostname,
    /// APP-NAME (RFC 5424).
    #[error("APP-NAME is empty, longer than 48, or not printable ASCII")]
    AppName,
    /// PROCID (RFC 5424).
    #[error("PROCID is empty, longer than 128, or not printable ASCII")]
    ProcId,
    /// MSGID (RFC 5424).
    #[error("MSGID is empty, longer than 32, or not printable ASCII")]
    MsgId,
    /// STRUCTURED-DATA (RFC 5424).
    #[error("structured data is neither `-` nor elements of the form `[id name=\"value\"]`")]
    StructuredData,
    /// An SD-ID or PARAM-NAME (RFC 5424).
    #[error(
        "a name in structured data is empty, longer than 32, or holds `=`, `]`, `\"` or a space"
    )]
    Name,
    /// A PARAM-VALUE (RFC 5424).
    #[error("a value in structured data has a bare `]`, a bad escape, or no end")]
    Value,
    /// The same SD-ID twice (RFC 5424).
    #[error("an SD-ID occurs twice in one message")]
    RepeatedId,
    /// MSG (RFC 5424).
    #[error("the message announces UTF-8 by a byte order mark and is not UTF-8")]
    Encoding,
}
