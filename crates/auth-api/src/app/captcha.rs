//! Asks for proof that a person sent a request; the same for every use case that needs one.

use auth_events::{Client, Fact, facts::AuthCaptcha};

use rate_limit::{Charge, Scope};

use crate::{
    app::dependency::DependencyError,
    clients::captcha::{CaptchaAction, CaptchaError, OnUnavailable},
    domain::route_limits::WITHOUT_CAPTCHA,
    state::AppState,
};

/// [`check`] for what must not go on without a captcha: while nobody can check one it is refused, unless the operator chose that a few requests of each
/// address go on.
pub async fn demand(
    state: &AppState,
    token: Option<&str>,
    action: CaptchaAction,
    client: &Client,
) -> Result<(), DependencyError> {
    let outcome = check(state, token, action, client).await;
    let is_unavailable = matches!(&outcome, Err(DependencyError::Captcha(CaptchaError::Unavailable(_))));
    if !is_unavailable || state.captcha.on_unavailable() == OnUnavailable::Refuse {
        return outcome;
    }
    let key = client.ip.map_or_else(String::new, |ip| Scope::Host.key(ip));
    let decision = state.limiter.charge(&[Charge { limit: WITHOUT_CAPTCHA, key }]).await;
    if decision.is_allowed() { Ok(()) } else { outcome }
}

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
