//! The built-in templates, and how they are put together.

use auth_events::commands::{Locale, MailTemplate};
use minijinja::{Environment, UndefinedBehavior, context, syntax::SyntaxConfig};
use mrml::prelude::render::RenderOptions;

use super::{brand::Brand, renderer::RenderError};

macro_rules! templates {
    (mails: $($mail:literal),+; shared: $($shared:literal),+;) => {
        /// Name and content of every built-in file.
        const FILES: &[(&str, &str)] = &[
            $(
                file!($mail, ".en.mjml"), file!($mail, ".de.mjml"),
                file!($mail, ".en.txt"), file!($mail, ".de.txt"),
            )+
            $(file!($shared, "")),+
        ];
    };
}

macro_rules! file {
    ($name:literal, $extension:literal) => {
        (concat!($name, $extension), include_str!(concat!("../../templates/", $name, $extension)))
    };
}

templates! {
    mails:
        "verify_email",
        "already_registered",
        "reset_password",
        "password_changed",
        "email_change_confirm",
        "email_change_notice",
        "new_device",
        "totp_enabled",
        "totp_disabled",
        "recovery_code_used",
        "recovery_codes_changed",
        "session_stolen",
        "account_locked",
        "account_deletion",
        "invitation",
        "test";
    shared:
        "layout.mjml",
        "security_notice.en.mjml", "security_notice.de.mjml",
        "button.en.mjml", "button.de.mjml",
        "occasion.en.mjml", "occasion.de.mjml",
        "footer.en.mjml", "footer.de.mjml",
        "security_notice.en.txt", "security_notice.de.txt",
        "occasion.en.txt", "occasion.de.txt",
        "footer.en.txt", "footer.de.txt";
}

/// The built-in file `name`.
#[must_use]
pub fn built_in(name: &str) -> Option<&'static str> {
    FILES.iter().find(|(file, _)| *file == name).map(|(_, content)| *content)
}

/// Name and content of every built-in file.
pub fn all_built_in() -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES.iter().copied()
}

/// Every mail in every language.
pub(super) fn mails() -> impl Iterator<Item = (MailTemplate, Locale)> {
    MailTemplate::ALL.iter().flat_map(|template| Locale::ALL.iter().map(|locale| (*template, *locale)))
}

/// What a mail is called among files, without the extension.
pub(super) fn stem(template: MailTemplate, locale: Locale) -> String {
    format!("{}.{}", template.name(), locale.tag())
}

/// All texts, which include each other.
pub(super) fn texts(brand: &Brand) -> Result<Environment<'static>, RenderError> {
    let mut texts = filled_later();
    texts.set_syntax(SyntaxConfig::builder().trim_blocks(true).keep_trailing_newline(true).build()?);
    for (name, text) in files(brand, ".txt") {
        texts.add_template_owned(name, text.to_owned())?;
    }
    Ok(texts)
}

/// The layouts, which share parts. Square brackets put them together, so that the placeholders in braces are left for later.
pub(super) fn layouts(brand: &Brand) -> Result<Environment<'static>, RenderError> {
    let mut layouts = Environment::new();
    layouts.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder()
        .block_delimiters("[%", "%]")
        .variable_delimiters("[[", "]]")
        .comment_delimiters("[#", "#]")
        .build()?;
    layouts.set_syntax(syntax);
    for (name, layout) in files(brand, ".mjml") {
        layouts.add_template_owned(name, layout.to_owned())?;
    }
    Ok(layouts)
}

/// The HTML of a mail, with the placeholders.
pub(super) fn compile(
    layouts: &Environment,
    brand: &Brand,
    stem: &str,
    locale: Locale,
) -> Result<String, RenderError> {
    let values = context! {
        locale => locale.tag(), colors => brand.palette(), has_logo => brand.logo_url.is_some(),
    };
    let file = format!("{stem}.mjml");
    let layout = layouts.get_template(&file)?.render(values)?;
    let failed = |why: String| RenderError::Layout { template: file.clone(), why };
    // It includes nothing: the parser's own way to read files is not given any.
    let parsed = mrml::parse(layout).map_err(|error| failed(error.to_string()))?;
    if let Some(warning) = parsed.warnings.first() {
        return Err(failed(warning.to_string()));
    }
    // No web fonts: a mail must not tell a third party that it was read.
    let options = RenderOptions { fonts: std::collections::HashMap::default(), ..RenderOptions::default() };
    parsed.element.render(&options).map_err(|error| failed(error.to_string()))
}

/// An environment for what is filled in for each mail: it knows nothing but what it is given.
pub(super) fn filled_later() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // What a user chose is never markup, and no template can say otherwise.
    environment.remove_filter("safe");
    environment.remove_filter("tojson");
    // It would show links in places where nobody expects them.
    environment.remove_global("debug");
    environment
}

fn files<'a>(brand: &'a Brand, extension: &'static str) -> impl Iterator<Item = (&'static str, &'a str)> {
    let files = FILES.iter().filter(move |(name, _)| name.ends_with(extension));
    files.map(|(name, built_in)| (*name, brand.templates.get(name).unwrap_or(built_in)))
}
