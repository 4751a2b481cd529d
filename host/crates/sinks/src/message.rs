//! Pieces of messages: what others said, made fit for one line.

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

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Outer {
        text: &'static str,
        #[source]
        inner: std::io::Error,
    }

    #[test]
    fn an_excerpt_is_short_printable_and_cut_between_characters() {
        assert_eq!(excerpt(" a\r\nb ", 10), "a  b");
        assert_eq!(excerpt("杭州杭州", 7), "杭州...");
    }

    #[test]
    fn a_chain_names_each_cause_once() {
        let inner = std::io::Error::other("peer closed");
        assert_eq!(chain(&inner), "peer closed");
        let outer = Outer { text: "sending: peer closed", inner };
        assert_eq!(chain(&outer), "sending: peer closed");
        let outer = Outer { text: "sending", ..outer };
        assert_eq!(chain(&outer), "sending: peer closed");
    }
}
