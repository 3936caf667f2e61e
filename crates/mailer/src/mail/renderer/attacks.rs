//! What users choose stays what they wrote, and what links carry survives the way through mail.

use lettre::message::Mailbox;
use mail_parser::MessageParser;

use super::{tests::renderer, *};
use crate::{
    mail::composer::{Envelope, Sender, compose},
    mail::samples::sample,
};

/// A mail as its reader's program decodes it from what we hand to the mail server: subject, recipient, text and HTML.
struct Received {
    subject: String,
    to: String,
    text: String,
    html: String,
}

fn received(to: &str, locale: Locale, parameters: &MailParameters) -> Received {
    let mail = renderer().render(locale, parameters).unwrap();
    let from: Mailbox = "Fisch & Söhne <no-reply@auth.example>".parse().unwrap();
    let sender = Sender { from, reply_to: None, list_unsubscribe: None, dkim: None };
    let to = to.parse().unwrap();
    let envelope =
        Envelope { to: &to, message_id: "<1@auth.example>", lane: auth_events::commands::Lane::Security };
    let bytes = compose(&sender, envelope, chrono::DateTime::UNIX_EPOCH, mail).unwrap().bytes;
    assert!(bytes.is_ascii() && bytes.split(|byte| *byte == b'\n').all(|line| line.len() <= 77));
    let message = MessageParser::default().parse(&bytes).unwrap();
    let part = |part: Option<std::borrow::Cow<str>>| part.unwrap().replace("\r\n", "\n");
    Received {
        subject: message.subject().unwrap().to_owned(),
        to: message.to().unwrap().first().unwrap().address().unwrap().to_owned(),
        text: part(message.body_text(0)),
        html: part(message.body_html(0)),
    }
}

#[test]
fn eml_02_what_users_choose_is_literal_in_every_mail() {
    let payloads = [
        "{{7*7}}",
        "{{ link }}",
        "${7*7}",
        "<%= 7*7 %>",
        "{% raw %}",
        "{% include \"layout\" %}",
        "{# 7*7 #}",
        "[% include 'x' %]",
        "[[ 7*7 ]]",
        "#{7*7}",
        "{{ self }}",
        "%00 %s {0} $x `id`",
    ];
    for payload in payloads {
        for template in MailTemplate::ALL {
            let mut parameters = sample(*template);
            parameters.set_display_name(payload.to_owned());
            if let Some(occasion) = parameters.occasion_mut() {
                occasion.device = Some(payload.to_owned());
            }
            let greets = parameters.display_name().is_some();
            let names_device = parameters.occasion_mut().is_some();
            for locale in Locale::ALL {
                let mail = received("ada@example.test", *locale, &parameters);
                let greeting = match locale {
                    Locale::En => format!("Hello {payload},\n"),
                    Locale::De => format!("Guten Tag {payload},\n"),
                };
                assert_eq!(mail.text.contains(&greeting), greets, "{}", mail.text);
                let escaped = payload
                    .replace('<', "&lt;")
                    .replace('>', "&gt;")
                    .replace('"', "&quot;")
                    .replace('\'', "&#39;");
                let times = usize::from(greets) + usize::from(names_device);
                assert_eq!(mail.text.matches(payload).count(), times, "{payload} in {}", mail.text);
                assert_eq!(mail.html.matches(&escaped).count(), times, "{payload} in {}", mail.html);
                assert!(!mail.subject.contains(payload));
            }
        }
    }
}

#[test]
fn eml_02_addresses_are_literal() {
    for (to, masked) in [("{{7*7}}@example.test", "•••@e•••.test"), ("${x}@example.test", "•••@e•••.test")]
    {
        let parameters = MailParameters::EmailChangeNotice {
            display_name: None,
            new_email_masked: to.to_owned(),
            undo_link: None,
            completed: true,
        };
        let mail = received(to, Locale::En, &parameters);
        assert_eq!(mail.to, to);
        for part in [&mail.text, &mail.html] {
            assert!(part.contains(masked) && !part.contains("49") && !part.contains("{{"), "{part}");
        }
    }
}

#[test]
fn eml_05_a_thousand_tokens_survive_the_way_through_mail() {
    use base64::prelude::*;
    let mut rng = clock::secure_rng();
    for number in 0..1000_usize {
        let bytes: [u8; 64] = clock::random_bytes(&mut rng);
        let token = BASE64_URL_SAFE_NO_PAD.encode(&bytes[..24 + number % 41]);
        // `=3D` and `&amp` would be changed by a program that decodes once too often.
        let link = format!("https://auth.example/verify?a=3D&amp=1&token={token}=#token=fat_{token}");
        let parameters = MailParameters::VerifyEmail {
            display_name: Some("Zoë".to_owned()),
            link: link.clone(),
            expires_in_hours: 24,
        };
        let locale = if number % 2 == 0 { Locale::En } else { Locale::De };
        let mail = received("ada@example.test", locale, &parameters);
        assert!(mail.text.lines().any(|line| line == link), "{link} in {}", mail.text);
        let hrefs: Vec<String> = mail
            .html
            .split("href=\"https")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .map(|rest| format!("https{}", rest.replace("&amp;", "&")))
            .collect();
        assert_eq!(hrefs, [link.as_str(), &link]);
    }
}
