//! `feature_auth.mailer.v1.MailerService`: what became of every mail.

mod mailer_service;
mod page_token;
mod request;

pub use mailer_service::MailerRpc;

/// Who may call what.
pub const POLICY: &[(&str, &[&str])] = &[
    ("/feature_auth.mailer.v1.MailerService/GetMessage", &["auth-api", "operator"]),
    ("/feature_auth.mailer.v1.MailerService/ListMessages", &["auth-api", "operator"]),
];
