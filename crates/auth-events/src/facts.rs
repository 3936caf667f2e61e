//! Every fact, with what it adds to [`Fact`](crate::Fact).

use auth_ids::{SessionId, Uuid};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fact::FactDetail;

macro_rules! facts {
    ($($(#[$doc:meta])* $detail:ident = $name:literal v $version:literal { $($(#[$field_meta:meta])* $field:ident: $ty:ty,)* })+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
            #[serde(rename_all = "camelCase")]
            pub struct $detail { $($(#[$field_meta])* pub $field: $ty,)* }

            impl FactDetail for $detail {
                const NAME: &'static str = $name;
                const VERSION: u16 = $version;
            }
        )+

        /// Name and version of every fact.
        pub const CATALOGUE: &[(&str, u16)] = &[$(($name, $version)),+];

        pub(crate) fn schemas() -> Vec<(String, schemars::Schema)> {
            vec![$((
                format!("auth.{}.v{}", $name, $version),
                schemars::schema_for!(crate::Envelope<crate::Fact<$detail>>),
            )),+]
        }
    };
}

facts! {
    /// Somebody registered an address that had no verified account.
    UserRegistered = "user.registered" v 1 {
        /// The language of the mail, a BCP 47 tag.
        locale: String,
    }
    /// Somebody registered the address of a verified account.
    UserRegisterAttemptExisting = "user.register_attempt_existing" v 1 {
        /// Whether the owner was told by mail; at most once a day.
        owner_notified: bool,
    }
    /// An address was proved to be its owner's.
    UserEmailVerified = "user.email_verified" v 1 {
        /// Whether the registering browser opened the link; otherwise a new password was set.
        same_browser: bool,
    }
    /// A change of address was asked for; the new one is not proved yet.
    UserEmailChangeRequested = "user.email_change_requested" v 1 {}
    /// The new address was proved and is the account's now.
    UserEmailChanged = "user.email_changed" v 1 {}
    /// A change of address was undone from the old one.
    UserEmailChangeUndone = "user.email_change_undone" v 1 {}
    /// A user changed their password, knowing the old one.
    UserPasswordChanged = "user.password_changed" v 1 {}
    /// Somebody asked for a link to set a new password.
    UserPasswordResetRequested = "user.password_reset_requested" v 1 {
        /// Whether a mail was sent; not, for example, when too many were asked for.
        mail_sent: bool,
    }
    /// A password was set with the link of a mail.
    UserPasswordReset = "user.password_reset" v 1 {}
    /// A user changed how they are shown or spoken to.
    UserProfileUpdated = "user.profile_updated" v 1 {
        /// The names of the fields that changed.
        fields: Vec<String>,
    }
    /// A user asked for their account to be deleted.
    UserDeletionRequested = "user.deletion_requested" v 1 {
        /// When it will be.
        deletes_at: DateTime<Utc>,
    }
    /// A user took back that they want their account deleted.
    UserDeletionCancelled = "user.deletion_cancelled" v 1 {}
    /// An account was deleted because its owner wanted it.
    UserDeleted = "user.deleted" v 1 {}
    /// A user asked for a copy of their data.
    UserDataExported = "user.data_exported" v 1 {}
    /// A password was presented.
    AuthLogin = "auth.login" v 1 {
        /// The authentication methods used (RFC 8176).
        methods: Vec<String>,
        /// A keyed hash of the address that was tried, where it has no account.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        identifier_hash: Option<String>,
    }
    /// A password was right and a second factor is asked for.
    AuthLoginChallenge = "auth.login_challenge" v 1 {
        /// The second factors that would do.
        methods: Vec<String>,
    }
    /// Somebody with a session proved once more who they are.
    AuthReauthenticated = "auth.reauthenticated" v 1 {
        /// The authentication methods used (RFC 8176).
        methods: Vec<String>,
        /// What it was for.
        purpose: String,
    }
    /// A user ended one of their sessions.
    AuthLogout = "auth.logout" v 1 {}
    /// A captcha answer was refused.
    AuthCaptcha = "auth.captcha" v 1 {
        /// What the answer was for.
        action: String,
    }
    /// A user began to set up codes of an authenticator app.
    MfaTotpEnrollStarted = "mfa.totp_enroll_started" v 1 {}
    /// Codes of an authenticator app are asked for from now on.
    MfaTotpEnabled = "mfa.totp_enabled" v 1 {}
    /// Codes of an authenticator app are not asked for any more.
    MfaTotpDisabled = "mfa.totp_disabled" v 1 {}
    /// A code of an authenticator app was presented.
    MfaTotpVerify = "mfa.totp_verify" v 1 {}
    /// Recovery codes were made, in place of all earlier ones.
    MfaRecoveryCodesGenerated = "mfa.recovery_codes_generated" v 1 {
        /// How many.
        count: u32,
    }
    /// A recovery code was presented.
    MfaRecoveryCodeUsed = "mfa.recovery_code_used" v 1 {
        /// How many are left.
        remaining: u32,
    }
    /// A browser needs no second factor for a while.
    MfaDeviceTrusted = "mfa.device_trusted" v 1 {
        /// Until when.
        trusted_until: DateTime<Utc>,
    }
    /// No browser is trusted any more.
    MfaDeviceUntrusted = "mfa.device_untrusted" v 1 {
        /// How many were.
        devices: u32,
    }
    /// Attempts at a factor were stopped after failures.
    SecurityAccountLocked = "security.account_locked" v 1 {
        /// The factor: `password` or `second_factor`.
        factor: String,
        /// When attempts are possible again; never before a reset when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<DateTime<Utc>>,
        /// A keyed hash of the address that was tried, where it has no account.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        identifier_hash: Option<String>,
    }
    /// Attempts at a factor are possible again.
    SecurityAccountUnlocked = "security.account_unlocked" v 1 {
        /// The factor: `password` or `second_factor`.
        factor: String,
    }
    /// An owner declared by the link of a mail that somebody else was in their account.
    SecurityAccountSecured = "security.account_secured" v 1 {}
    /// A limit refused requests of a client.
    SecurityRateLimited = "security.rate_limited" v 1 {
        /// The limit's name.
        limit: String,
    }
    /// Many different accounts were tried from one network.
    SecurityCredentialStuffing = "security.credential_stuffing" v 1 {
        /// The limit's name.
        limit: String,
    }
    /// A session was begun from a browser that was not known.
    SecurityNewDevice = "security.new_device" v 1 {}
    /// A session began.
    SessionCreated = "session.created" v 1 {
        /// The session.
        #[schemars(with = "Uuid")]
        session_id: SessionId,
        /// The authenticator assurance level, 1 or 2.
        aal: u8,
    }
    /// A refresh token was exchanged.
    SessionRefreshed = "session.refreshed" v 1 {
        /// The session.
        #[schemars(with = "Uuid")]
        session_id: SessionId,
        /// The generation that was issued.
        generation: u64,
        /// Whether the client has another address or user agent than when it was last seen to refresh; absent means no.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        context_changed: Option<bool>,
    }
    /// A refresh token came back that nobody honest could still hold.
    SessionRefreshReuseDetected = "session.refresh_reuse_detected" v 1 {
        /// The session, which was revoked.
        #[schemars(with = "Uuid")]
        session_id: SessionId,
        /// The generation that was presented.
        presented_generation: u64,
        /// The generation that is current.
        current_generation: u64,
    }
    /// A session ended before its time.
    SessionRevoked = "session.revoked" v 1 {
        /// The session.
        #[schemars(with = "Uuid")]
        session_id: SessionId,
    }
    /// A session's time was over; written down some time later.
    SessionExpired = "session.expired" v 1 {
        /// The session.
        #[schemars(with = "Uuid")]
        session_id: SessionId,
    }
    /// All sessions of a user ended before their time, or all but one.
    SessionRevokedAll = "session.revoked_all" v 1 {
        /// How many ended.
        revoked: u32,
        /// The one that lives on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<Uuid>")]
        kept: Option<SessionId>,
    }
    /// An operator created an account.
    AdminUserCreated = "admin.user_created" v 1 {
        /// The roles it was given.
        roles: Vec<String>,
    }
    /// A signing key was made that takes over from the others.
    SystemKeyRotated = "system.key_rotated" v 1 {
        /// PASERK id of the key that signs next.
        kid: String,
        /// From when it signs; absent means at once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signs_from: Option<DateTime<Utc>>,
        /// PASERK ids of the keys that nobody may trust any more, whose tokens died with them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        dropped: Vec<String>,
    }
    /// The personal data of a subject in the audit log was made unreadable for ever.
    SystemSubjectErased = "system.subject_erased" v 1 {}
    /// A caller without the right to a method called it.
    SystemAccessDenied = "system.access_denied" v 1 {
        /// The method, `/package.Service/Method`.
        method: String,
    }
}

/// Whether a consumer of this build understands the fact: its own version, the one before and the next.
#[must_use]
pub fn is_known(name: &str, version: u16) -> bool {
    CATALOGUE.iter().any(|(known, ours)| *known == name && version >= 1 && version.abs_diff(*ours) <= 1)
}
