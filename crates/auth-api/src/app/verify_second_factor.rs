//! Finishes a login with a code of the authenticator app.

use auth_events::Client;

use crate::{
    app::{
        begin_session::{Authenticated, LoggedIn, begin_session},
        dependency::DependencyError,
        login_challenge::{self, ChallengeError},
        password_login::METHOD_PASSWORD,
        second_factor::{AAL_MULTI_FACTOR, AAL_SINGLE_FACTOR, Code, METHOD_MFA, METHOD_OTP},
    },
    domain::{
        bearer_secret::{DeviceToken, LoginChallengeToken},
        user::User,
    },
    state::AppState,
    store::known_devices::{self, KnownDevice},
};

/// What somebody presents.
pub struct SecondFactorLogin {
    /// What the login answered, if what was given has the form of it.
    pub challenge: Option<LoginChallengeToken>,
    /// The code.
    pub otp: String,
    /// What the browser has from an earlier login.
    pub device: Option<DeviceToken>,
    /// Whether the browser needs no second factor for the next thirty days.
    pub trust_device: bool,
}

/// Begins the session. Nothing of it exists before.
pub async fn verify_second_factor(
    state: &AppState,
    login: SecondFactorLogin,
    client: &Client,
) -> Result<LoggedIn, ChallengeError> {
    needs_sessions(state).await?;
    let answered = login_challenge::answer(state, login.challenge, &Code::Totp(login.otp), client).await?;
    let device = known_device(state, &answered.user, login.device.as_ref()).await?;
    let who = Authenticated {
        user: answered.user,
        methods: methods(),
        aal: AAL_MULTI_FACTOR,
        remember_me: answered.remember_me,
        device_name: answered.device_name,
        device,
        trust_device: login.trust_device,
    };
    Ok(begin_session(state, who, client).await?)
}

/// Asks session-service for something cheap, so that no code is used up for a session that cannot begin.
pub async fn needs_sessions(state: &AppState) -> Result<(), DependencyError> {
    Ok(state.sessions.public_keys().await.map(drop)?)
}

/// How somebody authenticated who gave a password and a code.
#[must_use]
pub fn methods() -> Vec<String> {
    [METHOD_PASSWORD, METHOD_OTP, METHOD_MFA].map(str::to_owned).to_vec()
}

/// How somebody authenticated who gave all that the account has, and the assurance level that this is.
#[must_use]
pub fn full_proof(has_second_factor: bool) -> (Vec<String>, u32) {
    if has_second_factor {
        (methods(), AAL_MULTI_FACTOR)
    } else {
        (vec![METHOD_PASSWORD.to_owned()], AAL_SINGLE_FACTOR)
    }
}

/// The browser, if it logged in to the account before.
pub async fn known_device(
    state: &AppState,
    user: &User,
    token: Option<&DeviceToken>,
) -> Result<Option<KnownDevice>, DependencyError> {
    let Some(token) = token else { return Ok(None) };
    let mut conn = state.database.connection().await?;
    let device = known_devices::find(&mut conn, &token.hash(), state.clock.now()).await?;
    Ok(device.filter(|device| device.user_id == user.id))
}
