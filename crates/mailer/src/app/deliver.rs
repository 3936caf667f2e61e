use std::{error::Error, time::Duration};

use chrono::{DateTime, Utc};
use clock::SharedClock;
use diesel_async::AsyncConnection;
use pg::{AsyncPgConnection, Database};

use crate::{
    domain::{
        claim::Claim,
        mail_command::MailCommand,
        message::{MessageState, message_id_header},
        settlement::{Outcome, Reply, Settlement},
    },
    mail::{
        composer::{ComposedMail, Sender, compose},
        renderer::Renderer,
        smtp::Smtp,
    },
    metrics::Metrics,
    store::{messages, transitions},
};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Delivers mail, each command once.
pub struct Postman {
    /// Where the state of every message is.
    pub database: Database,
    /// Whom the mails are handed to.
    pub smtp: Smtp,
    /// Finds the words.
    pub renderer: Renderer,
    /// Who writes.
    pub sender: Sender,
    /// The right-hand side of every `Message-ID`.
    pub mail_domain: String,
    /// What time it is.
    pub clock: SharedClock,
    /// What is counted.
    pub metrics: Metrics,
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Nothing is left to do: sent, failed or expired, now or before.
    Over,
    /// It has to be tried again after this long.
    Again(Duration),
    /// Another worker has it, or it came before it was due.
    NotNow,
}

/// Why it is not known what became of a command.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// The database failed; no mail was sent.
    #[error("the state of the message cannot be read or written")]
    Database(#[from] pg::Error),
}

pg::leaves_transactions!(DeliverError);

impl Postman {
    /// Delivers `command`, unless that has been done, is being done or is no longer worth doing. No transaction is open while
    /// the mail server is talked to.
    #[tracing::instrument(
        name = "mail.messages.deliver",
        skip_all,
        fields(mail.id = %command.id, mail.template = command.template().name(), mail.lane = command.lane.name())
    )]
    pub async fn deliver(&self, command: &MailCommand) -> Result<Delivery, DeliverError> {
        match self.claim(command).await? {
            Claim::Won { attempt } => self.attempt(command, attempt).await,
            Claim::NotNow => Ok(Delivery::NotNow),
            Claim::Over => Ok(Delivery::Over),
            Claim::Expired => {
                self.metrics.failed(command.template(), "expired");
                Ok(Delivery::Over)
            }
        }
    }

    async fn claim(&self, command: &MailCommand) -> Result<Claim, DeliverError> {
        let now = self.clock.now();
        let header = message_id_header(command.id, &self.mail_domain);
        let mut conn = self.database.connection().await?;
        conn.transaction(async |conn| claim(conn, command, &header, now).await).await
    }

    async fn attempt(&self, command: &MailCommand, attempt: u32) -> Result<Delivery, DeliverError> {
        let template = command.template();
        let outcome = match self.compose(command) {
            Ok(mail) => {
                if attempt == 1 {
                    self.metrics.started(self.clock.now() - command.requested_at);
                }
                self.smtp.send(&mail).await
            }
            Err(reply) => Outcome::Unrenderable(reply),
        };
        let settlement = Settlement::of(&outcome, attempt, self.clock.now(), command.expires_at);
        self.settle(command, attempt, settlement, outcome.reply()).await?;
        Ok(match settlement {
            Settlement::Sent => {
                self.metrics.sent(template);
                Delivery::Over
            }
            Settlement::Deferred(delay) => Delivery::Again(delay),
            Settlement::Failed(reason) => {
                self.metrics.failed(template, reason);
                Delivery::Over
            }
            Settlement::Expired => {
                self.metrics.failed(template, "expired");
                Delivery::Over
            }
        })
    }

    fn compose(&self, command: &MailCommand) -> Result<ComposedMail, Reply> {
        let header = message_id_header(command.id, &self.mail_domain);
        let rendered = self.renderer.render(command.locale, &command.parameters);
        let rendered = rendered.map_err(|error| unrenderable(command, &error))?;
        compose(&self.sender, &command.to, &header, self.clock.now(), rendered)
            .map_err(|error| unrenderable(command, &error))
    }

    /// Writes down what came of an attempt, and does not give up while the database is away: the mail server's word is known
    /// here only, and a message that still counts as being sent would be sent a second time.
    async fn settle(
        &self,
        command: &MailCommand,
        attempt: u32,
        settlement: Settlement,
        reply: &Reply,
    ) -> Result<(), DeliverError> {
        let state = MessageState::after(settlement);
        let id = command.id;
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.try_settle(command, attempt, settlement, reply).await {
                Ok(true) => {
                    tracing::info!(
                        mail.id = %id, mail.template = command.template().name(), mail.attempt = attempt,
                        mail.state = state.name(), "Mail {id} is {} after attempt {attempt}", state.name()
                    );
                    return Ok(());
                }
                Ok(false) => {
                    tracing::warn!(mail.id = %id, "Mail {id} was taken over by another worker during attempt {attempt}");
                    return Ok(());
                }
                Err(DeliverError::Database(error)) if error.is_transient() => error,
                Err(error) => return Err(error),
            };
            tracing::warn!(mail.id = %id, error = &error as &dyn Error, "The outcome of mail {id} waits for PostgreSQL");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn try_settle(
        &self,
        command: &MailCommand,
        attempt: u32,
        settlement: Settlement,
        reply: &Reply,
    ) -> Result<bool, DeliverError> {
        let now = self.clock.now();
        let mut conn = self.database.connection().await?;
        conn.transaction(async |conn| {
            let ours = messages::settle(conn, command.id, attempt, settlement, reply, now).await?;
            if ours {
                let state = MessageState::after(settlement);
                transitions::append(conn, command.id, state, attempt, Some(reply), now).await?;
            }
            Ok(ours)
        })
        .await
    }
}

fn unrenderable(command: &MailCommand, error: &(dyn Error + 'static)) -> Reply {
    tracing::error!(mail.id = %command.id, error, "Mail {} cannot be put into words", command.id);
    Reply::new(&error.to_string())
}

async fn claim(
    conn: &mut AsyncPgConnection,
    command: &MailCommand,
    message_id_header: &str,
    now: DateTime<Utc>,
) -> Result<Claim, DeliverError> {
    let id = command.id;
    if messages::insert_if_new(conn, command, message_id_header, now).await? {
        transitions::append(conn, id, MessageState::Queued, 0, None, now).await?;
    }
    if let Some(attempt) = messages::claim(conn, id, now).await? {
        transitions::append(conn, id, MessageState::Sending, attempt, None, now).await?;
        return Ok(Claim::Won { attempt });
    }
    if let Some(attempts) = messages::expire(conn, id, now).await? {
        transitions::append(conn, id, MessageState::Expired, attempts, None, now).await?;
        return Ok(Claim::Expired);
    }
    let state = messages::find(conn, id).await?.and_then(|message| message.state);
    Ok(if state.is_some_and(|state| !state.is_over()) { Claim::NotNow } else { Claim::Over })
}
