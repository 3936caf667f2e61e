use std::fmt::Write;

use chrono::SecondsFormat;
use serde_json::Value;
use tracing::Level;

use super::Line;

/// A line for people. Control characters are escaped, so that nothing that was logged can forge a line or steer a terminal.
pub(super) fn render(line: &Line<'_>, colours: bool) -> String {
    let mut text = line.timestamp.to_rfc3339_opts(SecondsFormat::Millis, true);
    text.push(' ');
    push_level(&mut text, line.level, colours);
    text.push_str(line.target);
    text.push_str(": ");
    push_escaped(&mut text, &line.message);
    for (name, value) in line.fields.iter().filter(|(name, _)| !name.starts_with("otel.")) {
        push_field(&mut text, name, value);
    }
    if let Some(span) = &line.span {
        text.push_str(" span=");
        push_escaped(&mut text, span);
    }
    if let Some(trace) = &line.trace {
        text.push_str(" trace_id=");
        text.push_str(&trace.trace_id().to_string());
    }
    text.push('\n');
    text
}

fn push_level(text: &mut String, level: Level, colours: bool) {
    let colour = match level {
        Level::ERROR => "31",
        Level::WARN => "33",
        Level::INFO => "32",
        Level::DEBUG => "34",
        Level::TRACE => "35",
    };
    if colours {
        text.push_str("\u{1b}[");
        text.push_str(colour);
        text.push('m');
    }
    text.push_str(level.as_str());
    if colours {
        text.push_str("\u{1b}[0m");
    }
    text.push_str(if level.as_str().len() == 4 { "  " } else { " " });
}

fn push_field(text: &mut String, name: &str, value: &Value) {
    text.push(' ');
    text.push_str(name);
    text.push('=');
    match value {
        Value::String(value) if value.is_empty() || value.contains([' ', '"', '=']) => {
            // Writing to a String cannot fail.
            write!(text, "{}", Value::from(value.as_str())).ok();
        }
        Value::String(value) => push_escaped(text, value),
        other => {
            write!(text, "{other}").ok();
        }
    }
}

fn push_escaped(text: &mut String, value: &str) {
    for character in value.chars() {
        if character.is_control() {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
}
