use std::{fmt, str::FromStr};

use auth_events::commands::Locale;
use auth_ids::UserId;
use chrono::{DateTime, TimeDelta, Utc};

use super::email_address::EmailAddress;

/// How often the owner of an account is told that somebody tried to register its address.
const REGISTRATION_NOTICE_INTERVAL: TimeDelta = TimeDelta::days(1);

/// An account.
#[derive(Debug, Clone)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// Its proved, or claimed, address.
    pub email: EmailAddress,
    /// Where it is in its life.
    pub status: UserStatus,
    /// How to greet its owner.
    pub display_name: Option<String>,
    /// The language of its mails.
    pub locale: Locale,
    /// What it may do, by name.
    pub roles: Vec<String>,
    /// The sealed PHC string.
    pub password: Vec<u8>,
    /// The hash of the handle of the browser that registered last.
    pub registration_handle_hash: Option<Vec<u8>>,
    /// When the owner was last told of an attempt to register the address.
    pub registration_notice_at: Option<DateTime<Utc>>,
    /// When the address was first registered.
    pub created_at: DateTime<Utc>,
    /// Counts the changes of password, second factor and status.
    pub credential_epoch: i64,
    /// Why the password opens nothing until it is reset, if so.
    pub password_off: Option<String>,
    /// When somebody logged in last.
    pub last_login_at: Option<DateTime<Utc>>,
    /// When the account is deleted, if its owner asked for it.
    pub deletes_at: Option<DateTime<Utc>>,
}

impl User {
    /// Whether the owner should be told by mail, at `now`, that somebody tried to register the address.
    #[must_use]
    pub fn is_registration_notice_due(&self, now: DateTime<Utc>) -> bool {
        self.registration_notice_at.is_none_or(|last| now - last >= REGISTRATION_NOTICE_INTERVAL)
    }

    /// Whether the right password, presented with the right second factor, opens the account.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.status == UserStatus::Active && self.password_off.is_none()
    }
}

/// Where an account is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserStatus {
    /// Registered; nobody has proved the address.
    Unverified,
    /// Open.
    Active,
    /// Closed by an administrator.
    Suspended,
    /// Closed by its owner, and deleted when they do not change their mind.
    PendingDeletion,
}

impl UserStatus {
    /// The name in the database and in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unverified => "unverified",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::PendingDeletion => "pending_deletion",
        }
    }
}

impl fmt::Display for UserStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no status.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not the status of a user")]
pub struct UnknownStatus(String);

impl FromStr for UserStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        [Self::Unverified, Self::Active, Self::Suspended, Self::PendingDeletion]
            .into_iter()
            .find(|status| status.name() == text)
            .ok_or_else(|| UnknownStatus(text.to_owned()))
    }
}
