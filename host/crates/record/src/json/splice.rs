//! Changing one member of JSON text; the rest stays byte for byte.

use std::ops::Range;

use super::scan::{Entries, Scan};
use super::{JsonPathError, push_string};

/// Puts `value` (JSON) at `path` in `text` (valid JSON). A member that does not exist is appended to its
/// object, the missing objects along the path as well; an array element must exist. `None` never comes back: the
/// text changes or does not fit.
///
/// # Errors
///
/// The path leads through a scalar, or to an element that an array does not have.
pub fn set(
    text: &str,
    path: &[impl AsRef<str>],
    value: &str,
) -> Result<Option<String>, JsonPathError> {
    let mut scan = Scan::new(text.as_bytes());
    for (depth, step) in path.iter().enumerate() {
        let mut entries = Entries::open(scan)?;
        scan = loop {
            match entries.next_key()? {
                Some(entry) if entry.is(step.as_ref()) => break entries.value(),
                Some(_) => entries.skip_value()?,
                None if entries.is_object() => {
                    let missing = path.get(depth..).unwrap_or_default();
                    return Ok(Some(append(text, &entries, missing, value)));
                }
                None => return Err(JsonPathError),
            }
        };
    }
    Ok(Some(replace(text, scan.value()?, value)))
}

/// Removes the value at `path` from `text` (valid JSON); `None` if there is none.
///
/// # Errors
///
/// The path is empty or leads through a scalar.
pub fn remove(text: &str, path: &[impl AsRef<str>]) -> Result<Option<String>, JsonPathError> {
    let (last, parents) = path.split_last().ok_or(JsonPathError)?;
    let mut scan = Scan::new(text.as_bytes());
    for step in parents {
        match enter(scan, step.as_ref())? {
            Some(value) => scan = value,
            None => return Ok(None),
        }
    }
    let mut entries = Entries::open(scan)?;
    while let Some(entry) = entries.next_key()? {
        entries.skip_value()?;
        if entry.is(last.as_ref()) {
            let gone = match (entries.comma_after(), entries.comma) {
                (Some(comma), _) => entry.start..comma + 1,
                (None, Some(comma)) => comma..entries.at(),
                (None, None) => entry.start..entries.at(),
            };
            return Ok(Some(replace(text, gone, "")));
        }
    }
    Ok(None)
}

fn enter<'a>(scan: Scan<'a>, step: &str) -> Result<Option<Scan<'a>>, JsonPathError> {
    let mut entries = Entries::open(scan)?;
    while let Some(entry) = entries.next_key()? {
        if entry.is(step) {
            return Ok(Some(entries.value()));
        }
        entries.skip_value()?;
    }
    Ok(None)
}

/// Adds a member before the closing bracket; what is missing on the path becomes objects.
fn append(text: &str, entries: &Entries<'_>, path: &[impl AsRef<str>], value: &str) -> String {
    let mut member = String::with_capacity(value.len() + 32);
    if entries.passed() > 0 {
        member.push(',');
    }
    for (depth, step) in path.iter().enumerate() {
        if depth > 0 {
            member.push('{');
        }
        push_string(&mut member, step.as_ref());
        member.push(':');
    }
    member.push_str(value);
    (1..path.len()).for_each(|_| member.push('}'));
    replace(text, entries.at()..entries.at(), &member)
}

fn replace(text: &str, range: Range<usize>, with: &str) -> String {
    let (before, rest) = text.split_at(range.start);
    let (_, after) = rest.split_at(range.len());
    [before, with, after].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_set_appended_and_created_with_their_parents() {
        for (text, path, result) in [
            (r#"{"a":1}"#, vec!["a"], Ok(r#"{"a":9}"#)),
            (r#"{"a":1}"#, vec!["b"], Ok(r#"{"a":1,"b":9}"#)),
            ("{ }", vec!["b", "c", "d"], Ok(r#"{ "b":{"c":{"d":9}}}"#)),
            (r#"[1,{"x":2}]"#, vec!["1", "x"], Ok(r#"[1,{"x":9}]"#)),
            ("[1]", vec!["1"], Err(JsonPathError)),
            (r#"{"a":1}"#, vec!["a", "b"], Err(JsonPathError)),
            ("1", vec![], Ok("9")),
        ] {
            let set = set(text, &path, "9").map(|text| text.unwrap());
            assert_eq!(set.as_deref(), result.as_ref().copied(), "{text} {path:?}");
        }
    }

    #[test]
    fn removal_takes_one_comma_along() {
        for (text, path, result) in [
            (r#"{"a":1,"b":2,"c":3}"#, vec!["a"], Some(r#"{"b":2,"c":3}"#)),
            (r#"{"a":1, "b":2, "c":3}"#, vec!["b"], Some(r#"{"a":1,  "c":3}"#)),
            (r#"{"a":1,"b":2,"c":3}"#, vec!["c"], Some(r#"{"a":1,"b":2}"#)),
            (r#"{"a":{"b":[1,2]}}"#, vec!["a", "b", "0"], Some(r#"{"a":{"b":[2]}}"#)),
            (r#"{"a":{"b":1}}"#, vec!["a", "b"], Some(r#"{"a":{}}"#)),
            (r#"{"a":1}"#, vec!["x"], None),
            (r#"{"a":1}"#, vec!["x", "y"], None),
        ] {
            assert_eq!(remove(text, &path).unwrap().as_deref(), result, "{text} {path:?}");
        }
        assert_eq!(remove(r#"{"a":1}"#, &["a", "b"]), Err(JsonPathError));
    }
}
