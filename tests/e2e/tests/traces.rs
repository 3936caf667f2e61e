//! One trace follows a request through every service, the broker and the mail.

use std::time::Duration;

use e2e::{
    Stack,
    journey::{self, text},
    otlp_sink::{OtlpSink, Span},
};
use reqwest::Method;
use serde_json::json;
use test_support::eventually;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_crosses_http_grpc_the_broker_and_smtp() {
    let sink = OtlpSink::start().await;
    let collector = ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", sink.address));
    let stack = Stack::start(&[collector]).await;

    let registered = "0af7651916cd43dd8448eb211c80319c";
    let request = stack.api(Method::POST, "/v1/auth/register");
    let request = request.header("traceparent", format!("00-{registered}-b7ad6b7169203331-01"));
    let answer = request.json(&journey::registration("trace@example.com")).send().await.unwrap();
    let handle = text(&answer.json().await.unwrap(), "registrationHandle").to_owned();
    journey::verify(&stack, "trace@example.com", &handle).await;
    let wanted =
        [("auth-api", "POST /v1/auth/register"), ("mailer", "mail.smtp.send"), ("audit-service", "")];
    let spans = complete_trace(&sink, registered, &wanted).await;
    let root = spans.iter().find(|span| span.name == "POST /v1/auth/register").unwrap();
    assert_eq!(root.parent_span_id, "b7ad6b7169203331");
    every_span_has_its_parent(&spans);

    let logged_in = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request = stack.api(Method::POST, "/v1/auth/login");
    let request = request.header("traceparent", format!("00-{logged_in}-00f067aa0ba902b7-01"));
    let login = json!({"email": "trace@example.com", "password": journey::PASSWORD});
    request.json(&login).send().await.unwrap();
    let wanted = [("auth-api", "POST /v1/auth/login"), ("session-service", ""), ("audit-service", "")];
    every_span_has_its_parent(&complete_trace(&sink, logged_in, &wanted).await);

    let quiet = ["/health", "/metrics", "/livez", "/readyz"];
    let spans = sink.spans();
    assert!(
        !spans.iter().any(|span| quiet.iter().any(|path| span.name.ends_with(path))),
        "probes are not traced"
    );
}

/// The spans of a trace, as soon as each of `wanted` (service and name, any name when empty) is among them.
async fn complete_trace(sink: &OtlpSink, trace_id: &str, wanted: &[(&str, &str)]) -> Vec<Span> {
    eventually(&format!("the trace has {wanted:?}"), PATIENCE, || async {
        let spans: Vec<Span> = sink.spans().into_iter().filter(|span| span.trace_id == trace_id).collect();
        let has = |(service, name): &(&str, &str)| {
            spans.iter().any(|span| span.service == *service && (name.is_empty() || span.name == *name))
        };
        let parents_arrived = spans.iter().all(|span| has_parent(span, &spans));
        (wanted.iter().all(has) && parents_arrived).then_some(spans)
    })
    .await
}

fn every_span_has_its_parent(spans: &[Span]) {
    for span in spans {
        assert!(has_parent(span, spans), "{span:?} hangs in the air");
    }
}

/// The two ids are those that the test itself put into `traceparent`.
fn has_parent(span: &Span, spans: &[Span]) -> bool {
    ["b7ad6b7169203331", "00f067aa0ba902b7"].contains(&span.parent_span_id.as_str())
        || spans.iter().any(|other| other.span_id == span.parent_span_id)
}
