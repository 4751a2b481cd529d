//! JSON as text: found, checked and changed in place, without a parse tree.
//!
//! Audit logs carry JSON inside a field. What is asked of it is mostly one member, so the value is found by
//! skipping over what comes before it. A lookup reads no further than its hit; [`is_valid`] reads everything.

mod escape;
mod scan;
mod splice;

pub use escape::{
    escape_into, is_unseen, may_begin_unseen, push_number, push_string, push_verbatim, text_of,
};
pub use splice::{remove, set};

use scan::{Entries, Scan};

/// The text is not JSON, or the path leads through something that has no members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not JSON, or no such path in it")]
pub struct JsonPathError;

/// Whether the text is exactly one JSON value (RFC 8259), nested at most 127 deep.
pub fn is_valid(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() && !is_too_deep(text)
}

/// How deep JSON may be nested: most parsers, serde's among them, refuse what is deeper.
const MAX_DEPTH: usize = 127;

/// Whether valid JSON is nested deeper than is allowed. Mostly answered by there not being that many brackets.
pub(crate) fn is_too_deep(text: &str) -> bool {
    let mut brackets = memchr::memchr2_iter(b'[', b'{', text.as_bytes());
    brackets.nth(MAX_DEPTH).is_some() && Scan::new(text.as_bytes()).is_deeper_than(MAX_DEPTH)
}

/// The raw text of the value at `path`: member names, or decimal indexes in arrays. The empty path is the
/// whole value. Of members with equal names the first one is found. What follows the hit is not looked at.
pub fn find<'a>(text: &'a str, path: &[impl AsRef<str>]) -> Option<&'a str> {
    let mut scan = Scan::new(text.as_bytes());
    for step in path {
        let mut entries = Entries::open(scan).ok()?;
        scan = loop {
            let entry = entries.next_key().ok()??;
            if entry.is(step.as_ref()) {
                break entries.value();
            }
            entries.skip_value().ok()?;
        };
    }
    let value = scan.value().ok()?;
    text.get(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str =
        r#" {"a": {"b" : [10, {"c":"x\"}"}]}, "n":null, "k\u0065y": true, "e":{}} "#;

    #[test]
    fn values_are_found_by_name_and_index() {
        for (path, value) in [
            (vec!["a", "b", "0"], Some("10")),
            (vec!["a", "b", "1", "c"], Some(r#""x\"}""#)),
            (vec!["a", "b"], Some(r#"[10, {"c":"x\"}"}]"#)),
            (vec!["n"], Some("null")),
            (vec!["key"], Some("true")),
            (vec!["e"], Some("{}")),
            (vec!["e", "f"], None),
            (vec!["a", "b", "2"], None),
            (vec!["a", "b", "01"], None),
            (vec!["n", "x"], None),
            (vec!["missing"], None),
        ] {
            assert_eq!(find(EVENT, &path), value, "{path:?}");
        }
        assert_eq!(find(EVENT, &[] as &[&str]), Some(EVENT.trim()));
    }

    #[test]
    fn json_may_be_nested_127_deep() {
        let nested = |open: &str, inner: &str, close: &str, depth| {
            [&open.repeat(depth), inner, &close.repeat(depth)].concat()
        };
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[\"[{\",", "]")] {
            assert!(is_valid(&nested(open, "0", close, 126)), "{open}");
            assert!(is_valid(&nested(open, "0", close, 127)), "{open}");
            assert!(!is_valid(&nested(open, "0", close, 128)), "{open}");
        }
        assert!(!is_valid(&nested("[", "", "]", 100_000)));
        let in_a_string = nested("[{", "", "}]", 1000);
        assert!(is_valid(&format!(r#"["{}\\",{{}}]"#, in_a_string)));
        assert!(is_valid(&format!(r#"["\"{}"]"#, in_a_string)));
        assert!(is_valid(&format!("[{}0]", "[],{},".repeat(1000))), "many, but not deep");
    }

    #[test]
    fn a_step_that_is_no_index_of_an_array_finds_nothing() {
        for step in ["", "+1", "01", "-1", "1 ", "18446744073709551616", &"1".repeat(1000)] {
            assert_eq!(find("[7,8]", &[step]), None, "{step:?}");
        }
        assert_eq!(find("[7,8]", &["1"]), Some("8"));
    }

    #[test]
    fn text_that_is_not_json_has_no_members() {
        for text in ["", "plain", "{", "{\"a\"", "{\"a\":", "[1", "{\"a\":\"", "\"a\"", "{a:1}"] {
            assert_eq!(find(text, &["a"]), None, "{text:?}");
            assert!(text == "\"a\"" || !is_valid(text), "{text:?}");
        }
    }
}
