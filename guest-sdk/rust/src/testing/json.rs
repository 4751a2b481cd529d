//! Finding, setting and removing a value inside JSON text, by scanning: no tree, and every byte that is
//! not concerned stays as it is. Written for tests of plugins: plain rather than fast.

use std::borrow::Cow;
use std::ops::Range;

/// Replace `range` of the text by `text`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Splice {
    pub(super) range: Range<usize>,
    pub(super) text: String,
}

/// The value at `path`: strings unescaped, anything else as JSON text.
pub(super) fn read(text: &str, path: &[&str]) -> Option<String> {
    let (range, missing) = follow(text, path)?;
    let value = text.get(range).filter(|_| missing.is_empty())?;
    Some(unquote(value)?.into_owned())
}

/// How to set the member at `path`; `None` if the path leads nowhere that can be made.
pub(super) fn set(text: &str, path: &[String], value: &str) -> Option<Splice> {
    let (range, missing) = follow(text, path)?;
    let Some((name, deeper)) = missing.split_first() else {
        return Some(Splice { range, text: value.to_owned() });
    };
    let object = text.get(range.clone())?.strip_prefix('{')?.strip_suffix('}')?;
    let quote = |name: &String| serde_json::Value::from(name.as_str()).to_string();
    let opened: String = deeper.iter().map(|name| format!("{{{}:", quote(name))).collect();
    let closed = "}".repeat(deeper.len());
    let comma = if object.trim().is_empty() { "" } else { "," };
    let bracket = range.end - 1;
    Some(Splice {
        range: bracket..bracket,
        text: format!("{comma}{}:{opened}{value}{closed}", quote(name)),
    })
}

/// How to remove the member or element at `path`: an empty splice if there is none, `None` if the path
/// is empty or leads through a scalar.
pub(super) fn remove(text: &str, path: &[String]) -> Option<Splice> {
    let (last, parents) = path.split_last()?;
    let (range, missing) = follow(text, parents)?;
    let entries = entries(text, range)?;
    let at = entries.iter().position(|entry| entry.name == *last && missing.is_empty());
    let Some((at, this)) = at.and_then(|at| Some((at, entries.get(at)?))) else {
        return Some(Splice { range: 0..0, text: String::new() });
    };
    let after = skip_space(text, this.value.end);
    let range = match at.checked_sub(1).and_then(|before| entries.get(before)) {
        _ if text.as_bytes().get(after) == Some(&b',') => this.start..after + 1,
        Some(previous) => skip_space(text, previous.value.end)..this.value.end,
        None => this.start..this.value.end,
    };
    Some(Splice { range, text: String::new() })
}

/// Follows `path` as far as it leads: the value reached, and the steps that are left where an object or
/// array lacks the next one. `None` where a scalar has steps left to follow, or what is read is not JSON.
fn follow<'p, S: AsRef<str>>(text: &str, mut path: &'p [S]) -> Option<(Range<usize>, &'p [S])> {
    let mut here = value_at(text, skip_space(text, 0))?;
    while let Some((step, rest)) = path.split_first() {
        let entries = entries(text, here.clone())?;
        match entries.into_iter().find(|entry| entry.name == step.as_ref()) {
            Some(entry) => (here, path) = (entry.value, rest),
            None => break,
        }
    }
    Some((here, path))
}

/// A member of an object, or an element of an array under its index.
struct Entry<'t> {
    name: Cow<'t, str>,
    /// Where its key starts; its value, in an array.
    start: usize,
    value: Range<usize>,
}

/// The entries of the object or array that fills `range`; `None` for any other value.
fn entries(text: &str, range: Range<usize>) -> Option<Vec<Entry<'_>>> {
    let object = match text.as_bytes().get(range.start)? {
        b'{' => true,
        b'[' => false,
        _ => return None,
    };
    let mut entries = Vec::new();
    let mut at = skip_space(text, range.start + 1);
    while at + 1 < range.end {
        let start = at;
        let name = if object {
            let key = value_at(text, at)?;
            at = skip_space(text, key.end) + 1; // the colon
            unquote(text.get(key)?)?
        } else {
            Cow::Owned(entries.len().to_string())
        };
        let value = value_at(text, skip_space(text, at))?;
        at = skip_space(text, value.end);
        if text.as_bytes().get(at) == Some(&b',') {
            at = skip_space(text, at + 1);
        }
        entries.push(Entry { name, start, value });
    }
    Some(entries)
}

/// The extent of the value that starts at `start`; brackets must match, the rest is not checked.
fn value_at(text: &str, start: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut open = Vec::new();
    let mut at = start;
    loop {
        let byte = *bytes.get(at)?;
        at += 1;
        match byte {
            b'"' => at = end_of_string(bytes, at)?,
            b'{' => open.push(b'}'),
            b'[' => open.push(b']'),
            b'}' | b']' => {
                if open.pop() != Some(byte) {
                    return None;
                }
            }
            b',' | b':' if open.is_empty() => return None,
            _ if open.is_empty() => {
                let scalar = |byte: &u8| !b",:]}".contains(byte) && !byte.is_ascii_whitespace();
                at += bytes.get(at..)?.iter().take_while(|byte| scalar(byte)).count();
            }
            _ => continue,
        }
        if open.is_empty() {
            return Some(start..at);
        }
    }
}

/// One past the quote that ends the string whose first character is at `at`.
fn end_of_string(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn skip_space(text: &str, at: usize) -> usize {
    let space = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    at + text.as_bytes().iter().skip(at).take_while(space).count()
}

/// The text of a JSON string; any other value as it stands.
fn unquote(value: &str) -> Option<Cow<'_, str>> {
    if !value.starts_with('"') {
        return Some(Cow::Borrowed(value));
    }
    serde_json::from_str::<String>(value).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn spliced(text: &str, splice: Option<Splice>) -> Option<String> {
        let splice = splice?;
        let mut text = text.to_owned();
        text.replace_range(splice.range, &splice.text);
        Some(text)
    }

    fn set_in(text: &str, path: &[&str], value: &str) -> Option<String> {
        let path: Vec<String> = path.iter().map(|&step| step.to_owned()).collect();
        spliced(text, set(text, &path, value))
    }

    fn remove_in(text: &str, path: &[&str]) -> Option<String> {
        let path: Vec<String> = path.iter().map(|&step| step.to_owned()).collect();
        spliced(text, remove(text, &path))
    }

    #[test]
    fn a_value_is_found_by_names_and_indexes() {
        let text = r#" {"a":{"b.c":[1,{"d":"x\ny"},null]},"a":2,"\u0065":true} "#;
        let found = |path: &[&str]| read(text, path);
        assert_eq!(found(&["a", "b.c", "0"]).as_deref(), Some("1"));
        assert_eq!(found(&["a", "b.c", "1", "d"]).as_deref(), Some("x\ny"));
        assert_eq!(found(&["a", "b.c", "1"]).as_deref(), Some(r#"{"d":"x\ny"}"#));
        assert_eq!(found(&["a", "b.c", "2"]).as_deref(), Some("null"));
        assert_eq!(found(&["e"]).as_deref(), Some("true"));
        assert_eq!(found(&["a", "b.c", "3"]), None);
        assert_eq!(found(&["a", "x"]), None);
        assert_eq!(found(&["a", "b.c", "0", "x"]), None);
    }

    #[test]
    fn an_empty_path_is_the_whole_value() {
        assert_eq!(read(r#" "a\"b" "#, &[]).as_deref(), Some(r#"a"b"#));
        assert_eq!(read("[not json", &[]), None);
        assert_eq!(read("", &[]), None);
    }

    #[test]
    fn setting_leaves_every_other_byte_alone() {
        let text = r#"{ "a" : 1 , "b":{ } }"#;
        assert_eq!(set_in(text, &["a"], "2").unwrap(), r#"{ "a" : 2 , "b":{ } }"#);
        assert_eq!(set_in(text, &["c"], "2").unwrap(), r#"{ "a" : 1 , "b":{ } ,"c":2}"#);
        assert_eq!(
            set_in(text, &["b", "x", "y"], "2").unwrap(),
            r#"{ "a" : 1 , "b":{ "x":{"y":2}} }"#
        );
        assert_eq!(set_in("[1,2]", &["1"], "3").unwrap(), "[1,3]");
        assert_eq!(set_in(r#"{ "a" : 1 }"#, &["b"], "2").unwrap(), r#"{ "a" : 1 ,"b":2}"#);
        assert_eq!(set_in("[1,2]", &["2"], "3"), None);
        assert_eq!(set_in(r#"{"a":1}"#, &["a", "b"], "3"), None);
        assert_eq!(set_in("1", &[], "3").unwrap(), "3");
    }

    #[test]
    fn removing_takes_one_comma_along() {
        let text = r#"{"a":1, "b":2, "c":[3, 4]}"#;
        assert_eq!(remove_in(text, &["a"]).unwrap(), r#"{ "b":2, "c":[3, 4]}"#);
        assert_eq!(remove_in(text, &["b"]).unwrap(), r#"{"a":1,  "c":[3, 4]}"#);
        assert_eq!(remove_in(text, &["c"]).unwrap(), r#"{"a":1, "b":2}"#);
        assert_eq!(remove_in(text, &["c", "0"]).unwrap(), r#"{"a":1, "b":2, "c":[ 4]}"#);
        assert_eq!(remove_in(text, &["d"]).unwrap(), text);
        assert_eq!(remove_in(text, &["c", "2"]).unwrap(), text);
        assert_eq!(remove_in(text, &["d", "e"]).unwrap(), text);
        assert_eq!(remove_in(text, &["a", "e"]), None);
        assert_eq!(remove_in(text, &[]), None);
        assert_eq!(remove_in(r#"{"a":1}"#, &["a"]).unwrap(), "{}");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[a-d\"\\\\é]{0,2}", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_was_set_is_found_and_what_was_removed_is_not(
            value in any_json(),
            names in prop::collection::vec("[a-d\"\\\\é]{0,2}", 1..4),
        ) {
            let text = json!({ "a": value, "b": 1 }).to_string();
            let path: Vec<&str> = names.iter().map(String::as_str).collect();
            if let Some(with) = set_in(&text, &path, "\"found\"") {
                prop_assert!(serde_json::from_str::<Value>(&with).is_ok(), "{with}");
                prop_assert_eq!(read(&with, &path), Some("found".to_owned()));
                let without = remove_in(&with, &path).unwrap();
                prop_assert!(serde_json::from_str::<Value>(&without).is_ok(), "{without}");
                prop_assert!(read(&without, &path).as_deref() != Some("found"));
            }
        }

        #[test]
        fn nothing_that_is_not_json_panics(text in ".*", path in prop::collection::vec("[a0]{0,1}", 0..3)) {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            let _ = read(&text, &path);
            let _ = set_in(&text, &path, "1");
            let _ = remove_in(&text, &path);
        }
    }
}
