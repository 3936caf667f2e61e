//! Facts as their producers would state them.

use audit_service::domain::{Event, parse_event};
use auth_events::{
    Client, Envelope, Fact, FactDetail,
    facts::{AuthLogin, SessionRefreshed, UserRegistered},
    routing::Route,
};
use auth_ids::UserId;
use event_bus::OutgoingMessage;
use serde_json::Value;

pub fn user() -> UserId {
    auth_ids::generate(&clock::SystemClock, &mut clock::secure_rng())
}

pub fn envelope<D: FactDetail>(subject: UserId, fact: Fact<D>) -> Value {
    let envelope =
        Envelope::fact("auth-api", Some(subject), fact, &clock::SystemClock, &mut clock::secure_rng());
    serde_json::to_value(envelope).unwrap()
}

pub fn login(user: UserId) -> Value {
    let detail = AuthLogin { methods: vec!["pwd".to_owned()], identifier_hash: None };
    let client = Client {
        ip: Some("192.0.2.7".parse().unwrap()),
        user_agent: Some("curl/8".to_owned()),
        request_id: Some("request-1".to_owned()),
    };
    envelope(user, Fact::by_user(user, detail).from_client(client))
}

pub fn refresh(user: UserId) -> Value {
    let session_id = auth_ids::generate(&clock::SystemClock, &mut clock::secure_rng());
    envelope(user, Fact::by_user(user, SessionRefreshed { session_id, generation: 2, context_changed: None }))
}

pub fn registration(user: UserId) -> Value {
    envelope(user, Fact::by_anonymous(UserRegistered { locale: "de".to_owned() }))
}

pub fn parsed(envelope: &Value) -> Event {
    parse_event(envelope.to_string().as_bytes(), None).unwrap()
}

pub fn id(envelope: &Value) -> String {
    envelope["id"].as_str().unwrap().to_owned()
}

pub fn message(envelope: &Value) -> OutgoingMessage {
    OutgoingMessage { message_id: id(envelope), ..raw_message(envelope.to_string()) }
}

/// A message that no producer of ours would send.
pub fn raw_message(payload: impl Into<Vec<u8>>) -> OutgoingMessage {
    OutgoingMessage {
        route: Route::fact("auth.auth.login"),
        message_id: "unknown".to_owned(),
        message_type: "auth.auth.login.v1".to_owned(),
        traceparent: None,
        payload: payload.into(),
    }
}
