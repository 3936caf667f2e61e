use std::{error::Error, time::Duration};

use chrono::{DateTime, Utc};
use clock::SharedClock;
use diesel_async::AsyncConnection;
use pg::{AsyncPgConnection, Database};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{
        claim::{Attempt, Claim},
        mail_command::MailCommand,
        message::{Circumstances, Message, MessageState, message_id_header},
        retry_ladder,
        settlement::{Outcome, Reply, Settlement},
        slow_domain,
    },
    mail::{
        composer::{ComposedMail, Envelope, Sender, compose},
        domain_gates::DomainGates,
        providers::{Handover, Providers},
        renderer::Renderer,
    },
    metrics::Metrics,
    store::{attempts, messages, moves, transitions, upkeep},
};

/// How soon a message that another worker is sending is looked at again.
const BUSY_PAUSE: Duration = Duration::from_secs(10);
/// How soon a mail that another worker has is looked at again at the earliest.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// Delivers mail, each command once.
pub struct Postman {
    /// Where the state of every message is.
    pub database: Database,
    /// Whom the mails are handed to.
    pub providers: Providers,
    /// Finds the words.
    pub renderer: Renderer,
    /// Who writes.
    pub sender: Sender,
    /// The right-hand side of every `Message-ID`.
    pub mail_domain: String,
    /// How many mails to one domain are under way at a time.
    pub gates: DomainGates,
    /// What time it is.
    pub clock: SharedClock,
    /// What is counted.
    pub metrics: Metrics,
    /// Says that the mailer is being stopped: what is not handed over whole by then waits for the next one.
    pub stop: CancellationToken,
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Nothing is left to do: it was sent or given up, now or before.
    Over,
    /// It has to be tried again after this long.
    Again(Duration),
    /// Another worker has it, it came before it was due, or others to its domain are under way: it is looked at again after this long.
    NotNow(Duration),
    /// No provider may be asked, or the mailer is being stopped: nothing about this mail, so it is not counted as an attempt.
    Halted,
}

/// Why it is not known what became of a command.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// The database failed; no mail was sent.
    #[error("the state of the message cannot be read or written")]
    Database(#[from] pg::Error),
    /// The database did not take the outcome of an attempt before somebody else might make the next one, which may send the mail again.
    #[error("what came of the attempt cannot be written down, so the mail may be sent again")]
    Unsettled(#[source] pg::Error),
}

pg::leaves_transactions!(DeliverError);

impl Postman {
    /// Delivers `command`, unless that has been done, is being done or is no longer worth doing. No transaction is open while
    /// a provider is talked to.
    #[tracing::instrument(
        name = "mail.messages.deliver",
        skip_all,
        fields(mail.id = %command.id, mail.template = command.template().name(), mail.lane = command.lane.name())
    )]
    pub async fn deliver(&self, command: &MailCommand) -> Result<Delivery, DeliverError> {
        let _in_progress = self.metrics.in_progress(command.lane);
        let halted = self.stop.is_cancelled() || !self.providers.any_admits();
        let passage = if halted { None } else { self.gates.enter(command.to.domain(), command.lane).await };
        match self.claim(command, passage.is_some()).await? {
            Claim::Won(attempt) => self.attempt(command, attempt).await,
            Claim::NotNow(_) if halted => Ok(Delivery::Halted),
            Claim::NotNow(pause) => Ok(Delivery::NotNow(pause.max(SHORTEST_PAUSE))),
            Claim::Over => Ok(Delivery::Over),
            Claim::Expired => {
                self.metrics.expired(command.template().name());
                Ok(Delivery::Over)
            }
            Claim::Superseded => {
                self.metrics.superseded(command.template(), 1);
                Ok(Delivery::Over)
            }
        }
    }

    async fn claim(&self, command: &MailCommand, may_send: bool) -> Result<Claim, DeliverError> {
        let now = self.clock.now();
        let header = message_id_header(command.id, &self.mail_domain);
        let mut conn = self.database.connection().await?;
        let (claim, superseded) =
            conn.transaction(async |conn| claim(conn, command, &header, may_send, now).await).await?;
        self.metrics.superseded(command.template(), superseded);
        Ok(claim)
    }

    async fn attempt(&self, command: &MailCommand, attempt: Attempt) -> Result<Delivery, DeliverError> {
        let handover = self.hand_over(command, attempt).await;
        let chance = rand::RngExt::random(&mut clock::secure_rng());
        let settlement =
            Settlement::of(&handover.outcome, attempt, self.clock.now(), command.expires_at, chance);
        self.settle(command, attempt, settlement, &handover).await?;
        Ok(self.delivery_after(command, settlement, &handover.outcome))
    }

    async fn hand_over(&self, command: &MailCommand, attempt: Attempt) -> Handover {
        let nowhere = |outcome| Handover { outcome, provider: None, passed_over: Vec::new() };
        if let Some(outcome) = Outcome::of_too_many_crashes(attempt) {
            tracing::error!(
                mail.id = %command.id, mail.crashes = attempt.crashes,
                "Mail {} is given up: {} workers died while they had it", command.id, attempt.crashes
            );
            return nowhere(outcome);
        }
        match self.compose(command) {
            Ok(mail) => {
                if attempt.number == 1 {
                    self.metrics.started(self.clock.now() - command.requested_at);
                }
                self.providers.send(&mail, command.expires_at, &self.stop).await
            }
            Err(reply) => nowhere(Outcome::Unrenderable(reply)),
        }
    }

    fn delivery_after(&self, command: &MailCommand, settlement: Settlement, outcome: &Outcome) -> Delivery {
        let template = command.template();
        match settlement {
            Settlement::Sent => self.metrics.sent(template),
            Settlement::Deferred(_) if matches!(outcome, Outcome::Interrupted(_)) => return Delivery::Halted,
            Settlement::Deferred(delay) => {
                self.metrics.deferred(template);
                return Delivery::Again(delay);
            }
            Settlement::Failed(failure) => self.metrics.failed(template, failure),
            Settlement::Expired => self.metrics.expired(template.name()),
        }
        Delivery::Over
    }

    fn compose(&self, command: &MailCommand) -> Result<ComposedMail, Reply> {
        let message_id = message_id_header(command.id, &self.mail_domain);
        let rendered = self.renderer.render(command.locale, &command.parameters);
        let rendered = rendered.map_err(|error| unrenderable(command, &error))?;
        let envelope = Envelope { to: &command.to, message_id: &message_id, lane: command.lane };
        compose(&self.sender, envelope, self.clock.now(), rendered)
            .map_err(|error| unrenderable(command, &error))
    }
}

fn unrenderable(command: &MailCommand, error: &(dyn Error + 'static)) -> Reply {
    tracing::error!(mail.id = %command.id, error, "Mail {} cannot be put into words", command.id);
    Reply::new(&error.to_string())
}

/// Takes the message of `command` if it may be sent, makes older ones of its kind obsolete, and says how many.
async fn claim(
    conn: &mut AsyncPgConnection,
    command: &MailCommand,
    message_id_header: &str,
    may_send: bool,
    now: DateTime<Utc>,
) -> Result<(Claim, usize), DeliverError> {
    let id = command.id;
    if let Some(key) = &command.supersedes {
        moves::lock_kind(conn, key).await?;
    }
    if messages::insert_if_new(conn, command, message_id_header, now).await? {
        transitions::append(conn, id, MessageState::Queued, Circumstances::default(), now).await?;
    }
    let mut superseded = 0;
    if let Some(key) = &command.supersedes {
        for (older, attempt) in moves::supersede_older(conn, command, key, now).await? {
            let circumstances = Circumstances { attempt, ..Circumstances::default() };
            transitions::append(conn, older, MessageState::Superseded, circumstances, now).await?;
            superseded += 1;
        }
        if moves::has_successor(conn, command, key).await?
            && end(conn, id, MessageState::Superseded, now).await?
        {
            return Ok((Claim::Superseded, superseded));
        }
    }
    if let Some(attempt) = may_send_now(conn, id, may_send, now).await? {
        let circumstances = Circumstances { attempt: attempt.number, ..Circumstances::default() };
        transitions::append(conn, id, MessageState::Sending, circumstances, now).await?;
        return Ok((Claim::Won(attempt), superseded));
    }
    Ok((without_attempt(conn, command, now).await?, superseded))
}

async fn may_send_now(
    conn: &mut AsyncPgConnection,
    id: auth_ids::EventId,
    may_send: bool,
    now: DateTime<Utc>,
) -> Result<Option<Attempt>, DeliverError> {
    Ok(if may_send { attempts::claim(conn, id, now).await? } else { None })
}

/// Why the message cannot be taken.
async fn without_attempt(
    conn: &mut AsyncPgConnection,
    command: &MailCommand,
    now: DateTime<Utc>,
) -> Result<Claim, DeliverError> {
    if command.expires_at <= now && end(conn, command.id, MessageState::Expired, now).await? {
        return Ok(Claim::Expired);
    }
    let message = messages::find(conn, command.id).await?;
    let waiting = message.filter(|it| it.state.is_some_and(|state| !state.is_over()));
    let Some(message) = waiting else { return Ok(Claim::Over) };
    let pause = pause_before(&message, now);
    upkeep::note_held(conn, command.id, now + retry_ladder::held_for(pause)).await?;
    Ok(Claim::NotNow(pause))
}

/// How long a message that cannot be taken is left alone.
fn pause_before(message: &Message, now: DateTime<Utc>) -> Duration {
    if message.state == Some(MessageState::Sending) {
        return BUSY_PAUSE;
    }
    let due = message.retry_at.filter(|retry_at| *retry_at > now);
    let until_due = due.and_then(|due| (due - now).to_std().ok());
    until_due.unwrap_or_else(|| slow_domain::pause(now - message.created_at))
}

async fn end(
    conn: &mut AsyncPgConnection,
    id: auth_ids::EventId,
    state: MessageState,
    now: DateTime<Utc>,
) -> Result<bool, DeliverError> {
    let Some(attempt) = moves::give_up(conn, id, state, now).await? else { return Ok(false) };
    let circumstances = Circumstances { attempt, ..Circumstances::default() };
    transitions::append(conn, id, state, circumstances, now).await?;
    Ok(true)
}
