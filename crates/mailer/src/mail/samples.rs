//! Parameters that look like real ones and open nothing: for previews, and for proving templates before a mail is due.

use auth_events::commands::{MailParameters, MailTemplate, Occasion};
use chrono::{DateTime, TimeDelta, Utc};

/// A mail as it may turn out.
#[derive(Clone)]
pub struct Sample {
    /// What is special about it; empty for the usual case.
    pub case: &'static str,
    /// What it is filled with.
    pub parameters: MailParameters,
}

/// The parameters of a mail as they usually are.
#[must_use]
pub fn sample(template: MailTemplate) -> MailParameters {
    let display_name = Some("Ada Lovelace".to_owned());
    let secure_link = link("secure-account");
    let occasion = Occasion {
        occurred_at: moment(),
        ip: Some("203.0.113.7".to_owned()),
        device: Some("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0".to_owned()),
    };
    match template {
        MailTemplate::VerifyEmail => {
            MailParameters::VerifyEmail { display_name, link: link("verify-email"), expires_in_hours: 24 }
        }
        MailTemplate::AlreadyRegistered => MailParameters::AlreadyRegistered {
            display_name,
            login_link: "https://auth.example.com/login".to_owned(),
            reset_link: "https://auth.example.com/forgot-password".to_owned(),
        },
        MailTemplate::ResetPassword => MailParameters::ResetPassword {
            display_name,
            link: link("reset-password"),
            expires_in_minutes: 30,
        },
        MailTemplate::PasswordChanged => {
            MailParameters::PasswordChanged { display_name, secure_link, occasion }
        }
        MailTemplate::EmailChangeConfirm => MailParameters::EmailChangeConfirm {
            display_name,
            link: link("change-email/confirm"),
            expires_in_minutes: 60,
        },
        MailTemplate::EmailChangeNotice => MailParameters::EmailChangeNotice {
            display_name,
            new_email_masked: "a•••@e•••.com".to_owned(),
            undo_link: Some(link("change-email/undo")),
            completed: true,
        },
        MailTemplate::NewDevice => MailParameters::NewDevice { display_name, secure_link, occasion },
        MailTemplate::TotpEnabled => MailParameters::TotpEnabled { display_name, secure_link, occasion },
        MailTemplate::TotpDisabled => MailParameters::TotpDisabled { display_name, secure_link, occasion },
        MailTemplate::RecoveryCodeUsed => {
            MailParameters::RecoveryCodeUsed { display_name, secure_link, occasion, remaining: 7 }
        }
        MailTemplate::RecoveryCodesChanged => {
            MailParameters::RecoveryCodesChanged { display_name, secure_link, occasion, remaining: 10 }
        }
        MailTemplate::SessionStolen => MailParameters::SessionStolen { display_name, secure_link, occasion },
        MailTemplate::AccountLocked => MailParameters::AccountLocked {
            display_name,
            reset_link: "https://auth.example.com/forgot-password".to_owned(),
            occurred_at: moment(),
        },
        MailTemplate::AccountDeletion => MailParameters::AccountDeletion {
            display_name,
            restore_link: link("restore-account"),
            deletes_at: moment() + TimeDelta::days(14),
        },
        MailTemplate::Invitation => {
            MailParameters::Invitation { display_name, link: link("accept-invitation"), expires_in_days: 7 }
        }
        MailTemplate::Test => MailParameters::Test { requested_at: moment() },
    }
}

/// The usual case of a mail, and those that its words differ in.
#[must_use]
pub fn cases(template: MailTemplate) -> Vec<Sample> {
    let usual = sample(template);
    let mut cases = vec![Sample { case: "", parameters: usual.clone() }];
    let mut add = |case, parameters| cases.push(Sample { case, parameters });
    match usual {
        MailParameters::VerifyEmail { link, .. } => {
            add("no name", MailParameters::VerifyEmail { display_name: None, link, expires_in_hours: 1 });
        }
        MailParameters::NewDevice { secure_link, occasion, .. } => {
            let occasion = Occasion { ip: None, device: None, ..occasion };
            add("little known", MailParameters::NewDevice { display_name: None, secure_link, occasion });
        }
        MailParameters::EmailChangeNotice { display_name, new_email_masked, .. } => {
            let notice = |completed| MailParameters::EmailChangeNotice {
                display_name: display_name.clone(),
                new_email_masked: new_email_masked.clone(),
                undo_link: None,
                completed,
            };
            add("asked for", notice(false));
            add("no way back", notice(true));
        }
        MailParameters::RecoveryCodeUsed { display_name, secure_link, occasion, .. } => {
            let left = |remaining| MailParameters::RecoveryCodeUsed {
                display_name: display_name.clone(),
                secure_link: secure_link.clone(),
                occasion: occasion.clone(),
                remaining,
            };
            add("one left", left(1));
            add("none left", left(0));
        }
        MailParameters::RecoveryCodesChanged { display_name, secure_link, occasion, .. } => {
            let gone =
                MailParameters::RecoveryCodesChanged { display_name, secure_link, occasion, remaining: 0 };
            add("none left", gone);
        }
        MailParameters::Invitation { link, .. } => {
            add("no name", MailParameters::Invitation { display_name: None, link, expires_in_days: 1 });
        }
        _ => {}
    }
    cases
}

/// As long as a real link, whose token nobody issued.
fn link(page: &str) -> String {
    format!("https://auth.example.com/{page}#token=fat_SAMPLE-not-a-token_0123456789abcdefABCDEF")
}

fn moment() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_780) + TimeDelta::minutes(14 * 60 + 5)
}
