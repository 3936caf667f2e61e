//! The links in the mails about an account.

use auth_events::commands::{MailParameters, MailTemplate};
use chrono::TimeDelta;
use clock::ManualClock;
use reqwest::{Response, StatusCode};
use serde_json::json;

use crate::{
    authenticator::anywhere,
    harness::{TestApi, token_of},
};

pub const FORGOT: &str = "/v1/auth/forgot-password";
pub const RESET: &str = "/v1/auth/reset-password";
pub const CHANGE_PASSWORD: &str = "/v1/auth/change-password";
pub const CHANGE_EMAIL: &str = "/v1/auth/change-email";
pub const CONFIRM: &str = "/v1/auth/change-email/confirm";
pub const UNDO: &str = "/v1/auth/change-email/undo";
pub const SECURE: &str = "/v1/auth/secure-account";
pub const REAUTHENTICATE: &str = "/v1/auth/reauthenticate";
pub const NEW_PASSWORD: &str = "the owner's own new password";

/// Every mail of a template to `email`, the oldest first.
pub async fn mails_to(api: &TestApi, email: &str, template: MailTemplate) -> Vec<MailParameters> {
    api.deferred_done().await;
    let mails = api.mails().await.into_iter();
    mails
        .filter(|(mail, _)| mail.to == email && mail.template == template)
        .map(|(_, parameters)| parameters)
        .collect()
}

/// The tokens in the mails of a template to `email`, the oldest first.
pub async fn tokens_to(api: &TestApi, email: &str, template: MailTemplate) -> Vec<String> {
    mails_to(api, email, template).await.iter().filter_map(one_time_token).collect()
}

/// The token in the newest mail of a template to `email`.
pub async fn newest_token(api: &TestApi, email: &str, template: MailTemplate) -> String {
    tokens_to(api, email, template).await.pop().unwrap_or_else(|| panic!("no {} was sent", template.name()))
}

fn one_time_token(mail: &MailParameters) -> Option<String> {
    Some(match mail {
        MailParameters::VerifyEmail { link, .. } => token_of(link, "verify-email"),
        MailParameters::ResetPassword { link, .. } => token_of(link, "reset-password"),
        MailParameters::EmailChangeConfirm { link, .. } => token_of(link, "change-email/confirm"),
        MailParameters::EmailChangeNotice { undo_link, .. } => {
            token_of(undo_link.as_deref()?, "change-email/undo")
        }
        MailParameters::PasswordChanged { secure_link, .. }
        | MailParameters::NewDevice { secure_link, .. }
        | MailParameters::TotpEnabled { secure_link, .. }
        | MailParameters::TotpDisabled { secure_link, .. }
        | MailParameters::RecoveryCodeUsed { secure_link, .. }
        | MailParameters::RecoveryCodesChanged { secure_link, .. }
        | MailParameters::SessionStolen { secure_link, .. } => token_of(secure_link, "secure-account"),
        MailParameters::AccountDeletion { restore_link, .. } => token_of(restore_link, "restore-account"),
        MailParameters::AlreadyRegistered { .. }
        | MailParameters::AccountLocked { .. }
        | MailParameters::Invitation { .. }
        | MailParameters::Test { .. } => return None,
    })
}

pub async fn forgot(api: &TestApi, email: &str) {
    let answer = anywhere(api, FORGOT).json(&json!({"email": email})).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
}

/// The token of a mail that was asked for just now, a minute after any other one.
pub async fn reset_token(api: &TestApi, clock: &ManualClock, email: &str) -> String {
    clock.advance(TimeDelta::minutes(1));
    forgot(api, email).await;
    newest_token(api, email, MailTemplate::ResetPassword).await
}

pub async fn reset(api: &TestApi, token: &str, password: &str) -> Response {
    let request = json!({"token": token, "newPassword": password});
    anywhere(api, RESET).json(&request).send().await.unwrap()
}

/// Follows the link of a mail that asks for nothing but its token.
pub async fn follow(api: &TestApi, path: &str, token: &str) -> Response {
    anywhere(api, path).json(&json!({"token": token})).send().await.unwrap()
}

/// A known browser's cookie that `answer` sets.
pub fn device_cookie(answer: &Response) -> Option<String> {
    let cookies = answer.headers().get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap());
    let mut devices = cookies.filter(|cookie| cookie.starts_with("__Host-device="));
    devices.next().map(|cookie| cookie.split(';').next().unwrap().to_owned())
}
