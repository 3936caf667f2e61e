use std::fmt::Write;

use auth_events::commands::{Locale, MailParameters, MailTemplate};
use minijinja::{
    AutoEscape, Environment, Output, State, UndefinedBehavior, Value, context, escape_formatter,
    syntax::SyntaxConfig,
};
use mrml::prelude::render::RenderOptions;

use crate::domain::greeting_name::greeting_name;

/// How the platform presents itself in mails.
#[derive(Debug, Clone)]
pub struct Brand {
    /// The product's name.
    pub name: String,
    /// Where to ask for help, if anywhere.
    pub support_email: Option<String>,
}

/// A mail in words.
#[derive(Clone, PartialEq, Eq)]
pub struct RenderedMail {
    /// One line.
    pub subject: String,
    /// The part for every mail program.
    pub text: String,
    /// The part for most.
    pub html: String,
}

/// Why a template cannot be used, or not with these parameters.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The layout is not MJML.
    #[error("the layout of {template} cannot be understood: {why}")]
    Layout {
        /// The template's file.
        template: String,
        /// What the MJML compiler says.
        why: String,
    },
    /// The template engine refused.
    #[error("the template cannot be filled")]
    Fill(#[from] minijinja::Error),
    /// A text template does not start with its subject.
    #[error("the template has no subject line")]
    NoSubject,
}

/// Puts mail commands into words.
///
/// The layouts are compiled from MJML to HTML once, with their placeholders; filling in and escaping is then the template
/// engine's work alone, so that nothing a user chose is ever parsed as markup.
pub struct Renderer {
    templates: Environment<'static>,
    brand: Brand,
}

impl Renderer {
    /// Compiles every template; a mistake in one is found here, not when the first mail of its kind is due.
    pub fn new(brand: Brand) -> Result<Self, RenderError> {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        templates.set_syntax(SyntaxConfig::builder().trim_blocks(true).keep_trailing_newline(true).build()?);
        templates.set_formatter(escape_readably);
        let layouts = layouts()?;
        for (template, locale, text) in TEXTS {
            let html = compile(&layouts, &file_name(*template, *locale, "mjml"), *locale)?;
            templates.add_template_owned(file_name(*template, *locale, "html"), html)?;
            templates.add_template_owned(file_name(*template, *locale, "txt"), *text)?;
        }
        Ok(Self { templates, brand })
    }

    /// Says `parameters` in the language `locale`.
    pub fn render(&self, locale: Locale, parameters: &MailParameters) -> Result<RenderedMail, RenderError> {
        let values = self.values(parameters);
        let fill = |extension| {
            let name = file_name(parameters.template(), locale, extension);
            self.templates.get_template(&name)?.render(&values)
        };
        let with_subject = fill("txt")?;
        let (subject, text) = with_subject
            .strip_prefix("Subject: ")
            .and_then(|rest| rest.split_once("\n\n"))
            .ok_or(RenderError::NoSubject)?;
        Ok(RenderedMail { subject: subject.to_owned(), text: text.to_owned(), html: fill("html")? })
    }

    fn values(&self, parameters: &MailParameters) -> Value {
        let Brand { name: brand, support_email } = &self.brand;
        match parameters {
            MailParameters::VerifyEmail { display_name, link, expires_in_hours } => {
                let name = greeting_name(display_name.as_deref());
                context! { brand, support_email, name, link, hours => expires_in_hours }
            }
            MailParameters::AlreadyRegistered { display_name, login_link, reset_link } => {
                let name = greeting_name(display_name.as_deref());
                context! { brand, support_email, name, login_link, reset_link }
            }
        }
    }
}

macro_rules! templates {
    ($(($template:ident, $locale:ident, $file:literal)),+ $(,)?) => {
        /// Template, language and text.
        const TEXTS: &[(MailTemplate, Locale, &str)] = &[$(
            (MailTemplate::$template, Locale::$locale, include_str!(concat!("../../templates/", $file, ".txt"))),
        )+];
        /// File name and content of every layout.
        const LAYOUTS: &[(&str, &str)] = &[
            ("layout.mjml", include_str!("../../templates/layout.mjml")),
            ("footer.en.mjml", include_str!("../../templates/footer.en.mjml")),
            ("footer.de.mjml", include_str!("../../templates/footer.de.mjml")),
            $((concat!($file, ".mjml"), include_str!(concat!("../../templates/", $file, ".mjml")))),+
        ];
    };
}

templates! {
    (VerifyEmail, En, "verify_email.en"),
    (VerifyEmail, De, "verify_email.de"),
    (AlreadyRegistered, En, "already_registered.en"),
    (AlreadyRegistered, De, "already_registered.de"),
}

fn file_name(template: MailTemplate, locale: Locale, extension: &str) -> String {
    format!("{}.{}.{extension}", template.name(), locale.tag())
}

/// The layouts, which share parts. Square brackets put them together, so that the placeholders in braces are left for later.
fn layouts() -> Result<Environment<'static>, RenderError> {
    let mut layouts = Environment::new();
    let syntax = SyntaxConfig::builder()
        .block_delimiters("[%", "%]")
        .variable_delimiters("[[", "]]")
        .comment_delimiters("[#", "#]")
        .build()?;
    layouts.set_syntax(syntax);
    for (name, layout) in LAYOUTS {
        layouts.add_template(name, layout)?;
    }
    Ok(layouts)
}

fn compile(layouts: &Environment, name: &str, locale: Locale) -> Result<String, RenderError> {
    let failed = |why: String| RenderError::Layout { template: name.to_owned(), why };
    let layout = layouts.get_template(name)?.render(context! { locale => locale.tag() })?;
    let parsed = mrml::parse(layout).map_err(|error| failed(error.to_string()))?;
    if let Some(warning) = parsed.warnings.first() {
        return Err(failed(warning.to_string()));
    }
    // No web fonts: a mail must not tell a third party that it was read.
    let options = RenderOptions { fonts: std::collections::HashMap::default(), ..RenderOptions::default() };
    parsed.element.render(&options).map_err(|error| failed(error.to_string()))
}

/// Escapes for HTML like the engine does, except that `/` stays: some mail gateways rewrite links without decoding them first.
fn escape_readably(out: &mut Output, state: &mut State, value: &Value) -> Result<(), minijinja::Error> {
    let text = value.as_str().filter(|_| matches!(state.auto_escape(), AutoEscape::Html) && !value.is_safe());
    let Some(text) = text else { return escape_formatter(out, state, value) };
    for c in text.chars() {
        match c {
            '&' => out.write_str("&amp;")?,
            '<' => out.write_str("&lt;")?,
            '>' => out.write_str("&gt;")?,
            '"' => out.write_str("&quot;")?,
            '\'' => out.write_str("&#39;")?,
            c => out.write_char(c)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renderer() -> Renderer {
        let support_email = Some("help@auth.example".to_owned());
        Renderer::new(Brand { name: "Fisch & Söhne".to_owned(), support_email }).unwrap()
    }

    fn verify(name: Option<&str>) -> MailParameters {
        MailParameters::VerifyEmail {
            display_name: name.map(ToOwned::to_owned),
            link: "https://auth.example/verify-email#token=fat_AbC-_123&x=\"y\"".to_owned(),
            expires_in_hours: 24,
        }
    }

    fn already_registered() -> MailParameters {
        MailParameters::AlreadyRegistered {
            display_name: Some("Ada".to_owned()),
            login_link: "https://auth.example/login".to_owned(),
            reset_link: "https://auth.example/forgot-password".to_owned(),
        }
    }

    #[test]
    fn every_template_speaks_every_language() {
        for template in MailTemplate::ALL {
            for locale in Locale::ALL {
                let known = TEXTS.iter().filter(|(t, l, _)| t == template && l == locale);
                assert_eq!(known.count(), 1, "{} {}", template.name(), locale.tag());
            }
        }
    }

    #[test]
    fn verify_email_in_english() {
        let mail = renderer().render(Locale::En, &verify(Some("Ada"))).unwrap();
        insta::assert_snapshot!(format!("{}\n---\n{}", mail.subject, mail.text), @r#"
        Confirm your email address for Fisch & Söhne
        ---
        Hello Ada,

        Welcome to Fisch & Söhne!
        Please confirm that this is your email address by opening this link:

        https://auth.example/verify-email#token=fat_AbC-_123&x="y"

        The link works for 24 hours. It is best to open it in the browser that
        you signed up with; anywhere else you will be asked to choose a
        new password.

        Did you not sign up? Then somebody probably mistyped their address.
        You do not need to do anything: without this link the account stays
        closed, and it disappears by itself.

        Questions? We are glad to help: help@auth.example
        This message was sent automatically by Fisch & Söhne.
        "#);
    }

    #[test]
    fn verify_email_in_german() {
        let mail = renderer().render(Locale::De, &verify(None)).unwrap();
        insta::assert_snapshot!(format!("{}\n---\n{}", mail.subject, mail.text), @r#"
        Bestätigen Sie Ihre E-Mail-Adresse für Fisch & Söhne
        ---
        Guten Tag,

        willkommen bei Fisch & Söhne!
        Bitte bestätigen Sie, dass dies Ihre E-Mail-Adresse ist, indem Sie
        diesen Link öffnen:

        https://auth.example/verify-email#token=fat_AbC-_123&x="y"

        Der Link gilt 24 Stunden. Öffnen Sie ihn am besten in dem
        Browser, in dem Sie sich registriert haben; anderswo werden Sie
        gebeten, ein neues Passwort zu wählen.

        Sie waren das nicht? Dann hat sich vermutlich jemand bei der Adresse
        vertippt. Sie müssen nichts tun: Ohne diesen Link bleibt das Konto
        geschlossen und verschwindet von selbst.

        Fragen? Wir helfen Ihnen gern: help@auth.example
        Diese Nachricht wurde automatisch von Fisch & Söhne verschickt.
        "#);
    }

    #[test]
    fn already_registered_in_english() {
        let mail = renderer().render(Locale::En, &already_registered()).unwrap();
        insta::assert_snapshot!(format!("{}\n---\n{}", mail.subject, mail.text), @r#"
        You already have an account at Fisch & Söhne
        ---
        Hello Ada,

        Somebody, probably you, tried to sign up for Fisch & Söhne with
        this email address. You already have an account here, so we did not
        create another one.

        Log in here:

        https://auth.example/login

        Have you forgotten your password? Choose a new one here:

        https://auth.example/forgot-password

        Did you not try? Then there is nothing to do. Your account and
        your password are unchanged, and whoever tried did not learn that you
        have an account.

        Questions? We are glad to help: help@auth.example
        This message was sent automatically by Fisch & Söhne.
        "#);
    }

    #[test]
    fn already_registered_in_german() {
        let mail = renderer().render(Locale::De, &already_registered()).unwrap();
        insta::assert_snapshot!(format!("{}\n---\n{}", mail.subject, mail.text), @r#"
        Sie haben bereits ein Konto bei Fisch & Söhne
        ---
        Guten Tag Ada,

        jemand, vermutlich Sie selbst, wollte sich mit dieser E-Mail-Adresse
        bei Fisch & Söhne registrieren. Sie haben hier schon ein Konto,
        deshalb haben wir kein weiteres angelegt.

        Hier melden Sie sich an:

        https://auth.example/login

        Passwort vergessen? Hier wählen Sie ein neues:

        https://auth.example/forgot-password

        Sie waren das nicht? Dann müssen Sie nichts tun. Ihr Konto und Ihr
        Passwort sind unverändert, und wer es versucht hat, hat nicht
        erfahren, dass Sie ein Konto haben.

        Fragen? Wir helfen Ihnen gern: help@auth.example
        Diese Nachricht wurde automatisch von Fisch & Söhne verschickt.
        "#);
    }

    #[test]
    fn the_html_is_complete_escaped_and_loads_nothing() {
        for locale in Locale::ALL {
            let mail = renderer().render(*locale, &verify(Some("Ada"))).unwrap();
            assert!(mail.html.contains(&format!("lang=\"{}\"", locale.tag())), "{}", mail.html);
            assert!(mail.html.contains("prefers-color-scheme: dark"), "{}", mail.html);
            assert!(mail.html.contains("Fisch &amp; Söhne"));
            let link = "https://auth.example/verify-email#token=fat_AbC-_123&amp;x=&quot;y&quot;";
            assert_eq!(mail.html.matches(&format!("href=\"{link}\"")).count(), 2, "{}", mail.html);
            for loaded in ["<img", "<script", "<link", "@import", "url(", "googleapis"] {
                assert!(!mail.html.contains(loaded), "{loaded}");
            }
            assert!(!mail.html.contains("{{") && !mail.html.contains("{%"), "{}", mail.html);
            assert!(mail.html.len() < 30_000, "{} bytes", mail.html.len());
        }
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
        let renderer = Renderer::new(Brand { name: "X".to_owned(), support_email: None }).unwrap();
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
}
