use std::time::SystemTime;

use auth_events::commands::Lane;
use chrono::{DateTime, Utc};
use lettre::{
    Address, Message,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
};

use super::{
    dkim::{Dkim, DkimError},
    renderer::RenderedMail,
};

/// Who writes our mails.
#[derive(Debug, Clone)]
pub struct Sender {
    /// The `From` header, and the envelope's sender.
    pub from: Mailbox,
    /// The `Reply-To` header.
    pub reply_to: Option<Mailbox>,
    /// Where one says that one wants no more of the mails that are not about one's account: a web page or a mail address, as a URL.
    pub list_unsubscribe: Option<String>,
    /// Signs what goes to a mail server; who puts mails together itself signs them itself.
    pub dkim: Option<Dkim>,
}

/// What is the same in a mail at every attempt, besides its words.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// The recipient.
    pub to: &'a Address,
    /// The `Message-ID` header.
    pub message_id: &'a str,
    /// Mails to many, which one may want no more of, are the only ones that say how.
    pub lane: Lane,
}

/// A mail as it goes over the wire, and its parts for those who put it together themselves.
#[derive(Clone)]
pub struct ComposedMail {
    /// The `From` header, and the envelope's sender.
    pub from: Mailbox,
    /// The `Reply-To` header.
    pub reply_to: Option<Mailbox>,
    /// The envelope's recipient.
    pub to: Address,
    /// The subject.
    pub subject: String,
    /// The part for every mail program.
    pub text: String,
    /// The part for most.
    pub html: String,
    /// The headers that are neither addresses nor about the mail's form.
    pub headers: Vec<(&'static str, String)>,
    /// Headers and body.
    pub bytes: Vec<u8>,
}

/// Why a mail cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// The subject would bring headers of its own.
    #[error("the subject contains control characters")]
    Subject,
    /// The mail library refused.
    #[error("the message cannot be built")]
    Build(#[from] lettre::error::Error),
    /// It cannot be signed.
    #[error("the message cannot be signed")]
    Sign(#[from] DkimError),
}

/// Puts a mail together. Only the address of the recipient is in its headers, never a name that somebody chose.
pub fn compose(
    sender: &Sender,
    envelope: Envelope<'_>,
    date: DateTime<Utc>,
    mail: RenderedMail,
) -> Result<ComposedMail, ComposeError> {
    let Envelope { to, message_id, lane } = envelope;
    if mail.subject.chars().any(char::is_control) {
        return Err(ComposeError::Subject);
    }
    // RFC 3834: nobody's out-of-office notice should answer.
    let mut headers =
        vec![("Message-ID", message_id.to_owned()), ("Auto-Submitted", "auto-generated".to_owned())];
    if let Some(url) = sender.list_unsubscribe.as_ref().filter(|_| lane == Lane::Bulk) {
        headers.push(("List-Unsubscribe", format!("<{url}>")));
    }
    let mut builder = Message::builder()
        .from(sender.from.clone())
        .to(Mailbox::new(None, to.clone()))
        .subject(mail.subject.clone())
        .date(SystemTime::from(date));
    for (name, value) in &headers {
        builder = builder.raw_header(HeaderValue::new(HeaderName::new_from_ascii_str(name), value.clone()));
    }
    if let Some(reply_to) = &sender.reply_to {
        builder = builder.reply_to(reply_to.clone());
    }
    let message =
        builder.multipart(MultiPart::alternative_plain_html(mail.text.clone(), mail.html.clone()))?;
    let bytes = message.formatted();
    let bytes = match &sender.dkim {
        Some(dkim) => dkim.sign(&bytes, date)?,
        None => bytes,
    };
    Ok(ComposedMail {
        from: sender.from.clone(),
        reply_to: sender.reply_to.clone(),
        to: to.clone(),
        subject: mail.subject,
        text: mail.text,
        html: mail.html,
        headers,
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender() -> Sender {
        Sender {
            from: "Grüße & Co <no-reply@auth.example>".parse().unwrap(),
            reply_to: Some("help@auth.example".parse().unwrap()),
            list_unsubscribe: Some("https://auth.example/mail-settings".to_owned()),
            dkim: None,
        }
    }

    fn composed(subject: &str, text: &str) -> Result<String, ComposeError> {
        composed_for(Lane::Security, subject, text)
    }

    fn composed_for(lane: Lane, subject: &str, text: &str) -> Result<String, ComposeError> {
        let mail = RenderedMail {
            subject: subject.to_owned(),
            text: text.to_owned(),
            html: "<p>Hello</p>".to_owned(),
        };
        let to = "ada@example.test".parse().unwrap();
        let envelope = Envelope { to: &to, message_id: "<1@auth.example>", lane };
        compose(&sender(), envelope, DateTime::UNIX_EPOCH, mail)
            .map(|mail| String::from_utf8(mail.bytes).unwrap())
    }

    #[test]
    fn the_headers_are_what_a_mail_system_expects() {
        let mail = composed("Bestätigen", "Hello").unwrap();
        let (headers, _) = mail.split_once("\r\n\r\n").unwrap();
        let mut lines: Vec<&str> = headers.lines().filter(|line| !line.contains("boundary")).collect();
        lines.sort_unstable();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        Auto-Submitted: auto-generated
        Content-Type: multipart/alternative;
        Date: Thu, 01 Jan 1970 00:00:00 +0000
        From: =?utf-8?b?R3LDvMOfZSAmIENv?= <no-reply@auth.example>
        MIME-Version: 1.0
        Message-ID: <1@auth.example>
        Reply-To: help@auth.example
        Subject: =?utf-8?b?QmVzdMOkdGlnZW4=?=
        To: ada@example.test
        "#);
    }

    #[test]
    fn only_mails_to_many_say_how_to_get_no_more_of_them() {
        let header = "List-Unsubscribe: <https://auth.example/mail-settings>\r\n";
        assert!(composed_for(Lane::Bulk, "Hello", "x").unwrap().contains(header));
        for lane in [Lane::Security, Lane::Notice] {
            assert!(!composed_for(lane, "Hello", "x").unwrap().contains("List-Unsubscribe"));
        }
    }

    #[test]
    fn a_subject_cannot_bring_headers() {
        assert!(matches!(composed("Hello\r\nBcc: eve@example.test", "x"), Err(ComposeError::Subject)));
    }

    #[test]
    fn a_long_link_survives_the_line_length_limits_of_mail() {
        let link = format!("https://auth.example/verify-email#token={}", "x".repeat(1200));
        let mail = composed("Hello", &format!("{link}\n\nwith ümlauts\n")).unwrap();
        assert!(mail.lines().all(|line| line.len() <= 76), "{mail}");
        assert!(mail.is_ascii());
    }
}
