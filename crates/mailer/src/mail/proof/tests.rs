use super::*;
use crate::mail::{overrides::Overrides, templates::built_in};

/// What is said about these files of the operator's.
fn said_about(files: &[(&str, &str)]) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(directory.path().join(name), content).unwrap();
    }
    let templates = Overrides::read(directory.path()).unwrap();
    let brand = Brand { templates, ..Brand::named("Fisch & Söhne") };
    mistakes(&brand).iter().map(ToString::to_string).collect()
}

fn changed(name: &str, from: &str, to: &str) -> String {
    let content = built_in(name).unwrap();
    assert!(content.contains(from), "{content}");
    content.replace(from, to)
}

#[test]
fn the_built_in_templates_are_right_whatever_the_brand() {
    let full = Brand {
        logo_url: Some("https://cdn.example/logo.png?a=1&b=\"2\"".parse().unwrap()),
        support_email: Some("help@auth.example".to_owned()),
        address: Some("Fisch & Söhne GmbH, Hafenstraße 1, 20457 Hamburg".to_owned()),
        ..Brand::named("{{ 7*7 }} [% x %] <b>")
    };
    // Not even a brand is read as a template, but it does look like a placeholder that was left.
    let renderer = Renderer::new(full.clone()).unwrap();
    let mail = renderer.preview(MailTemplate::VerifyEmail, Locale::En).unwrap();
    assert!(mail.html.contains("alt=\"{{ 7*7 }} [% x %] &lt;b&gt;\""), "{}", mail.html);
    assert!(mail.html.contains("src=\"https://cdn.example/logo.png?a=1&amp;b=%222%22\""), "{}", mail.html);
    assert!(mail.text.ends_with("Hafenstraße 1, 20457 Hamburg\n"), "{}", mail.text);
    for brand in [Brand { name: "Acme".to_owned(), ..full }, Brand::named("Acme")] {
        assert_eq!(mistakes(&brand), []);
    }
}

#[test]
fn words_layout_and_footer_can_be_the_operators_own() {
    let text = changed("verify_email.en.txt", "Welcome to {{ brand }}!", "Ahoy, {{ brand }}!");
    let layout = changed("layout.mjml", "#f3f4f6", "#ffeedd");
    let footer = "Imprint: <a href=\"https://acme.example/imprint\">acme.example/imprint</a>\n";
    let files = [("verify_email.en.txt", &*text), ("layout.mjml", &layout), ("footer.de.mjml", footer)];
    assert_eq!(said_about(&files), [""; 0]);
}

#[test]
fn every_mistake_names_its_file_and_what_is_wrong() {
    let verify = |from, to| changed("verify_email.en.txt", from, to);
    let html = |from, to| changed("verify_email.en.mjml", from, to);
    let text = "verify_email.en.txt";
    let mjml = "verify_email.en.mjml";
    let include = "[% include \"../../../etc/passwd\" %]";
    for (file, content, why) in [
        (text, verify("{{ link }}", ""), "does not show every link of the mail"),
        (text, verify("{{ link }}", "{{ link }}x"), "does not show every link of the mail"),
        (mjml, html("{{ link }}", "https://acme.example/"), "does not link to every link of the mail"),
        (
            text,
            verify("{{ hours }}", "{{ hour }}"),
            "uses `hour`, which this mail does not have; it has `address`",
        ),
        (mjml, html("{{ hours }}", "{{ env.HOME }}"), "uses `env`, which this mail does not have"),
        (text, verify("Subject: ", "Betreff: "), "the template has no subject line"),
        (text, verify("Subject: Confirm", "Subject: {{ name }}"), "the subject repeats what a user chose"),
        (
            text,
            verify("Subject: Confirm your email address for {{ brand }}", "Subject: "),
            "the subject must be one line",
        ),
        (text, verify("{% if name %}", "{% if name"), "unexpected"),
        (mjml, html("{{ name }}", "{{ name | safe }}"), "unknown filter"),
        (text, verify("{{ link }}", "{{ link }} { { x }}{{ '{{' }}"), "leaves a placeholder"),
        (
            mjml,
            html("Welcome", "<img alt=\"{{ name }}\" src=\"https://acme.example/x.png\" />"),
            "puts what a user chose into a tag",
        ),
        (mjml, html("Welcome", "<a href=\"javascript:x\">Welcome</a>"), "has a script"),
        (
            mjml,
            html("[% block content %]", "[% block content %]<mj-txet>x</mj-txet>"),
            "has an element <mj-txet> where MJML has none",
        ),
        (mjml, html("</mj-text>", ""), "verify_email.en.mjml cannot be understood"),
        (mjml, html("[% block content %]", &format!("[% block content %]{include}")), "etc/passwd"),
        (
            mjml,
            html("[% block content %]", "[% block content %]<mj-include path=\"/etc/passwd\" />"),
            "cannot be understood: unable to load included template",
        ),
        (mjml, html("Welcome", "{% include \"verify_email.en.txt\" %}"), "verify_email.en.txt"),
        (text, verify("Welcome", "{% include \"/etc/passwd\" %}"), "/etc/passwd"),
        (
            mjml,
            html(
                "[% block title %]Confirm your email address[% endblock %]",
                "[% block title %][% endblock %]",
            ),
            "must have one title",
        ),
        (mjml, html("Welcome", &"x".repeat(95_000)), "is longer than"),
    ] {
        let said = if content.len() > 60_000 {
            // Longer than a file may be, but a loop makes it.
            let looped = html("Welcome", "{% for _ in range(20000) %}xxxxx{% endfor %}");
            said_about(&[(file, &looped)])
        } else {
            said_about(&[(file, &content)])
        };
        assert!(
            said.iter().any(|line| line.starts_with(file) && line.contains(why)),
            "{why}: {said:?} of {}",
            content.get(..400).unwrap_or_default()
        );
    }
}

#[test]
fn a_mistake_that_all_mails_have_is_said_once() {
    let said = said_about(&[
        ("footer.en.txt", "Bye {{ nam }}\n"),
        ("verify_email.de.txt", built_in("verify_email.de.txt").unwrap()),
    ]);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said.iter().all(|line| line.starts_with("footer.en.txt: ") && line.contains("undefined")),
        "{said:?}"
    );
}

#[test]
fn what_users_choose_is_escaped_in_the_operators_templates_too() {
    let content =
        "{% autoescape false %}{{ name }}{{ name | upper }}{% set x = name %}{{ x }}{% endautoescape %}";
    let directory = tempfile::tempdir().unwrap();
    let file = changed("verify_email.en.mjml", "Hello", content);
    std::fs::write(directory.path().join("verify_email.en.mjml"), file).unwrap();
    let templates = Overrides::read(directory.path()).unwrap();
    let renderer = Renderer::new(Brand { templates, ..Brand::named("Acme") }).unwrap();
    let mut parameters = samples::sample(MailTemplate::VerifyEmail);
    parameters.set_display_name("<b>x".to_owned());
    let html = renderer.render(Locale::En, &parameters).unwrap().html;
    assert!(html.contains("&lt;b&gt;x") && !html.contains("<b>") && !html.contains("<B>"), "{html}");
}
