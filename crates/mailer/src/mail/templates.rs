use auth_events::commands::{Locale, MailTemplate};
use minijinja::{Environment, context, syntax::SyntaxConfig};
use mrml::prelude::render::RenderOptions;

use super::renderer::RenderError;

/// A mail in one language, with placeholders.
pub(super) struct Source {
    pub template: MailTemplate,
    pub locale: Locale,
    /// What the layout of the HTML is called in [`LAYOUTS`].
    layout: &'static str,
    pub text: &'static str,
}

macro_rules! templates {
    (mails: $(($template:ident, $name:literal)),+; layouts: $($layout:literal),+; texts: $($text:literal),+;) => {
        /// Every mail in every language.
        pub(super) const SOURCES: &[Source] = &[$(
            Source {
                template: MailTemplate::$template,
                locale: Locale::En,
                layout: concat!($name, ".en.mjml"),
                text: include_str!(concat!("../../templates/", $name, ".en.txt")),
            },
            Source {
                template: MailTemplate::$template,
                locale: Locale::De,
                layout: concat!($name, ".de.mjml"),
                text: include_str!(concat!("../../templates/", $name, ".de.txt")),
            },
        )+];
        /// File name and content of every layout.
        const LAYOUTS: &[(&str, &str)] = &[
            $((concat!($name, ".en.mjml"), include_str!(concat!("../../templates/", $name, ".en.mjml"))),)+
            $((concat!($name, ".de.mjml"), include_str!(concat!("../../templates/", $name, ".de.mjml"))),)+
            $((concat!($layout, ".mjml"), include_str!(concat!("../../templates/", $layout, ".mjml"))),)+
        ];
        /// File name and content of what texts have in common.
        pub(super) const COMMON_TEXTS: &[(&str, &str)] = &[
            $((concat!($text, ".txt"), include_str!(concat!("../../templates/", $text, ".txt"))),)+
        ];
    };
}

templates! {
    mails:
        (VerifyEmail, "verify_email"),
        (AlreadyRegistered, "already_registered"),
        (ResetPassword, "reset_password"),
        (PasswordChanged, "password_changed"),
        (EmailChangeConfirm, "email_change_confirm"),
        (EmailChangeNotice, "email_change_notice"),
        (NewDevice, "new_device"),
        (TotpEnabled, "totp_enabled"),
        (TotpDisabled, "totp_disabled"),
        (RecoveryCodeUsed, "recovery_code_used"),
        (SessionStolen, "session_stolen"),
        (AccountLocked, "account_locked"),
        (AccountDeletion, "account_deletion"),
        (Invitation, "invitation"),
        (Test, "test");
    layouts:
        "layout",
        "security_notice.en", "security_notice.de",
        "button.en", "button.de",
        "occasion.en", "occasion.de",
        "footer.en", "footer.de";
    texts:
        "security_notice.en", "security_notice.de",
        "occasion.en", "occasion.de",
        "footer.en", "footer.de";
}

impl Source {
    pub(super) fn file_name(&self, extension: &str) -> String {
        file_name(self.template, self.locale, extension)
    }

    /// Its HTML, with the placeholders.
    pub(super) fn compile(&self, layouts: &Environment) -> Result<String, RenderError> {
        let failed = |why: String| RenderError::Layout { template: self.layout.to_owned(), why };
        let layout = layouts.get_template(self.layout)?.render(context! { locale => self.locale.tag() })?;
        let parsed = mrml::parse(layout).map_err(|error| failed(error.to_string()))?;
        if let Some(warning) = parsed.warnings.first() {
            return Err(failed(warning.to_string()));
        }
        // No web fonts: a mail must not tell a third party that it was read.
        let options =
            RenderOptions { fonts: std::collections::HashMap::default(), ..RenderOptions::default() };
        parsed.element.render(&options).map_err(|error| failed(error.to_string()))
    }
}

pub(super) fn file_name(template: MailTemplate, locale: Locale, extension: &str) -> String {
    format!("{}.{}.{extension}", template.name(), locale.tag())
}

/// The layouts, which share parts. Square brackets put them together, so that the placeholders in braces are left for later.
pub(super) fn layouts() -> Result<Environment<'static>, RenderError> {
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
