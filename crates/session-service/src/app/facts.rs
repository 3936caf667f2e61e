//! The facts that this service states.

use auth_events::{
    Actor, ActorKind, Client, Envelope, Fact, FactDetail, Severity,
    facts::{
        AuthLogout, SessionCreated, SessionExpired, SessionRefreshReuseDetected, SessionRefreshed,
        SessionRevoked, SessionRevokedAll, SystemAccessDenied, SystemKeyRotated,
    },
};
use auth_ids::UserId;
use clock::Clock;

use crate::{
    SERVICE_NAME,
    domain::session::{REUSE, Session},
};

pub fn created(session: &Session, client: Client, clock: &dyn Clock) -> Envelope<Fact<SessionCreated>> {
    let detail = SessionCreated { session_id: session.id, aal: session.grant.aal };
    about(session, Fact::by_user(session.user_id, detail).from_client(client), clock)
}

/// Nobody ended it.
pub fn expired(session: &Session, clock: &dyn Clock) -> Envelope<Fact<SessionExpired>> {
    let detail = SessionExpired { session_id: session.id };
    about(session, Fact::by_service(SERVICE_NAME, detail), clock)
}

/// With whether the device is another than it was.
pub fn refreshed(
    session: &Session,
    context_changed: bool,
    client: Client,
    clock: &dyn Clock,
) -> Envelope<Fact<SessionRefreshed>> {
    let detail = SessionRefreshed {
        session_id: session.id,
        generation: session.line.generation,
        context_changed: context_changed.then_some(true),
    };
    about(session, Fact::by_user(session.user_id, detail).from_client(client), clock)
}

/// Whoever presented the token is not known to be the user.
pub fn reuse_detected(
    session: &Session,
    presented_generation: u64,
    client: Client,
    clock: &dyn Clock,
) -> Envelope<Fact<SessionRefreshReuseDetected>> {
    let detail = SessionRefreshReuseDetected {
        session_id: session.id,
        presented_generation,
        current_generation: session.line.generation,
    };
    let fact = Fact::by_anonymous(detail).denied(REUSE).with_severity(Severity::Critical).from_client(client);
    about(session, fact, clock)
}

/// The user ended the session.
pub fn revoked_by_user(
    session: &Session,
    reason: &str,
    client: Client,
    clock: &dyn Clock,
) -> Envelope<Fact<SessionRevoked>> {
    let detail = SessionRevoked { session_id: session.id };
    let mut fact = Fact::by_user(session.user_id, detail).from_client(client);
    fact.reason = Some(reason.to_owned());
    about(session, fact, clock)
}

/// The service `name` ended the session.
pub fn revoked_by_service(
    session: &Session,
    name: &str,
    reason: &str,
    client: Client,
    clock: &dyn Clock,
) -> Envelope<Fact<SessionRevoked>> {
    let detail = SessionRevoked { session_id: session.id };
    let mut fact = Fact::by_service(name, detail).from_client(client);
    fact.reason = Some(reason.to_owned());
    about(session, fact, clock)
}

/// The user ended all their sessions, or all but one.
pub fn all_revoked_by_user(
    user: UserId,
    detail: SessionRevokedAll,
    reason: &str,
    client: Client,
    clock: &dyn Clock,
) -> Envelope<Fact<SessionRevokedAll>> {
    let mut fact = Fact::by_user(user, detail).from_client(client);
    fact.reason = Some(reason.to_owned());
    state(Some(user), fact, clock)
}

/// The service `name` ended all sessions of the user, or all but one.
pub fn all_revoked_by_service(
    user: UserId,
    detail: SessionRevokedAll,
    name: &str,
    reason: &str,
    client: Client,
    clock: &dyn Clock,
) -> Envelope<Fact<SessionRevokedAll>> {
    let mut fact = Fact::by_service(name, detail).from_client(client);
    fact.reason = Some(reason.to_owned());
    state(Some(user), fact, clock)
}

/// The user ended the session by logging out.
pub fn logged_out(session: &Session, client: Client, clock: &dyn Clock) -> Envelope<Fact<AuthLogout>> {
    about(session, Fact::by_user(session.user_id, AuthLogout {}).from_client(client), clock)
}

/// The service `name` as the one who did it.
pub fn service(name: &str) -> Actor {
    Actor { kind: ActorKind::Service, id: None, name: Some(name.to_owned()) }
}

/// Somebody with a shell as the one who did it.
pub fn operator() -> Actor {
    Actor { kind: ActorKind::Operator, id: None, name: None }
}

/// A key is made, and takes over from the others. That some of them were dropped is an emergency.
pub fn key_rotated(
    actor: Actor,
    detail: SystemKeyRotated,
    reason: &str,
    clock: &dyn Clock,
) -> Envelope<Fact<SystemKeyRotated>> {
    let severity = if detail.dropped.is_empty() { Severity::Info } else { Severity::Critical };
    let kid = detail.kid.clone();
    let mut fact = Fact::new(actor, detail).on("signing_key", kid).with_severity(severity);
    fact.reason = Some(reason.to_owned());
    state(None, fact, clock)
}

pub fn access_denied(caller: &str, method: &str, clock: &dyn Clock) -> Envelope<Fact<SystemAccessDenied>> {
    let detail = SystemAccessDenied { method: method.to_owned() };
    let fact = Fact::by_service(caller, detail).denied("caller_not_allowed").with_severity(Severity::Warning);
    state(None, fact, clock)
}

fn about<D: FactDetail>(session: &Session, fact: Fact<D>, clock: &dyn Clock) -> Envelope<Fact<D>> {
    state(Some(session.user_id), fact.on("session", session.id), clock)
}

fn state<D: FactDetail>(subject: Option<UserId>, fact: Fact<D>, clock: &dyn Clock) -> Envelope<Fact<D>> {
    Envelope::fact(SERVICE_NAME, subject, fact, clock, &mut clock::secure_rng())
}
