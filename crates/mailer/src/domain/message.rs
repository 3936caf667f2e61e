use auth_ids::{EventId, UserId};
use chrono::{DateTime, Utc};

use super::settlement::Settlement;

/// Where a message is on its way.
///
/// `queued → sending → sent | deferred | failed | expired`, and from `deferred` back to `sending` or on to `expired`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageState {
    /// Accepted and not tried yet.
    Queued,
    /// A worker is talking to the mail server.
    Sending,
    /// The mail server took it.
    Sent,
    /// To be tried again.
    Deferred,
    /// Refused for good.
    Failed,
    /// Its time was over before it could be sent.
    Expired,
}

impl MessageState {
    const ALL: &[Self] =
        &[Self::Queued, Self::Sending, Self::Sent, Self::Deferred, Self::Failed, Self::Expired];

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

    /// Whether nothing will happen to the message any more.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Sent | Self::Failed | Self::Expired)
    }

    /// The state called `name`; a later release may have written one that is not known here.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|state| state.name() == name)
    }
}

/// What is known about one message.
///
/// Template, language and lane are texts: a later release may have written ones that this one does not know.
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
    /// What the mail server said last.
    pub last_reply: Option<String>,
    /// When the command was first seen.
    pub created_at: DateTime<Utc>,
    /// When the state changed last.
    pub updated_at: DateTime<Utc>,
    /// After this it is not sent.
    pub expires_at: DateTime<Utc>,
    /// When the mail server took it.
    pub sent_at: Option<DateTime<Utc>>,
}

/// The `Message-ID` of the mail for the command `id`: the same at every attempt, so that a mail system recognises a second copy.
#[must_use]
pub fn message_id_header(id: EventId, mail_domain: &str) -> String {
    format!("<{id}@{mail_domain}>")
}
