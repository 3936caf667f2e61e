//! Logs in with address and password.

use std::{borrow::Cow, time::Duration};

use auth_events::{Client, Fact, facts::AuthLogin};
use auth_ids::UserId;
use diesel_async::AsyncConnection;
use service_error::{ErrorKind, ServiceError};

use crate::{
    app::dependency::{DependencyError, depends_on_the_outside},
    clients::sessions::{IssuedTokens, NewSession, SessionCredential},
    domain::{
        email_address::EmailAddress,
        permission,
        plain_password::PlainPassword,
        user::{User, UserStatus},
    },
    state::AppState,
    store::users,
};

/// RFC 8176: a password.
const METHOD_PASSWORD: &str = "pwd";

/// What somebody presents.
pub struct Login {
    /// The address.
    pub email: EmailAddress,
    /// The password.
    pub password: PlainPassword,
    /// What to call the device.
    pub device_name: Option<String>,
    /// Whether the session may outlive twelve hours.
    pub remember_me: bool,
}

/// Why nobody was logged in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// No such account, another password, or an account that is closed: all one to whoever asks.
    #[error("the credentials are not good: {0}")]
    InvalidCredentials(&'static str),
    /// The password is right, the address not proved.
    #[error("the address is not verified")]
    EmailUnverified,
    /// See [`DependencyError`].
    #[error(transparent)]
    Dependency(DependencyError),
}

depends_on_the_outside!(LoginError);

impl ServiceError for LoginError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidCredentials(_) => ErrorKind::Unauthenticated,
            Self::EmailUnverified => ErrorKind::Forbidden,
            Self::Dependency(error) => error.kind(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::InvalidCredentials(_) => "invalid_credentials",
            Self::EmailUnverified => "email_unverified",
            Self::Dependency(error) => error.reason(),
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::InvalidCredentials(_) => "Email or password is incorrect.".into(),
            Self::EmailUnverified => "Open the link in the mail that we sent to you first.".into(),
            Self::Dependency(error) => error.public_detail(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Dependency(error) => error.retry_after(),
            Self::InvalidCredentials(_) | Self::EmailUnverified => None,
        }
    }
}

/// Logs in: one look-up, one hash and one audit event on every branch.
pub async fn login(state: &AppState, login: Login, client: &Client) -> Result<IssuedTokens, LoginError> {
    let user = users::find_by_email(&mut *state.database.connection().await?, &login.email).await?;
    let stored = user.as_ref().map(|user| (user.id, user.password.as_slice()));
    let matches = state.vault.verify(&login.password, stored).await?;
    match (&user, matches) {
        (Some(user), true) if user.status == UserStatus::Active => {
            let tokens = begin_session(state, user, login, client).await?;
            state.metrics.login_success.inc();
            Ok(tokens)
        }
        _ => Err(refuse(state, user.as_ref(), matches, &login.email, client).await?),
    }
}

/// Begins the session, then looks once more: an account that was closed meanwhile gets no tokens.
async fn begin_session(
    state: &AppState,
    user: &User,
    login: Login,
    client: &Client,
) -> Result<IssuedTokens, LoginError> {
    let methods = vec![METHOD_PASSWORD.to_owned()];
    let session = NewSession {
        user_id: user.id,
        roles: user.roles.clone(),
        permissions: permission::permissions_of(&user.roles),
        methods: methods.clone(),
        aal: 1,
        remember_me: login.remember_me,
        device_name: login.device_name,
    };
    let tokens = state.sessions.create(session, client).await?;
    let recorded = record_success(state, user.id, &tokens, methods, client).await;
    if recorded.is_err() {
        state
            .sessions
            .revoke(&SessionCredential::Id(tokens.session_id), "login_not_completed", client)
            .await?;
    }
    recorded.map(|()| tokens)
}

async fn record_success(
    state: &AppState,
    user: UserId,
    tokens: &IssuedTokens,
    methods: Vec<String>,
    client: &Client,
) -> Result<(), LoginError> {
    let mut conn = state.database.connection().await?;
    conn.transaction(async |conn| {
        let current = users::lock(conn, user).await?;
        if current.is_none_or(|current| current.status != UserStatus::Active) {
            return Err(LoginError::InvalidCredentials("account_closed"));
        }
        let fact = Fact::by_user(user, AuthLogin { methods, identifier_hash: None });
        let fact = fact.on("session", tokens.session_id).from_client(client.clone());
        Ok(outbox::append_fact(conn, state.fact(Some(user), fact)).await?)
    })
    .await?;
    state.outbox.wake();
    Ok(())
}

/// Audits a login that is refused, and says how.
async fn refuse(
    state: &AppState,
    user: Option<&User>,
    matches: bool,
    email: &EmailAddress,
    client: &Client,
) -> Result<LoginError, LoginError> {
    let (reason, error) = match user.map(|user| user.status) {
        None => ("unknown_account", LoginError::InvalidCredentials("unknown_account")),
        Some(_) if !matches => ("wrong_password", LoginError::InvalidCredentials("wrong_password")),
        Some(UserStatus::Unverified) => ("email_unverified", LoginError::EmailUnverified),
        Some(_) => ("account_closed", LoginError::InvalidCredentials("account_closed")),
    };
    state.metrics.login_failure.with_label_values(&[reason]).inc();
    let identifier_hash = user.is_none().then(|| state.identifier_key.hash(email));
    let detail = AuthLogin { methods: vec![METHOD_PASSWORD.to_owned()], identifier_hash };
    let fact = Fact::by_anonymous(detail).failed(reason).from_client(client.clone());
    let mut conn = state.database.connection().await?;
    outbox::append_fact(&mut conn, state.fact(user.map(|user| user.id), fact)).await?;
    state.outbox.wake();
    Ok(error)
}
