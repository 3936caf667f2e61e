/// Who takes mails, in the order in which they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProviderName {
    /// The mail server of `SMTP_URL`.
    Smtp,
    /// The mail server of `SMTP_FALLBACK_URL`.
    SmtpFallback,
    /// `SendGrid`'s HTTP API.
    SendGrid,
}

impl ProviderName {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Smtp, Self::SmtpFallback, Self::SendGrid];

    /// The name in the database, in metrics and in answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::SmtpFallback => "smtp_fallback",
            Self::SendGrid => "sendgrid",
        }
    }
}
