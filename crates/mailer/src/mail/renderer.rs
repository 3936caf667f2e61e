use std::{fmt, net::IpAddr, sync::Arc};

use auth_events::commands::{Locale, MailParameters, MailTemplate, Occasion};
use minijinja::{AutoEscape, Environment, Error, Output, State, Value, context, escape_formatter};

pub use super::brand::Brand;
use super::{
    line_length::broken_lines,
    proof::{self, Mistake},
    samples,
    templates::{compile, filled_later, layouts, mails, stem, texts},
};
use crate::domain::{
    chosen_name::chosen_name,
    device_label::device_label,
    masked_address::masked_address,
    time_in_words::{lifetime, moment},
};

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
#[derive(Clone)]
pub struct Renderer {
    /// Apart from each other, so that no HTML includes a text, which is not escaped.
    pages: Arc<Environment<'static>>,
    texts: Arc<Environment<'static>>,
    brand: Brand,
}

impl Renderer {
    /// Compiles every template; a mistake in one is found here, not when the first mail of its kind is due.
    pub fn new(brand: Brand) -> Result<Self, RenderError> {
        let mut pages = filled_later();
        pages.set_auto_escape_callback(|_| AutoEscape::Html);
        pages.set_formatter(escape_readably);
        let layouts = layouts(&brand)?;
        for (template, locale) in mails() {
            let stem = stem(template, locale);
            let page = compile(&layouts, &brand, &stem, locale)?;
            pages.add_template_owned(stem, page)?;
        }
        let texts = texts(&brand)?;
        Ok(Self { pages: Arc::new(pages), texts: Arc::new(texts), brand })
    }

    /// What is wrong with the operator's templates; the built-in ones are right.
    #[must_use]
    pub fn mistakes(brand: &Brand) -> Vec<Mistake> {
        proof::mistakes(brand)
    }

    /// Says `parameters` in the language `locale`.
    pub fn render(&self, locale: Locale, parameters: &MailParameters) -> Result<RenderedMail, RenderError> {
        let values = self.values(locale, parameters);
        let stem = stem(parameters.template(), locale);
        let (subject, text) = self.text(&stem, &values)?;
        Ok(RenderedMail { subject, text, html: self.page(&stem, &values)? })
    }

    /// Says in the language `locale` what `template` says with parameters that nobody can do anything with.
    pub fn preview(&self, template: MailTemplate, locale: Locale) -> Result<RenderedMail, RenderError> {
        self.render(locale, &samples::sample(template))
    }

    /// Subject and text.
    pub(super) fn text(&self, stem: &str, values: &Value) -> Result<(String, String), RenderError> {
        let with_subject = self.texts.get_template(&format!("{stem}.txt"))?.render(values)?;
        let (subject, text) = with_subject
            .strip_prefix("Subject: ")
            .and_then(|rest| rest.split_once("\n\n"))
            .ok_or(RenderError::NoSubject)?;
        Ok((subject.to_owned(), broken_lines(text)))
    }

    /// The HTML.
    pub(super) fn page(&self, stem: &str, values: &Value) -> Result<String, RenderError> {
        Ok(self.pages.get_template(stem)?.render(values)?)
    }

    /// Names that a mail's HTML, or its text, asks for.
    pub(super) fn asked_for(&self, stem: &str) -> Result<(Vec<String>, Vec<String>), RenderError> {
        let page = self.pages.get_template(stem)?.undeclared_variables(false);
        let text = self.texts.get_template(&format!("{stem}.txt"))?.undeclared_variables(false);
        let is_given = |name: &String| self.texts.globals().any(|(global, _)| global == name);
        let asked =
            |names: std::collections::HashSet<String>| names.into_iter().filter(|name| !is_given(name));
        Ok((asked(page).collect(), asked(text).collect()))
    }

    /// What a mail is filled with.
    pub(super) fn values(&self, locale: Locale, parameters: &MailParameters) -> Value {
        let Brand { name: brand, logo_url, support_email, address, .. } = &self.brand;
        let logo_url = logo_url.as_ref().map(url::Url::as_str);
        let name = chosen_name(parameters.display_name());
        let common = context! { brand, logo_url, support_email, address, name };
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
            MailParameters::RecoveryCodeUsed { secure_link, occasion, remaining, .. }
            | MailParameters::RecoveryCodesChanged { secure_link, occasion, remaining, .. } => {
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
/// It escapes wherever it is asked to, also where a template says that there is nothing to escape.
fn escape_readably(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    use std::fmt::Write;
    let text = value.as_str().filter(|_| !value.is_safe());
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

impl fmt::Debug for Renderer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renderer").field("brand", &self.brand.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod words;
