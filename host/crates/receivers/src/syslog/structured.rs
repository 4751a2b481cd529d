//! STRUCTURED-DATA of RFC 5424 section 6.3: checked once, walked as often as needed.

use std::borrow::Cow;

use memchr::memchr3;

use super::format_error::FormatError;

/// Longest SD-ID and PARAM-NAME.
const MAX_NAME: usize = 32;

/// Well-formed structured data; empty for the nil value `-`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StructuredData<'a>(&'a str);

/// One element of well-formed structured data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ElementRef<'a> {
    /// SD-ID.
    pub id: &'a str,
    params: &'a str,
}

/// One parameter of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParamRef<'a> {
    /// PARAM-NAME.
    pub name: &'a str,
    escaped: &'a str,
}

impl<'a> StructuredData<'a> {
    /// Reads structured data off the front of `text`; returns what follows.
    pub(super) fn read(text: &'a str) -> Result<(Self, &'a str), FormatError> {
        if let Some(rest) = text.strip_prefix('-') {
            return Ok((Self(""), rest));
        }
        let mut rest = text;
        let mut ids = Vec::new();
        while rest.starts_with('[') {
            let (element, after) = element(rest)?;
            if ids.contains(&element.id) {
                return Err(FormatError::RepeatedId);
            }
            ids.push(element.id);
            rest = after;
        }
        if ids.is_empty() {
            return Err(FormatError::StructuredData);
        }
        Ok((Self(before(text, rest)), rest))
    }

    /// The elements in the order sent.
    pub fn elements(&self) -> impl Iterator<Item = ElementRef<'a>> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (element, after) = element(rest).ok()?;
            rest = after;
            Some(element)
        })
    }
}

impl<'a> ElementRef<'a> {
    /// The parameters in the order sent; a name may occur more than once.
    pub fn params(&self) -> impl Iterator<Item = ParamRef<'a>> + use<'a> {
        let mut rest = self.params;
        std::iter::from_fn(move || {
            let (param, after) = param(rest).ok()?;
            rest = after;
            Some(param)
        })
    }
}

impl<'a> ParamRef<'a> {
    /// PARAM-VALUE, unescaped.
    #[must_use]
    pub fn value(&self) -> Cow<'a, str> {
        if !self.escaped.contains('\\') {
            return Cow::Borrowed(self.escaped);
        }
        let mut value = String::with_capacity(self.escaped.len());
        let mut chars = self.escaped.chars();
        while let Some(char) = chars.next() {
            // Only the three escapes get this far, so a backslash always has a successor.
            value.push(if char == '\\' { chars.next().unwrap_or(char) } else { char });
        }
        Cow::Owned(value)
    }
}

/// `[ID NAME="VALUE" ...]`
fn element(text: &str) -> Result<(ElementRef<'_>, &str), FormatError> {
    let inner = text.strip_prefix('[').ok_or(FormatError::StructuredData)?;
    let (id, params) = name(inner)?;
    let mut rest = params;
    loop {
        if let Some(after) = rest.strip_prefix(']') {
            return Ok((ElementRef { id, params: before(params, rest) }, after));
        }
        rest = param(rest)?.1;
    }
}

/// ` NAME="VALUE"`
fn param(text: &str) -> Result<(ParamRef<'_>, &str), FormatError> {
    let (name, rest) = name(text.strip_prefix(' ').ok_or(FormatError::StructuredData)?)?;
    let value = rest.strip_prefix("=\"").ok_or(FormatError::StructuredData)?;
    let end = end_of_value(value)?;
    let (escaped, rest) = value.split_at_checked(end).ok_or(FormatError::Value)?;
    let rest = rest.strip_prefix('"').ok_or(FormatError::Value)?;
    Ok((ParamRef { name, escaped }, rest))
}

/// Splits a name off at the first character it cannot hold.
fn name(text: &str) -> Result<(&str, &str), FormatError> {
    let stops = |byte: u8| matches!(byte, b'=' | b' ' | b']' | b'"') || !byte.is_ascii_graphic();
    let length = text.bytes().position(stops).ok_or(FormatError::StructuredData)?;
    if !(1..=MAX_NAME).contains(&length) {
        return Err(FormatError::Name);
    }
    text.split_at_checked(length).ok_or(FormatError::Name)
}

/// Where the closing quote stands.
fn end_of_value(value: &str) -> Result<usize, FormatError> {
    let bytes = value.as_bytes();
    let mut at = 0;
    loop {
        at += memchr3(b'"', b'\\', b']', bytes.get(at..).unwrap_or_default())
            .ok_or(FormatError::Value)?;
        match (bytes.get(at), bytes.get(at + 1)) {
            (Some(b'"'), _) => return Ok(at),
            (Some(b'\\'), Some(b'"' | b'\\' | b']')) => at += 2,
            _ => return Err(FormatError::Value),
        }
    }
}

/// The part of `text` before its suffix `rest`.
fn before<'a>(text: &'a str, rest: &str) -> &'a str {
    text.len().checked_sub(rest.len()).and_then(|length| text.get(..length)).unwrap_or("")
}
