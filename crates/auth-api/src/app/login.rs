//! Logs in with address and password, and says which second factor is missing.

use auth_events::Client;
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;

use crate::{
    app::{
        begin_session::{Authenticated, BeginSessionError, LoggedIn, begin_session},
        login_challenge::{self, Challenge},
        password_login::{LoginError, METHOD_PASSWORD, PasswordAuthenticated, PasswordLogin, authenticate},
    },
    domain::user::User,
    state::AppState,
    store::{totp_factors, users},
};

/// What somebody presents.
pub struct Login {
    /// Address and password.
    pub credentials: PasswordLogin,
    /// What to call the device.
    pub device_name: Option<String>,
    /// Whether the session may outlive twelve hours.
    pub remember_me: bool,
}

/// What a right password leads to.
pub enum LoginOutcome {
    /// A session.
    Session(LoggedIn),
    /// The question for a second factor.
    Challenge(Challenge),
}

/// Logs in. A browser that is trusted, or an account without a second factor, gets a session; anybody else a challenge.
pub async fn login(state: &AppState, login: Login, client: &Client) -> Result<LoginOutcome, LoginError> {
    let PasswordAuthenticated { user, device } = authenticate(state, &login.credentials, client).await?;
    let now = state.clock.now();
    let is_trusted =
        device.is_some_and(|device| device.trusted_until.is_some_and(|trusted_until| trusted_until > now));
    let mut conn = state.database.connection().await?;
    if !is_trusted && totp_factors::exists(&mut conn, user.id).await? {
        let challenge =
            conn.transaction(async |conn| challenge(conn, state, &user, &login, client).await).await?;
        state.outbox.wake();
        return Ok(LoginOutcome::Challenge(challenge));
    }
    drop(conn);
    let who = Authenticated {
        user,
        methods: vec![METHOD_PASSWORD.to_owned()],
        aal: 1,
        remember_me: login.remember_me,
        device_name: login.device_name,
        device,
        trust_device: false,
    };
    Ok(LoginOutcome::Session(begin_session(state, who, client).await?))
}

async fn challenge(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: &User,
    login: &Login,
    client: &Client,
) -> Result<Challenge, LoginError> {
    let current = users::lock(conn, user.id).await?;
    let is_unchanged =
        |current: &User| current.is_open() && current.credential_epoch == user.credential_epoch;
    let current = current.filter(is_unchanged).ok_or_else(LoginError::closed)?;
    let device_name = login.device_name.as_deref();
    Ok(login_challenge::begin(conn, state, &current, device_name, login.remember_me, client).await?)
}

impl From<BeginSessionError> for LoginError {
    fn from(error: BeginSessionError) -> Self {
        match error {
            BeginSessionError::Closed => Self::closed(),
            BeginSessionError::Dependency(error) => Self::Dependency(error),
        }
    }
}
