//! Sends the verification mail again. Whoever asks learns nothing about the address.

use auth_events::Client;
use pg::AsyncPgConnection;

use crate::{
    app::{
        captcha,
        deferred::{DeferredRequest, defer},
        dependency::DependencyError,
        register::send_verification,
    },
    clients::captcha::CaptchaAction,
    domain::{email_address::EmailAddress, user::UserStatus},
    state::AppState,
    store::users,
};

/// Takes the request: one captcha and one statement, whatever is known of the address.
pub async fn resend_verification(
    state: &AppState,
    email: &EmailAddress,
    captcha_token: Option<&str>,
    client: &Client,
) -> Result<(), DependencyError> {
    captcha::demand(state, captcha_token, CaptchaAction::Resend, client).await?;
    defer(state, DeferredRequest::ResendVerification { email: email.as_str().to_owned() }, client).await
}

/// Does what [`resend_verification`] took, in the transaction of whoever calls. The link proves the address; a browser without the registration's handle has to
/// set a new password.
pub async fn handle(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    email: &EmailAddress,
    _client: &Client,
) -> Result<(), DependencyError> {
    let user = users::lock_by_email(conn, email).await?;
    if let Some(user) = user.filter(|user| user.status == UserStatus::Unverified) {
        send_verification(conn, state, &user).await?;
    }
    Ok(())
}
