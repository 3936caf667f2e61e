use std::time::SystemTime;

use chrono::{DateTime, Utc};
use lettre::{
    Address, Message,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
};

use super::renderer::RenderedMail;

/// Who writes our mails.
#[derive(Debug, Clone)]
pub struct Sender {
    /// The `From` header, and the envelope's sender.
    pub from: Mailbox,
    /// The `Reply-To` header.
    pub reply_to: Option<Mailbox>,
}

/// A mail as it goes over the wire.
#[derive(Clone)]
pub struct ComposedMail {
    /// The envelope's sender.
    pub from: Address,
    /// The envelope's recipient.
    pub to: Address,
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
}

/// Puts a mail together. Only the address of the recipient is in its headers, never a name that somebody chose.
pub fn compose(
    sender: &Sender,
    to: &Address,
    message_id: &str,
    date: DateTime<Utc>,
    mail: RenderedMail,
) -> Result<ComposedMail, ComposeError> {
    if mail.subject.chars().any(char::is_control) {
        return Err(ComposeError::Subject);
    }
    let mut builder = Message::builder()
        .from(sender.from.clone())
        .to(Mailbox::new(None, to.clone()))
        .subject(mail.subject)
        .date(SystemTime::from(date))
        .message_id(Some(message_id.to_owned()))
        // RFC 3834: nobody's out-of-office notice should answer.
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ));
    if let Some(reply_to) = &sender.reply_to {
        builder = builder.reply_to(reply_to.clone());
    }
    let message = builder.multipart(MultiPart::alternative_plain_html(mail.text, mail.html))?;
    Ok(ComposedMail { from: sender.from.email.clone(), to: to.clone(), bytes: message.formatted() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender() -> Sender {
        Sender {
            from: "Grüße & Co <no-reply@auth.example>".parse().unwrap(),
            reply_to: Some("help@auth.example".parse().unwrap()),
        }
    }

    fn composed(subject: &str, text: &str) -> Result<String, ComposeError> {
        let mail = RenderedMail {
            subject: subject.to_owned(),
            text: text.to_owned(),
            html: "<p>Hello</p>".to_owned(),
        };
        let to = "ada@example.test".parse().unwrap();
        let date = DateTime::UNIX_EPOCH;
        compose(&sender(), &to, "<1@auth.example>", date, mail)
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
