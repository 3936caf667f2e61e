//! What of an event is about a person, and whose it is.

use std::net::IpAddr;

use auth_events::{ActorKind, Client};
use auth_ids::{GenericUuid, Uuid};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Event;

/// The members of details that are about nobody: codes, numbers, times, ids of ours. Everything else is sealed, whatever it
/// is, so that a member that nobody thought about is protected too.
const IMPERSONAL: &[&str] = &[
    "aal",
    "action",
    "contextChanged",
    "count",
    "currentGeneration",
    "deletesAt",
    "devices",
    "dropped",
    "factor",
    "fields",
    "generation",
    "kept",
    "kid",
    "limit",
    "locale",
    "mailSent",
    "method",
    "methods",
    "ownerNotified",
    "presentedGeneration",
    "purpose",
    "remaining",
    "revoked",
    "roles",
    "sameBrowser",
    "sessionId",
    "signsFrom",
    "trustedUntil",
    "until",
];

/// Whose key seals something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// A user, whether with an account or not any more.
    Person(Uuid),
    /// Nobody that we know: the key of the month, which goes with the month.
    Month,
}

/// Who did it, as sealed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SealedClient {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_name: Option<String>,
}

/// An event taken apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts {
    pub client: Option<SealedClient>,
    /// Empty when nothing of the detail is personal.
    pub personal_detail: Map<String, Value>,
    pub detail: Map<String, Value>,
    /// Stays readable: services and operators are no private persons.
    pub actor_name: Option<String>,
}

impl Owner {
    /// Whose the address, user agent and name are: those of who acted. Somebody without an account is presumed to be the
    /// subject.
    #[must_use]
    pub fn of_client(actor_kind: &str, actor_id: Option<Uuid>, subject_id: Option<Uuid>) -> Self {
        let acting = actor_id.filter(|_| actor_kind == ActorKind::User.name());
        acting.or(subject_id).map_or(Self::Month, Self::Person)
    }

    /// Whose the detail is: of whom it speaks.
    #[must_use]
    pub fn of_detail(actor_kind: &str, actor_id: Option<Uuid>, subject_id: Option<Uuid>) -> Self {
        subject_id.map_or_else(|| Self::of_client(actor_kind, actor_id, None), Self::Person)
    }
}

impl Parts {
    /// Takes `event` apart.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        let Client { ip, user_agent, request_id: _ } = &event.client;
        let name = event.actor.name.clone();
        let is_public = matches!(event.actor.kind, ActorKind::Service | ActorKind::Operator);
        let (public_name, private_name) = if is_public { (name, None) } else { (None, name) };
        let client = SealedClient { ip: *ip, user_agent: user_agent.clone(), actor_name: private_name };
        let (detail, personal_detail) = split(&event.detail);
        Self {
            client: Some(client).filter(|client| *client != SealedClient::default()),
            personal_detail,
            detail,
            actor_name: public_name,
        }
    }

    /// The address it came from.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.client.as_ref().and_then(|client| client.ip)
    }
}

impl Event {
    /// Whose address and user agent it has.
    #[must_use]
    pub fn client_owner(&self) -> Owner {
        let subject = self.subject_id.map(GenericUuid::into_untyped_uuid);
        Owner::of_client(self.actor.kind.name(), self.actor.id, subject)
    }

    /// Of whom its detail speaks.
    #[must_use]
    pub fn detail_owner(&self) -> Owner {
        let subject = self.subject_id.map(GenericUuid::into_untyped_uuid);
        Owner::of_detail(self.actor.kind.name(), self.actor.id, subject)
    }
}

/// What is about nobody, and the rest.
fn split(detail: &Value) -> (Map<String, Value>, Map<String, Value>) {
    let fields = detail.as_object().cloned().unwrap_or_default();
    fields.into_iter().partition(|(name, _)| IMPERSONAL.binary_search(&name.as_str()).is_ok())
}

#[cfg(test)]
mod tests {
    use auth_events::Actor;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_nobody_thought_about_is_personal() {
        assert!(IMPERSONAL.is_sorted());
        let detail = json!({"methods": ["pwd"], "identifierHash": "x", "somethingNew": 1});
        let (clear, sealed) = split(&detail);
        assert_eq!(Value::Object(clear), json!({"methods": ["pwd"]}));
        assert_eq!(Value::Object(sealed), json!({"identifierHash": "x", "somethingNew": 1}));
    }

    #[test]
    fn an_address_is_the_actors_and_a_detail_the_subjects() {
        let (admin, user) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let owners = |kind, actor, subject| {
            (Owner::of_client(kind, actor, subject), Owner::of_detail(kind, actor, subject))
        };
        assert_eq!(owners("user", Some(admin), Some(user)), (Owner::Person(admin), Owner::Person(user)));
        assert_eq!(owners("anonymous", None, Some(user)), (Owner::Person(user), Owner::Person(user)));
        assert_eq!(owners("user", Some(admin), None), (Owner::Person(admin), Owner::Person(admin)));
        assert_eq!(owners("anonymous", None, None), (Owner::Month, Owner::Month));
        assert_eq!(owners("service", Some(admin), None), (Owner::Month, Owner::Month));
    }

    #[test]
    fn only_services_and_operators_keep_their_names_in_the_clear() {
        for (kind, public) in [
            (ActorKind::User, false),
            (ActorKind::Anonymous, false),
            (ActorKind::Service, true),
            (ActorKind::Operator, true),
        ] {
            let actor = Actor { kind, id: None, name: Some("x".to_owned()) };
            let parts = Parts::of(&Event { actor, ..Event::specimen() });
            assert_eq!(parts.actor_name.is_some(), public, "{kind:?}");
            assert_eq!(parts.client.is_some(), !public, "{kind:?}");
        }
    }
}
