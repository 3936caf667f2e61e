use auth_ids::{EventId, UserId, Uuid};
use chrono::{DateTime, Utc};
use clock::{Clock, CryptoRng};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    commands::{MAIL_SEND, MailSend},
    fact::{Fact, FactDetail},
};

/// A message on the broker: CloudEvents 1.0 attributes around `data`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Envelope<T> {
    /// Always `1.0`.
    pub specversion: String,
    /// The key by which consumers recognise a second delivery.
    #[schemars(with = "Uuid")]
    pub id: EventId,
    /// `auth.<domain>.<action>` for facts, `<service>.<verb>` for commands.
    pub r#type: String,
    /// The version of the type; starts at 1.
    pub version: u16,
    /// The service that says it.
    pub source: String,
    /// When it happened.
    pub time: DateTime<Utc>,
    /// The user it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Uuid>")]
    pub subject: Option<UserId>,
    /// The W3C trace context of the request that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// What the type defines.
    pub data: T,
}

/// A message whose data has not been interpreted yet.
pub type RawEnvelope = Envelope<serde_json::Value>;

impl<D: FactDetail> Envelope<Fact<D>> {
    /// The envelope of a fact that `source` states about `subject`.
    pub fn fact(
        source: &str,
        subject: Option<UserId>,
        fact: Fact<D>,
        clock: &dyn Clock,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Self {
        let r#type = format!("auth.{}", D::NAME);
        Self::new(r#type, D::VERSION, source, subject, fact, clock, rng)
    }
}

impl Envelope<MailSend> {
    /// The envelope of a mail command. `id` comes from the caller because the sealed parameters are bound to it.
    #[must_use]
    pub fn mail_command(
        id: EventId,
        source: &str,
        subject: Option<UserId>,
        mail: MailSend,
        clock: &dyn Clock,
    ) -> Self {
        Self {
            specversion: "1.0".to_owned(),
            id,
            r#type: MAIL_SEND.to_owned(),
            version: MailSend::VERSION,
            source: source.to_owned(),
            time: clock.now(),
            subject,
            traceparent: None,
            data: mail,
        }
    }
}

impl<T> Envelope<T> {
    fn new(
        r#type: String,
        version: u16,
        source: &str,
        subject: Option<UserId>,
        data: T,
        clock: &dyn Clock,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Self {
        Self {
            specversion: "1.0".to_owned(),
            id: auth_ids::generate(clock, rng),
            r#type,
            version,
            source: source.to_owned(),
            time: clock.now(),
            subject,
            traceparent: None,
            data,
        }
    }

    /// The same message, continuing the trace `traceparent`.
    #[must_use]
    pub fn with_traceparent(mut self, traceparent: Option<String>) -> Self {
        self.traceparent = traceparent;
        self
    }
}
