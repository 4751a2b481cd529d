//! RFC 3164, the older format: `<PRI>Mmm dd hh:mm:ss HOSTNAME TAG: MSG`.

use std::net::IpAddr;

use super::format_error::FormatError;
use super::message::{Parsed, field, is_printable, priority};
use super::structured::StructuredData;
use super::timestamp;

/// Longest TAG.
const MAX_TAG: usize = 32;

/// Parses one message without its framing.
///
/// A tag is letters and digits, then perhaps `[pid]`, then a colon and a space. What does not look so
/// has no tag, and all of it is the message: that is how `CEF:0|...` arrives whole.
///
/// # Errors
///
/// The first [`FormatError`], reading from the left.
pub fn rfc3164(bytes: &[u8]) -> Result<Parsed<'_>, FormatError> {
    // PRI, timestamp and host are ASCII; the message may be any octets.
    let ascii = bytes.iter().position(|byte| !byte.is_ascii()).unwrap_or(bytes.len());
    let text = bytes.get(..ascii).and_then(|head| str::from_utf8(head).ok()).unwrap_or("");
    let (pri, rest) = priority(text)?;
    let (timestamp, rest) = timestamp::rfc3164(rest)?;
    let (hostname, rest) = field(rest.strip_prefix(' ').ok_or(FormatError::Timestamp)?);
    if !is_hostname(hostname) {
        return Err(FormatError::Hostname);
    }
    let (app_name, procid, rest) = match tag(rest) {
        Some((name, pid, rest)) => (Some(name), pid, rest),
        None => (None, None, rest),
    };
    Ok(Parsed {
        pri,
        timestamp: Some(timestamp),
        hostname: Some(hostname),
        app_name,
        procid,
        msgid: None,
        structured_data: StructuredData::default(),
        bom: false,
        msg: bytes.get(text.len() - rest.len()..).unwrap_or_default(),
    })
}

/// Section 4.1.2: a name without its domain, or an address.
fn is_hostname(text: &str) -> bool {
    let has_domain = text.contains('.') && text.parse::<IpAddr>().is_err();
    !text.is_empty() && text.len() <= 255 && is_printable(text) && !has_domain
}

/// `TAG: ` or `TAG[PID]: `, and what follows.
fn tag(text: &str) -> Option<(&str, Option<&str>, &str)> {
    let length = text.bytes().take_while(u8::is_ascii_alphanumeric).count();
    if !(1..=MAX_TAG).contains(&length) {
        return None;
    }
    let (name, rest) = text.split_at_checked(length)?;
    if let Some(rest) = rest.strip_prefix(": ") {
        return Some((name, None, rest));
    }
    let (pid, rest) = rest.strip_prefix('[')?.split_once("]: ")?;
    Some((name, Some(pid), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tag_names_the_program_and_perhaps_its_process() {
        let read = |tail: &str| {
            let message = format!("<14>Nov 14 22:13:20 h {tail}").into_bytes();
            let kept = rfc3164(&message).unwrap().to_message();
            (kept.app_name, kept.procid, String::from_utf8(kept.msg).unwrap())
        };
        let some = |text: &str| Some(text.to_owned());

        assert_eq!(read("sls[42]: hello"), (some("sls"), some("42"), "hello".into()));
        assert_eq!(read("sls: 登录"), (some("sls"), None, "登录".into()));
        assert_eq!(read("CEF:0|A|B"), (None, None, "CEF:0|A|B".into()));
        assert_eq!(read("my-tag: x"), (None, None, "my-tag: x".into()));
    }

    #[test]
    fn a_host_name_comes_without_its_domain() {
        let with_host =
            |host| rfc3164(format!("<14>Nov 14 22:13:20 {host} t: m").as_bytes()).is_ok();
        assert!(with_host("fwd-1") && with_host("10.0.0.1") && with_host("fe80::1"));
        assert!(!with_host("fwd-1.example.com") && !with_host(""));
    }

    #[test]
    fn what_is_no_rfc_3164_is_refused() {
        for (message, flaw) in [
            ("<14>1 2023-11-14T22:13:20Z h a - - - m", FormatError::Timestamp),
            ("<14>Nov 14 22:13:20", FormatError::Timestamp),
            ("Nov 14 22:13:20 h t: m", FormatError::Priority),
        ] {
            assert_eq!(rfc3164(message.as_bytes()), Err(flaw), "{message}");
        }
    }

    proptest! {
        #[test]
        fn no_input_makes_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _any = rfc3164(&bytes);
            let _any = rfc3164(&[b"<14>Nov 14 22:13:20 ", &*bytes].concat());
        }
    }
}
