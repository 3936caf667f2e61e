//! Logs in with a password and a recovery code, when the authenticator app is lost.

use std::{borrow::Cow, time::Duration};

use auth_events::Client;
use service_error::{ErrorKind, ServiceError};

use crate::{
    app::{
        begin_session::{Authenticated, BeginSessionError, LoggedIn, begin_session},
        dependency::{DependencyError, depends_on_the_outside},
        login_challenge::{self, Answered, ChallengeError},
        password_login::{LoginError, PasswordLogin, authenticate},
        second_factor::{self, AAL_MULTI_FACTOR, Code, SecondFactorError},
        verify_second_factor::{known_device, methods, needs_sessions},
    },
    domain::{
        bearer_secret::{DeviceToken, LoginChallengeToken},
        recovery_code::RecoveryCode,
    },
    state::AppState,
};

/// What somebody presents.
pub struct RecoveryLogin {
    /// What proves the password.
    pub password: PasswordProof,
    /// The code, if what was given has the form of one.
    pub code: Option<RecoveryCode>,
    /// What the browser has from an earlier login.
    pub device: Option<DeviceToken>,
}

/// Proves a password.
pub enum PasswordProof {
    /// What a login answered, if what was given has the form of it.
    Challenge(Option<LoginChallengeToken>),
    /// The password itself: judged, counted and answered like that of a login.
    Password(PasswordLogin),
}

/// Somebody who is logged in.
pub struct Recovered {
    /// The session.
    pub logged_in: LoggedIn,
    /// How many codes are left.
    pub remaining: u32,
}

/// Why nobody is logged in.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryLoginError {
    /// See [`LoginError`].
    #[error(transparent)]
    Login(#[from] LoginError),
    /// See [`ChallengeError`].
    #[error(transparent)]
    Challenge(#[from] ChallengeError),
    /// See [`SecondFactorError`].
    #[error(transparent)]
    SecondFactor(#[from] SecondFactorError),
    /// See [`DependencyError`].
    #[error(transparent)]
    Dependency(DependencyError),
}

depends_on_the_outside!(RecoveryLoginError);

impl From<BeginSessionError> for RecoveryLoginError {
    fn from(error: BeginSessionError) -> Self {
        match error {
            BeginSessionError::Closed => Self::Login(LoginError::closed()),
            BeginSessionError::Dependency(error) => Self::Dependency(error),
        }
    }
}

impl RecoveryLoginError {
    fn inner(&self) -> &dyn ServiceError {
        match self {
            Self::Login(error) => error,
            Self::Challenge(error) => error,
            Self::SecondFactor(error) => error,
            Self::Dependency(error) => error,
        }
    }
}

impl ServiceError for RecoveryLoginError {
    fn kind(&self) -> ErrorKind {
        self.inner().kind()
    }

    fn reason(&self) -> &'static str {
        self.inner().reason()
    }

    fn public_detail(&self) -> Cow<'static, str> {
        self.inner().public_detail()
    }

    fn retry_after(&self) -> Option<Duration> {
        self.inner().retry_after()
    }

    fn captcha_required(&self) -> bool {
        self.inner().captcha_required()
    }
}

/// Begins the session and uses the code up. An account without recovery codes refuses like one whose code is another.
pub async fn recovery_login(
    state: &AppState,
    login: RecoveryLogin,
    client: &Client,
) -> Result<Recovered, RecoveryLoginError> {
    needs_sessions(state).await?;
    let code = Code::Recovery(login.code);
    let (answered, device) = match login.password {
        PasswordProof::Challenge(token) => {
            let answered = login_challenge::answer(state, token, &code, client).await?;
            let device = known_device(state, &answered.user, login.device.as_ref()).await?;
            (answered, device)
        }
        PasswordProof::Password(credentials) => {
            let proved = authenticate(state, &credentials, client).await?;
            let recovery_codes_remaining = second_factor::check(state, &proved.user, &code, client).await?;
            let user = proved.user;
            let answered = Answered { user, device_name: None, remember_me: false, recovery_codes_remaining };
            (answered, proved.device)
        }
    };
    let who = Authenticated {
        user: answered.user,
        methods: methods(),
        aal: AAL_MULTI_FACTOR,
        remember_me: answered.remember_me,
        device_name: answered.device_name,
        device,
        trust_device: false,
    };
    let logged_in = begin_session(state, who, client).await?;
    Ok(Recovered { logged_in, remaining: answered.recovery_codes_remaining.unwrap_or(0) })
}
