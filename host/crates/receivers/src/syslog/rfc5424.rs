//! RFC 5424, read strictly: what a lenient receiver would repair is reported here.

use super::format_error::FormatError;
use super::message::{Parsed, field, is_printable, priority};
use super::structured::StructuredData;
use super::timestamp;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Parses one message without its framing.
///
/// # Errors
///
/// The first [`FormatError`], reading from the left.
pub fn rfc5424(bytes: &[u8]) -> Result<Parsed<'_>, FormatError> {
    // Everything before MSG is text; MSG may be any octets.
    let text = leading_text(bytes);
    let (pri, rest) = priority(text)?;
    let rest = rest.strip_prefix("1 ").ok_or(FormatError::Version)?;
    let (stamp, rest) = field(rest);
    let timestamp = if stamp == "-" { None } else { Some(timestamp::rfc5424(stamp)?) };
    let (hostname, rest) = header(rest, 255, FormatError::Hostname)?;
    let (app_name, rest) = header(rest, 48, FormatError::AppName)?;
    let (procid, rest) = header(rest, 128, FormatError::ProcId)?;
    let (msgid, rest) = header(rest, 32, FormatError::MsgId)?;
    let (structured_data, rest) = StructuredData::read(rest)?;
    // Counted from the start, since `rest` may stop short of octets that are not text.
    let msg = bytes.get(text.len() - rest.len()..).unwrap_or_default();
    let msg = match msg {
        [] => msg,
        [b' ', msg @ ..] => msg,
        _ => return Err(FormatError::StructuredData),
    };
    let (bom, msg) = match msg.strip_prefix(BYTE_ORDER_MARK) {
        Some(marked) if str::from_utf8(marked).is_err() => return Err(FormatError::Encoding),
        Some(marked) => (true, marked),
        None => (false, msg),
    };
    Ok(Parsed { pri, timestamp, hostname, app_name, procid, msgid, structured_data, bom, msg })
}

/// The longest prefix that is UTF-8.
fn leading_text(bytes: &[u8]) -> &str {
    match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => bytes
            .get(..error.valid_up_to())
            .and_then(|prefix| str::from_utf8(prefix).ok())
            .unwrap_or(""),
    }
}

/// A header field of 1 to `longest` printable characters; `-` is none.
fn header(
    text: &str,
    longest: usize,
    flaw: FormatError,
) -> Result<(Option<&str>, &str), FormatError> {
    let (value, rest) = field(text);
    if value.is_empty() || value.len() > longest || !is_printable(value) {
        return Err(flaw);
    }
    Ok(((value != "-").then_some(value), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &str = "<14>1 2023-11-14T22:13:20Z h a 42 m ";

    fn parsed(tail: &[u8]) -> Result<Vec<u8>, FormatError> {
        rfc5424(&[HEAD.as_bytes(), tail].concat()).map(|message| message.msg.to_vec())
    }

    #[test]
    fn a_message_may_be_absent_or_any_octets() {
        assert_eq!(parsed(b"-"), Ok(vec![]));
        assert_eq!(parsed(b"- "), Ok(vec![]));
        assert_eq!(parsed(b"- \xff\x00\n"), Ok(vec![0xff, 0, b'\n']));
        assert_eq!(parsed(b"- \xef\xbb\xbfok"), Ok(b"ok".to_vec()), "the mark is not part of it");
        assert_eq!(parsed(b"- \xef\xbb\xbf\xff"), Err(FormatError::Encoding));
    }

    #[test]
    fn structured_data_is_unescaped() {
        let message =
            [HEAD, r#"[sls@32473 q="say \"hi\"" b="C:\\tmp"][e][f x="1" x="\]"] m"#].concat();
        let message = rfc5424(message.as_bytes()).unwrap();

        assert_eq!(message.param("sls@32473", "q").as_deref(), Some(r#"say "hi""#));
        assert_eq!(message.param("sls@32473", "b").as_deref(), Some(r"C:\tmp"));
        assert_eq!(message.param("sls@32473", "x"), None);
        let kept = message.to_message();
        assert_eq!(kept.structured_data.len(), 3);
        assert_eq!(kept.structured_data[2].params[1], ("x".to_owned(), "]".to_owned()));
        assert_eq!((kept.facility(), kept.severity(), &*kept.text()), (1, 6, "m"));
    }

    #[test]
    fn each_departure_from_the_grammar_is_named() {
        let long = |length| "x".repeat(length);
        let head = |fields: &str| format!("<14>1 {fields} - x");
        for (message, flaw) in [
            (String::new(), FormatError::Priority),
            ("14>1 - - - - - -".into(), FormatError::Priority),
            ("<192>1 - - - - - -".into(), FormatError::Priority),
            ("<014>1 - - - - - -".into(), FormatError::Priority),
            ("<00>1 - - - - - -".into(), FormatError::Priority),
            ("<>1 - - - - - -".into(), FormatError::Priority),
            ("<+1>1 - - - - - -".into(), FormatError::Priority),
            ("<14>2 - - - - - -".into(), FormatError::Version),
            ("<14>Nov 14 22:13:20 h t: m".into(), FormatError::Version),
            (head("yesterday - - - -"), FormatError::Timestamp),
            (head(" - - - -"), FormatError::Timestamp),
            (head(&format!("- {} - - -", long(256))), FormatError::Hostname),
            (head("- é - - -"), FormatError::Hostname),
            (head(&format!("- - {} - -", long(49))), FormatError::AppName),
            (head(&format!("- - - {} -", long(129))), FormatError::ProcId),
            (head(&format!("- - - - {}", long(33))), FormatError::MsgId),
            ("<14>1 - - - -".into(), FormatError::MsgId),
            ("<14>1 - - - - -".into(), FormatError::StructuredData),
            (format!("{HEAD}x"), FormatError::StructuredData),
            (format!("{HEAD}-x"), FormatError::StructuredData),
            (format!("{HEAD}[a]x"), FormatError::StructuredData),
            (format!("{HEAD}[] m"), FormatError::Name),
            (format!("{HEAD}[{}] m", long(33)), FormatError::Name),
            (format!("{HEAD}[a b] m"), FormatError::StructuredData),
            (format!("{HEAD}[a b=\"c\""), FormatError::StructuredData),
            (format!("{HEAD}[a b=\"]\"] m"), FormatError::Value),
            (format!("{HEAD}[a b=\"\\n\"] m"), FormatError::Value),
            (format!("{HEAD}[a b=\"c] m"), FormatError::Value),
            (format!("{HEAD}[a b=\"1\"][a c=\"2\"] m"), FormatError::RepeatedId),
        ] {
            assert_eq!(rfc5424(message.as_bytes()), Err(flaw), "{message}");
        }
        // Two elements apart are no error: the second is text.
        assert_eq!(parsed(b"[a] [b]"), Ok(b"[b]".to_vec()));
    }

    proptest! {
        #[test]
        fn no_input_makes_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _any = rfc5424(&bytes);
            let _any = rfc5424(&[HEAD.as_bytes(), b"[", &bytes].concat());
        }

        #[test]
        fn any_value_escaped_by_the_rule_comes_back(value in "\\PC{0,20}") {
            let escaped = value.replace('\\', r"\\").replace('"', "\\\"").replace(']', r"\]");
            let message = format!("{HEAD}[a b=\"{escaped}\"] m");
            let message = rfc5424(message.as_bytes()).unwrap();
            prop_assert_eq!(message.param("a", "b").unwrap(), value);
        }
    }
}
