use std::borrow::Cow;

use auth_events::{
    Envelope,
    commands::{Lane, Locale, MAIL_SEND, MailParameters, MailSend},
    routing::Route,
};
use auth_ids::EventId;
use base64::prelude::*;
use chrono::TimeDelta;
use clock::Clock;
use event_bus::{OutgoingMessage, PublishError, Publisher};
use lettre::Address;
use sealing::MailboxPublicKey;
use service_error::{ErrorKind, ServiceError};

use super::failure::BROKER_UNAVAILABLE;
use crate::NAME;

/// Who asks for a test waits for it.
const LANE: Lane = Lane::Security;
/// A test that comes tomorrow tells nothing.
const WORTH_SENDING_FOR: TimeDelta = TimeDelta::hours(1);

/// Why no test mail is on its way.
#[derive(Debug, thiserror::Error)]
pub enum SendTestError {
    /// The command could not be written.
    #[error("the test cannot be written as a command")]
    Write(#[from] serde_json::Error),
    /// The broker did not take it.
    #[error("the test cannot be put into its queue")]
    Broker(#[from] PublishError),
}

/// Asks for a test mail to `to`, the way everybody else does: a command, sealed to `key`, through the broker. Its id.
pub async fn send_test(
    publisher: &Publisher,
    key: &MailboxPublicKey,
    clock: &dyn Clock,
    to: &Address,
    locale: Locale,
) -> Result<EventId, SendTestError> {
    let (id, message) = command(key, clock, to, locale)?;
    for published in publisher.publish(vec![message]).await {
        published?;
    }
    Ok(id)
}

fn command(
    key: &MailboxPublicKey,
    clock: &dyn Clock,
    to: &Address,
    locale: Locale,
) -> Result<(EventId, OutgoingMessage), serde_json::Error> {
    let mut rng = clock::secure_rng();
    let id: EventId = auth_ids::generate(clock, &mut rng);
    let parameters = MailParameters::Test { requested_at: clock.now() };
    let template = parameters.template();
    let sealed = key.seal(&serde_json::to_vec(&parameters)?, &MailSend::binding(id, template), &mut rng);
    let mail = MailSend {
        template,
        locale,
        to: to.to_string(),
        lane: LANE,
        expires_at: clock.now() + WORTH_SENDING_FOR,
        supersedes: None,
        sealed: BASE64_STANDARD.encode(sealed),
    };
    let traceparent = telemetry::propagation::current_traceparent();
    let command = Envelope::mail_command(id, NAME, None, mail, clock).with_traceparent(traceparent.clone());
    let message = OutgoingMessage {
        route: Route::mail(LANE),
        message_id: id.to_string(),
        message_type: format!("{MAIL_SEND}.v{}", MailSend::VERSION),
        traceparent,
        payload: serde_json::to_vec(&command)?,
    };
    Ok((id, message))
}

impl ServiceError for SendTestError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Write(_) => ErrorKind::Internal,
            Self::Broker(_) => ErrorKind::Unavailable,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Write(_) => "internal",
            Self::Broker(_) => BROKER_UNAVAILABLE,
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        self.kind().title().into()
    }
}
