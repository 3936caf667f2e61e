use chrono::{DateTime, Utc};
use mail_parser::{Message, MessageParser, PartType};
use uuid::Uuid;

use super::{StoredMail, links::links};

/// What the client said before the message.
#[derive(Debug, Default, Clone)]
pub(super) struct Envelope {
    pub from: String,
    pub to: Vec<String>,
}

/// Reads a message as it came over the wire. What cannot be read as a message is kept as its text.
pub(super) fn read(envelope: Envelope, source: &[u8], received_at: DateTime<Utc>) -> StoredMail {
    let Some(message) = MessageParser::default().parse(source) else {
        let text = String::from_utf8_lossy(source).into_owned();
        return stored(envelope, received_at, None, text, String::new());
    };
    let (text, html) = (text_part(&message), html_part(&message));
    stored(envelope, received_at, Some(&message), text, html)
}

fn stored(
    envelope: Envelope,
    received_at: DateTime<Utc>,
    message: Option<&Message<'_>>,
    text: String,
    html: String,
) -> StoredMail {
    let from = message.and_then(|message| message.from()?.first()?.address());
    StoredMail {
        id: Uuid::now_v7(),
        from: from.map_or(envelope.from, ToOwned::to_owned),
        to: envelope.to,
        subject: message.and_then(|message| message.subject()).unwrap_or_default().to_owned(),
        links: links(&text, &html),
        text,
        html,
        message_id: message.and_then(|message| message.message_id()).map(ToOwned::to_owned),
        received_at,
    }
}

/// Only a part that was sent as text: the parser would otherwise convert the other one. Lines end as in memory, not as on the wire.
fn text_part(message: &Message<'_>) -> String {
    let parts = message.text_bodies().filter_map(|part| match &part.body {
        PartType::Text(text) => Some(text.as_ref()),
        _ => None,
    });
    parts.collect::<Vec<_>>().join("\n").replace("\r\n", "\n")
}

fn html_part(message: &Message<'_>) -> String {
    let parts = message.html_bodies().filter_map(|part| match &part.body {
        PartType::Html(html) => Some(html.as_ref()),
        _ => None,
    });
    parts.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MULTIPART: &str = "From: =?utf-8?q?Feature_=C3=84uth?= <no-reply@example.com>\r\n\
        To: user@example.com\r\nSubject: =?utf-8?b?QmVzdMOkdGlnZW4=?=\r\nMessage-ID: <1@example.com>\r\n\
        MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n\
        --b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
        Gr=C3=BC=C3=9Fe https://app.example/verify?token=3Dx\r\n\
        --b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<a href=\"https://app.example/verify?token=x\">x</a>\r\n\
        --b--\r\n";

    #[test]
    fn both_parts_are_decoded() {
        let envelope = Envelope { from: "bounce@example.com".into(), to: vec!["user@example.com".into()] };
        let mail = read(envelope, MULTIPART.as_bytes(), DateTime::UNIX_EPOCH);
        assert_eq!(mail.from, "no-reply@example.com");
        assert_eq!(mail.subject, "Bestätigen");
        assert!(mail.text.starts_with("Grüße https://app.example/verify?token=x"), "{}", mail.text);
        assert!(mail.html.starts_with("<a href"), "{}", mail.html);
        assert_eq!(mail.links, ["https://app.example/verify?token=x"]);
        assert_eq!(mail.message_id.as_deref(), Some("1@example.com"));
    }

    #[test]
    fn a_single_part_does_not_appear_as_the_other() {
        let text = read(Envelope::default(), b"Subject: s\r\n\r\nonly text\r\n", DateTime::UNIX_EPOCH);
        assert_eq!((text.text.trim_end(), text.html.as_str()), ("only text", ""));
        let html = b"Content-Type: text/html\r\n\r\n<p>only html</p>\r\n";
        let html = read(Envelope::default(), html, DateTime::UNIX_EPOCH);
        assert_eq!((html.text.as_str(), html.html.trim_end()), ("", "<p>only html</p>"));
    }
}
