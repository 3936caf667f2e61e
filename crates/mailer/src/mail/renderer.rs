use std::{fmt::Write, net::IpAddr};

use auth_events::commands::{Locale, MailParameters, MailTemplate, Occasion};
use minijinja::{
    AutoEscape, Environment, Output, State, UndefinedBehavior, Value, context, escape_formatter,
    syntax::SyntaxConfig,
};

use super::{
    samples,
    templates::{COMMON_TEXTS, SOURCES, file_name, layouts},
};
use crate::domain::{
    chosen_name::chosen_name,
    device_label::device_label,
    masked_address::masked_address,
    time_in_words::{lifetime, moment},
};

/// How the platform presents itself in mails.
#[derive(Debug, Clone)]
pub struct Brand {
    /// The product's name.
    pub name: String,
    /// Where to ask for help, if anywhere.
    pub support_email: Option<String>,
}

impl Brand {
    /// A brand that is nothing but a name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), support_email: None }
    }
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
        for (name, text) in COMMON_TEXTS {
            templates.add_template(name, text)?;
        }
        for source in SOURCES {
            templates.add_template_owned(source.file_name("html"), source.compile(&layouts)?)?;
            templates.add_template_owned(source.file_name("txt"), source.text)?;
        }
        Ok(Self { templates, brand })
    }

    /// Says `parameters` in the language `locale`.
    pub fn render(&self, locale: Locale, parameters: &MailParameters) -> Result<RenderedMail, RenderError> {
        let values = self.values(locale, parameters);
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

    /// Says in the language `locale` what `template` says with parameters that nobody can do anything with.
    pub fn preview(&self, template: MailTemplate, locale: Locale) -> Result<RenderedMail, RenderError> {
        self.render(locale, &samples::sample(template))
    }

    fn values(&self, locale: Locale, parameters: &MailParameters) -> Value {
        let Brand { name: brand, support_email } = &self.brand;
        let name = chosen_name(parameters.display_name());
        let common = context! { brand, support_email, name };
        let specific = match parameters {
            MailParameters::VerifyEmail { link, expires_in_hours, .. } => {
                context! { link, hours => expires_in_hours }
            }
            MailParameters::AlreadyRegistered { login_link, reset_link, .. } => {
                context! { login_link, reset_link }
            }
            MailParameters::ResetPassword { link, expires_in_minutes, .. }
            | MailParameters::EmailChangeConfirm { link, expires_in_minutes, .. } => {
                context! { link, lifetime => lifetime(locale, *expires_in_minutes) }
            }
            MailParameters::EmailChangeNotice { new_email_masked, undo_link, completed, .. } => {
                context! { new_email => masked_address(new_email_masked), undo_link, completed }
            }
            MailParameters::PasswordChanged { secure_link, occasion, .. }
            | MailParameters::NewDevice { secure_link, occasion, .. }
            | MailParameters::TotpEnabled { secure_link, occasion, .. }
            | MailParameters::TotpDisabled { secure_link, occasion, .. }
            | MailParameters::SessionStolen { secure_link, occasion, .. } => {
                context! { secure_link, ..occasion_values(locale, occasion) }
            }
            MailParameters::RecoveryCodeUsed { secure_link, occasion, remaining, .. } => {
                context! { secure_link, remaining, ..occasion_values(locale, occasion) }
            }
            MailParameters::AccountLocked { reset_link, occurred_at, .. } => {
                context! { reset_link, occurred_at => moment(locale, *occurred_at) }
            }
            MailParameters::AccountDeletion { restore_link, deletes_at, .. } => {
                context! { restore_link, deletes_at => moment(locale, *deletes_at) }
            }
            MailParameters::Invitation { link, expires_in_days, .. } => {
                context! { link, days => expires_in_days }
            }
            MailParameters::Test { requested_at } => {
                context! { requested_at => moment(locale, *requested_at) }
            }
        };
        context! { ..common, ..specific }
    }
}

fn occasion_values(locale: Locale, occasion: &Occasion) -> Value {
    let ip = occasion.ip.as_ref().and_then(|ip| ip.parse::<IpAddr>().ok()).map(|ip| ip.to_string());
    let device = device_label(occasion.device.as_deref());
    context! { occurred_at => moment(locale, occasion.occurred_at), ip, device }
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
mod tests;
#[cfg(test)]
mod words;
