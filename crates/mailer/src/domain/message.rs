use auth_ids::{EventId, UserId};
use chrono::{DateTime, Utc};

use super::{provider::ProviderName, settlement::Settlement};

/// Where a message is on its way.
///
/// The moves that there are: [`MessageState::may_become`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageState {
    /// Accepted and not tried yet, or to be tried at once because somebody wants it.
    Queued,
    /// A worker is talking to a provider.
    Sending,
    /// A provider took it.
    Sent,
    /// To be tried again.
    Deferred,
    /// Given up, for one of the reasons in [`Failure`](super::settlement::Failure). Somebody may want it tried again.
    Failed,
    /// Its time was over before it could be sent.
    Expired,
    /// A later message of its kind took its place.
    Superseded,
    /// Somebody gave it up.
    Cancelled,
}

impl MessageState {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Queued,
        Self::Sending,
        Self::Sent,
        Self::Deferred,
        Self::Failed,
        Self::Expired,
        Self::Superseded,
        Self::Cancelled,
    ];

    /// The name in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Deferred => "deferred",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
        }
    }

    /// Where a message is after an attempt that ended like this.
    #[must_use]
    pub fn after(settlement: Settlement) -> Self {
        match settlement {
            Settlement::Sent => Self::Sent,
            Settlement::Deferred(_) => Self::Deferred,
            Settlement::Failed(_) => Self::Failed,
            Settlement::Expired => Self::Expired,
        }
    }

    /// Whether a message that is here may be there next. PostgreSQL refuses every other move as well.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Queued => {
                matches!(next, Self::Sending | Self::Expired | Self::Superseded | Self::Cancelled)
            }
            // To itself, when it is taken from a worker that died.
            Self::Sending => !matches!(next, Self::Queued | Self::Cancelled),
            Self::Deferred => {
                matches!(
                    next,
                    Self::Sending | Self::Queued | Self::Expired | Self::Superseded | Self::Cancelled
                )
            }
            Self::Failed => matches!(next, Self::Queued | Self::Superseded | Self::Cancelled),
            Self::Sent | Self::Expired | Self::Superseded | Self::Cancelled => false,
        }
    }

    /// Whether the mailer does nothing with the message any more, of its own accord.
    #[must_use]
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Sending | Self::Deferred)
    }

    /// The state called `name`; a later release may have written one that is not known here.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|state| state.name() == name)
    }
}

/// What is known about one message.
///
/// Template, language, lane and provider are texts: a later release may have written ones that this one does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The command's event id.
    pub id: EventId,
    /// Whom it is about.
    pub user_id: Option<UserId>,
    /// What it says.
    pub template: String,
    /// In which language.
    pub locale: String,
    /// How urgent it is.
    pub lane: String,
    /// The recipient's address.
    pub to: String,
    /// The `Message-ID` header.
    pub message_id_header: String,
    /// Where it is; `None` for a state of a later release.
    pub state: Option<MessageState>,
    /// How often it was tried.
    pub attempts: u32,
    /// Who was asked last to take it.
    pub provider: Option<String>,
    /// What a provider said last.
    pub last_reply: Option<String>,
    /// Why it failed, a code; only while it is failed.
    pub failure: Option<String>,
    /// Whether the command is still there, for another try.
    pub has_command: bool,
    /// When the command was first seen.
    pub created_at: DateTime<Utc>,
    /// When the state changed last.
    pub updated_at: DateTime<Utc>,
    /// After this it is not sent.
    pub expires_at: DateTime<Utc>,
    /// When a provider took it.
    pub sent_at: Option<DateTime<Utc>>,
    /// Not to be tried before; only while it is deferred.
    pub retry_at: Option<DateTime<Utc>>,
}

impl Message {
    /// Whether it failed and could be tried again.
    #[must_use]
    pub fn is_retryable(&self, now: DateTime<Utc>) -> bool {
        self.state == Some(MessageState::Failed) && self.has_command && now < self.expires_at
    }
}

/// A change of a message's state, as it is written down for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The new state; `None` for one of a later release.
    pub state: Option<MessageState>,
    /// In which attempt, 0 before the first.
    pub attempt: u32,
    /// Who was asked to take the mail.
    pub provider: Option<String>,
    /// What was said.
    pub reply: Option<String>,
    /// Who wanted it, where it was not the mailer itself.
    pub actor: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}

/// What there is to write down about a change of state besides the state.
#[derive(Debug, Clone, Copy, Default)]
pub struct Circumstances<'a> {
    /// In which attempt, 0 before the first.
    pub attempt: u32,
    /// Who was asked to take the mail.
    pub provider: Option<ProviderName>,
    /// What was said.
    pub reply: Option<&'a str>,
    /// Who wanted it, where it was not the mailer itself.
    pub actor: Option<&'a str>,
}

/// The `Message-ID` of the mail for the command `id`: the same at every attempt, so that a mail system recognises a second copy.
#[must_use]
pub fn message_id_header(id: EventId, mail_domain: &str) -> String {
    format!("<{id}@{mail_domain}>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_comes_back_from_an_end_and_only_a_worker_sends() {
        for end in
            [MessageState::Sent, MessageState::Expired, MessageState::Superseded, MessageState::Cancelled]
        {
            assert!(end.is_over() && MessageState::ALL.iter().all(|next| !end.may_become(*next)));
        }
        let before_sent: Vec<_> =
            MessageState::ALL.iter().filter(|it| it.may_become(MessageState::Sent)).collect();
        assert_eq!(before_sent, [&MessageState::Sending]);
        assert!(!MessageState::Failed.may_become(MessageState::Sending), "it is queued first");
        assert!(
            !MessageState::Sending.may_become(MessageState::Cancelled),
            "it may be with the provider already"
        );
    }
}
