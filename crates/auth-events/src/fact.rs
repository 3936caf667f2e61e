use std::net::IpAddr;

use auth_ids::{GenericUuid, UserId, Uuid};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Something that happened, in the past tense, for the audit log and for whoever listens. Facts carry no secrets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fact<D> {
    /// Whether what was attempted came about.
    pub outcome: Outcome,
    /// How loudly an operator should be told.
    pub severity: Severity,
    /// Who did it.
    pub actor: Actor,
    /// What it was done to, if that is not the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Where the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Client>,
    /// Stable code of the reason, for outcomes other than success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the type adds.
    pub detail: D,
}

/// What one type of fact adds to [`Fact`], with the type's name and version.
pub trait FactDetail: Serialize + DeserializeOwned + JsonSchema {
    /// `domain.action`, the name in the audit log; the envelope's type is `auth.` and this.
    const NAME: &'static str;
    /// The version of the type.
    const VERSION: u16;
}

/// Whether what was attempted came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did.
    Success,
    /// It was tried and went wrong, a wrong password for example.
    Failure,
    /// It was refused before it was tried.
    Denied,
}

impl Outcome {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Success, Self::Failure, Self::Denied];

    /// The name in JSON, the audit log and filters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Denied => "denied",
        }
    }
}

/// How loudly an operator should be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The ordinary course of things.
    Info,
    /// Worth a look.
    Warning,
    /// Somebody should be woken.
    Critical,
}

impl Severity {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Info, Self::Warning, Self::Critical];

    /// The name in JSON, the audit log and filters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Actor {
    /// The kind of actor.
    pub kind: ActorKind,
    /// The user, when the actor is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// The service, when the actor is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The kinds of actors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// Nobody that we know.
    Anonymous,
    /// A user account.
    User,
    /// One of the services, or a caller of one.
    Service,
    /// Somebody with a shell.
    Operator,
}

impl ActorKind {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Anonymous, Self::User, Self::Service, Self::Operator];

    /// The name in JSON, the audit log and filters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::User => "user",
            Self::Service => "service",
            Self::Operator => "operator",
        }
    }
}

/// What it was done to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The kind of thing, `session` for example.
    pub kind: String,
    /// Its id.
    pub id: String,
}

/// Where a request came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Client {
    /// The client's address, behind trusted proxies the one they name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// `User-Agent`, cut at 512 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// The request's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl<D> Fact<D> {
    /// A successful deed of `actor`.
    pub fn new(actor: Actor, detail: D) -> Self {
        Self {
            outcome: Outcome::Success,
            severity: Severity::Info,
            actor,
            target: None,
            client: None,
            reason: None,
            detail,
        }
    }

    /// A successful deed of the user `id`.
    pub fn by_user(id: UserId, detail: D) -> Self {
        let id = Some(id.into_untyped_uuid());
        Self::new(Actor { kind: ActorKind::User, id, name: None }, detail)
    }

    /// A successful deed of somebody who has not said who they are.
    pub fn by_anonymous(detail: D) -> Self {
        Self::new(Actor { kind: ActorKind::Anonymous, id: None, name: None }, detail)
    }

    /// A successful deed of the service `name`.
    pub fn by_service(name: &str, detail: D) -> Self {
        Self::new(Actor { kind: ActorKind::Service, id: None, name: Some(name.to_owned()) }, detail)
    }

    /// The same with another outcome.
    #[must_use]
    pub fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// The same as a failure for the reason with the code `reason`.
    #[must_use]
    pub fn failed(mut self, reason: &str) -> Self {
        self.outcome = Outcome::Failure;
        self.reason = Some(reason.to_owned());
        self
    }

    /// The same, refused for the reason with the code `reason`.
    #[must_use]
    pub fn denied(mut self, reason: &str) -> Self {
        self.outcome = Outcome::Denied;
        self.reason = Some(reason.to_owned());
        self
    }

    /// The same with another severity.
    #[must_use]
    pub fn with_severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// The same, done to the thing `id` of `kind`.
    #[must_use]
    pub fn on(mut self, kind: &str, id: impl std::fmt::Display) -> Self {
        self.target = Some(Target { kind: kind.to_owned(), id: id.to_string() });
        self
    }

    /// The same, asked for by `client`.
    #[must_use]
    pub fn from_client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }
}
