//! The edge in from the broker: mail commands, one queue for each lane.

use std::{error::Error, sync::Arc};

use auth_events::{
    commands::Lane,
    routing::{MAILER_DEAD_QUEUE, mailer_queue},
};
use clock::SharedClock;
use event_bus::{ConsumerSettings, Delivery as Message, Handler, Verdict};
use sealing::MailboxPrivateKey;

use crate::{
    app::deliver::{DeliverError, Delivery, Postman},
    domain::{
        mail_command::{MailCommand, Refusal},
        retry_ladder,
        workers::workers,
    },
    metrics::Metrics,
};

/// What a mail command says that it is.
const CONTENT_TYPES: [&str; 2] = ["application/cloudevents+json", "application/json"];

/// How the queue of `lane` is consumed, where the most urgent one has `most` workers.
#[must_use]
pub fn settings(lane: Lane, most: u16) -> ConsumerSettings {
    ConsumerSettings::one_at_a_time(mailer_queue(lane), MAILER_DEAD_QUEUE, workers(lane, most))
}

/// Handles mail commands.
#[derive(Clone)]
pub struct MailCommands {
    /// Opens what is sealed to the mailer.
    pub key: MailboxPrivateKey,
    /// Delivers.
    pub postman: Arc<Postman>,
    /// What is counted.
    pub metrics: Metrics,
    /// What time it is.
    pub clock: SharedClock,
}

impl Handler for MailCommands {
    async fn handle(&self, message: Message) -> Verdict {
        // Without one it may come from an older hand; with a wrong one it is something else.
        if message.content_type.as_deref().is_some_and(|it| !CONTENT_TYPES.contains(&it)) {
            return self.refuse(Refusal::WrongContentType);
        }
        let command = match MailCommand::open(&message.payload, &self.key) {
            Ok(command) => command,
            Err(refusal) => return self.refuse(refusal),
        };
        match self.postman.deliver(&command).await {
            Ok(Delivery::Over) => Verdict::Done,
            Ok(Delivery::Again(delay) | Delivery::NotNow(delay)) => Verdict::RetryAfter(delay),
            Ok(Delivery::Halted) => Verdict::Requeue,
            Err(error) => self.after_error(&command, &error),
        }
    }
}

impl MailCommands {
    fn refuse(&self, refusal: Refusal) -> Verdict {
        self.metrics.refused(refusal);
        tracing::warn!(mail.refusal = refusal.reason(), "A message is no mail command: {refusal}");
        Verdict::Reject(refusal.reason().to_owned())
    }

    fn after_error(&self, command: &MailCommand, error: &DeliverError) -> Verdict {
        let (DeliverError::Database(cause) | DeliverError::Unsettled(cause)) = error;
        let id = command.id;
        tracing::error!(mail.id = %id, error = error as &dyn Error, "Mail {id} could not be handled");
        if cause.is_transient() {
            return Verdict::Requeue;
        }
        // A defect. It must not stop the other mails, and this one is kept until a repaired release comes or it is worthless.
        if self.clock.now() < command.expires_at {
            Verdict::RetryAfter(retry_ladder::STEPS[1])
        } else {
            Verdict::Reject("internal".to_owned())
        }
    }
}
