//! Sets up an authenticator app: first the secret, then a code that proves that the app has it.

use std::{borrow::Cow, time::Duration};

use auth_events::{
    Client, Fact,
    commands::MailParameters,
    facts::{MfaTotpEnabled, MfaTotpEnrollStarted},
};
use chrono::TimeDelta;
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;
use service_error::{ErrorKind, ServiceError};
use session_verifier::Session;
use url::Url;
use zeroize::Zeroizing;

use crate::{
    app::{
        dependency::{DependencyError, depends_on_the_outside},
        notices, recovery_codes, revocation,
        second_factor::{self, AAL_MULTI_FACTOR, METHOD_MFA, METHOD_OTP, SecondFactorError},
        step_up::{Proof, StepUpError, lock_unchanged, prove},
        trusted_devices,
    },
    clients::sessions::IssuedAccess,
    domain::{
        bearer_secret::EnrolmentToken, qr_code, recovery_code::RecoveryCode, totp::TotpSecret, user::User,
    },
    state::AppState,
    store::{
        pending_revocations::PendingRevocation,
        totp_enrolments,
        totp_factors::{self, TotpFactor},
        users,
    },
};

const ENROLMENT_LIFETIME: TimeDelta = TimeDelta::minutes(10);
/// The reason of the sessions that end, which were begun without the second factor.
const REASON: &str = "totp_enabled";
/// What an app calls us where the frontend's address has no host.
const FALLBACK_ISSUER: &str = "Feature Auth";

/// What an authenticator app needs. It is never told again.
pub struct Enrolment {
    /// The secret as people type it.
    pub secret: Zeroizing<String>,
    /// The same as apps read it.
    pub otpauth_url: Zeroizing<String>,
    /// The same as a picture.
    pub qr_svg: Zeroizing<String>,
    /// Names the enrolment.
    pub token: EnrolmentToken,
}

/// A second factor that is asked for from now on.
pub struct EnabledTotp {
    /// The codes for when the app is lost. They are never told again.
    pub recovery_codes: Vec<RecoveryCode>,
    /// An access token that says that the second factor was given, unless session-service was away.
    pub access: Option<IssuedAccess>,
}

/// Why there is no second factor.
#[derive(Debug, thiserror::Error)]
pub enum EnableTotpError {
    /// See [`StepUpError`].
    #[error(transparent)]
    StepUp(#[from] StepUpError),
    /// There is one already; it has to be disabled first.
    #[error("the account has an authenticator app")]
    AlreadyEnabled,
    /// The enrolment is not known, too old, or was replaced by a newer one.
    #[error("the enrolment is not good")]
    EnrolmentInvalid,
    /// See [`SecondFactorError`].
    #[error(transparent)]
    SecondFactor(#[from] SecondFactorError),
    /// The names do not fit into the app's URL, or that into a picture.
    #[error("the URL for the authenticator app cannot be written")]
    Url,
    /// See [`DependencyError`].
    #[error(transparent)]
    Dependency(DependencyError),
}

depends_on_the_outside!(EnableTotpError);

impl ServiceError for EnableTotpError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::StepUp(error) => error.kind(),
            Self::AlreadyEnabled => ErrorKind::Conflict,
            Self::EnrolmentInvalid => ErrorKind::Malformed,
            Self::SecondFactor(error) => error.kind(),
            Self::Url => ErrorKind::Internal,
            Self::Dependency(error) => error.kind(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::StepUp(error) => error.reason(),
            Self::AlreadyEnabled => "totp_already_enabled",
            Self::EnrolmentInvalid => "enrolment_invalid",
            Self::SecondFactor(error) => error.reason(),
            Self::Url => "internal",
            Self::Dependency(error) => error.reason(),
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::StepUp(error) => error.public_detail(),
            Self::AlreadyEnabled => "An authenticator app is set up. Disable it first.".into(),
            Self::EnrolmentInvalid => "This set-up is not valid any more. Start again.".into(),
            Self::SecondFactor(error) => error.public_detail(),
            Self::Url => self.kind().title().into(),
            Self::Dependency(error) => error.public_detail(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::StepUp(error) => error.retry_after(),
            Self::SecondFactor(error) => error.retry_after(),
            Self::Dependency(error) => error.retry_after(),
            Self::AlreadyEnabled | Self::EnrolmentInvalid | Self::Url => None,
        }
    }
}

/// Begins to set up an app, in place of any other that was begun.
pub async fn begin(
    state: &AppState,
    caller: &Session,
    proof: Proof,
    client: &Client,
) -> Result<Enrolment, EnableTotpError> {
    let user = prove(state, caller, proof, "enable_totp", client).await?;
    let secret = TotpSecret::generate(&mut clock::secure_rng());
    let token = EnrolmentToken::generate(&mut clock::secure_rng());
    let frontend = Url::parse(&state.addresses.frontend).ok();
    let issuer = frontend.as_ref().and_then(Url::host_str).unwrap_or(FALLBACK_ISSUER);
    let otpauth_url = secret.otpauth_url(issuer, user.email.as_str()).map_err(|_| EnableTotpError::Url)?;
    let qr_svg = qr_code::svg(&otpauth_url).map(Zeroizing::new).map_err(|_| EnableTotpError::Url)?;
    let sealed = state.data_keys.seal(secret.expose(), &enrolment_binding(&user), &mut clock::secure_rng());
    let mut conn = state.database.connection().await?;
    conn.transaction(async |conn| {
        lock_unchanged(conn, &user).await?;
        if totp_factors::exists(conn, user.id).await? {
            return Err(EnableTotpError::AlreadyEnabled);
        }
        let now = state.clock.now();
        totp_enrolments::replace(conn, user.id, &token.hash(), &sealed, now, now + ENROLMENT_LIFETIME)
            .await?;
        let fact = Fact::by_user(user.id, MfaTotpEnrollStarted {}).from_client(client.clone());
        Ok(outbox::append_fact(conn, state.fact(Some(user.id), fact)).await?)
    })
    .await?;
    state.outbox.wake();
    Ok(Enrolment { secret: secret.base32(), otpauth_url, qr_svg, token })
}

/// Asks for the second factor from now on, once `otp` proves that the app has the secret. Other sessions, which never gave it, end.
pub async fn complete(
    state: &AppState,
    caller: &Session,
    token: Option<EnrolmentToken>,
    otp: &str,
    client: &Client,
) -> Result<EnabledTotp, EnableTotpError> {
    let token = token.ok_or(EnableTotpError::EnrolmentInvalid)?;
    let mut conn = state.database.connection().await?;
    let (recovery_codes, revocation) =
        conn.transaction(async |conn| enable(conn, state, caller, &token, otp, client).await).await?;
    drop(conn);
    state.accounts.forget(caller.user_id());
    state.outbox.wake();
    revocation::carry_out(state, &revocation, client).await;
    let methods = [METHOD_OTP, METHOD_MFA].map(str::to_owned);
    let elevated = state
        .sessions
        .elevate(caller.session_id(), caller.user_id(), &methods, AAL_MULTI_FACTOR, client)
        .await
        .inspect_err(|error| tracing::warn!("A session keeps the level it had: {error}"));
    Ok(EnabledTotp { recovery_codes, access: elevated.ok() })
}

async fn enable(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    caller: &Session,
    token: &EnrolmentToken,
    otp: &str,
    client: &Client,
) -> Result<(Vec<RecoveryCode>, PendingRevocation), EnableTotpError> {
    let now = state.clock.now();
    let user = users::lock(conn, caller.user_id()).await?.filter(User::is_open).ok_or(StepUpError::Gone)?;
    let sealed = totp_enrolments::find(conn, user.id, &token.hash(), now).await?;
    let sealed = sealed.ok_or(EnableTotpError::EnrolmentInvalid)?;
    let secret = second_factor::open(state, &sealed, &enrolment_binding(&user), user.id)?;
    let last_step = secret.matching_step(otp, now).ok_or(SecondFactorError::OtpInvalid)?;
    if !totp_enrolments::take(conn, user.id, &token.hash(), now).await? {
        return Err(EnableTotpError::EnrolmentInvalid);
    }
    let binding = second_factor::factor_binding(user.id);
    let sealed = state.data_keys.seal(secret.expose(), &binding, &mut clock::secure_rng());
    // Made before the factor is enabled, because it takes away what is newer than itself.
    let secure_link = notices::secure_link(conn, state, &user).await?;
    let factor = TotpFactor { secret: sealed, enabled_at: state.clock.now(), last_step };
    if !totp_factors::insert(conn, user.id, &factor).await? {
        return Err(EnableTotpError::AlreadyEnabled);
    }
    let fact = Fact::by_user(user.id, MfaTotpEnabled {}).from_client(client.clone());
    outbox::append_fact(conn, state.fact(Some(user.id), fact)).await?;
    let codes = recovery_codes::replace(conn, state, user.id, client).await?;
    trusted_devices::untrust_all(conn, state, user.id, client).await?;
    users::begin_credential_epoch(conn, user.id, now).await?;
    let parameters = MailParameters::TotpEnabled {
        display_name: user.display_name.clone(),
        secure_link,
        occasion: notices::occasion(state, client),
    };
    notices::send(conn, state, &user, &parameters).await?;
    let revocation = revocation::decide(conn, state, user.id, Some(caller.session_id()), REASON).await?;
    Ok((codes, revocation))
}

fn enrolment_binding(user: &User) -> Vec<u8> {
    format!("totp_enrolments/{}", user.id).into_bytes()
}
