//! Mail commands, sealed to the mailer: neither outbox nor broker nor a dump of them holds a link that works.

use auth_events::{
    Envelope,
    commands::{Lane, MailParameters, MailSend},
};
use base64::prelude::*;
use chrono::{DateTime, Utc};
use zeroize::Zeroizing;

use crate::{
    domain::{email_address::EmailAddress, user::User},
    state::{AppState, SOURCE},
};

/// The command that sends `parameters` to the address of `user`, worth nothing after `expires_at`.
pub fn command(
    state: &AppState,
    user: &User,
    parameters: &MailParameters,
    lane: Lane,
    expires_at: DateTime<Utc>,
) -> Result<Envelope<MailSend>, serde_json::Error> {
    command_to(state, user, &user.email, parameters, lane, expires_at)
}

/// [`command`], for an address that is not the user's, or not yet.
pub fn command_to(
    state: &AppState,
    user: &User,
    to: &EmailAddress,
    parameters: &MailParameters,
    lane: Lane,
    expires_at: DateTime<Utc>,
) -> Result<Envelope<MailSend>, serde_json::Error> {
    let rng = &mut clock::secure_rng();
    let template = parameters.template();
    let event_id = auth_ids::generate(&*state.clock, rng);
    let plain = Zeroizing::new(serde_json::to_vec(parameters)?);
    let sealed = state.mailer_key.seal(&plain, &MailSend::binding(event_id, template), rng);
    let mail = MailSend {
        template,
        locale: user.locale,
        to: to.as_str().to_owned(),
        lane,
        expires_at,
        // A link takes the place of the one before. A notice takes no other's: each tells of something that happened, some with a link of their own.
        supersedes: (lane == Lane::Security).then(|| format!("{}/{}", template.name(), user.id)),
        sealed: BASE64_STANDARD.encode(sealed),
    };
    state.metrics.email_enqueued.with_label_values(&[template.name()]).inc();
    Ok(Envelope::mail_command(event_id, SOURCE, Some(user.id), mail, &*state.clock))
}
