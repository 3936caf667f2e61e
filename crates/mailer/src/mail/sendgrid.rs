//! `SendGrid`'s HTTP API, version 3.

use std::{fmt, time::Duration};

use reqwest::{Response, StatusCode, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use super::{
    composer::ComposedMail,
    patience::{NoAnswer, Patience},
};
use crate::domain::settlement::{Outcome, Reply};

/// The longest part of an answer that is read.
const MAX_ANSWER_BYTES: usize = 4096;

/// For the connection with TLS. Without a limit of its own nobody would know whether the mail had been begun when the time of the provider is over.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// How to use `SendGrid`.
#[derive(Debug, Clone)]
pub struct SendGridSettings {
    /// `https://api.sendgrid.com`, or what stands in for it.
    pub base_url: Url,
    /// A key that may send mail.
    pub api_key: SecretString,
}

/// A client of `/v3/mail/send`. Clones share the connections.
#[derive(Clone)]
pub struct SendGrid {
    http: reqwest::Client,
    send: Url,
    scopes: Url,
    api_key: SecretString,
}

impl SendGrid {
    /// Does not connect yet. It follows no redirects, and no downgrade to HTTP.
    pub fn new(settings: SendGridSettings) -> anyhow::Result<Self> {
        let SendGridSettings { base_url, api_key } = settings;
        let http = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_DEADLINE)
            .https_only(base_url.scheme() == "https")
            .build()?;
        Ok(Self {
            http,
            send: base_url.join("/v3/mail/send")?,
            scopes: base_url.join("/v3/scopes")?,
            api_key,
        })
    }

    /// Hands a mail over, once.
    #[tracing::instrument(name = "mail.sendgrid.send", skip_all, fields(otel.kind = "client"))]
    pub async fn send(&self, mail: &ComposedMail, patience: &Patience) -> Outcome {
        let request = self
            .http
            .post(self.send.clone())
            .bearer_auth(self.api_key.expose_secret())
            .json(&body(mail))
            .send();
        // From the first byte on nobody knows whether the request arrived whole.
        match patience.last_answer(request).await {
            Ok(Ok(response)) => outcome_of(response, patience).await,
            Ok(Err(error)) if error.is_connect() || error.is_builder() => {
                Outcome::Unavailable(Reply::new(&told(&error)))
            }
            Ok(Err(error)) => Outcome::Ambiguous(Reply::new(&told(&error))),
            Err(NoAnswer::Stopping | NoAnswer::Silence) => {
                Outcome::Ambiguous(Reply::new("no answer to the mail in time"))
            }
        }
    }

    /// Whether the API can be reached and knows our key.
    pub async fn probe(&self, patience: &Patience) -> Result<(), String> {
        let request = self.http.get(self.scopes.clone()).bearer_auth(self.api_key.expose_secret()).send();
        match patience.answer(request).await {
            Ok(Ok(response)) if response.status().is_success() => Ok(()),
            Ok(Ok(response)) => Err(format!("it answers {}", response.status())),
            Ok(Err(error)) => Err(told(&error)),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> String {
        self.send.origin().ascii_serialization()
    }
}

/// The mail in the words of the API. Links are left as they are: a link that passes through somebody's tracking is a credential in their log.
fn body(mail: &ComposedMail) -> Value {
    let headers: serde_json::Map<String, Value> =
        mail.headers.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let mut body = json!({
        "personalizations": [{ "to": [{ "email": mail.to.as_ref() as &str }] }],
        "from": { "email": mail.from.email.as_ref() as &str, "name": mail.from.name },
        "subject": mail.subject,
        "content": [
            { "type": "text/plain", "value": mail.text },
            { "type": "text/html", "value": mail.html },
        ],
        "headers": headers,
        "tracking_settings": {
            "click_tracking": { "enable": false, "enable_text": false },
            "open_tracking": { "enable": false },
            "subscription_tracking": { "enable": false },
        },
    });
    if let (Some(reply_to), Some(body)) = (&mail.reply_to, body.as_object_mut()) {
        body.insert(
            "reply_to".to_owned(),
            json!({ "email": reply_to.email.as_ref() as &str, "name": reply_to.name }),
        );
    }
    body
}

/// What an answer means: 2xx it has it; 400, 413 and 422 are about the mail; 401, 403 and 429 are about us, 5xx
/// about it.
async fn outcome_of(response: Response, patience: &Patience) -> Outcome {
    let status = response.status();
    let id = response.headers().get("x-message-id").and_then(|id| id.to_str().ok()).map(ToOwned::to_owned);
    if status.is_success() {
        return Outcome::Accepted(Reply::new(&format!("{} {}", status.as_u16(), id.unwrap_or_default())));
    }
    let reply = Reply::new(&format!("{} {}", status.as_u16(), beginning(response, patience).await));
    match status {
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
            Outcome::Refused(reply)
        }
        // What stood between us waited in vain for an answer, as we would.
        StatusCode::GATEWAY_TIMEOUT => Outcome::Ambiguous(reply),
        _ => Outcome::Unavailable(reply),
    }
}

/// The first bytes of an answer, which says what is wrong.
async fn beginning(mut response: Response, patience: &Patience) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < MAX_ANSWER_BYTES {
        match patience.answer(response.chunk()).await {
            Ok(Ok(Some(chunk))) => bytes.extend_from_slice(&chunk),
            _ => break,
        }
    }
    bytes.truncate(MAX_ANSWER_BYTES);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An error with its causes, which say more than it does; the URL has no secret.
fn told(error: &reqwest::Error) -> String {
    use std::error::Error;
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl fmt::Debug for SendGrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendGrid({})", self.address())
    }
}
