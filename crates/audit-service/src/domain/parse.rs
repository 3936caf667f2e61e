//! From the bytes of a message to an [`Event`], or to the reason why it is none.

use auth_events::{Client, Fact, RawEnvelope, facts};
use auth_ids::GenericUuid;
use chrono::{DateTime, Datelike, SubsecRound, Utc};
use serde_json::Value;

use super::{Event, Rejection};

/// The largest message: what a gRPC server of the platform reads, too.
pub(super) const MAX_MESSAGE_BYTES: usize = 65_536;
/// As JSON. A page of 100 such events stays below the 4 MiB that a gRPC client reads by default, although a number of two
/// bytes becomes eleven on the wire.
const MAX_DETAIL_BYTES: usize = 4_096;
/// A level of JSON is up to three levels of protobuf, and decoders give up at a hundred.
const MAX_DETAIL_DEPTH: usize = 16;
const MAX_USER_AGENT_BYTES: usize = 512;
const MAX_ID_BYTES: usize = 256;
const MAX_NAME_BYTES: usize = 128;
/// Up to it a double tells every integer from the next.
const LARGEST_INTEGER: u64 = 1 << 53;

/// Understands the message `payload`. `traceparent` is that of the message's headers, for an envelope that has none.
pub fn parse_event(payload: &[u8], traceparent: Option<&str>) -> Result<Event, Rejection> {
    if payload.len() > MAX_MESSAGE_BYTES {
        return Err(Rejection::TooLarge(payload.len()));
    }
    let envelope: RawEnvelope =
        serde_json::from_slice(payload).map_err(|error| Rejection::Malformed(position(&error)))?;
    let name = known_name(&envelope)?.to_owned();
    let fact: Fact<Value> =
        serde_json::from_value(envelope.data).map_err(|error| Rejection::InvalidFact(position(&error)))?;
    let trace_id = [envelope.traceparent.as_deref(), traceparent].into_iter().flatten().find_map(trace_id);
    let event = Event {
        id: envelope.id,
        name,
        version: envelope.version,
        source: envelope.source,
        occurred_at: envelope.time.trunc_subsecs(6),
        subject_id: envelope.subject,
        actor: fact.actor,
        outcome: fact.outcome,
        severity: fact.severity,
        reason: fact.reason,
        target: fact.target,
        client: canonical(fact.client),
        trace_id: trace_id.map(str::to_owned),
        detail: exact(fact.detail),
    };
    check(&event)?;
    Ok(event)
}

/// The type without its prefix, when this build understands it and its version.
fn known_name(envelope: &RawEnvelope) -> Result<&str, Rejection> {
    if envelope.specversion != "1.0" {
        return Err(Rejection::UnsupportedSpecversion);
    }
    let name = envelope.r#type.strip_prefix("auth.").ok_or(Rejection::UnknownType)?;
    if facts::is_known(name, envelope.version) {
        return Ok(name);
    }
    let known_name = facts::CATALOGUE.iter().find(|(known, _)| *known == name);
    Err(known_name.map_or(Rejection::UnknownType, |(name, _)| Rejection::UnknownVersion {
        name: (*name).to_owned(),
        version: envelope.version,
    }))
}

/// Where the JSON went wrong. Its own message may quote what it found, and that may be anything.
fn position(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Io | serde_json::error::Category::Syntax => "bad JSON",
        serde_json::error::Category::Data => "a missing, duplicate or ill-typed field",
        serde_json::error::Category::Eof => "truncated JSON",
    };
    if error.line() == 0 {
        what.to_owned()
    } else {
        format!("{what} at byte {} of line {}", error.column(), error.line())
    }
}

/// The trace id of a W3C `traceparent`. One that breaks the specification is ignored, as the specification asks.
fn trace_id(traceparent: &str) -> Option<&str> {
    let mut parts = traceparent.split('-');
    let (version, trace_id) = (parts.next()?, parts.next()?);
    let hexadecimal = |text: &str, length| {
        text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let zeros = trace_id.bytes().all(|byte| byte == b'0');
    (hexadecimal(version, 2) && version != "ff" && hexadecimal(trace_id, 32) && !zeros).then_some(trace_id)
}

/// An IPv4 address is found as such even if a socket of both families reported it.
fn canonical(client: Option<Client>) -> Client {
    let client = client.unwrap_or(Client { ip: None, user_agent: None, request_id: None });
    Client { ip: client.ip.map(|ip| ip.to_canonical()), ..client }
}

/// The same with text in place of integers that a double cannot hold: canonical JSON knows doubles only.
fn exact(value: Value) -> Value {
    match value {
        Value::Number(number) => {
            let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            if magnitude.is_some_and(|magnitude| magnitude > LARGEST_INTEGER) {
                Value::String(number.to_string())
            } else {
                Value::Number(number)
            }
        }
        Value::Array(items) => Value::Array(items.into_iter().map(exact).collect()),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (name, exact(value))).collect())
        }
        value => value,
    }
}

fn check(event: &Event) -> Result<(), Rejection> {
    let invalid = |field, why| Err(Rejection::InvalidField { field, why });
    if event.id.into_untyped_uuid().is_nil() {
        // A forgotten id: two such events would count as one.
        return invalid("id", "is nil");
    }
    if !is_plausible(event.occurred_at) {
        return invalid("time", "is not between the years 1970 and 9999");
    }
    check_text("source", Some(&event.source), MAX_NAME_BYTES)?;
    check_text("data.actor.name", event.actor.name.as_ref(), MAX_NAME_BYTES)?;
    check_text("data.reason", event.reason.as_ref(), MAX_NAME_BYTES)?;
    check_text("data.target.kind", event.target.as_ref().map(|target| &target.kind), MAX_NAME_BYTES)?;
    check_text("data.target.id", event.target.as_ref().map(|target| &target.id), MAX_ID_BYTES)?;
    check_text("data.client.requestId", event.client.request_id.as_ref(), MAX_NAME_BYTES)?;
    check_user_agent(event.client.user_agent.as_deref())?;
    if !event.detail.is_object() {
        return invalid("data.detail", "is not an object");
    }
    if depth(&event.detail) > MAX_DETAIL_DEPTH {
        return invalid("data.detail", "is nested too deeply");
    }
    if event.detail.to_string().len() > MAX_DETAIL_BYTES {
        return invalid("data.detail", "is too long");
    }
    if contains_nul(&event.detail) {
        return invalid("data.detail", "contains NUL");
    }
    Ok(())
}

/// What both PostgreSQL and protobuf can express.
fn is_plausible(time: DateTime<Utc>) -> bool {
    (1970..=9999).contains(&time.year())
}

fn check_text(field: &'static str, text: Option<&String>, limit: usize) -> Result<(), Rejection> {
    match text {
        Some(text) if text.is_empty() => Err(Rejection::InvalidField { field, why: "is empty" }),
        Some(text) if text.len() > limit => Err(Rejection::InvalidField { field, why: "is too long" }),
        // PostgreSQL cannot store it.
        Some(text) if text.contains('\0') => Err(Rejection::InvalidField { field, why: "contains NUL" }),
        _ => Ok(()),
    }
}

/// Unlike other texts it comes from outside as it is, and may be empty.
fn check_user_agent(user_agent: Option<&str>) -> Result<(), Rejection> {
    let field = "data.client.userAgent";
    match user_agent {
        Some(text) if text.len() > MAX_USER_AGENT_BYTES => {
            Err(Rejection::InvalidField { field, why: "is too long" })
        }
        Some(text) if text.contains('\0') => Err(Rejection::InvalidField { field, why: "contains NUL" }),
        _ => Ok(()),
    }
}

fn depth(value: &Value) -> usize {
    let deepest = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(fields) => fields.values().map(depth).max(),
        _ => return 0,
    };
    1 + deepest.unwrap_or(0)
}

fn contains_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(contains_nul),
        Value::Object(fields) => fields.iter().any(|(key, value)| key.contains('\0') || contains_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn login() -> Value {
        json!({
            "specversion": "1.0", "id": "01900000-0000-7000-8000-000000000001", "type": "auth.auth.login", "version": 1,
            "source": "auth-api", "time": "2030-01-01T00:00:00.123456789Z", "subject": "01900000-0000-7000-8000-0000000000aa",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "data": {
                "outcome": "failure", "severity": "warning", "reason": "wrong_password",
                "actor": {"kind": "anonymous"},
                "target": {"kind": "session", "id": "7"},
                "client": {"ip": "::ffff:192.0.2.7", "userAgent": "curl/8", "requestId": "r-1"},
                "detail": {"methods": ["pwd"]},
            },
        })
    }

    fn changed(pointer: &str, value: Value) -> Result<Event, Rejection> {
        let mut event = login();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        event.pointer_mut(parent).unwrap()[field] = value;
        parse_event(event.to_string().as_bytes(), None)
    }

    fn code(result: Result<Event, Rejection>) -> &'static str {
        result.map_or_else(|rejection| rejection.code(), |_| "accepted")
    }

    #[test]
    fn a_good_event_is_understood_and_normalised() {
        let event = parse_event(login().to_string().as_bytes(), None).unwrap();
        assert_eq!(event.name, "auth.login");
        assert_eq!(event.occurred_at.to_rfc3339(), "2030-01-01T00:00:00.123456+00:00");
        assert_eq!(event.client.ip.unwrap().to_string(), "192.0.2.7");
        assert_eq!(event.trace_id.as_deref(), Some("0af7651916cd43dd8448eb211c80319c"));
        assert_eq!(event.detail, json!({"methods": ["pwd"]}));
    }

    #[test]
    fn what_only_later_versions_know_is_accepted() {
        assert_eq!(code(changed("/version", json!(2))), "accepted");
        assert_eq!(code(changed("/data/device", json!("new"))), "accepted");
        assert_eq!(code(changed("/extension", json!(1))), "accepted");
        assert_eq!(changed("/data/detail/risk", json!(3)).unwrap().detail["risk"], 3);
    }

    #[test]
    fn every_wrong_field_has_its_reason() {
        let long = "x".repeat(MAX_ID_BYTES + 1);
        let deep = (0..MAX_DETAIL_DEPTH).fold(json!(1), |inner, _| json!([inner]));
        let cases = [
            ("/specversion", json!("0.3"), "unsupported_specversion"),
            ("/id", json!("17"), "malformed"),
            ("/id", json!("00000000-0000-0000-0000-000000000000"), "invalid_field"),
            ("/type", json!("auth.login"), "unknown_type"),
            ("/type", json!("mail.send"), "unknown_type"),
            ("/type", json!("auth.user.exploded"), "unknown_type"),
            ("/version", json!(0), "unknown_version"),
            ("/version", json!(3), "unknown_version"),
            ("/version", json!(-1), "malformed"),
            ("/source", json!(""), "invalid_field"),
            ("/source", json!("auth\0api"), "invalid_field"),
            ("/time", json!("yesterday"), "malformed"),
            ("/time", json!("-4000-01-01T00:00:00Z"), "invalid_field"),
            ("/subject", json!("somebody"), "malformed"),
            ("/data", json!("text"), "invalid_fact"),
            ("/data/outcome", json!("maybe"), "invalid_fact"),
            ("/data/severity", json!("shrug"), "invalid_fact"),
            ("/data/actor", json!({"kind": "ghost"}), "invalid_fact"),
            ("/data/actor", json!({"kind": "service", "name": long}), "invalid_field"),
            ("/data/reason", json!("a\0b"), "invalid_field"),
            ("/data/target", json!({"kind": "session", "id": long}), "invalid_field"),
            ("/data/client/ip", json!("300.0.0.1"), "invalid_fact"),
            ("/data/client/userAgent", json!("x".repeat(513)), "invalid_field"),
            ("/data/client/userAgent", json!("a\0"), "invalid_field"),
            ("/data/client/requestId", json!(long), "invalid_field"),
            ("/data/detail", json!([]), "invalid_field"),
            ("/data/detail/methods", json!(["a\0b"]), "invalid_field"),
            ("/data/detail/a\0b", json!(1), "invalid_field"),
            ("/data/detail/methods", json!("x".repeat(MAX_DETAIL_BYTES)), "invalid_field"),
            ("/data/detail/methods", deep, "invalid_field"),
        ];
        for (pointer, value, expected) in cases {
            let shown = value.to_string();
            assert_eq!(code(changed(pointer, value)), expected, "{pointer} = {shown}");
        }
        assert_eq!(code(changed("/data/client/userAgent", json!("x".repeat(512)))), "accepted");
    }

    #[test]
    fn what_is_not_json_is_rejected_without_repeating_it() {
        let truncated = login().to_string();
        let huge = "x".repeat(MAX_MESSAGE_BYTES + 1);
        let duplicate = truncated.replacen("\"version\":1", "\"version\":1,\"version\":1", 1);
        let hidden = truncated.replace("\"failure\"", "{\"secret\":1}");
        let cases = [
            ("", "malformed"),
            ("hello secret", "malformed"),
            ("[]", "malformed"),
            (&truncated[..40], "malformed"),
            (&duplicate, "malformed"),
            (&hidden, "invalid_fact"),
            (&huge, "too_large"),
        ];
        for (payload, expected) in cases {
            let rejection = parse_event(payload.as_bytes(), None).unwrap_err();
            assert_eq!(rejection.code(), expected);
            assert!(!rejection.to_string().contains("secret"), "{rejection}");
        }
        assert_eq!(code(parse_event(b"\xff\xfe", None)), "malformed");
    }

    #[test]
    fn the_headers_trace_context_fills_in_for_a_missing_or_broken_one() {
        let header = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-00";
        for broken in
            [json!(null), json!("nonsense"), json!("00-00000000000000000000000000000000-b7ad6b7169203331-01")]
        {
            let mut event = login();
            event["traceparent"] = broken;
            let event = parse_event(event.to_string().as_bytes(), Some(header)).unwrap();
            assert_eq!(event.trace_id.as_deref(), Some("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
        }
    }
}
