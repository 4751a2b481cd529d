//! JSON as text: found, checked and changed in place, without a parse tree.
//!
//! Audit logs carry JSON inside a field. What is asked of it is mostly one member, so the value is found by
//! skipping over what comes before it. A lookup reads no further than its hit; [`is_valid`] reads everything.

mod escape;
mod scan;
mod splice;

pub use escape::{escape_into, push_string, text_of};
pub use splice::{remove, set};

use scan::{Entries, Scan};

/// The text is not JSON, or the path leads through something that has no members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not JSON, or no such path in it")]
pub struct Unfit;

/// Whether the text is exactly one JSON value (RFC 8259), nested at most 127 deep.
pub fn is_valid(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
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
    fn text_that_is_not_json_has_no_members() {
        for text in ["", "plain", "{", "{\"a\"", "{\"a\":", "[1", "{\"a\":\"", "\"a\"", "{a:1}"] {
            assert_eq!(find(text, &["a"]), None, "{text:?}");
            assert!(text == "\"a\"" || !is_valid(text), "{text:?}");
        }
    }
}
