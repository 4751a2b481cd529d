//! RFC 5424, read strictly: what a lenient receiver would repair is reported here.

use super::flaw::Flaw;
use super::message::{Parsed, field, is_printable, priority};
use super::structured::StructuredData;
use super::timestamp;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Parses one message without its framing.
///
/// # Errors
///
/// The first [`Flaw`], reading from the left.
pub fn rfc5424(bytes: &[u8]) -> Result<Parsed<'_>, Flaw> {
    // Everything before MSG is text; MSG may be any octets.
    let text = leading_text(bytes);
    let (pri, rest) = priority(text)?;
    let rest = rest.strip_prefix("1 ").ok_or(Flaw::Version)?;
    let (stamp, rest) = field(rest);
    let timestamp = if stamp == "-" { None } else { Some(timestamp::rfc5424(stamp)?) };
    let (hostname, rest) = header(rest, 255, Flaw::Hostname)?;
    let (app_name, rest) = header(rest, 48, Flaw::AppName)?;
    let (procid, rest) = header(rest, 128, Flaw::ProcId)?;
    let (msgid, rest) = header(rest, 32, Flaw::MsgId)?;
    let (structured_data, rest) = StructuredData::read(rest)?;
    // Counted from the start, since `rest` may stop short of octets that are not text.
    let msg = bytes.get(text.len() - rest.len()..).unwrap_or_default();
    let msg = match msg {
        [] => msg,
        [b' ', msg @ ..] => msg,
        _ => return Err(Flaw::StructuredData),
    };
    let (bom, msg) = match msg.strip_prefix(BYTE_ORDER_MARK) {
        Some(marked) if str::from_utf8(marked).is_err() => return Err(Flaw::Encoding),
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
fn header(text: &str, longest: usize, flaw: Flaw) -> Result<(Option<&str>, &str), Flaw> {
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

    fn parsed(tail: &[u8]) -> Result<Vec<u8>, Flaw> {
        rfc5424(&[HEAD.as_bytes(), tail].concat()).map(|message| message.msg.to_vec())
    }

    #[test]
    fn a_message_may_be_absent_or_any_octets() {
        assert_eq!(parsed(b"-"), Ok(vec![]));
        assert_eq!(parsed(b"- "), Ok(vec![]));
        assert_eq!(parsed(b"- \xff\x00\n"), Ok(vec![0xff, 0, b'\n']));
        assert_eq!(parsed(b"- \xef\xbb\xbfok"), Ok(b"ok".to_vec()), "the mark is not part of it");
        assert_eq!(parsed(b"- \xef\xbb\xbf\xff"), Err(Flaw::Encoding));
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
            (String::new(), Flaw::Priority),
            ("14>1 - - - - - -".into(), Flaw::Priority),
            ("<192>1 - - - - - -".into(), Flaw::Priority),
            ("<014>1 - - - - - -".into(), Flaw::Priority),
            ("<00>1 - - - - - -".into(), Flaw::Priority),
            ("<>1 - - - - - -".into(), Flaw::Priority),
            ("<+1>1 - - - - - -".into(), Flaw::Priority),
            ("<14>2 - - - - - -".into(), Flaw::Version),
            ("<14>Nov 14 22:13:20 h t: m".into(), Flaw::Version),
            (head("yesterday - - - -"), Flaw::Timestamp),
            (head(" - - - -"), Flaw::Timestamp),
            (head(&format!("- {} - - -", long(256))), Flaw::Hostname),
            (head("- é - - -"), Flaw::Hostname),
            (head(&format!("- - {} - -", long(49))), Flaw::AppName),
            (head(&format!("- - - {} -", long(129))), Flaw::ProcId),
            (head(&format!("- - - - {}", long(33))), Flaw::MsgId),
            ("<14>1 - - - -".into(), Flaw::MsgId),
            ("<14>1 - - - - -".into(), Flaw::StructuredData),
            (format!("{HEAD}x"), Flaw::StructuredData),
            (format!("{HEAD}-x"), Flaw::StructuredData),
            (format!("{HEAD}[a]x"), Flaw::StructuredData),
            (format!("{HEAD}[] m"), Flaw::Name),
            (format!("{HEAD}[{}] m", long(33)), Flaw::Name),
            (format!("{HEAD}[a b] m"), Flaw::StructuredData),
            (format!("{HEAD}[a b=\"c\""), Flaw::StructuredData),
            (format!("{HEAD}[a b=\"]\"] m"), Flaw::Value),
            (format!("{HEAD}[a b=\"\\n\"] m"), Flaw::Value),
            (format!("{HEAD}[a b=\"c] m"), Flaw::Value),
            (format!("{HEAD}[a b=\"1\"][a c=\"2\"] m"), Flaw::RepeatedId),
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
