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
    /// Lets somebody who forgot their password choose another.
    ResetPassword,
    /// Tells an owner that their password is another one now.
    PasswordChanged,
    /// Proves that a new address is its owner's.
    EmailChangeConfirm,
    /// Tells the old address that another takes its place, or took it.
    EmailChangeNotice,
    /// Tells an owner that somebody logged in from a device that is not known.
    NewDevice,
    /// Tells an owner that logging in takes a code now.
    TotpEnabled,
    /// Tells an owner that logging in takes no code any more.
    TotpDisabled,
    /// Tells an owner that one of their recovery codes is gone.
    RecoveryCodeUsed,
    /// Tells an owner that their recovery codes are others now, or gone.
    RecoveryCodesChanged,
    /// Tells an owner that a session was ended because two parties used it.
    SessionStolen,
    /// Tells an owner that their password is not accepted any more, because somebody guesses at it.
    AccountLocked,
    /// Tells an owner when their account will be deleted, and how to keep it.
    AccountDeletion,
    /// Asks somebody whose account an administrator created to accept it.
    Invitation,
    /// Shows an operator that mail arrives.
    Test,
}

impl MailTemplate {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::VerifyEmail,
        Self::AlreadyRegistered,
        Self::ResetPassword,
        Self::PasswordChanged,
        Self::EmailChangeConfirm,
        Self::EmailChangeNotice,
        Self::NewDevice,
        Self::TotpEnabled,
        Self::TotpDisabled,
        Self::RecoveryCodeUsed,
        Self::RecoveryCodesChanged,
        Self::SessionStolen,
        Self::AccountLocked,
        Self::AccountDeletion,
        Self::Invitation,
        Self::Test,
    ];

    /// The name in JSON, file names and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::AlreadyRegistered => "already_registered",
            Self::ResetPassword => "reset_password",
            Self::PasswordChanged => "password_changed",
            Self::EmailChangeConfirm => "email_change_confirm",
            Self::EmailChangeNotice => "email_change_notice",
            Self::NewDevice => "new_device",
            Self::TotpEnabled => "totp_enabled",
            Self::TotpDisabled => "totp_disabled",
            Self::RecoveryCodeUsed => "recovery_code_used",
            Self::RecoveryCodesChanged => "recovery_codes_changed",
            Self::SessionStolen => "session_stolen",
            Self::AccountLocked => "account_locked",
            Self::AccountDeletion => "account_deletion",
            Self::Invitation => "invitation",
            Self::Test => "test",
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

/// When something happened to an account, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Occasion {
    /// When.
    pub occurred_at: DateTime<Utc>,
    /// The network address it came from, if known.
    pub ip: Option<String>,
    /// The device's name as its user chose it, or what its browser calls itself.
    pub device: Option<String>,
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
    /// For [`MailTemplate::ResetPassword`].
    ResetPassword {
        /// The name to greet, if one was given.
        display_name: Option<String>,
        /// Where to choose a new password, with the token.
        link: String,
        /// Minutes until the link expires.
        expires_in_minutes: u32,
    },
    /// For [`MailTemplate::PasswordChanged`], after a change and after a reset.
    PasswordChanged {
        /// The name to greet, if one was given.
        display_name: Option<String>,
        /// For "this wasn't me": ends all sessions and asks for a new password, with the token.
        secure_link: String,
        /// The change.
        occasion: Occasion,
    },
    /// For [`MailTemplate::EmailChangeConfirm`], to the new address.
    EmailChangeConfirm {
        /// The name to greet, if one was given.
        display_name: Option<String>,
        /// The link that makes the new address the account's, with the token.
        link: String,
        /// Minutes until the link expires.
        expires_in_minutes: u32,
    },
    /// For [`MailTemplate::EmailChangeNotice`], to the old address.
    EmailChangeNotice {
        /// The name to greet, if one was given.
        display_name: Option<String>,
        /// The new address, so far as its owner recognises it and nobody else learns it.
        new_email_masked: String,
        /// Takes the old address back within 72 hours of the change, with the token.
        undo_link: Option<String>,
        /// Whether the address was changed; else it was only asked for.
        completed: bool,
    },
    /// For [`MailTemplate::NewDevice`].
    NewDevice {
        /// The name to greet, if one was given.
        display_name: Option<String>,
        /// For "this wasn't me": ends all sessions and asks for a new password, with the token.
        secure_link: String,
        /// The login.
        occasion: Occasion,
    },
    /// For [`MailTemplate::TotpEnabled`].
    TotpEnabled {
        /// The name to greet, if one was given.
        display_name: Option<String>,
        /// For "this wasn't me": ends all sessions and asks for a new password, with the token.
        secure_link: String,
        /// The change.
        occasion: Occasion,
    },
    /// For [`MailTemplate::TotpDisabled`].
    TotpDisabled {
        /// The name to greet, if one was given.
        display_name: Option<String>,
        /// For "this wasn't me": ends all sessions and asks for a new password, with the token.
        secure_link: String,
        /// The change.
        occasion: Occasion,
    },
    /// For [`MailTemplate::RecoveryCodeUsed`].
    RecoveryCodeUsed {
        /// The name to greet, if one was given.
        display_name: Option<String>,
        /// For "this wasn't me": ends all sessions and asks for a new password, with the token.
        secure_link: String,
        /// The use.
        occasion: Occasion,
        /// How many codes are left.
        remaining: u32,
    },
    /// For [`MailTemplate::RecoveryCodesChanged`].
    RecoveryCodesChanged {
        /// The name to greet, if one was given.
        display_name: Option<String>,
        /// For "this wasn't me": ends all sessions and asks for a new password, with the token.
        secure_link: String,
        /// The change.
        occasion: Occasion,
        /// How many codes there are now.
        remaining: u32,
    },
    /// For [`MailTemplate::SessionStolen`].
    SessionStolen {
        /// The name to greet, if one was given.
        display_name: Option<String>,
        /// For "this wasn't me": ends all sessions and asks for a new password, with the token.
        secure_link: String,
        /// The second use of what works once.
        occasion: Occasion,
    },
    /// For [`MailTemplate::AccountLocked`].
    AccountLocked {
        /// The name to greet, if one was given.
        display_name: Option<String>,
        /// Where to choose a new password.
        reset_link: String,
        /// When the password stopped being accepted.
        occurred_at: DateTime<Utc>,
    },
    /// For [`MailTemplate::AccountDeletion`].
    AccountDeletion {
        /// The name to greet, if one was given.
        display_name: Option<String>,
        /// Keeps the account, with the token.
        restore_link: String,
        /// When it is too late.
        deletes_at: DateTime<Utc>,
    },
    /// For [`MailTemplate::Invitation`].
    Invitation {
        /// The name to greet, if one was given.
        display_name: Option<String>,
        /// Where to accept and choose a password, with the token.
        link: String,
        /// Days until the link expires.
        expires_in_days: u32,
    },
    /// For [`MailTemplate::Test`].
    Test {
        /// When an operator asked for it.
        requested_at: DateTime<Utc>,
    },
}

impl MailParameters {
    /// The template that these fill.
    #[must_use]
    pub fn template(&self) -> MailTemplate {
        match self {
            Self::VerifyEmail { .. } => MailTemplate::VerifyEmail,
            Self::AlreadyRegistered { .. } => MailTemplate::AlreadyRegistered,
            Self::ResetPassword { .. } => MailTemplate::ResetPassword,
            Self::PasswordChanged { .. } => MailTemplate::PasswordChanged,
            Self::EmailChangeConfirm { .. } => MailTemplate::EmailChangeConfirm,
            Self::EmailChangeNotice { .. } => MailTemplate::EmailChangeNotice,
            Self::NewDevice { .. } => MailTemplate::NewDevice,
            Self::TotpEnabled { .. } => MailTemplate::TotpEnabled,
            Self::TotpDisabled { .. } => MailTemplate::TotpDisabled,
            Self::RecoveryCodeUsed { .. } => MailTemplate::RecoveryCodeUsed,
            Self::RecoveryCodesChanged { .. } => MailTemplate::RecoveryCodesChanged,
            Self::SessionStolen { .. } => MailTemplate::SessionStolen,
            Self::AccountLocked { .. } => MailTemplate::AccountLocked,
            Self::AccountDeletion { .. } => MailTemplate::AccountDeletion,
            Self::Invitation { .. } => MailTemplate::Invitation,
            Self::Test { .. } => MailTemplate::Test,
        }
    }

    /// The name to greet, if one was given.
    #[must_use]
    pub fn display_name(&self) -> Option<&str> {
        match self {
            Self::VerifyEmail { display_name, .. }
            | Self::AlreadyRegistered { display_name, .. }
            | Self::ResetPassword { display_name, .. }
            | Self::PasswordChanged { display_name, .. }
            | Self::EmailChangeConfirm { display_name, .. }
            | Self::EmailChangeNotice { display_name, .. }
            | Self::NewDevice { display_name, .. }
            | Self::TotpEnabled { display_name, .. }
            | Self::TotpDisabled { display_name, .. }
            | Self::RecoveryCodeUsed { display_name, .. }
            | Self::RecoveryCodesChanged { display_name, .. }
            | Self::SessionStolen { display_name, .. }
            | Self::AccountLocked { display_name, .. }
            | Self::AccountDeletion { display_name, .. }
            | Self::Invitation { display_name, .. } => display_name.as_deref(),
            Self::Test { .. } => None,
        }
    }

    /// Greets by this name, where it greets at all.
    pub fn set_display_name(&mut self, name: String) {
        match self {
            Self::VerifyEmail { display_name, .. }
            | Self::AlreadyRegistered { display_name, .. }
            | Self::ResetPassword { display_name, .. }
            | Self::PasswordChanged { display_name, .. }
            | Self::EmailChangeConfirm { display_name, .. }
            | Self::EmailChangeNotice { display_name, .. }
            | Self::NewDevice { display_name, .. }
            | Self::TotpEnabled { display_name, .. }
            | Self::TotpDisabled { display_name, .. }
            | Self::RecoveryCodeUsed { display_name, .. }
            | Self::RecoveryCodesChanged { display_name, .. }
            | Self::SessionStolen { display_name, .. }
            | Self::AccountLocked { display_name, .. }
            | Self::AccountDeletion { display_name, .. }
            | Self::Invitation { display_name, .. } => *display_name = Some(name),
            Self::Test { .. } => {}
        }
    }

    /// When and from where, if it is about something that happened.
    pub fn occasion_mut(&mut self) -> Option<&mut Occasion> {
        match self {
            Self::PasswordChanged { occasion, .. }
            | Self::NewDevice { occasion, .. }
            | Self::TotpEnabled { occasion, .. }
            | Self::TotpDisabled { occasion, .. }
            | Self::RecoveryCodeUsed { occasion, .. }
            | Self::RecoveryCodesChanged { occasion, .. }
            | Self::SessionStolen { occasion, .. } => Some(occasion),
            _ => None,
        }
    }

    /// Every link, as it is shown.
    #[must_use]
    pub fn links(&self) -> Vec<&str> {
        match self {
            Self::VerifyEmail { link, .. }
            | Self::ResetPassword { link, .. }
            | Self::EmailChangeConfirm { link, .. }
            | Self::Invitation { link, .. } => vec![link],
            Self::AlreadyRegistered { login_link, reset_link, .. } => vec![login_link, reset_link],
            Self::EmailChangeNotice { undo_link, .. } => undo_link.iter().map(String::as_str).collect(),
            Self::PasswordChanged { secure_link, .. }
            | Self::NewDevice { secure_link, .. }
            | Self::TotpEnabled { secure_link, .. }
            | Self::TotpDisabled { secure_link, .. }
            | Self::RecoveryCodeUsed { secure_link, .. }
            | Self::RecoveryCodesChanged { secure_link, .. }
            | Self::SessionStolen { secure_link, .. } => vec![secure_link],
            Self::AccountLocked { reset_link, .. } => vec![reset_link],
            Self::AccountDeletion { restore_link, .. } => vec![restore_link],
            Self::Test { .. } => Vec::new(),
        }
    }
}

impl fmt::Debug for MailParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MailParameters({})", self.template().name())
    }
}
