//! What stands between a right password and a session while the second factor is awaited: good for five minutes, five tries and one session, and only
//! as long as the account's credentials are those that the password was checked against.

use std::{borrow::Cow, time::Duration};

use auth_events::{Client, Fact, facts::AuthLoginChallenge};
use chrono::TimeDelta;
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;
use service_error::{ErrorKind, ServiceError};

use crate::{
    app::{
        begin_session::BeginSessionError,
        dependency::{DependencyError, depends_on_the_outside},
        second_factor::{self, Code, SecondFactorError, Verdict},
    },
    domain::{
        attempts::{Attempts, SECOND_FACTOR},
        bearer_secret::LoginChallengeToken,
        user::User,
    },
    state::AppState,
    store::{
        self,
        login_challenges::{self, LoginChallenge},
        recovery_codes, users,
    },
};

const LIFETIME: TimeDelta = TimeDelta::minutes(5);

/// The question for a second factor.
pub struct Challenge {
    /// Whoever presents it has given the right password.
    pub token: LoginChallengeToken,
    /// The second factors that would do.
    pub methods: Vec<&'static str>,
}

/// Somebody who answered a challenge.
pub struct Answered {
    /// The account.
    pub user: User,
    /// What the user calls the device.
    pub device_name: Option<String>,
    /// Whether the session may outlive twelve hours.
    pub remember_me: bool,
    /// How many recovery codes are left, if it was one.
    pub recovery_codes_remaining: Option<u32>,
}

/// Why a challenge is not answered.
#[derive(Debug, thiserror::Error)]
pub enum ChallengeError {
    /// It is not known, was used, tried too often, is too old, or the account's credentials have changed.
    #[error("the challenge is not good")]
    ChallengeInvalid,
    /// See [`SecondFactorError`].
    #[error(transparent)]
    SecondFactor(#[from] SecondFactorError),
    /// See [`DependencyError`].
    #[error(transparent)]
    Dependency(DependencyError),
}

depends_on_the_outside!(ChallengeError);

impl From<BeginSessionError> for ChallengeError {
    fn from(error: BeginSessionError) -> Self {
        match error {
            BeginSessionError::Closed => Self::ChallengeInvalid,
            BeginSessionError::Dependency(error) => Self::Dependency(error),
        }
    }
}

impl ServiceError for ChallengeError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::ChallengeInvalid => ErrorKind::Malformed,
            Self::SecondFactor(error) => error.kind(),
            Self::Dependency(error) => error.kind(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::ChallengeInvalid => "challenge_invalid",
            Self::SecondFactor(error) => error.reason(),
            Self::Dependency(error) => error.reason(),
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::ChallengeInvalid => "This login is not valid any more. Start again.".into(),
            Self::SecondFactor(error) => error.public_detail(),
            Self::Dependency(error) => error.public_detail(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::ChallengeInvalid => None,
            Self::SecondFactor(error) => error.retry_after(),
            Self::Dependency(error) => error.retry_after(),
        }
    }
}

/// Asks for the second factor of `user`, in the login's transaction.
pub async fn begin(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: &User,
    device_name: Option<&str>,
    remember_me: bool,
    client: &Client,
) -> Result<Challenge, DependencyError> {
    let now = state.clock.now();
    let token = LoginChallengeToken::generate(&mut clock::secure_rng());
    let challenge = LoginChallenge {
        id: auth_ids::generate(&*state.clock, &mut clock::secure_rng()),
        user_id: user.id,
        credential_epoch: user.credential_epoch,
        device_name: device_name.map(str::to_owned),
        remember_me,
    };
    login_challenges::insert(conn, &challenge, &token.hash(), now, now + LIFETIME).await?;
    let methods = methods(conn, state, user).await?;
    let detail = AuthLoginChallenge { methods: methods.iter().map(|method| (*method).to_owned()).collect() };
    let fact = Fact::by_user(user.id, detail).from_client(client.clone());
    outbox::append_fact(conn, state.fact(Some(user.id), fact)).await?;
    Ok(Challenge { token, methods })
}

/// What would do: codes of the app unless too many were wrong, recovery codes while there are any.
async fn methods(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: &User,
) -> Result<Vec<&'static str>, DependencyError> {
    let tried =
        store::attempts::find(conn, &SECOND_FACTOR, user.id.as_bytes().as_slice(), state.clock.now()).await?;
    let next = Attempts { consecutive: tried.consecutive.saturating_add(1), ..tried };
    let mut methods = Vec::new();
    if !next.is_off(&SECOND_FACTOR) {
        methods.push("otp");
    }
    if recovery_codes::remaining(conn, user.id).await? > 0 {
        methods.push("recovery_code");
    }
    Ok(methods)
}

/// Answers a challenge with a code. Of any number of good answers to one challenge one counts.
pub async fn answer(
    state: &AppState,
    token: Option<LoginChallengeToken>,
    code: &Code,
    client: &Client,
) -> Result<Answered, ChallengeError> {
    let hash = token.ok_or(ChallengeError::ChallengeInvalid)?.hash();
    let mut conn = state.database.connection().await?;
    let challenge = login_challenges::find(&mut conn, &hash, state.clock.now()).await?;
    drop(conn);
    let challenge = challenge.ok_or(ChallengeError::ChallengeInvalid)?;
    let _turn = second_factor::turn(state, challenge.user_id).await;
    let mut conn = state.database.connection().await?;
    let (user, verdict) =
        conn.transaction(async |conn| judge(conn, state, &challenge, code, client).await).await?;
    state.outbox.wake();
    match verdict {
        Verdict::Accepted { recovery_codes_remaining } => Ok(Answered {
            user,
            device_name: challenge.device_name,
            remember_me: challenge.remember_me,
            recovery_codes_remaining,
        }),
        Verdict::Refused(error) => Err(error.into()),
    }
}

async fn judge(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    challenge: &LoginChallenge,
    code: &Code,
    client: &Client,
) -> Result<(User, Verdict), ChallengeError> {
    let now = state.clock.now();
    // The row stays locked, so that of answers that come together the second sees what became of the first.
    if !login_challenges::take_try(conn, challenge.id, now).await? {
        return Err(ChallengeError::ChallengeInvalid);
    }
    let user = users::find(conn, challenge.user_id).await?;
    let user = user
        .filter(|user| user.is_open() && user.credential_epoch == challenge.credential_epoch)
        .ok_or(ChallengeError::ChallengeInvalid)?;
    let verdict = second_factor::judge(conn, state, &user, code, client).await?;
    if matches!(verdict, Verdict::Accepted { .. })
        && !login_challenges::use_up(conn, challenge.id, now).await?
    {
        return Err(ChallengeError::ChallengeInvalid);
    }
    Ok((user, verdict))
}
