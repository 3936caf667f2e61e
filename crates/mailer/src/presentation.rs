use std::path::Path;

use lettre::Address;
use service_runtime::Problems;
use url::Url;

use crate::{
    domain::color::Color,
    mail::{brand::Brand, overrides::Overrides, renderer::Renderer},
};

/// More would not fit beside a mail's subject.
const MAX_NAME_CHARS: usize = 60;
const MAX_ADDRESS_CHARS: usize = 200;

/// How the platform presents itself in mails, before it is understood.
#[derive(Debug, Clone, clap::Args)]
pub struct PresentationSettings {
    /// The product's name in every mail.
    #[arg(long, env = "BRAND_NAME", default_value = "Feature Auth")]
    brand_name: String,
    /// A picture at the top of every mail in place of the name: an https URL of a PNG or JPEG, shown 40 pixels high.
    #[arg(long, env = "BRAND_LOGO_URL")]
    brand_logo_url: Option<String>,
    /// The colour of buttons and links, like `#1d4ed8`; the text upon it is black or white, whichever can be read.
    #[arg(long, env = "BRAND_COLOR")]
    brand_color: Option<String>,
    /// The same where a mail program shows mails dark; by default `BRAND_COLOR`, as light as it has to be.
    #[arg(long, env = "BRAND_COLOR_DARK")]
    brand_color_dark: Option<String>,
    /// Who writes, with the postal address, in one line: the last one of every mail.
    #[arg(long, env = "BRAND_ADDRESS")]
    brand_address: Option<String>,
    /// The address that mails name for questions; without it they name none.
    #[arg(long, env = "SUPPORT_EMAIL")]
    support_email: Option<String>,
    /// A directory with templates in place of built-in ones of the same names.
    #[arg(long, env = "TEMPLATES_DIR")]
    templates_dir: Option<String>,
}

impl PresentationSettings {
    /// Understands everything, and proves the operator's templates, or names every mistake.
    pub fn configure(self, in_production: bool, problems: &mut Problems) -> Option<Brand> {
        let before = problems.len();
        let name = line(problems, "BRAND_NAME", Some(self.brand_name), MAX_NAME_CHARS);
        if name.is_none() && problems.len() == before {
            problems.add("BRAND_NAME", "must not be empty");
        }
        let color = given(self.brand_color).and_then(|text| problems.parse::<Color>("BRAND_COLOR", &text));
        let color_dark =
            given(self.brand_color_dark).and_then(|text| problems.parse::<Color>("BRAND_COLOR_DARK", &text));
        let logo_url = given(self.brand_logo_url).and_then(|text| logo(problems, in_production, &text));
        let address = line(problems, "BRAND_ADDRESS", self.brand_address, MAX_ADDRESS_CHARS);
        let support_email = line(problems, "SUPPORT_EMAIL", self.support_email, MAX_ADDRESS_CHARS)
            .and_then(|text| problems.parse::<Address>("SUPPORT_EMAIL", &text));
        let templates = match given(self.templates_dir).map(|path| Overrides::read(Path::new(&path))) {
            None => Overrides::default(),
            Some(Ok(templates)) => templates,
            Some(Err(error)) => {
                problems.add("TEMPLATES_DIR", error);
                return None;
            }
        };
        let brand = Brand {
            name: name.unwrap_or_default(),
            logo_url,
            color: color.unwrap_or(Brand::COLOR),
            color_dark,
            support_email: support_email.map(|address| address.to_string()),
            address,
            templates,
        };
        // The built-in ones are proved by tests, with every brand.
        let mistakes = if brand.templates.is_empty() { Vec::new() } else { Renderer::mistakes(&brand) };
        for mistake in mistakes {
            problems.add("TEMPLATES_DIR", format_args!("cannot be used: {mistake}"));
        }
        (problems.len() == before).then_some(brand)
    }
}

fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

/// One line of words, if there is one.
fn line(problems: &mut Problems, variable: &str, text: Option<String>, max_chars: usize) -> Option<String> {
    let text = given(text)?.trim().to_owned();
    if text.chars().any(char::is_control) {
        problems.add(variable, "must not contain control characters");
        return None;
    }
    if text.chars().count() > max_chars {
        problems.add(variable, format_args!("must have at most {max_chars} characters"));
        return None;
    }
    Some(text)
}

fn logo(problems: &mut Problems, in_production: bool, text: &str) -> Option<Url> {
    let url = problems.parse::<Url>("BRAND_LOGO_URL", text)?;
    let mistake = match url.scheme() {
        "https" => None,
        "http" if !in_production => None,
        "http" => Some("must begin with https:// in production"),
        _ => Some("must begin with https://"),
    };
    let secret = (!url.username().is_empty() || url.password().is_some())
        .then_some("must not have a user name or password: every mail shows it");
    if let Some(why) = mistake.or(secret) {
        problems.add("BRAND_LOGO_URL", why);
        return None;
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        presentation: PresentationSettings,
    }

    fn configured(in_production: bool, arguments: &[&str]) -> Result<Brand, String> {
        let arguments = ["mailer"].iter().chain(arguments);
        let settings = CommandLine::try_parse_from(arguments).unwrap().presentation;
        let mut problems = Problems::new();
        settings.configure(in_production, &mut problems).ok_or_else(|| problems.to_string())
    }

    #[test]
    fn nothing_has_to_be_chosen() {
        let brand =
            configured(true, &["--brand-logo-url", "", "--brand-color", "", "--templates-dir", ""]).unwrap();
        assert_eq!((&*brand.name, brand.color), ("Feature Auth", Brand::COLOR));
        assert!(brand.logo_url.is_none() && brand.address.is_none());
    }

    #[test]
    fn everything_can_be_chosen() {
        let brand = configured(
            true,
            &[
                "--brand-name",
                "Acme",
                "--brand-logo-url",
                "https://cdn.example/logo.png?v=2",
                "--brand-color",
                "#FFDD00",
                "--brand-color-dark",
                "#ffee99",
                "--brand-address",
                "Acme GmbH, Berlin",
                "--support-email",
                "help@acme.example",
            ],
        )
        .unwrap();
        assert_eq!(brand.color.to_string(), "#ffdd00");
        assert_eq!(brand.logo_url.unwrap().as_str(), "https://cdn.example/logo.png?v=2");
    }

    #[test]
    fn every_mistake_is_named() {
        let long = "x".repeat(201);
        let said = configured(
            true,
            &[
                "--brand-name",
                &long,
                "--brand-logo-url",
                "http://cdn.example/logo.png",
                "--brand-color",
                "blue",
                "--brand-color-dark",
                "#12345",
                "--brand-address",
                &long,
                "--support-email",
                "x\r\nBcc: y@z.example",
            ],
        )
        .unwrap_err();
        for variable in [
            "BRAND_NAME",
            "BRAND_LOGO_URL",
            "BRAND_COLOR",
            "BRAND_COLOR_DARK",
            "BRAND_ADDRESS",
            "SUPPORT_EMAIL",
        ] {
            assert!(said.contains(&format!("  {variable} ")), "{variable}: {said}");
        }
        assert_eq!(said.lines().count(), 6, "{said}");
        let logo = |url| configured(true, &["--brand-logo-url", url]).unwrap_err();
        assert!(logo("https://user:hush@cdn.example/x.png").contains("user name or password"));
        assert!(logo("data:image/png;base64,AAAA").contains("must begin with https://"));
        assert!(configured(false, &["--brand-logo-url", "http://localhost:8080/x.png"]).is_ok());
        assert!(
            configured(true, &["--brand-name", " "]).unwrap_err().contains("BRAND_NAME must not be empty")
        );
        assert!(
            configured(true, &["--templates-dir", "/missing"])
                .unwrap_err()
                .contains("TEMPLATES_DIR cannot be read")
        );
    }

    #[test]
    fn the_operators_templates_are_proved_at_start() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("test.en.txt"), "Subject: Test\n\nHello {{ nobody }}\n")
            .unwrap();
        let said = configured(true, &["--templates-dir", directory.path().to_str().unwrap()]).unwrap_err();
        assert!(said.starts_with("  TEMPLATES_DIR cannot be used: test.en.txt: uses `nobody`"), "{said}");
    }
}
