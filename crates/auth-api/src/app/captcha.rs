//! Asks for proof that a person sent a request; the same for every use case that needs one.

use auth_events::{Client, Fact, facts::AuthCaptcha};

use crate::{
    app::dependency::DependencyError,
    clients::captcha::{CaptchaAction, CaptchaError},
    state::AppState,
};

/// Checks the answer `token` for `action`, counts the outcome and puts a refusal on record. `CaptchaError::Unavailable` says nothing about
/// the client: the use case decides whether it goes on without a captcha.
pub async fn check(
    state: &AppState,
    token: Option<&str>,
    action: CaptchaAction,
    client: &Client,
) -> Result<(), DependencyError> {
    let outcome = state.captcha.verify(token, action, client.ip).await;
    let label = match &outcome {
        Ok(()) => "passed",
        Err(CaptchaError::Required) => "missing",
        Err(CaptchaError::Invalid(_)) => "refused",
        Err(CaptchaError::Unavailable(_)) => "unavailable",
    };
    state.metrics.captcha_challenges.with_label_values(&[label]).inc();
    if let Err(CaptchaError::Invalid(why)) = &outcome {
        let fact = Fact::by_anonymous(AuthCaptcha { action: action.name().to_owned() }).denied(why);
        let mut conn = state.database.connection().await?;
        outbox::append_fact(&mut conn, state.fact(None, fact.from_client(client.clone()))).await?;
        state.outbox.wake();
    }
    Ok(outcome?)
}
