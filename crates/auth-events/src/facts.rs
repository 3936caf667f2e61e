//! Every fact, with what it adds to [`Fact`](crate::Fact).

use auth_ids::{SessionId, Uuid};
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
    /// A password was presented.
    AuthLogin = "auth.login" v 1 {
        /// The authentication methods used (RFC 8176).
        methods: Vec<String>,
        /// A keyed hash of the address that was tried, where it has no account.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        identifier_hash: Option<String>,
    }
    /// A user ended one of their sessions.
    AuthLogout = "auth.logout" v 1 {}
    /// A captcha answer was refused.
    AuthCaptcha = "auth.captcha" v 1 {
        /// What the answer was for.
        action: String,
    }
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
    /// An operator created an account.
    AdminUserCreated = "admin.user_created" v 1 {
        /// The roles it was given.
        roles: Vec<String>,
    }
    /// A signing key took over.
    SystemKeyRotated = "system.key_rotated" v 1 {
        /// PASERK id of the key that signs now.
        kid: String,
    }
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
