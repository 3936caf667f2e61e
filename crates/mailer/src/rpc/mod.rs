//! `feature_auth.mailer.v1.MailerService`: what became of every mail, and what can be done about it.

mod mailer_service;
mod messages;
mod page_token;
mod request;

pub use mailer_service::MailerRpc;

/// Who may call what.
pub const POLICY: &[(&str, &[&str])] = &[
    ("/feature_auth.mailer.v1.MailerService/GetMessage", &["auth-api", "operator"]),
    ("/feature_auth.mailer.v1.MailerService/ListMessages", &["auth-api", "operator"]),
    ("/feature_auth.mailer.v1.MailerService/Retry", &["auth-api", "operator"]),
    ("/feature_auth.mailer.v1.MailerService/Cancel", &["auth-api", "operator"]),
    ("/feature_auth.mailer.v1.MailerService/ListDeadLetters", &["auth-api", "operator"]),
    ("/feature_auth.mailer.v1.MailerService/Redrive", &["auth-api", "operator"]),
    ("/feature_auth.mailer.v1.MailerService/RenderPreview", &["auth-api", "operator"]),
    ("/feature_auth.mailer.v1.MailerService/SendTest", &["auth-api", "operator"]),
    ("/feature_auth.mailer.v1.MailerService/ProviderStatus", &["auth-api", "operator"]),
];
