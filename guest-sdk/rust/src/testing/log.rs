//! A log as a test writes it down and as it would be sent.

use serde_json::Value;

use crate::format::Format;

/// One field of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// How the value is sent.
    pub format: Format,
}

/// A log: its fields in order, and its metadata.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Log {
    pub(crate) fields: Vec<Field>,
    pub(crate) topic: String,
    /// Nanoseconds since 1970.
    pub(crate) time: u64,
}

impl Log {
    /// A log of these fields, without topic, at the beginning of 1970.
    pub fn new<K: Into<String>, V: Into<String>>(fields: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut log = Self::default();
        for (name, value) in fields {
            log.set(&name.into(), value.into(), Format::Text);
        }
        log
    }

    /// A log with all that the forwarder adds: topic and time are read from the fields `__topic__`,
    /// `__time__` (seconds) and `__time_ns_part__`.
    pub fn flattened<K: Into<String>, V: Into<String>>(
        fields: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let log = Self::new(fields);
        let number = |key| log.get(key).and_then(|text| text.parse::<u64>().ok());
        let seconds = number("__time__").unwrap_or_default();
        let nanos = number("__time_ns_part__").unwrap_or_default();
        let topic = log.get("__topic__").unwrap_or_default().to_owned();
        log.with_topic(topic).at(seconds * 1_000_000_000 + nanos)
    }

    /// The same log under another topic.
    #[must_use]
    pub fn with_topic(mut self, topic: impl Into<String>) -> Self {
        self.topic = topic.into();
        self
    }

    /// The same log at another time, in nanoseconds since 1970.
    #[must_use]
    pub fn at(mut self, time: u64) -> Self {
        self.time = time;
        self
    }

    /// The fields, in order.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The value of a field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.field(name).map(|field| field.value.as_str())
    }

    /// One field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The topic, as metadata.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The time, in nanoseconds since 1970.
    #[must_use]
    pub fn time(&self) -> u64 {
        self.time
    }

    /// The event as a destination would index it; see [`Sent::event`](super::Sent::event).
    #[must_use]
    pub fn event(&self) -> Value {
        let kept = self
            .fields
            .iter()
            .filter(|field| field.name != "__time__" && field.name != "__time_ns_part__");
        Value::Object(kept.map(|field| (field.name.clone(), field.json())).collect())
    }

    pub(super) fn set(&mut self, name: &str, value: String, format: Format) {
        match self.fields.iter_mut().find(|field| field.name == name) {
            Some(field) => (field.value, field.format) = (value, format),
            None => self.fields.push(Field { name: name.to_owned(), value, format }),
        }
    }
}

impl Field {
    fn json(&self) -> Value {
        let text = || Value::String(self.value.clone());
        match self.format {
            Format::Text => text(),
            Format::Json => serde_json::from_str(&self.value).unwrap_or_else(|_| text()),
        }
    }
}
