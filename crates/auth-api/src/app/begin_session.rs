//! Begins the session of somebody who has proved who they are.

use auth_events::{
    Client, Fact,
    commands::MailParameters,
    facts::{AuthLogin, MfaDeviceTrusted, SecurityNewDevice},
};
use auth_ids::UserId;
use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;

use crate::{
    app::{
        dependency::{DependencyError, depends_on_the_outside},
        notices,
    },
    clients::sessions::{IssuedTokens, NewSession, SessionCredential},
    domain::{bearer_secret::DeviceToken, permission, user::User},
    state::AppState,
    store::{
        known_devices::{self, KnownDevice},
        users,
    },
};

/// How long a browser is known after its last login.
pub const DEVICE_LIFETIME: TimeDelta = TimeDelta::days(180);
/// How long a browser needs no second factor.
const TRUST_LIFETIME: TimeDelta = TimeDelta::days(30);

/// Somebody who has proved who they are.
pub struct Authenticated {
    /// The account, as it was when the proof was checked.
    pub user: User,
    /// How they proved it (RFC 8176).
    pub methods: Vec<String>,
    /// The assurance level reached.
    pub aal: u32,
    /// Whether the session may outlive twelve hours.
    pub remember_me: bool,
    /// What the user calls the device.
    pub device_name: Option<String>,
    /// The browser, if it logged in to this account before.
    pub device: Option<KnownDevice>,
    /// Whether it needs no second factor from now on.
    pub trust_device: bool,
}

/// What they get.
pub struct LoggedIn {
    /// The session's tokens.
    pub tokens: IssuedTokens,
    /// What a browser that was not known keeps.
    pub device: Option<DeviceToken>,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum BeginSessionError {
    /// The account was closed, or its credentials or roles were changed, since the proof was checked.
    #[error("the account is not what it was when the proof was checked")]
    Closed,
    /// See [`DependencyError`].
    #[error(transparent)]
    Dependency(DependencyError),
}

depends_on_the_outside!(BeginSessionError);

/// Begins the session, then looks once more with the account locked: if it was closed, or its credentials or roles changed, meanwhile, the session ends
/// again and nobody gets its tokens.
pub async fn begin_session(
    state: &AppState,
    who: Authenticated,
    client: &Client,
) -> Result<LoggedIn, BeginSessionError> {
    let session = NewSession {
        user_id: who.user.id,
        roles: who.user.roles.clone(),
        permissions: permission::permissions_of(&who.user.roles),
        methods: who.methods.clone(),
        aal: who.aal,
        remember_me: who.remember_me,
        device_name: who.device_name.clone(),
        authenticated_at: None,
    };
    let tokens = state.sessions.create(session, client).await?;
    let new_device = who.device.is_none().then(|| DeviceToken::generate(&mut clock::secure_rng()));
    match record(state, &who, &tokens, new_device.as_ref(), client).await {
        Ok(()) => {
            state.outbox.wake();
            state.metrics.login_success.inc();
            Ok(LoggedIn { tokens, device: new_device })
        }
        Err(error) => {
            let session = SessionCredential::Id(tokens.session_id);
            state.sessions.revoke(&session, "login_not_completed", client).await?;
            Err(error)
        }
    }
}

async fn record(
    state: &AppState,
    who: &Authenticated,
    tokens: &IssuedTokens,
    new_device: Option<&DeviceToken>,
    client: &Client,
) -> Result<(), BeginSessionError> {
    let mut conn = state.database.connection().await?;
    conn.transaction(async |conn| {
        let now = state.clock.now();
        let current = users::lock(conn, who.user.id).await?.ok_or(BeginSessionError::Closed)?;
        let is_same_account =
            current.credential_epoch == who.user.credential_epoch && current.roles == who.user.roles;
        if !current.is_open() || !is_same_account {
            return Err(BeginSessionError::Closed);
        }
        let fact =
            Fact::by_user(current.id, AuthLogin { methods: who.methods.clone(), identifier_hash: None });
        let fact = fact.on("session", tokens.session_id).from_client(client.clone());
        outbox::append_fact(conn, state.fact(Some(current.id), fact)).await?;
        let trusted_until = who.trust_device.then_some(now + TRUST_LIFETIME);
        match (who.device, new_device) {
            (Some(device), _) => {
                known_devices::note_seen(conn, device.id, trusted_until, now, now + DEVICE_LIFETIME).await?;
            }
            (None, Some(token)) => {
                meet_device(conn, state, &current, token, trusted_until, client).await?;
            }
            (None, None) => {}
        }
        if let Some(trusted_until) = trusted_until {
            let fact = Fact::by_user(current.id, MfaDeviceTrusted { trusted_until });
            let fact = fact.from_client(client.clone());
            outbox::append_fact(conn, state.fact(Some(current.id), fact)).await?;
        }
        Ok(users::note_login(conn, current.id, now).await?)
    })
    .await
}

/// Remembers the browser of whoever has just proved that the account is theirs, without trust: it has a budget of attempts of its own, so that nobody
/// else's failures keep it out. What it keeps.
pub async fn remember_browser(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: UserId,
) -> pg::Result<DeviceToken> {
    let now = state.clock.now();
    let token = DeviceToken::generate(&mut clock::secure_rng());
    let id = auth_ids::generate(&*state.clock, &mut clock::secure_rng());
    let device = KnownDevice { id, user_id: user, trusted_until: None };
    known_devices::insert(conn, device, &token.hash(), now, now + DEVICE_LIFETIME).await?;
    Ok(token)
}

/// Remembers a browser that was not known. The owner is told of it, unless this is the first login ever.
async fn meet_device(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: &User,
    token: &DeviceToken,
    trusted_until: Option<DateTime<Utc>>,
    client: &Client,
) -> Result<(), DependencyError> {
    let now = state.clock.now();
    let id = auth_ids::generate(&*state.clock, &mut clock::secure_rng());
    let device = KnownDevice { id, user_id: user.id, trusted_until };
    known_devices::insert(conn, device, &token.hash(), now, now + DEVICE_LIFETIME).await?;
    if user.last_login_at.is_none() {
        return Ok(());
    }
    let parameters = MailParameters::NewDevice {
        display_name: user.display_name.clone(),
        secure_link: notices::secure_link(conn, state, user).await?,
        occasion: notices::occasion(state, client),
    };
    notices::send(conn, state, user, &parameters).await?;
    let fact = Fact::by_user(user.id, SecurityNewDevice {}).on("device", id).from_client(client.clone());
    Ok(outbox::append_fact(conn, state.fact(Some(user.id), fact)).await?)
}
