use std::fmt::Write;

use super::{StoredMail, links};

pub(super) const STYLE: &str = include_str!("mailbox.css");
pub(super) const SCRIPT: &str = include_str!("mailbox.js");

/// The list of mails, newest first.
pub(super) fn list(mails: &[StoredMail], to: Option<&str>) -> String {
    let mut rows = String::new();
    for mail in mails {
        let _ = write!(
            rows,
            "<tr><td class=\"to\">{}</td><td><a href=\"/messages/{}\">{}</a></td><td class=\"when\"><time datetime=\"{}\">{}</time></td></tr>",
            escape(&mail.to.join(", ")),
            mail.id,
            escape(subject(mail)),
            mail.received_at.to_rfc3339(),
            mail.received_at.format("%d %b %H:%M:%S UTC"),
        );
    }
    let filter = to.map(|to| format!(" for {} (<a href=\"/\">show all</a>)", escape(to))).unwrap_or_default();
    let content = if mails.is_empty() {
        "<p class=\"empty\">Nothing yet. A mail appears here by itself.</p>".to_owned()
    } else {
        format!(
            "<table><thead><tr><th>To</th><th>Subject</th><th>Received</th></tr></thead><tbody>{rows}</tbody></table>"
        )
    };
    let newest = mails.first().map(|mail| mail.id.to_string()).unwrap_or_default();
    page(
        "Mails",
        &format!(
            "<header><h1>{} caught{filter}</h1><nav><a href=\"/templates/\">Templates</a> <button id=\"empty\" type=\"button\">Empty</button></nav></header>\
             <main data-newest=\"{newest}\">{content}</main>",
            count(mails.len()),
        ),
    )
}

/// One mail: its links, its text and its HTML.
pub(super) fn detail(mail: &StoredMail) -> String {
    let mut links = String::new();
    for link in &mail.links {
        let link = escape(link);
        let _ = write!(
            links,
            "<li><a href=\"{link}\" target=\"_blank\" rel=\"noopener noreferrer\">{link}</a> \
             <button type=\"button\" class=\"copy\" data-copy=\"{link}\">Copy</button></li>",
        );
    }
    let mut parts = String::new();
    if !links.is_empty() {
        let _ = write!(parts, "<section><h2>Links</h2><ul class=\"links\">{links}</ul></section>");
    }
    if !mail.html.is_empty() {
        let _ = write!(
            parts,
            "<section><h2>HTML</h2><iframe title=\"HTML part\" sandbox=\"allow-popups allow-popups-to-escape-sandbox\" src=\"/messages/{}/html\"></iframe></section>",
            mail.id
        );
    }
    if !mail.text.is_empty() {
        let _ = write!(parts, "<section><h2>Text</h2><pre>{}</pre></section>", with_links(&mail.text));
    }
    let content = format!(
        "<header><h1>{}</h1><a href=\"/\">All mails</a></header><main><dl><dt>From</dt><dd>{}</dd><dt>To</dt><dd>{}</dd>\
         <dt>Received</dt><dd>{}</dd><dt>Message-ID</dt><dd>{}</dd></dl>{parts}\
         <p><a href=\"/messages/{}/source\">Source</a></p></main>",
        escape(subject(mail)),
        escape(&mail.from),
        escape(&mail.to.join(", ")),
        mail.received_at.format("%Y-%m-%d %H:%M:%S UTC"),
        escape(mail.message_id.as_deref().unwrap_or("none")),
        mail.id,
    );
    page(subject(mail), &content)
}

/// A mail's HTML whose links leave the frame that shows it.
pub(super) fn opening_links_outside(html: &str) -> String {
    const BASE: &str = "<base target=\"_blank\">";
    let head = html.find("<head").and_then(|head| Some(head + html.get(head..)?.find('>')? + 1));
    // Before the document type, a browser would lay it out as in the nineties.
    let (before, after) = head.and_then(|head| html.split_at_checked(head)).unwrap_or(("", html));
    format!("{before}{BASE}{after}")
}

fn page(title: &str, content: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{} · Mail catcher</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <link rel=\"stylesheet\" href=\"/mailbox.css\"><script src=\"/mailbox.js\" defer></script></head>\
         <body>{content}</body></html>",
        escape(title)
    )
}

fn subject(mail: &StoredMail) -> &str {
    if mail.subject.is_empty() { "(no subject)" } else { &mail.subject }
}

fn count(mails: usize) -> String {
    if mails == 1 { "1 mail".to_owned() } else { format!("{mails} mails") }
}

fn with_links(text: &str) -> String {
    let mut html = String::new();
    let mut end = 0;
    for (start, link) in links::in_text(text) {
        let escaped = escape(link);
        let _ = write!(
            html,
            "{}<a href=\"{escaped}\" target=\"_blank\" rel=\"noopener noreferrer\">{escaped}</a>",
            escape(text.get(end..start).unwrap_or_default())
        );
        end = start + link.len();
    }
    html + &escape(text.get(end..).unwrap_or_default())
}

/// For element content and quoted attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn links_of_a_document_and_of_a_fragment_open_outside() {
        let document = opening_links_outside("<!doctype html><html><head lang=de><title>x");
        assert_eq!(document, "<!doctype html><html><head lang=de><base target=\"_blank\"><title>x");
        assert_eq!(opening_links_outside("<p>x"), "<base target=\"_blank\"><p>x");
    }

    #[test]
    fn nothing_of_a_mail_becomes_markup() {
        let evil = "<script>alert(1)</script>\"'&".to_owned();
        let mail = StoredMail {
            id: Uuid::nil(),
            to: vec![evil.clone()],
            from: evil.clone(),
            subject: evil.clone(),
            text: format!("{evil} https://a.example/?a=1&b=2"),
            html: evil.clone(),
            links: vec![evil.clone()],
            message_id: Some(evil),
            received_at: DateTime::UNIX_EPOCH,
        };
        for html in [detail(&mail), list(&[mail], Some("<script>"))] {
            assert!(!html.contains("<script>"), "{html}");
        }
    }
}
