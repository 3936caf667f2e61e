use auth_events::commands::Locale;
use auth_ids::UserId;
use chrono::{DateTime, Utc};

use super::{
    email_address::EmailAddress,
    user::{User, UserStatus},
};

/// An account as its owner sees it: nothing of it opens anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: UserId,
    /// Its address.
    pub email: EmailAddress,
    /// Where it is in its life.
    pub status: UserStatus,
    /// How to greet its owner.
    pub display_name: Option<String>,
    /// The language of its mails.
    pub locale: Locale,
    /// What it may do, by name.
    pub roles: Vec<String>,
    /// When the address was first registered.
    pub created_at: DateTime<Utc>,
    /// Whether a second factor protects it.
    pub mfa_enabled: bool,
}

impl Account {
    /// `user`, as they see themselves.
    #[must_use]
    pub fn of(user: User, mfa_enabled: bool) -> Self {
        let User { id, email, status, display_name, locale, roles, created_at, .. } = user;
        Self { id, email, status, display_name, locale, roles, created_at, mfa_enabled }
    }
}
