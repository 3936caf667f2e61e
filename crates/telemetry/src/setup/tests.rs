use std::{
    io::{self, Write},
    sync::Mutex,
};

use http::HeaderMap;
use serde_json::Value;
use tracing::{debug, error, info, info_span, warn};

use super::*;
use crate::propagation;

/// Keeps what was written.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn json(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn settings(log_format: LogFormat, log_filter: &str) -> TelemetrySettings {
    TelemetrySettings {
        service: "auth-api",
        version: "1.2.3",
        environment: "development".to_owned(),
        log_filter: log_filter.to_owned(),
        log_format,
        otlp_endpoint: None,
        trace_sample_ratio: 1.0,
    }
}

/// Runs `body` under a subscriber of its own and returns what it wrote.
fn capture(log_format: LogFormat, log_filter: &str, body: impl FnOnce()) -> Captured {
    let captured = Captured::default();
    let writer = captured.clone();
    let (dispatch, _telemetry) =
        build(&settings(log_format, log_filter), move || writer.clone(), false).unwrap();
    dispatcher::with_default(&dispatch, body);
    captured
}

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn auto_follows_the_terminal() {
    assert_eq!(style(LogFormat::Auto, true), Style::Pretty { colours: true });
    assert_eq!(style(LogFormat::Auto, false), Style::Json);
    assert_eq!(style(LogFormat::Pretty, false), Style::Pretty { colours: false });
    assert_eq!(style(LogFormat::Json, true), Style::Json);
}

#[test]
fn a_json_line_carries_the_fields_of_its_spans_and_the_trace() {
    let captured = capture(LogFormat::Json, "info", || {
        let span = info_span!(
            "request",
            otel.name = "http.sessions.revoke",
            request_id = "req-1",
            status = tracing::field::Empty
        );
        propagation::continue_trace(&span, Some(TRACEPARENT));
        let _entered = span.enter();
        span.record("status", 204);
        info_span!("db", rows = 3_u64)
            .in_scope(|| info!(user.id = "u-1", level = "x", "Revoked {} sessions", 3));
        debug!("not shown");
    });
    let lines = captured.json();
    assert_eq!(lines.len(), 1);
    let line = &lines[0];
    assert_eq!(line["message"], "Revoked 3 sessions");
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["field.level"], "x");
    assert_eq!(line["service"], "auth-api");
    assert_eq!(line["target"], "telemetry::setup::tests");
    assert_eq!(line["span"], "http.sessions.revoke");
    assert_eq!(line["request_id"], "req-1");
    assert_eq!(line["status"], 204);
    assert_eq!(line["rows"], 3);
    assert_eq!(line["user.id"], "u-1");
    assert_eq!(line["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(line["span_id"].as_str().unwrap().len(), 16);
    assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn nothing_secret_is_ever_written() {
    let body = || {
        let span = info_span!("request", email = "jane@example.com", url = "https://a.example/?token=s3cr3t");
        let _entered = span.enter();
        let failure = io::Error::other("connect to postgres://app:s3cr3t@db/auth failed");
        error!(
            error = &failure as &(dyn std::error::Error + 'static),
            password = "s3cr3t",
            totp = 123_456,
            "far_s3cr3ts3cr3t\nv4.public.s3cr3t"
        );
        warn!(
            body = r#"{"newPassword":"s3cr3t"}"#,
            header = "Bearer s3cr3t",
            "Mail to\njane@example.com with fat_s3cr3t"
        );
    };
    for format in [LogFormat::Json, LogFormat::Pretty] {
        let captured = capture(format, "info", body);
        let text = captured.text();
        assert_eq!(text.lines().count(), 2, "{text}");
        for secret in ["s3cr3t", "123456", "jane", "example.com"] {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
        if format == LogFormat::Json {
            assert_eq!(captured.json()[0]["password"], "[redacted]");
        }
    }
}

#[test]
fn a_pretty_line_cannot_be_forged() {
    let captured = capture(LogFormat::Pretty, "info", || {
        info!(agent = "curl\n2026 INFO forged", name = "a\u{1b}[2Jb", "one\r\ntwo\u{9b}");
    });
    let text = captured.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(!text.trim_end().contains(char::is_control), "{text:?}");
}

#[test]
fn a_warning_keeps_its_request_when_spans_are_filtered() {
    let captured = capture(LogFormat::Json, "warn", || {
        let _entered = info_span!("request", request_id = "req-1").entered();
        info!("not shown");
        warn!("shown");
    });
    assert_eq!(captured.json()[0]["request_id"], "req-1");
    assert_eq!(captured.json().len(), 1);
}

#[test]
fn a_trace_goes_through_a_header_and_a_message() {
    capture(LogFormat::Json, "info", || {
        let mut headers = HeaderMap::new();
        let incoming = info_span!("incoming");
        propagation::continue_trace(&incoming, Some(TRACEPARENT));
        let traceparent = incoming.in_scope(|| {
            propagation::inject_into_headers(&mut headers);
            propagation::current_traceparent().unwrap()
        });
        assert_eq!(headers["traceparent"], traceparent.as_str());
        // The sampling decision of the caller is kept, the span is ours.
        assert!(
            traceparent.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && traceparent.ends_with("-01")
        );
        assert_ne!(traceparent, TRACEPARENT);

        let next = info_span!("next");
        propagation::continue_trace_from_headers(&next, &headers);
        let after = next.in_scope(|| propagation::current_traceparent().unwrap());
        assert_eq!(after[..36], traceparent[..36]);
    });
}

#[test]
fn a_trace_without_a_collector_has_an_id_and_no_traceparent_exists_outside_of_spans() {
    capture(LogFormat::Json, "info", || {
        assert_eq!(propagation::current_traceparent(), None);
        for broken in [
            None,
            Some(""),
            Some("00-zz-11-01"),
            Some("00-00000000000000000000000000000000-b7ad6b7169203331-01"),
        ] {
            let span = info_span!("root");
            propagation::continue_trace(&span, broken);
            let traceparent = span.in_scope(|| propagation::current_traceparent().unwrap());
            assert!(traceparent.ends_with("-00"), "{traceparent}");
        }
    });
}
