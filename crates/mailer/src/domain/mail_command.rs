use std::{fmt, ops::RangeInclusive, str::FromStr};

use auth_events::{
    Envelope, RawEnvelope,
    commands::{Lane, Locale, MAIL_SEND, MailParameters, MailSend, MailTemplate},
};
use auth_ids::{EventId, UserId};
use base64::prelude::*;
use chrono::{DateTime, Datelike, Utc};
use lettre::Address;
use sealing::MailboxPrivateKey;
use url::Url;

/// A mail to send, understood, unsealed and checked.
#[derive(Clone)]
pub struct MailCommand {
    /// The command's event id; whatever happens to it, one mail.
    pub id: EventId,
    /// Whom it is about.
    pub user_id: Option<UserId>,
    /// When it was asked for.
    pub requested_at: DateTime<Utc>,
    /// In which language.
    pub locale: Locale,
    /// How urgent it is.
    pub lane: Lane,
    /// The recipient.
    pub to: Address,
    /// After this it is not sent.
    pub expires_at: DateTime<Utc>,
    /// Mails of this kind that were requested before are obsolete.
    pub supersedes: Option<String>,
    /// What to say.
    pub parameters: MailParameters,
    /// The command as it came, with its seal, for another try.
    pub envelope: Vec<u8>,
}

/// The longest command that is read. Ours have a few kilobytes.
const MAX_BYTES: usize = 256 * 1024;

/// The longest key of a kind that is kept.
const MAX_KIND_CHARS: usize = 200;

/// Other years are mistakes, and some of them no database can write down.
const YEARS: RangeInclusive<i32> = 1970..=9999;

/// Why a message on the queue is no mail that we can send, now or ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It says that it is something else.
    #[error("wrong content type")]
    WrongContentType,
    /// It is longer than any command.
    #[error("too large")]
    TooLarge,
    /// It is not an envelope.
    #[error("not an envelope")]
    NotAnEnvelope,
    /// It is not a mail command.
    #[error("unknown type")]
    UnknownType,
    /// It is of a version that this release does not know.
    #[error("unknown version")]
    UnknownVersion,
    /// Its data is not that of a mail command.
    #[error("malformed data")]
    MalformedData,
    /// The recipient is not an address that we send to.
    #[error("the recipient is not an address")]
    BadRecipient,
    /// The parameters are sealed to another key, for another command, or were changed.
    #[error("the seal cannot be opened")]
    Unsealable,
    /// The parameters are not those of the template.
    #[error("the parameters do not fit the template")]
    BadParameters,
}

impl Refusal {
    /// The stable code, for metrics and for the dead letter.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::WrongContentType => "wrong_content_type",
            Self::TooLarge => "too_large",
            Self::NotAnEnvelope => "not_an_envelope",
            Self::UnknownType => "unknown_type",
            Self::UnknownVersion => "unknown_version",
            Self::MalformedData => "malformed_data",
            Self::BadRecipient => "bad_recipient",
            Self::Unsealable => "unsealable",
            Self::BadParameters => "bad_parameters",
        }
    }
}

impl MailCommand {
    /// Understands the body of a message and opens its seal with `key`.
    pub fn open(payload: &[u8], key: &MailboxPrivateKey) -> Result<Self, Refusal> {
        if payload.len() > MAX_BYTES {
            return Err(Refusal::TooLarge);
        }
        let envelope: RawEnvelope = serde_json::from_slice(payload).map_err(|_| Refusal::NotAnEnvelope)?;
        if envelope.specversion != "1.0" {
            return Err(Refusal::NotAnEnvelope);
        }
        if envelope.r#type != MAIL_SEND {
            return Err(Refusal::UnknownType);
        }
        if envelope.version == 0 || envelope.version.abs_diff(MailSend::VERSION) > 1 {
            return Err(Refusal::UnknownVersion);
        }
        let command = Self::from_envelope(envelope, key)?;
        Ok(Self { envelope: payload.to_vec(), ..command })
    }

    /// What it says, without what it is filled with.
    #[must_use]
    pub fn template(&self) -> MailTemplate {
        self.parameters.template()
    }

    fn from_envelope(envelope: RawEnvelope, key: &MailboxPrivateKey) -> Result<Self, Refusal> {
        let Envelope { id, subject, time, data, .. } = envelope;
        let mail: MailSend = serde_json::from_value(data).map_err(|_| Refusal::MalformedData)?;
        let is_kind = |key: &String| key.chars().count() <= MAX_KIND_CHARS && !key.contains(char::is_control);
        let is_time = |time: DateTime<Utc>| YEARS.contains(&time.year());
        if !mail.supersedes.as_ref().is_none_or(is_kind) || !is_time(time) || !is_time(mail.expires_at) {
            return Err(Refusal::MalformedData);
        }
        let to = recipient(&mail.to)?;
        let sealed = BASE64_STANDARD.decode(&mail.sealed).map_err(|_| Refusal::MalformedData)?;
        let opened =
            key.open(&sealed, &MailSend::binding(id, mail.template)).map_err(|_| Refusal::Unsealable)?;
        let parameters: MailParameters =
            serde_json::from_slice(&opened).map_err(|_| Refusal::BadParameters)?;
        if parameters.template() != mail.template || !parameters.links().into_iter().all(is_web_link) {
            return Err(Refusal::BadParameters);
        }
        Ok(Self {
            id,
            user_id: subject,
            requested_at: time,
            locale: mail.locale,
            lane: mail.lane,
            to,
            expires_at: mail.expires_at,
            supersedes: mail.supersedes,
            parameters,
            envelope: Vec::new(),
        })
    }
}

/// The recipient that `text` names. Addresses carry A-labels and ASCII local parts since registration; a mail server need not understand anything else.
pub fn recipient(text: &str) -> Result<Address, Refusal> {
    let plain = text.is_ascii() && !text.bytes().any(|byte| byte.is_ascii_control() || byte == b' ');
    let address = Address::from_str(text).map_err(|_| Refusal::BadRecipient)?;
    if plain { Ok(address) } else { Err(Refusal::BadRecipient) }
}

/// A link is shown as it is, so it has to be what it will be taken for: no script, no white space, no control characters.
fn is_web_link(link: &str) -> bool {
    let visible = link.chars().all(|c| !c.is_control() && !c.is_whitespace());
    visible && Url::parse(link).is_ok_and(|url| matches!(url.scheme(), "https" | "http") && url.has_host())
}

impl fmt::Debug for MailCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MailCommand({}, {})", self.id, self.template().name())
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use clock::SystemClock;
    use sealing::MailboxPublicKey;
    use serde_json::{Value, json};

    use super::*;

    struct Keys {
        private: MailboxPrivateKey,
        public: MailboxPublicKey,
    }

    fn keys() -> Keys {
        let (private, public) = MailboxPrivateKey::generate(&mut clock::secure_rng());
        Keys {
            private: MailboxPrivateKey::parse(&private).unwrap(),
            public: MailboxPublicKey::parse(&public).unwrap(),
        }
    }

    fn envelope(keys: &Keys, to: &str, link: &str) -> Value {
        let id = auth_ids::generate(&SystemClock, &mut clock::secure_rng());
        let parameters = MailParameters::VerifyEmail {
            display_name: Some("Ada".to_owned()),
            link: link.to_owned(),
            expires_in_hours: 24,
        };
        let plaintext = serde_json::to_vec(&parameters).unwrap();
        let binding = MailSend::binding(id, MailTemplate::VerifyEmail);
        let sealed = keys.public.seal(&plaintext, &binding, &mut clock::secure_rng());
        let mail = MailSend {
            template: MailTemplate::VerifyEmail,
            locale: Locale::De,
            to: to.to_owned(),
            lane: Lane::Security,
            expires_at: DateTime::UNIX_EPOCH + TimeDelta::days(1),
            supersedes: None,
            sealed: BASE64_STANDARD.encode(sealed),
        };
        let envelope = Envelope::mail_command(id, "auth-api", None, mail, &SystemClock);
        serde_json::to_value(envelope).unwrap()
    }

    fn open(keys: &Keys, envelope: &Value) -> Result<MailCommand, Refusal> {
        MailCommand::open(envelope.to_string().as_bytes(), &keys.private)
    }

    #[test]
    fn a_command_is_opened_and_the_next_version_is_understood() {
        let keys = keys();
        let mut envelope = envelope(&keys, "ada@example.test", "https://auth.example/verify#token=fat_x");
        envelope["data"]["fieldOfALaterVersion"] = json!(1);
        envelope["version"] = json!(2);
        let command = open(&keys, &envelope).unwrap();
        assert_eq!((command.to.as_ref(), command.template().name()), ("ada@example.test", "verify_email"));
        assert!(!format!("{command:?}").contains("ada"));
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        let keys = keys();
        let good = || envelope(&keys, "ada@example.test", "https://auth.example/verify");
        let changed = |path: &str, value: Value| {
            let mut envelope = good();
            *envelope.pointer_mut(path).unwrap() = value;
            open(&keys, &envelope).unwrap_err()
        };
        let other = good();
        assert_eq!(MailCommand::open(b"{", &keys.private).unwrap_err(), Refusal::NotAnEnvelope);
        assert_eq!(changed("/specversion", json!("0.3")), Refusal::NotAnEnvelope);
        assert_eq!(changed("/id", json!("x")), Refusal::NotAnEnvelope);
        assert_eq!(changed("/type", json!("mail.recall")), Refusal::UnknownType);
        assert_eq!(changed("/version", json!(0)), Refusal::UnknownVersion);
        assert_eq!(changed("/version", json!(3)), Refusal::UnknownVersion);
        assert_eq!(changed("/data", json!([])), Refusal::MalformedData);
        assert_eq!(changed("/data/template", json!("other")), Refusal::MalformedData);
        assert_eq!(changed("/data/sealed", json!("%")), Refusal::MalformedData);
        for key in ["reset\0", "reset\n", &"k".repeat(MAX_KIND_CHARS + 1)] {
            let mut envelope = good();
            envelope["data"]["supersedes"] = json!(key);
            assert_eq!(open(&keys, &envelope).unwrap_err(), Refusal::MalformedData, "{key:?}");
        }
        for (path, time) in
            [("/time", "-0300-01-01T00:00:00Z"), ("/data/expiresAt", "+200000-01-01T00:00:00Z")]
        {
            assert_eq!(changed(path, json!(time)), Refusal::MalformedData, "{time}");
        }
        assert_eq!(changed("/data/template", json!("already_registered")), Refusal::Unsealable);
        assert_eq!(changed("/data/sealed", other["data"]["sealed"].clone()), Refusal::Unsealable);
        assert_eq!(changed("/id", other["id"].clone()), Refusal::Unsealable);
        for to in
            ["", "ada", "ada@example.test\r\nBcc: eve@example.test", "a b@example.test", "ada@bücher.example"]
        {
            assert_eq!(changed("/data/to", json!(to)), Refusal::BadRecipient, "{to:?}");
        }
    }

    #[test]
    fn no_link_of_any_template_escapes_the_check() {
        let link = "https://auth.example/x";
        let occasion = json!({"occurredAt": "2026-11-23T14:05:59Z", "ip": null, "device": null});
        for template in MailTemplate::ALL {
            let parameters = json!({
                "template": template, "displayName": null, "link": link, "loginLink": link, "resetLink": link,
                "secureLink": link, "undoLink": link, "restoreLink": link, "expiresInHours": 24,
                "expiresInMinutes": 30, "newEmailMasked": "a•••@e•••.example", "completed": true,
                "occasion": occasion, "occurredAt": "2026-11-23T14:05:59Z",
                "deletesAt": "2026-11-23T14:05:59Z", "remaining": 7, "expiresInDays": 7,
                "requestedAt": "2026-11-23T14:05:59Z",
            });
            let parameters: MailParameters = serde_json::from_value(parameters).unwrap();
            let written = serde_json::to_string(&parameters).unwrap();
            assert_eq!(parameters.template(), *template);
            assert_eq!(parameters.links().len(), written.matches(link).count(), "{}", template.name());
            assert!(!format!("{parameters:?}").contains("auth.example"));
        }
    }

    #[test]
    fn eml_04_a_link_is_a_whole_address_on_the_web() {
        let keys = keys();
        for link in [
            "javascript:alert(1)",
            "/relative",
            "https://",
            "https://a.example/\r\nx",
            "https://a.example/ b",
            "ftp://a.example",
        ] {
            let refusal = open(&keys, &envelope(&keys, "ada@example.test", link)).unwrap_err();
            assert_eq!(refusal, Refusal::BadParameters, "{link:?}");
        }
    }
}
