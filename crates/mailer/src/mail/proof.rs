//! Proves templates with samples of every mail, before one is due.

use std::{collections::BTreeSet, error::Error, fmt};

use auth_events::commands::{Locale, MailParameters, MailTemplate, Occasion};

use super::{
    brand::Brand,
    renderer::{RenderError, RenderedMail, Renderer},
    samples,
    templates::{mails, stem},
};

/// Some mail programs show the first 102 KB and hide the rest.
const MAX_HTML_BYTES: usize = 90 * 1024;
const MAX_SUBJECT_CHARS: usize = 120;
/// Stands for what a user chose.
const CHOSEN: &str = "Chosen Zq7 Name";

/// Something that is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// The operator's files, one of which has it.
    pub files: Vec<String>,
    /// What is wrong.
    pub why: String,
    /// The first mail that it was found in, as `verify_email.en`.
    pub mail: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (found in the mail {})", self.files.join(" or "), self.why, self.mail)
    }
}

/// The part of a mail that a file makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Html,
    Text,
}

/// Every mistake, each once, however many mails have it.
pub(super) fn mistakes(brand: &Brand) -> Vec<Mistake> {
    let mut found = Vec::new();
    match Renderer::new(brand.clone()) {
        Ok(renderer) => {
            for (template, locale) in mails() {
                prove(&renderer, template, locale, &mut |part, why| {
                    let stem = stem(template, locale);
                    found.push(Mistake { files: suspects(brand, template, locale, part), why, mail: stem });
                });
            }
        }
        // What cannot be put together names its file itself.
        Err(error) => {
            let files = brand.templates.names().map(ToOwned::to_owned).collect();
            found.push(Mistake { files, why: reasons(&error), mail: "any".to_owned() });
        }
    }
    let mut seen = BTreeSet::new();
    found.retain(|mistake| seen.insert((mistake.files.clone(), mistake.why.clone())));
    found
}

fn prove(renderer: &Renderer, template: MailTemplate, locale: Locale, found: &mut dyn FnMut(Part, String)) {
    let stem = stem(template, locale);
    if let Some((part, why)) = unknown_names(renderer, template, locale) {
        // It cannot be filled either, and that would say less.
        return found(part, why);
    }
    let cases = samples::cases(template).into_iter().map(|sample| sample.parameters);
    for parameters in cases.chain([chosen(template)]) {
        let values = renderer.values(locale, &parameters);
        let (text, html) = (renderer.text(&stem, &values), renderer.page(&stem, &values));
        if let Err(error) = &text {
            found(Part::Text, reasons(error));
        }
        if let Err(error) = &html {
            found(Part::Html, reasons(error));
        }
        if let (Ok((subject, text)), Ok(html)) = (text, html) {
            judge(&parameters, &RenderedMail { subject, text, html }, found);
        }
    }
}

/// Names in braces that mean nothing in this mail.
fn unknown_names(renderer: &Renderer, template: MailTemplate, locale: Locale) -> Option<(Part, String)> {
    let values = renderer.values(locale, &samples::sample(template));
    let known: BTreeSet<String> = values.try_iter().ok()?.map(|name| name.to_string()).collect();
    let (page, text) = renderer.asked_for(&stem(template, locale)).ok()?;
    [(Part::Html, page), (Part::Text, text)].into_iter().find_map(|(part, names)| {
        let unknown: BTreeSet<String> = names
            .into_iter()
            .filter(|name| !known.contains(name) && !matches!(&**name, "self" | "super" | "loop"))
            .collect();
        let unknown = (!unknown.is_empty()).then(|| listed(&unknown))?;
        Some((part, format!("uses {unknown}, which this mail does not have; it has {}", listed(&known))))
    })
}

fn judge(parameters: &MailParameters, mail: &RenderedMail, found: &mut dyn FnMut(Part, String)) {
    let RenderedMail { subject, text, html } = mail;
    if subject.trim().is_empty() || subject.chars().any(char::is_control) {
        found(Part::Text, "the subject must be one line with words".to_owned());
    }
    if subject.chars().count() > MAX_SUBJECT_CHARS {
        found(Part::Text, format!("the subject is longer than {MAX_SUBJECT_CHARS} characters"));
    }
    if subject.contains(CHOSEN) {
        found(Part::Text, "the subject repeats what a user chose".to_owned());
    }
    for link in parameters.links() {
        if !text.split_whitespace().any(|word| word == link) {
            found(Part::Text, "does not show every link of the mail".to_owned());
        }
        let escaped = link.replace('&', "&amp;");
        if !html.contains(&format!("href=\"{escaped}\"")) {
            found(Part::Html, "does not link to every link of the mail".to_owned());
        }
    }
    if tags(html).any(|tag| tag.contains(CHOSEN)) {
        found(Part::Html, "puts what a user chose into a tag".to_owned());
    }
    if tags(html).any(|tag| tag.starts_with("script") || tag.contains("javascript:")) {
        found(Part::Html, "has a script".to_owned());
    }
    if let Some(element) = tags(html).find(|tag| tag.starts_with("mj-")) {
        let element = element.split([' ', '/']).next().unwrap_or_default();
        found(Part::Html, format!("has an element <{element}> where MJML has none"));
    }
    if html.len() > MAX_HTML_BYTES {
        found(Part::Html, format!("is longer than {MAX_HTML_BYTES} bytes: mail programs cut it"));
    }
    if html.matches("<title>").count() != 1 || html.contains("<title></title>") {
        found(Part::Html, "must have one title".to_owned());
    }
    if !html.contains("lang=\"") {
        found(Part::Html, "does not say in which language it is".to_owned());
    }
    for (part, words) in [(Part::Text, text), (Part::Html, html)] {
        if ["{{", "{%", "[%", "[["].iter().any(|mark| words.contains(mark)) {
            found(part, "leaves a placeholder that was not understood".to_owned());
        }
    }
}

/// What is between `<` and `>`.
fn tags(html: &str) -> impl Iterator<Item = &str> {
    html.split('<').skip(1).filter_map(|rest| rest.split('>').next())
}

/// A sample in which everything that users choose can be found again.
fn chosen(template: MailTemplate) -> MailParameters {
    let mut parameters = samples::sample(template);
    parameters.set_display_name(CHOSEN.to_owned());
    if let Some(Occasion { device, .. }) = parameters.occasion_mut() {
        *device = Some(CHOSEN.to_owned());
    }
    parameters
}

/// The operator's files that a part of a mail may be made of.
fn suspects(brand: &Brand, template: MailTemplate, locale: Locale, part: Part) -> Vec<String> {
    let own = stem(template, locale);
    let extension = match part {
        Part::Html => ".mjml",
        Part::Text => ".txt",
    };
    let is_shared = |stem: &str| mails().all(|(template, locale)| self::stem(template, locale) != stem);
    let of_this_language = |stem: &str| stem.rsplit_once('.').is_none_or(|(_, tag)| tag == locale.tag());
    let is_suspect = |file: &&str| {
        file.strip_suffix(extension)
            .is_some_and(|stem| stem == own || (is_shared(stem) && of_this_language(stem)))
    };
    brand.templates.names().filter(is_suspect).map(ToOwned::to_owned).collect()
}

fn listed(names: &BTreeSet<String>) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// What it comes down to, in one line.
fn reasons(error: &RenderError) -> String {
    let mut reason: &dyn Error = error;
    while let Some(cause) = reason.source() {
        reason = cause;
    }
    reason.to_string().lines().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
