use std::{borrow::Cow, error::Error, fmt};

use serde_json::Value;
use tracing::field::{Field, Visit};

use crate::redact::{REDACTED, is_secret_name, redact_field};

/// The fields of a span or an event in the order in which they were recorded. Most spans are never part of a line, so that they are redacted
/// when a line is written and not before.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    /// Adds the other fields; they win over those of the same name.
    pub(super) fn extend(&mut self, others: &Self) {
        for (name, value) in others.iter() {
            self.set(name, value.clone());
        }
    }

    /// Removes the text of the field `name`.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let index = self.0.iter().position(|(other, _)| *other == name)?;
        match self.0.remove(index).1 {
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        }
    }

    /// The fields as they may be written.
    pub(super) fn redacted(mut self) -> Self {
        for (name, value) in &mut self.0 {
            match value {
                Value::String(text) => {
                    if let Cow::Owned(redacted) = redact_field(name, text) {
                        *text = redacted;
                    }
                }
                Value::Bool(_) => {}
                other if is_secret_name(name) => *other = REDACTED.into(),
                _ => {}
            }
        }
        self
    }

    fn set(&mut self, name: &'static str, value: Value) {
        match self.0.iter_mut().find(|(other, _)| *other == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field.name(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field.name(), value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        self.set(field.name(), text.into());
    }
}
