//! Commands, in the imperative, each for one service.

use std::fmt;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The envelope type of [`MailSend`].
pub const MAIL_SEND: &str = "mail.send";

/// Sends one mail, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MailSend {
    /// What to say.
    pub template: MailTemplate,
    /// In which language.
    pub locale: Locale,
    /// The recipient's address, as stored.
    pub to: String,
    /// How urgent it is.
    pub lane: Lane,
    /// After this the mail is worth nothing and is not sent.
    pub expires_at: DateTime<Utc>,
    /// Mails of this key that were queued before and not sent yet are obsolete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<String>,
    /// The template's parameters as [`MailParameters`] JSON, sealed to the mailer's public key and bound to the
    /// event id and the template, base64.
    pub sealed: String,
}

impl MailSend {
    /// The version of this command.
    pub const VERSION: u16 = 1;

    /// The bytes that bind sealed parameters to one command.
    #[must_use]
    pub fn binding(event_id: auth_ids::EventId, template: MailTemplate) -> Vec<u8> {
        format!("{MAIL_SEND}.v{}|{event_id}|{}", Self::VERSION, template.name()).into_bytes()
    }
}

/// The mails that the platform writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MailTemplate {
    /// Proves that an address is its owner's.
    VerifyEmail,
    /// Tells an owner that somebody tried to register their address.
    AlreadyRegistered,
}

impl MailTemplate {
    /// All of them.
    pub const ALL: &[Self] = &[Self::VerifyEmail, Self::AlreadyRegistered];

    /// The name in JSON, file names and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::AlreadyRegistered => "already_registered",
        }
    }
}

/// The languages that every template exists in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Locale {
    /// English.
    #[default]
    En,
    /// German.
    De,
}

impl Locale {
    /// All of them.
    pub const ALL: &[Self] = &[Self::En, Self::De];

    /// The BCP 47 tag.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::De => "de",
        }
    }

    /// The locale whose primary language is that of the BCP 47 tag `tag`.
    #[must_use]
    pub fn from_tag(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', '_']).next().unwrap_or_default();
        Self::ALL.iter().copied().find(|locale| primary.eq_ignore_ascii_case(locale.tag()))
    }
}

/// How urgent a mail is. Each lane has a queue of its own, so that none waits for a less urgent one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// A person is waiting for it.
    Security,
    /// A person should know soon.
    Notice,
    /// Any time.
    Bulk,
}

impl Lane {
    /// All of them, the most urgent first.
    pub const ALL: &[Self] = &[Self::Security, Self::Notice, Self::Bulk];

    /// The name in queue names and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Security => "security",
            Self::Notice => "notice",
            Self::Bulk => "bulk",
        }
    }
}

/// What a template is filled with. Holds links that are credentials: it has no `Debug` worth the name.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "template", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum MailParameters {
    /// For [`MailTemplate::VerifyEmail`].
    VerifyEmail {
        /// The name to greet, if one was given.
        display_name: Option<String>,
        /// The link that verifies, with the token.
        link: String,
        /// Hours until the link expires.
        expires_in_hours: u32,
    },
    /// For [`MailTemplate::AlreadyRegistered`].
    AlreadyRegistered {
        /// The name to greet, if one was given.
        display_name: Option<String>,
        /// Where to log in.
        login_link: String,
        /// Where to ask for a new password.
        reset_link: String,
    },
}

impl MailParameters {
    /// The template that these fill.
    #[must_use]
    pub fn template(&self) -> MailTemplate {
        match self {
            Self::VerifyEmail { .. } => MailTemplate::VerifyEmail,
            Self::AlreadyRegistered { .. } => MailTemplate::AlreadyRegistered,
        }
    }
}

impl fmt::Debug for MailParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MailParameters({})", self.template().name())
    }
}
