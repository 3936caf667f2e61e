use chrono::SecondsFormat;
use serde_json::{Map, Value};

use super::Line;

/// One JSON object and a line end.
pub(super) fn render(line: &Line<'_>) -> String {
    let mut object = Map::new();
    object.insert("timestamp".to_owned(), line.timestamp.to_rfc3339_opts(SecondsFormat::Micros, true).into());
    object.insert("level".to_owned(), line.level.as_str().into());
    object.insert("service".to_owned(), line.service.into());
    object.insert("target".to_owned(), line.target.into());
    object.insert("message".to_owned(), line.message.as_str().into());
    if let Some(span) = &line.span {
        object.insert("span".to_owned(), span.as_str().into());
    }
    if let Some(trace) = &line.trace {
        object.insert("trace_id".to_owned(), trace.trace_id().to_string().into());
        object.insert("span_id".to_owned(), trace.span_id().to_string().into());
    }
    for (name, value) in line.fields.iter().filter(|(name, _)| !name.starts_with("otel.")) {
        let name = if is_fixed(name) { format!("field.{name}") } else { name.to_owned() };
        object.insert(name, value.clone());
    }
    let mut text = Value::Object(object).to_string();
    text.push('\n');
    text
}

fn is_fixed(name: &str) -> bool {
    matches!(name, "timestamp" | "level" | "service" | "target" | "message" | "span" | "trace_id" | "span_id")
}
