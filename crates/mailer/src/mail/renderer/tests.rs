use std::collections::BTreeSet;

use auth_events::commands::MailTemplate;

use super::*;

const LINK: &str = "https://auth.example/page#token=fat_AbC-_123&x=\"y\"";

pub(super) fn renderer() -> Renderer {
    // Compiled once: it is what takes the time.
    static RENDERER: std::sync::OnceLock<Renderer> = std::sync::OnceLock::new();
    RENDERER.get_or_init(compiled).clone()
}

fn compiled() -> Renderer {
    let support_email = Some("help@auth.example".to_owned());
    Renderer::new(Brand { support_email, ..Brand::named("Fisch & Söhne") }).unwrap()
}

pub(super) fn verify(name: Option<&str>) -> MailParameters {
    MailParameters::VerifyEmail {
        display_name: name.map(ToOwned::to_owned),
        link: "https://auth.example/verify-email#token=fat_AbC-_123&x=\"y\"".to_owned(),
        expires_in_hours: 24,
    }
}

fn new_device(device: &str) -> MailParameters {
    let occurred_at = "2026-11-23T14:05:59Z".parse().unwrap();
    let (ip, device) = (Some("2001:db8::7".to_owned()), Some(device.to_owned()));
    let occasion = Occasion { occurred_at, ip, device };
    MailParameters::NewDevice { display_name: None, secure_link: LINK.to_owned(), occasion }
}

/// The parameters of a mail as they usually are.
pub(super) fn sample(template: MailTemplate) -> MailParameters {
    let display_name = Some("Ada".to_owned());
    let link = LINK.to_owned();
    let secure_link = LINK.to_owned();
    let occurred_at = "2026-11-23T14:05:59Z".parse().unwrap();
    let occasion = Occasion {
        occurred_at,
        ip: Some("203.0.113.7".to_owned()),
        device: Some("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0".to_owned()),
    };
    match template {
        MailTemplate::VerifyEmail => verify(Some("Ada")),
        MailTemplate::AlreadyRegistered => MailParameters::AlreadyRegistered {
            display_name,
            login_link: "https://auth.example/login".to_owned(),
            reset_link: "https://auth.example/forgot-password".to_owned(),
        },
        MailTemplate::ResetPassword => {
            MailParameters::ResetPassword { display_name, link, expires_in_minutes: 30 }
        }
        MailTemplate::PasswordChanged => {
            MailParameters::PasswordChanged { display_name, secure_link, occasion }
        }
        MailTemplate::EmailChangeConfirm => {
            MailParameters::EmailChangeConfirm { display_name, link, expires_in_minutes: 60 }
        }
        MailTemplate::EmailChangeNotice => MailParameters::EmailChangeNotice {
            display_name,
            new_email_masked: "e***@mail.example".to_owned(),
            undo_link: Some(link),
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
        MailTemplate::AccountLocked => {
            MailParameters::AccountLocked { display_name, reset_link: link, occurred_at }
        }
        MailTemplate::AccountDeletion => {
            MailParameters::AccountDeletion { display_name, restore_link: link, deletes_at: occurred_at }
        }
        MailTemplate::Invitation => MailParameters::Invitation { display_name, link, expires_in_days: 7 },
        MailTemplate::Test => MailParameters::Test { requested_at: occurred_at },
    }
}

fn every_mail() -> Vec<(Locale, MailTemplate, RenderedMail)> {
    let renderer = renderer();
    let in_all_languages = |template: &MailTemplate| {
        let parameters = sample(*template);
        Locale::ALL.iter().map(move |locale| (*locale, parameters.clone()))
    };
    MailTemplate::ALL
        .iter()
        .flat_map(in_all_languages)
        .map(|(locale, parameters)| {
            (locale, parameters.template(), renderer.render(locale, &parameters).unwrap())
        })
        .collect()
}

#[test]
fn every_subject_is_one_short_line_of_its_own() {
    let mails = every_mail();
    let subjects: BTreeSet<&str> = mails.iter().map(|(_, _, mail)| &*mail.subject).collect();
    assert_eq!(subjects.len(), MailTemplate::ALL.len() * Locale::ALL.len());
    for subject in subjects {
        assert!(subject.contains("Fisch & Söhne") && subject.chars().count() <= 75, "{subject}");
        assert!(!subject.contains('\n') && !subject.contains("Ada"), "{subject}");
    }
}

#[test]
fn every_html_is_complete_escaped_and_loads_nothing() {
    for (locale, template, mail) in every_mail() {
        let html = &mail.html;
        assert!(html.contains(&format!("lang=\"{}\"", locale.tag())), "{html}");
        assert!(html.contains("prefers-color-scheme: dark"), "{html}");
        assert!(html.contains("Fisch &amp; Söhne"), "{html}");
        for loaded in ["<img", "<script", "<link", "@import", "url(", "googleapis", "src="] {
            assert!(!html.contains(loaded), "{loaded} in {}", template.name());
        }
        for left in ["{{", "{%", "[[", "[%", "<mj-", "<title></title>"] {
            assert!(!html.contains(left), "{left} in {}", template.name());
        }
        assert_eq!(html.matches("<title>").count(), 1);
        assert!(html.contains("[data-ogsc]") && html.contains("name=\"color-scheme\""), "{html}");
        let mut tables = html.split("<table").skip(1).filter_map(|rest| rest.split('>').next());
        assert!(tables.all(|table| table.contains("role=\"presentation\"")), "{html}");
        // Gmail ignores a style sheet of more than 8 KB, and hides what comes after 102 KB.
        let mut styles = html.split("<style").skip(1).filter_map(|rest| rest.split("</style>").next());
        assert!(styles.all(|style| style.len() < 8_000), "{html}");
        assert!(html.len() < 40_000, "{} bytes", html.len());
    }
}

#[test]
fn every_mail_has_one_button_whose_link_is_also_there_to_copy() {
    for (_, template, mail) in every_mail() {
        if template == MailTemplate::Test {
            assert!(!mail.text.contains("http") && !mail.html.contains("href=\"http"), "{}", mail.html);
            continue;
        }
        let link = if template == MailTemplate::AlreadyRegistered {
            "https://auth.example/login"
        } else {
            mail.text.lines().find(|line| line.starts_with("https://")).unwrap()
        };
        let escaped = link.replace('&', "&amp;").replace('"', "&quot;");
        assert_eq!(mail.html.matches(&format!("href=\"{escaped}\"")).count(), 2, "{}", mail.html);
        assert!(
            mail.text.lines().all(|line| line.chars().count() <= 78 || line.starts_with("https://")),
            "{}",
            mail.text
        );
    }
}

#[test]
fn every_link_is_one_of_the_parameters_or_asks_for_help() {
    for template in MailTemplate::ALL {
        let parameters = sample(*template);
        for locale in Locale::ALL {
            let html = renderer().render(*locale, &parameters).unwrap().html;
            for href in html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                let link = href.replace("&quot;", "\"").replace("&amp;", "&");
                let known = parameters.links().contains(&&*link) || link == "mailto:help@auth.example";
                assert!(known, "{link} in {}", template.name());
            }
        }
    }
}

#[test]
fn a_mail_without_a_link_has_no_button() {
    for completed in [true, false] {
        let parameters = MailParameters::EmailChangeNotice {
            display_name: None,
            new_email_masked: "ada@evil.example".to_owned(),
            undo_link: None,
            completed,
        };
        for locale in Locale::ALL {
            let mail = renderer().render(*locale, &parameters).unwrap();
            assert!(!mail.text.contains("http") && !mail.html.contains("href=\"http"), "{}", mail.html);
            assert!(!mail.text.contains("evil") && mail.text.contains("a•••@e•••.example"), "{}", mail.text);
        }
    }
}

#[test]
fn devices_and_addresses_are_never_markup_or_links() {
    let renderer = renderer();
    for device in ["{{7*7}}", "<b>x", "\"><b>x", "Ada's laptop"] {
        let mail = renderer.render(Locale::En, &new_device(device)).unwrap();
        let lines = format!("IP address: 2001:db8::7\nDevice: {device}\n\n");
        assert!(mail.text.contains(&lines), "{}", mail.text);
        assert!(!mail.html.contains("<b>") && !mail.html.contains("Device: 49"), "{}", mail.html);
    }
    for device in ["Log in at evil.example", "x\r\n\nevil", "evil \u{202E}", "evil: 0900 1234567"] {
        let mail = renderer.render(Locale::En, &new_device(device)).unwrap();
        for part in [&mail.text, &mail.html] {
            assert!(!part.contains("evil") && !part.contains("Device:"), "{part}");
        }
    }
    let MailParameters::NewDevice { display_name, secure_link, mut occasion } = new_device("x") else {
        unreachable!()
    };
    occasion.ip = Some("evil.example".to_owned());
    let parameters = MailParameters::NewDevice { display_name, secure_link, occasion };
    assert!(!renderer.render(Locale::De, &parameters).unwrap().text.contains("IP-Adresse"));
}

#[test]
fn recovery_codes_are_counted_in_words() {
    let said = |locale, remaining| {
        let MailParameters::RecoveryCodeUsed { display_name, secure_link, occasion, .. } =
            sample(MailTemplate::RecoveryCodeUsed)
        else {
            unreachable!()
        };
        let parameters = MailParameters::RecoveryCodeUsed { display_name, secure_link, occasion, remaining };
        renderer().render(locale, &parameters).unwrap().text
    };
    assert!(said(Locale::En, 0).contains("\nIt was your last one: "));
    assert!(said(Locale::De, 0).contains("\nEs war Ihr letzter: "));
    assert!(said(Locale::En, 1).contains("\nYou have 1 code left; create new ones soon.\n\n"));
    assert!(said(Locale::De, 1).contains("\nSie haben noch 1 Code; erzeugen Sie bald neue.\n\n"));
}

#[test]
fn names_are_never_markup_templates_or_layout() {
    let renderer = renderer();
    for name in ["{{7*7}}", "<script>alert(1)", "\"><b>x", "Ada & Bob's"] {
        let mail = renderer.render(Locale::En, &verify(Some(name))).unwrap();
        assert!(mail.text.contains(&format!("Hello {name},")), "{}", mail.text);
        assert!(!mail.html.contains("49") || !name.contains('7'), "{name}");
        assert!(!mail.html.contains("<script") && !mail.html.contains("<b>"), "{name}");
        assert!(!mail.subject.contains(name));
    }
    for name in ["Ada\r\nBcc: eve@example.test", "Buy at evil.example now"] {
        let mail = renderer.render(Locale::En, &verify(Some(name))).unwrap();
        assert!(mail.text.starts_with("Hello,\n"), "{}", mail.text);
        assert!(!mail.html.contains("evil") && !mail.html.contains("Bcc"));
    }
}

#[test]
fn one_hour_is_singular_and_support_is_optional() {
    let renderer = Renderer::new(Brand::named("X")).unwrap();
    let parameters = MailParameters::VerifyEmail {
        display_name: None,
        link: "https://auth.example/".to_owned(),
        expires_in_hours: 1,
    };
    for locale in Locale::ALL {
        let mail = renderer.render(*locale, &parameters).unwrap();
        assert!(mail.text.contains("1 hour.") || mail.text.contains("1 Stunde."), "{}", mail.text);
        assert!(!mail.text.contains("Questions") && !mail.text.contains("Fragen"));
        assert!(!mail.html.contains("mailto:"));
    }
}
