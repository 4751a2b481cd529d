//! The two places an id can be read from without building a tree: the envelope's `fields`, which must
//! be flat, and the members of an event.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use super::text::Text;

/// Checks that `fields` is a flat object of scalars or arrays of scalars; returns the value of
/// `wanted` if it is there and a scalar.
///
/// `Err` is what Splunk answers with code 15.
pub(crate) fn check_fields<'a>(
    fields: &'a RawValue,
    wanted: Option<&str>,
) -> Result<Option<Cow<'a, str>>, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(fields.get());
    json.deserialize_map(FlatFields { wanted })
}

struct FlatFields<'w> {
    wanted: Option<&'w str>,
}

impl<'de> Visitor<'de> for FlatFields<'_> {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a flat object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(Text(key)) = map.next_key()? {
            let value: FieldValue<'de> = map.next_value()?;
            if self.wanted == Some(&*key)
                && let FieldValue::Scalar(text) = value
            {
                found = Some(text);
            }
        }
        Ok(found)
    }
}

enum FieldValue<'a> {
    Scalar(Cow<'a, str>),
    List,
}

impl<'de: 'a, 'a> Deserialize<'de> for FieldValue<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

/// Takes what Splunk indexes; objects and null have no `visit` method here, so serde refuses them.
struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = FieldValue<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, number, boolean, or an array of them")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(FieldValue::Scalar(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(FieldValue::Scalar(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(FieldValue::Scalar(Cow::Borrowed(if value { "true" } else { "false" })))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(FieldValue::Scalar(Cow::Owned(value.to_string())))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(FieldValue::Scalar(Cow::Owned(value.to_string())))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(FieldValue::Scalar(Cow::Owned(value.to_string())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while let Some(item) = items.next_element::<FieldValue<'de>>()? {
            if matches!(item, FieldValue::List) {
                return Err(A::Error::invalid_type(de::Unexpected::Seq, &self));
            }
        }
        Ok(FieldValue::List)
    }
}

/// The member `name` of an event: of the object itself, or of the JSON text inside a string event.
pub(crate) fn member_of<'a>(event: &'a RawValue, name: &str) -> Option<Cow<'a, str>> {
    let json = event.get();
    if json.starts_with('"') {
        let Text(inner) = serde_json::from_str(json).ok()?;
        return member_in(&inner, name).map(|text| Cow::Owned(text.into_owned()));
    }
    member_in(json, name)
}

fn member_in<'a>(json: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let mut json = serde_json::Deserializer::from_str(json);
    let value = Member { name }.deserialize(&mut json).ok()??;
    match serde_json::from_str::<Text<'a>>(value.get()) {
        Ok(Text(text)) => Some(text),
        Err(_) => Some(Cow::Borrowed(value.get())),
    }
}

struct Member<'n> {
    name: &'n str,
}

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(Text(key)) = map.next_key()? {
            if key == self.name {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn fields_may_hold_scalars_and_lists_of_scalars_only() {
        for good in [r"{}", r#"{"a":"x","b":1,"c":true,"d":1.5,"e":[1,"y",false]}"#] {
            assert!(check_fields(&raw(good), None).is_ok(), "{good}");
        }
        for bad in [r#"{"a":{}}"#, r#"{"a":null}"#, r#"{"a":[[1]]}"#, r#"{"a":[{}]}"#, "[]", "1"] {
            assert!(check_fields(&raw(bad), None).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_wanted_field_is_found_whatever_its_scalar_type() {
        let fields = raw(r#"{"id":"a\u0062c","n":42,"l":["x"]}"#);
        let wanted = |name| check_fields(&fields, Some(name)).unwrap();

        assert_eq!(wanted("id").as_deref(), Some("abc"));
        assert_eq!(wanted("n").as_deref(), Some("42"));
        assert_eq!(wanted("l"), None, "a list is not one id");
        assert_eq!(wanted("absent"), None);
    }

    #[test]
    fn a_member_is_found_in_an_object_and_in_json_text() {
        let object = raw(r#"{"a":{"id":"inner"},"id":"outer"}"#);
        let text = raw(r#""{\"id\":\"other\",\"n\":7}""#);

        assert_eq!(member_of(&object, "id").as_deref(), Some("outer"));
        assert_eq!(member_of(&text, "id").as_deref(), Some("other"));
        assert_eq!(member_of(&text, "n").as_deref(), Some("7"));
        assert_eq!(member_of(&raw(r#""no json""#), "id"), None);
        assert_eq!(member_of(&raw("[1]"), "id"), None);
    }
}
