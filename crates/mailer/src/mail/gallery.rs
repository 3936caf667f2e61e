//! Every mail as files to look at: as a mail program shows it in the light and in the dark, and its text.

use std::{fmt::Write as _, fs, io, path::Path};

use auth_events::commands::{Locale, MailTemplate};

use super::{
    renderer::{RenderError, RenderedMail, Renderer},
    samples::{Sample, cases},
};

const STYLE: &str = include_str!("gallery/gallery.css");
const DARK: &str = "@media (prefers-color-scheme: dark)";
const BOTH_SCHEMES: &str = "content=\"light dark\"";

/// Why there is no gallery.
#[derive(Debug, thiserror::Error)]
pub enum GalleryError {
    /// A file cannot be written.
    #[error("the gallery cannot be written")]
    Write(#[from] io::Error),
    /// A template cannot be filled.
    #[error("{template} cannot be put into words in {locale}")]
    Render {
        /// Its name.
        template: &'static str,
        /// The language.
        locale: &'static str,
        /// Why.
        source: RenderError,
    },
}

/// Writes `index.html` and everything that it shows into `directory`, which is made if it is not there.
pub fn write(renderer: &Renderer, directory: &Path) -> Result<(), GalleryError> {
    fs::create_dir_all(directory)?;
    let mut sections = String::new();
    for template in MailTemplate::ALL {
        for (number, sample) in cases(*template).iter().enumerate() {
            sections += &section(renderer, directory, *template, number, sample)?;
        }
    }
    fs::write(directory.join("gallery.css"), STYLE)?;
    fs::write(directory.join("index.html"), page(&sections))?;
    Ok(())
}

/// One mail in every language.
fn section(
    renderer: &Renderer,
    directory: &Path,
    template: MailTemplate,
    number: usize,
    sample: &Sample,
) -> Result<String, GalleryError> {
    let case =
        if sample.case.is_empty() { String::new() } else { format!(" <small>{}</small>", sample.case) };
    let mut articles = String::new();
    for locale in Locale::ALL {
        let mail = renderer.render(*locale, &sample.parameters).map_err(|source| GalleryError::Render {
            template: template.name(),
            locale: locale.tag(),
            source,
        })?;
        let case = if number == 0 { String::new() } else { format!(".{number}") };
        let stem = format!("{}{case}.{}", template.name(), locale.tag());
        fs::write(directory.join(format!("{stem}.html")), &mail.html)?;
        fs::write(directory.join(format!("{stem}.light.html")), in_the_light(&mail.html))?;
        fs::write(directory.join(format!("{stem}.dark.html")), in_the_dark(&mail.html))?;
        fs::write(
            directory.join(format!("{stem}.txt")),
            format!("Subject: {}\n\n{}", mail.subject, mail.text),
        )?;
        articles += &article(*locale, &stem, &mail);
    }
    let name = template.name();
    Ok(format!(
        "<section id=\"{name}{number}\"><h2>{name}{case}</h2><div class=\"mails\">{articles}</div></section>\n"
    ))
}

fn article(locale: Locale, stem: &str, mail: &RenderedMail) -> String {
    let mut frames = String::new();
    for scheme in ["light", "dark"] {
        let _ = write!(
            frames,
            "<iframe class=\"{scheme}\" loading=\"lazy\" sandbox=\"\" title=\"{stem}, {scheme}\" src=\"{stem}.{scheme}.html\"></iframe>"
        );
    }
    format!(
        "<article lang=\"{tag}\" class=\"{tag}\"><h3>{subject}</h3>{frames}<details><summary>Text</summary><pre>{text}</pre></details>\
         <p><a href=\"{stem}.html\">HTML</a>, {size:.1} KB · <a href=\"{stem}.txt\">Text</a></p></article>",
        tag = locale.tag(),
        subject = escaped(&mail.subject),
        text = escaped(&mail.text),
        size = f64::from(u32::try_from(mail.html.len()).unwrap_or(u32::MAX)) / 1024.0,
    )
}

/// Without scripts: what is chosen decides in the style sheet what is shown.
fn page(sections: &str) -> String {
    let choices = |name: &str, choices: &[&str]| {
        let mut html = format!("<fieldset><legend>{name}</legend>");
        for (number, choice) in choices.iter().enumerate() {
            let checked = if number == 0 { " checked" } else { "" };
            let _ = write!(
                html,
                "<label><input type=\"radio\" name=\"{name}\" id=\"choose-{choice}\"{checked}> {choice}</label>"
            );
        }
        html + "</fieldset>"
    };
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Templates</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <link rel=\"stylesheet\" href=\"gallery.css\"></head><body>\n<header><h1>Templates</h1>{}{}{}</header>\n<main>\n{sections}</main></body></html>\n",
        choices("scheme", &["light", "dark"]),
        choices("width", &["desktop", "mobile"]),
        choices("language", &["all", "en", "de"]),
    )
}

/// As a program shows it that is light whatever the rest of the screen is.
fn in_the_light(html: &str) -> String {
    html.replace(DARK, "@media not all").replace(BOTH_SCHEMES, "content=\"light\"")
}

/// As a program shows it that is dark whatever the rest of the screen is.
fn in_the_dark(html: &str) -> String {
    html.replace(DARK, "@media all").replace(BOTH_SCHEMES, "content=\"dark\"")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::brand::Brand;

    #[test]
    fn the_gallery_shows_every_mail_in_every_language_and_loads_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let renderer = Renderer::new(Brand::named("<Acme>")).unwrap();
        write(&renderer, &directory.path().join("new")).unwrap();
        let file = |name: &str| fs::read_to_string(directory.path().join("new").join(name)).unwrap();
        let index = file("index.html");
        for template in MailTemplate::ALL {
            for locale in Locale::ALL {
                for scheme in ["light", "dark"] {
                    let name = format!("{}.{}.{scheme}.html", template.name(), locale.tag());
                    assert!(index.contains(&format!("src=\"{name}\"")), "{name}");
                    let html = file(&name);
                    assert!(
                        !html.contains("prefers-color-scheme")
                            && html.contains(&format!("content=\"{scheme}\""))
                    );
                }
            }
        }
        assert_eq!(index.matches("<iframe").count(), index.matches("sandbox=\"\"").count());
        assert!(index.contains("&lt;Acme&gt;") && !index.contains("<Acme>") && !index.contains("<script"));
        assert!(file("recovery_code_used.2.en.txt").contains("It was your last one"));
    }
}
