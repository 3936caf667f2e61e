use std::collections::BTreeMap;

use auth_proto::audit::v1::{Actor, Event, Target};
use chrono::{DateTime, Utc};
use prost_types::{ListValue, Struct, Timestamp, Value, value::Kind};
use serde_json::{Map, Number, Value as Json};

use crate::domain::RecordedEvent;

/// The largest integer up to which a double can tell every integer from the next.
const EXACT_INTEGERS: u64 = 1 << 53;

/// The event as it travels.
pub fn event(event: RecordedEvent) -> Event {
    let text = |id: Option<auth_ids::Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
    let detail = match event.detail {
        Json::Object(fields) => Some(structure(fields)),
        _ => None,
    };
    Event {
        id: event.id.to_string(),
        seq: event.seq,
        r#type: event.name,
        version: u32::try_from(event.version).unwrap_or_default(),
        source: event.source,
        occurred_at: Some(timestamp(event.occurred_at)),
        recorded_at: Some(timestamp(event.recorded_at)),
        subject_id: text(event.subject_id),
        actor: Some(Actor {
            kind: event.actor_kind,
            id: text(event.actor_id),
            name: event.actor_name.unwrap_or_default(),
        }),
        outcome: event.outcome,
        severity: event.severity,
        reason: event.reason.unwrap_or_default(),
        target: event.target.map(|target| Target { kind: target.kind, id: target.id }),
        ip: event.client.ip.map(|ip| ip.to_string()).unwrap_or_default(),
        user_agent: event.client.user_agent.unwrap_or_default(),
        request_id: event.client.request_id.unwrap_or_default(),
        trace_id: event.trace_id.unwrap_or_default(),
        detail,
        erased: event.erased,
        hash: event.hash,
        prev_hash: event.prev_hash,
    }
}

pub fn timestamp(time: DateTime<Utc>) -> Timestamp {
    // Of a leap second chrono makes more than a second's nanoseconds; protobuf forbids that.
    let nanos = time.timestamp_subsec_nanos().min(999_999_999);
    Timestamp { seconds: time.timestamp(), nanos: i32::try_from(nanos).unwrap_or_default() }
}

fn structure(fields: Map<String, Json>) -> Struct {
    let fields: BTreeMap<_, _> = fields.into_iter().map(|(name, json)| (name, value(json))).collect();
    Struct { fields }
}

fn value(json: Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(truth) => Kind::BoolValue(truth),
        Json::Number(number) => self::number(&number),
        Json::String(text) => Kind::StringValue(text),
        Json::Array(items) => Kind::ListValue(ListValue { values: items.into_iter().map(value).collect() }),
        Json::Object(fields) => Kind::StructValue(structure(fields)),
    };
    Value { kind: Some(kind) }
}

/// Numbers are doubles in a `Struct`; an integer that one cannot hold becomes text, as in protobuf's own JSON.
fn number(number: &Number) -> Kind {
    let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
    match number.as_f64() {
        Some(double) if magnitude.is_none_or(|magnitude| magnitude <= EXACT_INTEGERS) => {
            Kind::NumberValue(double)
        }
        _ => Kind::StringValue(number.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_becomes_a_struct_without_losing_digits() {
        let Json::Object(fields) =
            json!({"n": null, "list": [true, 1.5, -7], "big": u64::MAX, "in": {"a": "b"}})
        else {
            unreachable!()
        };
        let fields = structure(fields).fields;
        let kind = |name: &str| fields[name].kind.clone().unwrap();
        assert_eq!(kind("n"), Kind::NullValue(0));
        assert_eq!(kind("big"), Kind::StringValue(u64::MAX.to_string()));
        let Kind::ListValue(list) = kind("list") else { panic!("{:?}", kind("list")) };
        let numbers: Vec<_> = list.values.into_iter().map(|value| value.kind.unwrap()).collect();
        assert_eq!(numbers, [Kind::BoolValue(true), Kind::NumberValue(1.5), Kind::NumberValue(-7.0)]);
        let Kind::StructValue(inner) = kind("in") else { panic!("{:?}", kind("in")) };
        assert_eq!(inner.fields["a"].kind, Some(Kind::StringValue("b".to_owned())));
    }
}
