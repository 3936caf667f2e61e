use std::{error::Error, time::Duration};

use diesel_async::AsyncConnection;

use super::deliver::{DeliverError, Postman};
use crate::{
    domain::{
        claim::Attempt,
        mail_command::MailCommand,
        message::{Circumstances, MessageState},
        provider::ProviderName,
        settlement::Settlement,
    },
    mail::providers::Handover,
    store::{
        attempts::{self, Ending},
        transitions,
    },
};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Postman {
    /// Writes down what came of an attempt, and does not give up while the database is away: the provider's word is known
    /// here only, and a message that still counts as being sent would be sent a second time. What looks like a defect may be mended, too, so it is
    /// tried until somebody else may take the message; then [`DeliverError::Unsettled`].
    pub(super) async fn settle(
        &self,
        command: &MailCommand,
        attempt: Attempt,
        settlement: Settlement,
        handover: &Handover,
    ) -> Result<(), DeliverError> {
        let state = MessageState::after(settlement);
        let id = command.id;
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.try_settle(command, attempt, settlement, handover).await {
                Ok(true) => {
                    tracing::info!(
                        mail.id = %id, mail.template = command.template().name(), mail.attempt = attempt.number,
                        mail.state = state.name(), mail.provider = handover.provider.map(ProviderName::name),
                        "Mail {id} is {} after attempt {}", state.name(), attempt.number
                    );
                    return Ok(());
                }
                Ok(false) => {
                    tracing::warn!(
                        mail.id = %id, "Mail {id} was taken over by another worker during attempt {}", attempt.number
                    );
                    return Ok(());
                }
                Err(error) if !error.is_transient() && attempt.is_stale(self.clock.now()) => {
                    return Err(DeliverError::Unsettled(error));
                }
                Err(error) => error,
            };
            tracing::warn!(mail.id = %id, error = &error as &dyn Error, "The outcome of mail {id} waits for PostgreSQL");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn try_settle(
        &self,
        command: &MailCommand,
        attempt: Attempt,
        settlement: Settlement,
        handover: &Handover,
    ) -> pg::Result<bool> {
        let now = self.clock.now();
        let Handover { outcome, provider, passed_over } = handover;
        let ending = Ending { settlement, outcome, provider: *provider };
        let number = attempt.number;
        let mut conn = self.database.connection().await?;
        conn.transaction(async |conn| {
            if !attempts::settle(conn, command.id, attempt, ending, now).await? {
                return Ok(false);
            }
            for (provider, reply) in passed_over {
                let circumstances = Circumstances {
                    attempt: number,
                    provider: Some(*provider),
                    reply: Some(reply.as_str()),
                    actor: None,
                };
                transitions::append(conn, command.id, MessageState::Sending, circumstances, now).await?;
            }
            let circumstances = Circumstances {
                attempt: number,
                provider: *provider,
                reply: Some(outcome.reply().as_str()),
                actor: None,
            };
            transitions::append(conn, command.id, MessageState::after(settlement), circumstances, now)
                .await?;
            Ok(true)
        })
        .await
    }
}
